"""What the modes that speculate keep of each label, and how they tell a hit from a miss."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.kernels import slots
from hwtrain.net import Net
from hwtrain.rules._chain import ChainBound
from hwtrain.rules._schedules.settings import Settings


class LabelBound(ChainBound):
    """Keeps by label what it has seen, and counts by label: hits, misses, cold, right hits.

    ``inputs`` are the samples kept, which a mode that has several a label fills.
    A label has a slot for each of its prototypes: slot k of label c is row k classes + c of every table.
    """

    inputs: Tensor
    waste: int = 0
    """Multiplications that a guess takes, where it is made before it is known to be used."""

    def __init__(self, net: Net, rule: str, options: Settings) -> None:
        super().__init__(net, rule)
        self.options = options
        numbers = net.loss.numbers
        rows = self.classes * options.prototypes
        self.limit = options.threshold * (1.0 if numbers is None else 2.0**numbers.error_frac)
        self.errors = self.keep("errors", rows, self.classes)
        self.known = self.keep("known", rows, dtype=torch.int32)
        self.counts = self.keep("counts", self.classes, len(slots.OUTCOMES), dtype=torch.int32)
        if options.warm_up:
            self.left = self.keep("left", 1, dtype=torch.int32).fill_(options.warm_up)
        if options.hit_share:
            kind, one = (torch.float32, 1.0) if numbers is None else (torch.int32, 2.0**slots.LIMIT_FRAC)
            begins = min(max(options.threshold * one, 0.0), float(slots.LIMIT_MOST))
            self.moving = self.keep("limit", 1, dtype=kind).fill_(round(begins) if numbers else begins)
            self.shift = 0 if numbers is None else slots.LIMIT_FRAC - numbers.error_frac
            self.up, self.down = (
                float(round(part * one * slots.LIMIT_STEP)) if numbers else part * slots.LIMIT_STEP
                for part in (options.hit_share, 1 - options.hit_share)
            )

    def figures(self) -> dict[str, Any]:
        """Outcomes by label, multiplications whose guess was not used, and where the threshold stands."""
        threshold = self.options.threshold
        if self.options.hit_share:
            one = 1.0 if self.moving.is_floating_point() else 2.0**slots.LIMIT_FRAC
            threshold = float(self.moving[0]) / one
        wasted = self.waste * int(self.counts[:, 1:3].sum())
        found = {"counts": self.counts.tolist(), "wasted_macs": wasted, "threshold": threshold}
        return {"speculation": found}

    def slots_of(self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"]) -> Tensor:
        """The slot that each sample is held to: its label's, or of several the one of the nearest input."""
        if self.options.prototypes == 1:
            return labels
        return slots.pick(self.inputs, self.known, labels, x, self.classes)

    def near(self, places: Tensor, labels: Tensor, d: Real[Tensor, "batch classes"]) -> Int[Tensor, "batch"]:
        """Which samples are hits."""
        given = self.errors, self.known, places, labels, d
        if not self.options.hit_share:
            hits = slots.near(*given, self.limit, self.options.distance)
        else:
            hits = slots.follow(*given, self.moving, self.shift, self.up, self.down, self.options.distance)
        return slots.warm(self.left, hits) if self.options.warm_up else hits

    def put(self, table: Tensor, places: Tensor, hits: Tensor, rows: Tensor) -> None:
        """Keep what was seen."""
        slots.put(table, places, hits, rows, int(self.options.store == "sticky"))
