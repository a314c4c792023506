"""Two conductances that only ever rise: up is LTP on G+, down is LTP on G-; then a refresh.

The unidirectional update of the electronic-synapse papers (Lim et al., arXiv 1707.06381; as
described in the abstracts): the step of the weight is symmetric whatever the LTD curve looks like,
because LTD is never used. Both sides drift towards g_max and must be refreshed.

Refresh policies; every refresh resets both sides and rewrites the weight on one of them, open loop,
with as many identical pulses as a typical device needs for either way, so that it costs pulses and
scatters. Which weights are due, and what they hold, is taken to be known without error and without
cost: reads for it are not counted.

``threshold``  after each update, weights of which the larger side is above 0.75 and the smaller above
               0.25 of the range (aihwkit's one-sided rule);
``periodic``   the same test, but only every ``refresh_every`` updates, over the whole array;
``full-init``  every weight every ``refresh_every`` updates;
``none``       never.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.arith.threefry import Point
from hwtrain.synapse.cells.base import Cell, Refresh
from hwtrain.synapse.conductances import Conductances, Landed, Way

_LARGER, _SMALLER = 0.75, 0.25


class UnidirectionalLtp(Cell):
    """w = G+ - G-, each side moved by LTP alone."""

    branches = 2
    slope = 1.0
    gain = 1.0
    refreshes = True
    polarities: ClassVar[tuple[Way, ...]] = ("up",)
    start: ClassVar[Literal["low", "high"]] = "low"

    def __init__(self, cells: Conductances, refresh: Refresh, refresh_every: int) -> None:
        super().__init__(cells, refresh, refresh_every)
        self.updates = torch.zeros(1, dtype=torch.int64)

    def weight(self, g: Float[Tensor, "branches *weights"]) -> Float[Tensor, "*weights"]:
        """G+ - G-."""
        return g[0] - g[1]

    def place(self, weight: Float[Tensor, "*weights"]) -> Float[Tensor, "branches *weights"]:
        """The weight on one side, the other side at the start of its branch."""
        return torch.stack([weight.clamp(min=0), (-weight).clamp(min=0)])

    def spread(
        self, index: Int[Tensor, "weights"], n: Int[Tensor, "weights"]
    ) -> tuple[Int[Tensor, "cells"], Int[Tensor, "cells"]]:
        """Up to one side, down to the other; LTP either way."""
        return index + (n < 0) * self.weights, n.abs()

    def land(
        self,
        index: Int[Tensor, "weights"],
        n: Int[Tensor, "weights"],
        draw: Callable[[], Point],
    ) -> Landed:
        """Pulses, then the refresh that the policy asks for."""
        landed = super().land(index, n, draw)
        self.updates += 1
        due = int(self.updates) % self.refresh_every == 0
        everything = torch.arange(self.weights, device=index.device)
        if self.refresh == "full-init" and due:
            return landed + self._rewrite(everything, draw)
        if self.refresh == "periodic" and due:
            return landed + self._rewrite(self._worn(everything), draw)
        if self.refresh == "threshold":
            return landed + self._rewrite(self._worn(index), draw)
        return landed

    def state(self) -> dict[str, Tensor]:
        """The count that periodic refreshes go by."""
        return {"updates": self.updates.clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        self.updates = state["updates"].reshape(1).clone()

    def _worn(self, index: Int[Tensor, "weights"]) -> Int[Tensor, "worn"]:
        sides = self._travelled(self.cells.g.view(2, -1)[:, index])
        return index[(sides.amax(0) > _LARGER) & (sides.amin(0) > _SMALLER)]

    def _rewrite(self, index: Int[Tensor, "weights"], draw: Callable[[], Point]) -> Landed:
        """Reset both sides, then write the weight from the start of the branch."""
        if index.numel() == 0:
            return Landed()
        weight = self.weight(self.cells.g.view(2, -1)[:, index])
        both = torch.cat([index, index + self.weights])
        landed = self.cells.reset(both, to=self.start)
        n = self.cells.pulses_to(weight.abs(), self.polarities[0])
        n = n * weight.sign().long()
        on = n != 0
        return landed + super().land(index[on], n[on], draw)

    def _travelled(self, g: Tensor) -> Tensor:
        """How far each side has come on its way from the start."""
        return g
