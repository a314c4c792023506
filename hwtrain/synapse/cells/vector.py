"""Several conductances side by side that make one weight together; every update goes to the next of them.

The multi-memristive synapse of Boybat et al. (Nature Communications, 2018, doi 10.1038/s41467-018-04933-y),
and aihwkit's vector cell with sequential updates: steps are finer by the number of conductances, and scatter
between cells averages out. Which one is due is a counter of the whole array.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.arith.threefry import Point
from hwtrain.synapse.cells.base import Cell, Refresh
from hwtrain.synapse.conductances import Conductances, Landed


class Vector(Cell):
    """w = mean of 2 g_k - 1 over k conductances."""

    branches = 4

    def __init__(self, cells: Conductances, refresh: Refresh, refresh_every: int) -> None:
        self.branches = cells.shape[0]
        self.slope = self.gain = 2.0 / self.branches
        super().__init__(cells, refresh, refresh_every)
        self.due = torch.zeros(1, dtype=torch.int64)

    @classmethod
    def count(cls, conductances: int) -> int:
        """As many as asked for."""
        return conductances

    def weight(self, g: Float[Tensor, "branches *weights"]) -> Float[Tensor, "*weights"]:
        """mean over k of 2 g_k - 1."""
        return 2 * g.mean(0) - 1

    def place(self, weight: Float[Tensor, "*weights"]) -> Float[Tensor, "branches *weights"]:
        """(w + 1) / 2 on each."""
        return ((weight + 1) / 2).expand(self.branches, *weight.shape)

    def spread(
        self, index: Int[Tensor, "weights"], n: Int[Tensor, "weights"]
    ) -> tuple[Int[Tensor, "cells"], Int[Tensor, "cells"]]:
        """All to the conductance that is due."""
        return index + int(self.due) * self.weights, n

    def land(
        self,
        index: Int[Tensor, "weights"],
        n: Int[Tensor, "weights"],
        draw: Callable[[], Point],
    ) -> Landed:
        """As any cell does; then the next one is due."""
        landed = super().land(index, n, draw)
        self.due = (self.due + 1) % self.branches
        return landed

    def state(self) -> dict[str, Tensor]:
        """Which one is due."""
        return {"due": self.due.clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        self.due = state["due"].reshape(1).clone()
