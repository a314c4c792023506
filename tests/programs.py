"""What tests of programs share: nets on a card, their programs, samples, and runs to compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hwtrain.arith.threefry import Streams
from hwtrain.cards import Card, FixedCard, ShiftCard, card
from hwtrain.export.run import InterpretRunner, Memory, Runner
from hwtrain.layers.avg_pool2d import AvgPool2d
from hwtrain.layers.base import Layer
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.layers.relu import Relu
from hwtrain.layers.tanh import Tanh
from hwtrain.losses.base import Loss
from hwtrain.native import FLAGS
from hwtrain.net import Net, Residual
from hwtrain.nets.base import mlp
from hwtrain.program.ir import Program
from hwtrain.program.lower import lower
from hwtrain.registry import lookup
from hwtrain.rules.backprop import Backprop
from hwtrain.rules.base import Bound, Rule
from hwtrain.substrates.base import Options, Trial, substrate_of
from tests.helpers import NAMES

CARDS = ("float32", "fixed16", "fixed8", "shift4")
O1 = tuple(flag.replace("-O3", "-O1") for flag in FLAGS)


def fixed_card(
    signal: tuple[int, int, int],
    weight: tuple[int, int],
    rounding: str = "half-up",
    update: str = "stochastic",
    pot: int | None = None,
) -> FixedCard:
    """A card with signals of (bits, frac, error_frac) and weights of (bits, frac)."""
    given: dict[str, Any] = {
        **{"schema": 1, "kind": "fixed" if pot is None else "shift", **NAMES},
        "signal": {"bits": signal[0], "frac": signal[1], "error_frac": signal[2], "rounding": rounding},
        "weight": {"bits": weight[0], "frac": weight[1], "rounding": update},
    }
    if pot is None:
        return FixedCard.model_validate(given)
    return ShiftCard.model_validate(given | {"pot": {"bits": pot}})


def bound_on(net: Net, device: str | Card, rule: Rule | None = None, seed: int = 0) -> Bound:
    """A copy of the net with all arrays on one card, and its rule; the ledger starts empty."""
    options = Options()
    substrate = substrate_of(card(device) if isinstance(device, str) else device, options)
    placed = net.copy()
    placed.place(Trial(Streams(seed)), lambda _: substrate, substrate_of(card("float32"), options))
    return (rule or Backprop()).bind(placed)


def loss_of(name: str) -> Loss:
    """A loss by its registered name."""
    made: Loss = lookup("losses", name)()
    return made


def small_mlp(device: str, spec: str = "37-23-11-5") -> Net:
    """tanh in float32, relu in whole numbers."""
    return mlp(spec, "tanh" if device == "float32" else "relu")


def small_cnn(device: str) -> Net:
    """Every kind of layer that has no weights, and groups; for images (2, 8, 8) and 4 classes."""
    activation: type[Layer] = Tanh if device == "float32" else Relu
    body = Residual({"c2": Conv2d(4, 4, 3, padding=1, groups=2), "a2": activation()})
    return Net(
        {
            "c1": Conv2d(2, 4, 3, padding=1),
            "a1": activation(),
            "p1": MaxPool2d(2),
            "block": body,
            "p2": AvgPool2d(2),
            "c3": Conv2d(4, 6, 2, bias=False),
            "flat": Flatten(),
            "fc": Dense(6, 4),
        }
    )


SHAPES = {"mlp": (37,), "cnn": (2, 8, 8)}
NETS: dict[str, Callable[[str], Net]] = {"mlp": small_mlp, "cnn": small_cnn}


def small_program(kind: str, device: str, batch: int = 2) -> tuple[Bound, Program]:
    """The MLP or the CNN by backpropagation, and its program."""
    bound = bound_on(NETS[kind](device), device)
    return bound, lower(bound, SHAPES[kind], batch)


def samples(
    bound: Bound, program: Program, n: int, classes: int = 4, seed: int = 0, scale: float = 1.0
) -> Memory:
    """Normal inputs and uniform labels for n runs."""
    rng = np.random.default_rng(seed)
    shape = (n, *program.buffers["x"].shape)
    x = bound.net.encode(torch.tensor(scale * rng.normal(size=shape), dtype=torch.float32)).numpy()
    return {"x": x, "labels": rng.integers(0, classes, shape[:2]).astype(np.int32)}


def trained(
    runner: Runner, given: Memory, n: int, lr: float = 0.05, step: int = 3, predict: bool = True
) -> Memory:
    """The memory after n training steps and, on the same samples, n predictions."""
    memory = runner.memory(n, given)
    runner.run("step", n, memory, lr=lr, step=step)
    if predict:
        runner.run("predict", n, memory)
    return memory


def bits(values: NDArray[Any]) -> NDArray[Any]:
    """Floats as the integers of their bits, so that -0 is not 0 and a NaN equals itself (in FP16, any)."""
    if values.dtype == np.float16:
        return np.where(np.isnan(values), np.int16(0x7E00), values.view(np.int16))
    return values.view(np.int32) if values.dtype == np.float32 else values


def differences(one: Memory, other: Memory) -> dict[str, int]:
    """How many values differ, by buffer; empty where every bit is equal."""
    assert one.keys() == other.keys()
    counts = {name: int((bits(values) != bits(other[name])).sum()) for name, values in one.items()}
    return {name: count for name, count in counts.items() if count}


def moved(program: Program, memory: Memory) -> float:
    """The share of all weights (masters, where there are codes too) that differ from the first ones."""
    changed = total = 0
    for name, first in program.contents.items():
        if name.endswith("/weights"):
            changed += int((memory[name] != first).sum())
            total += first.size
    return changed / total


def interpreted(program: Program) -> InterpretRunner:
    """The oracle of all engines."""
    return InterpretRunner(program)
