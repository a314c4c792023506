"""Engines: they run a rule over a chunk of samples, step by step, and fill the ledger.

``torch`` runs the rule itself; ``native`` its program compiled from C, ``reference`` the same program in
NumPy, slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.errors import ConfigError
from hwtrain.export.run import InterpretRunner, NativeRunner, Runner
from hwtrain.kernels.base import Rate
from hwtrain.layers.base import Shape
from hwtrain.ledger import Ledger
from hwtrain.program.cost import cost
from hwtrain.program.ir import Entry, Program
from hwtrain.program.lower import lower
from hwtrain.rules.base import Bound

EVAL_BATCH = 1000


@dataclass(frozen=True)
class Metrics:
    """Sums over the samples of a chunk."""

    samples: int
    loss: float
    correct: int = 0


class TorchEngine:
    """``run`` trains on a chunk, ``evaluate`` looks and changes nothing but the ledger."""

    chunk = 100
    """Steps a call: between two of them come the clock, the signals and the progress bar."""

    def __init__(self, bound: Bound, ledger: Ledger, batch: int) -> None:
        self.bound, self.ledger, self.batch = bound, ledger, batch

    def run(
        self, x: Real[Tensor, "n *features"], labels: Int[Tensor, "n"], first_step: int, lr: float
    ) -> Metrics:
        """Train on the samples in order, in batches; ``first_step`` is the number of the first step."""
        clock = self.ledger.clock
        clock.phase, clock.rate = "train", lr
        x = self.bound.net.encode(x)
        losses = []
        for offset, start in enumerate(range(0, x.shape[0], self.batch)):
            clock.step, clock.sample = first_step + offset, 0
            part = slice(start, start + self.batch)
            losses.append(self.bound.step(x[part], labels[part], Rate(lr)))
        total = float(torch.cat(losses).double().sum())
        return Metrics(x.shape[0], total * self.bound.net.loss.unit)

    def flush(self, step: int, lr: float) -> float:
        """Learn what the rule has put off, ``step`` being the next one's number; the loss that it owed."""
        self.ledger.clock.phase, self.ledger.clock.step, self.ledger.clock.sample = "train", step, 0
        owed = self.bound.flush(Rate(lr))
        return 0.0 if owed is None else float(owed.double().sum()) * self.bound.net.loss.unit

    def evaluate(self, x: Real[Tensor, "n *features"], labels: Int[Tensor, "n"], step: int) -> Metrics:
        """Loss and hits on samples that are not trained on."""
        clock = self.ledger.clock
        clock.phase, clock.step = "eval", step
        for _, array in self.bound.net.arrays():
            array.rewind()
        x = self.bound.net.encode(x)
        loss, correct = 0.0, 0
        for start in range(0, x.shape[0], EVAL_BATCH):
            part = slice(start, start + EVAL_BATCH)
            clock.sample, clock.samples = start, len(labels[part])
            z = self.bound.predict(x[part])
            correct += int((z.argmax(1) == labels[part]).sum())
            found = self.bound.net.loss.fw(z, labels[part])[0]
            loss += float(found.double().sum()) * self.bound.net.loss.unit
        clock.phase, clock.sample = "train", 0
        return Metrics(x.shape[0], loss, correct)


