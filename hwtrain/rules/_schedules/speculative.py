"""Mode ``speculative`` on one engine, which does not begin before it knows."""

from __future__ import annotations

from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.kernels import slots
from hwtrain.net import Net
from hwtrain.rules._schedules.labels import LabelBound
from hwtrain.rules._schedules.settings import Settings


class SpeculativeBound(LabelBound):
    """One pass forward, then one pass back: by what was kept where that was near, else by what is.

    Of a batch, every sample is held to what was kept before it.
    """

    def __init__(self, net: Net, rule: str, options: Settings) -> None:
        super().__init__(net, rule, options)
        rows = self.errors.shape[0]
        self.hidden = [
            self.keep(f"hidden{n}", rows, width) for n, width in enumerate(self.widths[1:-1], start=1)
        ]
        if options.prototypes > 1:
            self.inputs = self.keep("inputs", rows, self.widths[0])

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Learn from one batch."""
        places = self.slots_of(x, labels)
        signals = self.look(x)
        loss, d = self.judge(signals[-1], labels)
        hits = self.near(places, labels, d)
        pairs = zip(self.hidden, signals[1:-1], strict=True)
        used = [x, *(slots.choose(table, places, hits, rows) for table, rows in pairs)]
        self.learn(used, self.back(slots.choose(self.errors, places, hits, d), used), lr)
        self.remember(signals, d, labels, places, hits)
        return loss

    def remember(
        self, signals: list[Tensor], d: Tensor, labels: Tensor, places: Tensor, hits: Tensor
    ) -> None:
        """Count, and keep this sample for the next of its label."""
        slots.tally(self.counts, self.known, labels, places, hits, signals[-1])
        self.put(self.errors, places, hits, d)
        for table, rows in zip(self.hidden, signals[1:-1], strict=True):
            self.put(table, places, hits, rows)
        if self.options.prototypes > 1:
            self.put(self.inputs, places, hits, signals[0])
