"""The mirror of ``unidirectional-ltp``, for devices whose LTD is the smooth branch.

Both conductances only ever fall: up is LTD on G-, down is LTD on G+ (Lim et al., arXiv 1707.06381;
as described in the abstracts). They start at g_max; the refresh policies are the same.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.synapse.cells.unidirectional_ltp import UnidirectionalLtp


class UnidirectionalLtd(UnidirectionalLtp):
    """w = G+ - G-, each side moved by LTD alone."""

    polarities = ("down",)
    start = "high"

    def place(self, weight: Float[Tensor, "*weights"]) -> Float[Tensor, "branches *weights"]:
        """The weight on one side, the other side at the start of its branch."""
        return torch.stack([1 - (-weight).clamp(min=0), 1 - weight.clamp(min=0)])

    def spread(
        self, index: Int[Tensor, "weights"], n: Int[Tensor, "weights"]
    ) -> tuple[Int[Tensor, "cells"], Int[Tensor, "cells"]]:
        """Up to G-, down to G+; LTD either way."""
        return index + (n > 0) * self.weights, -n.abs()

    def _travelled(self, g: Tensor) -> Tensor:
        return 1 - g
