"""Two conductances that are both moved: up is LTP on G+ and LTD on G-, down the reverse.

The update method "bidirectional, pair" of the electronic-synapse papers (Lim et al., arXiv
1707.06381; as described in the abstracts): the largest step, and it sees both asymmetries.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.synapse.cells.base import Cell


class BidirectionalPair(Cell):
    """w = G+ - G-, held about the middle of the range."""

    branches = 2
    slope = 1.0
    gain = 2.0

    def weight(self, g: Float[Tensor, "branches *weights"]) -> Float[Tensor, "*weights"]:
        """G+ - G-."""
        return g[0] - g[1]

    def place(self, weight: Float[Tensor, "*weights"]) -> Float[Tensor, "branches *weights"]:
        """Half of the weight on either side of the middle."""
        return torch.stack([(1 + weight) / 2, (1 - weight) / 2])

    def spread(
        self, index: Int[Tensor, "weights"], n: Int[Tensor, "weights"]
    ) -> tuple[Int[Tensor, "cells"], Int[Tensor, "cells"]]:
        """Every pulse to both, with opposite signs."""
        return torch.cat([index, index + self.weights]), torch.cat([n, -n])
