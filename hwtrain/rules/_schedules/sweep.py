"""Modes ``fused-sweep`` and ``neuron``: a layer takes its last update as it reads the next sample."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.kernels import vector
from hwtrain.net import Net
from hwtrain.rules._chain import ChainBound


class SweepBound(ChainBound):
    """Every layer takes the update of the sample before in the moment that it reads the next one."""

    batch: ClassVar[int | None] = 1

    def __init__(self, net: Net, rule: str, *, parallel: bool) -> None:
        super().__init__(net, rule)
        self.parallel = parallel
        self.before = [self.keep(f"signal{n}", 1, width) for n, width in enumerate(self.widths[:-1])]
        self.errors = [self.keep(f"error{n}", 1, width) for n, width in enumerate(self.widths[1:])]

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Sweep through every layer, then back; what was found is written by the next sweep."""
        signals = [x]
        for stage, before, error in zip(self.stages, self.before, self.errors, strict=True):
            with self.late(1):
                self.write(stage, before, error, lr)
            signals.append(stage.fw(signals[-1]))
        loss, d = self.judge(signals[-1], labels)
        errors = self.back(d, signals)
        for kept, found in zip([*self.before, *self.errors], [*signals[:-1], *errors], strict=True):
            vector.copy(kept, found)
        return loss

    def flush(self, lr: float) -> None:
        """Write what the last sample taught."""
        with self.late(1):
            self.learn(self.before, self.errors, lr)
        for error in self.errors:
            vector.clear(error)
