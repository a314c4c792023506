"""Mode ``delayed-reuse``: delayed, and what is like one seen before writes its gradient again."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.kernels import slots, vector
from hwtrain.kernels.base import sections, when
from hwtrain.net import Net
from hwtrain.rules._schedules.labels import LabelBound
from hwtrain.rules._schedules.settings import Settings


class ReuseBound(LabelBound):
    """forward(i) beside backward(i - 1), which writes the gradient kept for its label again if it is near.

    The gradient is kept as its factors, [x, h_1, ..] and [d_1, ..]; ``used`` are those of this step's update.
    """

    batch: ClassVar[int | None] = 1

    def __init__(self, net: Net, rule: str, options: Settings) -> None:
        super().__init__(net, rule, options)
        widths, rows = self.widths, self.errors.shape[0]
        last = len(self.stages) - 1
        self.before = [self.keep(f"signal{n}", 1, width) for n, width in enumerate(widths)]
        self.error = self.keep("error", 1, self.classes)
        self.label = self.keep("label", 1, dtype=torch.int32)
        self.pending = self.keep("pending", 1, dtype=torch.int32)
        self.used = [self.keep(f"used{n}", 1, width) for n, width in enumerate(widths[:-1])]
        self.used_errors = [self.keep(f"used_error{n}", 1, width) for n, width in enumerate(widths[1:])]
        self.kept = [self.keep(f"kept{n}", rows, width) for n, width in enumerate(widths[:-1])]
        self.inputs = self.kept[0]
        self.kept_errors = [
            self.keep(f"kept_error{n}", rows, width) for n, width in enumerate(widths[1 : last + 1])
        ]
        self.kept_errors.append(self.errors)

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Look at one sample, learn from the one before or from one like it."""
        signals: list[Tensor] = []
        loss = d = x

        def forward() -> None:
            nonlocal signals, loss, d
            signals = self.look(x)
            loss, d = self.judge(signals[-1], labels)

        def join() -> None:
            with self.late(1):
                self.learn(self.used, self.used_errors, lr)
            vector.copy(self.error, d)
            vector.copy_labels(self.label, labels)
            vector.mark(self.pending, 1)
            for kept, signal in zip(self.before, signals, strict=True):
                vector.copy(kept, signal)

        sections([forward, lambda: when(self.pending, self._backward)], join)
        return loss

    def _backward(self) -> None:
        places = self.slots_of(self.before[0], self.label)
        hits = self.near(places, self.label, self.error)
        tables = [
            *zip(self.used, self.kept, strict=True),
            *zip(self.used_errors, self.kept_errors, strict=True),
        ]

        def reuse() -> None:
            for used, table in tables:
                vector.copy(used, slots.take(table, places))

        def exact() -> None:
            found = [*self.before[:-1], *self.back(self.error, self.before)]
            for (used, table), rows in zip(tables, found, strict=True):
                vector.copy(used, rows)
                slots.put(table, places, hits, rows, 0)

        when(hits, reuse, exact)
        slots.tally(self.counts, self.known, self.label, places, hits, self.before[-1])

    def flush(self, lr: float) -> None:
        """Learn from the last sample."""
        when(self.pending, self._backward)
        with self.late(1):
            self.learn(self.used, self.used_errors, lr)
        vector.mark(self.pending, 0)
        for used in self.used_errors:
            vector.clear(used)
