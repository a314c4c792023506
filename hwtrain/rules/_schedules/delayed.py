"""Mode ``delayed``: the backward pass of a sample beside the forward pass of the next one."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.kernels import vector
from hwtrain.kernels.base import sections
from hwtrain.net import Net
from hwtrain.rules._chain import ChainBound


class DelayedBound(ChainBound):
    """forward(i) beside backward(i - 1); update(i - 1) after both."""

    batch: ClassVar[int | None] = 1

    def __init__(self, net: Net, rule: str) -> None:
        super().__init__(net, rule)
        self.before = [self.keep(f"signal{n}", 1, width) for n, width in enumerate(self.widths[:-1])]
        self.error = self.keep("error", 1, self.classes)

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Look at one sample, learn from the one before."""
        signals: list[Tensor] = []
        errors: list[Tensor] = []
        loss = d = x

        def forward() -> None:
            nonlocal signals, loss, d
            signals = self.look(x)
            loss, d = self.judge(signals[-1], labels)

        def backward() -> None:
            nonlocal errors
            errors = self.back(self.error, self.before)

        def join() -> None:
            with self.late(1):
                self.learn(self.before, errors, lr)
            vector.copy(self.error, d)
            for kept, signal in zip(self.before, signals, strict=False):
                vector.copy(kept, signal)

        sections([forward, backward], join)
        return loss

    def flush(self, lr: float) -> None:
        """Learn from the last sample."""
        errors = self.back(self.error, self.before)  # read now, with noise of this step
        with self.late(1):
            self.learn(self.before, errors, lr)
        vector.clear(self.error)