class ProgramEngine:
    """Runs the rule's program instead: compiled C, or the interpreter; the weights stay where they are."""

    chunk = 2000

    def __init__(
        self, bound: Bound, ledger: Ledger, batch: int, runner: Callable[[Program], Runner], shape: Shape
    ) -> None:
        self.bound, self.ledger, self.batch = bound, ledger, batch
        self._runner, self._shape = runner, shape
        self._runners: dict[int, Runner] = {}
        self._for(batch)  # what cannot be lowered is found before the first step

    def run(
        self, x: Real[Tensor, "n *features"], labels: Int[Tensor, "n"], first_step: int, lr: float
    ) -> Metrics:
        """As TorchEngine's; what a last small batch needs is a program of its own."""
        self.ledger.clock.phase = "train"
        codes, whole = self.bound.net.encode(x), len(labels) // self.batch * self.batch
        loss = 0.0
        for start, end, size in ((0, whole, self.batch), (whole, len(labels), len(labels) - whole)):
            if end > start:
                memory = self._run("step", codes[start:end], labels[start:end], size, lr, first_step)
                first_step += (end - start) // size
                loss += float(memory["loss"].sum(dtype=np.float64)) * self.bound.net.loss.unit
        return Metrics(x.shape[0], loss)

    def flush(self, step: int, lr: float) -> float:
        """As TorchEngine's."""
        if "flush" not in self._for(self.batch).program.entries:
            return 0.0
        self.ledger.clock.phase = "train"
        memory = self._run("flush", None, None, self.batch, lr, step)
        owed = memory["owed"].sum(dtype=np.float64) if "owed" in memory else 0.0
        return float(owed) * self.bound.net.loss.unit

    def evaluate(self, x: Real[Tensor, "n *features"], labels: Int[Tensor, "n"], step: int) -> Metrics:
        """As TorchEngine's."""
        clock = self.ledger.clock
        clock.phase, clock.step = "eval", step
        memory = self._run("predict", self.bound.net.encode(x), labels, 1, 0.0, step)
        z = torch.from_numpy(memory["z"]).reshape(x.shape[0], -1)
        found = self.bound.net.loss.fw(z, labels)[0]
        loss = float(found.double().sum()) * self.bound.net.loss.unit
        clock.phase = "train"
        return Metrics(x.shape[0], loss, int((z.argmax(1) == labels).sum()))

    def _run(
        self, entry: Entry, x: Tensor | None, labels: Tensor | None, batch: int, lr: float, step: int
    ) -> dict[str, np.ndarray]:
        runner = self._for(batch)
        n, given = 1, {}
        if x is not None and labels is not None:  # but a flush has no samples
            n = len(labels) // batch
            given = {"x": x.contiguous().numpy(), "labels": labels.int().numpy()}
        for path, array in self.bound.net.arrays():
            given |= {f"{path}/{name}": value.numpy() for name, value in array.live().items()}
        for path, found in self.bound.net.layers():
            given |= {f"{path}/{name}": value.numpy() for name, value in found.running.items()}
        given |= {f"rule/{name}": value.numpy() for name, value in self.bound.live().items()}
        memory = runner.memory(n, {key: given[key] for key in given if key in runner.program.buffers})
        runner.run(entry, n, memory, lr, step)
        for (layer, port), counts in cost(runner.program, entry, n, memory).items():
            self.ledger.add(layer, port, **counts)
        for path, array in self.bound.net.arrays():
            for port, counts in array.settle().items():
                if not (entry == "predict" and port == "write"):
                    self.ledger.add(path, port, **counts)
        if entry == "step" and step == 0:
            self.ledger.peak("net", "tape", bytes_held=runner.program.listing.tape_bytes)
        return memory

    def _for(self, batch: int) -> Runner:
        if batch not in self._runners:
            self._runners[batch] = self._runner(lower(self.bound, self._shape, batch))
        return self._runners[batch]


def engine_of(
    name: str, bound: Bound, ledger: Ledger, batch: int, shape: Shape, threads: int = 1
) -> TorchEngine | ProgramEngine:
    """The engine of a name, for samples of this shape.

    Raises:
        HwtrainError: the rule, net or device cannot be lowered, or there is no compiler.
    """
    if threads > 1 and name != "native":
        raise ConfigError(f"threads = {threads}: engine {name} has one: use native, or leave it out")
    if name == "torch":
        return TorchEngine(bound, ledger, batch)
    runner = partial(NativeRunner, threads=threads) if name == "native" else InterpretRunner
    return ProgramEngine(bound, ledger, batch, runner, shape)
