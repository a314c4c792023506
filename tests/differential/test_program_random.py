"""Hundreds of random nets: every value that a step computes, in the interpreter, in C and, of whole
numbers, by the integer engine."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from hwtrain.arith.fixed import ROUNDINGS
from hwtrain.cards import Card, ShiftCard, card
from hwtrain.export.run import IntegerRunner, InterpretRunner, Memory, NativeRunner, Runner
from hwtrain.layers.avg_pool2d import AvgPool2d
from hwtrain.layers.base import Layer
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.layers.relu import Relu
from hwtrain.layers.sigmoid import Sigmoid
from hwtrain.layers.tanh import Tanh
from hwtrain.net import Net, Residual
from hwtrain.program.ir import Program, walk
from hwtrain.program.lower import lower
from tests.programs import O1, bound_on, differences, fixed_card, loss_of, moved, samples

NETS, STEPS, LEAST = 270, 12, 10**7
MOST = 400_000
"""So many values of a net, then it takes fewer steps: no large net may stand for all."""
CLASSES = 4
ENDS = ("lowest signals", "zero codes", "largest sums", "ties")


@dataclass
class Drawn:
    """A random net and all that goes with it."""

    net: Net
    shape: tuple[int, ...]
    device: Card
    batch: int
    lr: float
    scale: float


class Draw:
    """Draws a net; every choice is a function of the seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.kind = ("float32", "fixed", "shift", "fixed")[seed % 4]
        self.image = seed // 4 % 2 == 1

    def net(self) -> Drawn:
        """All of it."""
        batch = self.int(1, 4)
        if self.image:
            shape = self.int(1, 4), self.int(6, 10), self.int(6, 10)
            children = self.images(shape)
        else:
            shape = (self.int(1, 70),)
            children = {}
        self.dense(children, shape)
        if self.kind == "float32":
            loss = self.one("softmax-ce", "mse", "squared-error", "softmax2")
            lr = 0.002 if self.image else 0.02
            return Drawn(Net(children, loss_of(loss)), shape, card("float32"), batch, lr, 1)
        loss = self.one("softmax2", "squared-error")
        lr = 2.0 ** -self.int(0, 7)
        scale = 2.0 ** self.int(-3, 3)
        return Drawn(Net(children, loss_of(loss)), shape, self.card(), batch, lr, scale)

    def card(self) -> Card:
        """Formats and roundings."""
        signal, weight = self.one(8, 8, 16), self.one(8, 16, 16)
        frac = self.int(signal // 2 - 2, signal - 3)
        return fixed_card(
            (signal, frac, self.int(frac - 1, signal - 1)),
            (weight, self.int(weight - 5, weight - 1)),
            self.one("half-up", "floor", "half-even"),
            self.one(*ROUNDINGS),
            pot=self.int(2, 5) if self.kind == "shift" else None,
        )

    def images(self, shape: tuple[int, ...]) -> dict[str, Layer | Net]:
        """Convolutions, pooling, a residual block."""
        children: dict[str, Layer | Net] = {}
        for number in range(self.int(1, 2)):
            groups = self.one(1, 1, 2) if shape[0] % 2 == 0 else 1
            filter_ = self.int(1, min(4, *shape[1:]))
            layer = Conv2d(
                shape[0],
                groups * self.int(1, 4),
                filter_,
                stride=self.int(1, 3),
                padding=self.int(0, 2),
                groups=groups,
                bias=self.one(True, True, False),
            )
            children[f"c{number}"], shape = layer, layer.out_shape(shape)
            children[f"a{number}"] = self.activation()
            if self.one(True, False):
                channels = shape[0]
                block = {"inner": Conv2d(channels, channels, 3, padding=1), "act": self.activation()}
                children[f"r{number}"] = Residual(block)
            if min(shape[1:]) >= 2 and self.one(True, False):
                size = self.int(2, min(3, *shape[1:]))
                mean = size == 2 or self.kind == "float32"
                pool = self.one(MaxPool2d, AvgPool2d if mean else MaxPool2d)(size)
                children[f"p{number}"], shape = pool, pool.out_shape(shape)
        children["flat"] = Flatten()
        return children

    def dense(self, children: dict[str, Layer | Net], shape: tuple[int, ...]) -> None:
        """One to three dense layers on what is there."""
        width = Net(children, loss_of("mse")).out_shape(shape)[0] if children else shape[0]
        for number in range(self.int(0, 1 if self.image else 2)):
            out = self.int(1, 50)
            children[f"d{number}"] = Dense(width, out, bias=self.one(True, False))
            children[f"da{number}"] = self.activation()
            if self.one(True, False, False):
                children[f"dr{number}"] = Residual({"inner": Dense(out, out), "act": self.activation()})
            width = out
        children["out"] = Dense(width, CLASSES)

    def activation(self) -> Layer:
        """Of those that the format allows."""
        made: Layer = self.one(Relu, Tanh, Sigmoid)() if self.kind == "float32" else Relu()
        return made

    def int(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(self.rng.integers(low, high + 1))

    def one(self, *choices: object) -> object:
        """One of them."""
        return choices[self.int(0, len(choices) - 1)]


@dataclass
class Counts:
    """What was compared; ``integers`` are the values of each net of whole numbers, ``ends`` how many values
    there were of each of ENDS and ``ended`` of how many nets.
    """

    integers: list[int] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    values: int = 0
    different: int = 0
    zero: int = 0
    codes: int = 0
    saturated: int = 0

    def add(self, now: Memory, before: Memory | None) -> None:
        """Every value; ``different`` are those that are not what they were a step ago."""
        for name, values in now.items():
            self.values += values.size
            self.different += int((values != before[name]).sum()) if before else values.size
            self.zero += int((values == 0).sum())
            if values.dtype in (np.int8, np.int16):
                ends = np.iinfo(values.dtype)
                self.codes += values.size
                self.saturated += int(((values == ends.min) | (values == ends.max)).sum())


def opened(program: Program) -> Program:
    """The same program with every temporary as an argument, so that it can be looked at."""
    buffers = {
        name: buffer.model_copy(update={"role": "output"}) if buffer.role == "temp" else buffer
        for name, buffer in program.buffers.items()
    }
    return Program(program.listing.model_copy(update={"buffers": buffers}), program.contents)


def compare(seed: int, counts: Counts, steps: int) -> float:
    """Train a random net on all engines and compare after every step; the share of weights that moved."""
    drawn = Draw(seed).net()
    bound = bound_on(drawn.net, drawn.device, seed=seed)
    program = lower(bound, drawn.shape, drawn.batch)
    if seed % 3:
        program = opened(program)
    given = samples(bound, program, steps, CLASSES, seed, drawn.scale)
    runners: list[Runner] = [InterpretRunner(program), NativeRunner(program, flags=O1)]
    whole = program.listing.numbers is not None
    if whole:
        runners.append(IntegerRunner(program))
        counts.integers.append(0)
    memories = [runner.memory(1, {}) for runner in runners]
    size = sum(held.size for name, held in memories[0].items() if program.buffers[name].role != "const")
    before: Memory | None = None
    for step in range(min(steps, max(3, MOST // size))):
        for runner, memory in zip(runners, memories, strict=True):
            memory["x"][...], memory["labels"][...] = given["x"][step], given["labels"][step]
            runner.run("predict", 1, memory)
            runner.run("step", 1, memory, lr=drawn.lr, step=seed + step)
        for place, memory in enumerate(memories[1:], 1):
            found = differences(memories[0], memory)
            engine = type(runners[place]).__name__
            assert not found, f"net {seed}, step {step}, {engine}: {found}\n{program.text()}"
        now = {name: v for name, v in memories[0].items() if program.buffers[name].role != "const"}
        counts.add(now, before)
        if whole:
            counts.integers[-1] += sum(values.size for values in now.values())
        before = {name: values.copy() for name, values in now.items()}
    share = moved(program, memories[0])
    if whole:
        found, compared = at_the_ends(runners, memories, drawn.device, seed)
        counts.integers[-1] += compared
        counts.ends.update(found)
        counts.ended.update(found.keys())
    return share


def at_the_ends(
    runners: list[Runner], memories: list[Memory], card: Card, seed: int
) -> tuple[Counter[str], int]:
    """Predict where sums are largest, and where they are so small that they end in ties.

    How many values were at each end, and outputs compared in all.

    All signals the lowest code or the highest, all weights the highest, the lowest or zero; then both small.
    """
    x, rng = memories[0]["x"], np.random.default_rng(seed)
    kind = "weight/codes" if isinstance(card, ShiftCard) else "weight/weights"
    names = [name for name in memories[0] if name.endswith(kind)]
    if isinstance(card, ShiftCard):
        top = 2 ** (card.pot.bits - 1) - 1
        levels = [top, -top]
    else:
        levels = [np.iinfo(memories[0][names[0]].dtype).max, np.iinfo(memories[0][names[0]].dtype).min]
    drawn = {name: rng.integers(-2, 3, memories[0][name].shape) for name in names}
    lowest = np.iinfo(x.dtype).min
    most = -lowest * (2 ** (levels[0] - 1) if isinstance(card, ShiftCard) else -levels[1])
    found: Counter[str] = Counter()
    compared = 0
    for signal in (lowest, np.iinfo(x.dtype).max, rng.integers(-2, 3, x.shape)):
        for level in (*levels, 0, None):
            for runner, memory in zip(runners, memories, strict=True):
                memory["x"][...] = signal
                for name in names:
                    memory[name][...] = drawn[name] if level is None else level
                runner.run("predict", 1, memory)
            for place, memory in enumerate(memories[1:], 1):
                wrong = differences(memories[0], memory)
                engine = type(runners[place]).__name__
                assert not wrong, f"net {seed}, signals {signal}, weights {level}, {engine}: {wrong}"
            outputs = memories[0]["z"].size
            compared += outputs
            found["lowest signals"] += outputs * (signal is lowest)
            found["zero codes"] += outputs * (level == 0)
            found.update(accumulators(runners[0].program, memories[0], most))
    return +found, compared


def accumulators(program: Program, memory: Memory, most: int) -> Counter[str]:
    """Of those that can be looked at: sums of products that are all ``most``, and ties before a rounding."""
    found: Counter[str] = Counter()
    for call in walk(program.entries["predict"]):
        if call.kernel == "fixed.requantize" and call.tensors["acc"].buffer in memory:
            unit = 1 << max(int(call.numbers["shift"]), 0)
            found["ties"] += int((2 * (memory[call.tensors["acc"].buffer] % unit) == unit).sum())
        if call.kernel in ("pot.read", "dense.read") and call.results[0].buffer in memory:
            sums, terms = memory[call.results[0].buffer], call.tensors["x"].shape[-1]
            found["largest sums"] += int((abs(sums) == terms * most).sum())
    return found


def test_some_random_nets_are_the_same_on_every_engine() -> None:
    counts = Counts()
    for seed in range(6):
        compare(seed, counts, 3)
    assert counts.different > 10_000


@pytest.mark.slow
def test_many_random_nets_are_the_same_on_every_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HWTRAIN_CACHE", str(tmp_path))
    counts = Counts()
    shares = [compare(1000 + seed, counts, STEPS) for seed in range(NETS)]
    said = (
        f"{NETS} nets, {counts.values} values compared, {counts.different} of them changed since the step "
        f"before; zero {counts.zero / counts.values:.1%}, of {counts.codes} codes saturated "
        f"{counts.saturated / counts.codes:.1%}; weights moved {np.mean(shares):.1%}"
    )
    said += "".join(f"; {counts.ends[end]} {end} of {counts.ended[end]} nets" for end in ENDS)
    share = max(counts.integers) / sum(counts.integers)
    said += (
        f"; {sum(counts.integers)} whole numbers of {len(counts.integers)} nets, at most {share:.1%} of one"
    )
    print(said)  # noqa: T201 - figures that a reader of the log wants
    assert counts.different >= LEAST, said
    assert len(counts.integers) >= 200, said
    assert sum(counts.integers) >= LEAST, said
    assert share <= 0.05, said
    for end in ENDS:
        assert counts.ends[end] >= 1000, said
        assert counts.ended[end] >= 50, said
    assert 0.05 < counts.zero / counts.values < 0.7, said
    assert 0.005 < counts.saturated / counts.codes < 0.5, said
    assert np.mean(shares) > 0.5, said
