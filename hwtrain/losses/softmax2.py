"""The loss softmax to the base 2 with cross-entropy in bits; works on whole numbers too."""

from __future__ import annotations

from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.kernels import softmax2
from hwtrain.losses.base import Loss


class Softmax2(Loss):
    """log2(sum 2^z) - z[label]."""

    whole_numbers = True

    def fw(
        self, z: Real[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
    ) -> tuple[Real[Tensor, "batch"], Tensor]:
        """The loss of each sample; the tape is its gradient."""
        tables = softmax2.EXP2.on(z.device), softmax2.RECIPROCAL.on(z.device)
        return softmax2.forward(z, labels, *self.fracs, *tables)

    def igrad(self, tape: Tensor) -> Real[Tensor, "batch classes"]:
        """2^z / sum 2^z - onehot."""
        return self.scaled(tape)
