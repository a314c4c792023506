"""One conductance against a fixed reference at mid-range; LTP raises the weight, LTD lowers it.

The update method "bidirectional, single" of the electronic-synapse papers (Lim et al., arXiv
1707.06381; as described in the abstracts).
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.synapse.cells.base import Cell


class Single(Cell):
    """w = 2 g - 1."""

    branches = 1
    slope = 2.0
    gain = 2.0

    def weight(self, g: Float[Tensor, "branches *weights"]) -> Float[Tensor, "*weights"]:
        """2 g - 1."""
        return 2 * g[0] - 1

    def place(self, weight: Float[Tensor, "*weights"]) -> Float[Tensor, "branches *weights"]:
        """(w + 1) / 2."""
        return ((weight + 1) / 2).unsqueeze(0)

    def spread(
        self, index: Int[Tensor, "weights"], n: Int[Tensor, "weights"]
    ) -> tuple[Int[Tensor, "cells"], Int[Tensor, "cells"]]:
        """All to the one conductance."""
        return index, n
