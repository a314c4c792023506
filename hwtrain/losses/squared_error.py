"""The loss half the squared error against one-hot targets; works on whole numbers too."""

from __future__ import annotations

from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.kernels import squared_error
from hwtrain.losses.base import Loss


class SquaredError(Loss):
    """Sum over classes of (z - onehot)^2 / 2."""

    whole_numbers = True

    def fw(
        self, z: Real[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
    ) -> tuple[Real[Tensor, "batch"], Tensor]:
        """The loss of each sample; the tape is its gradient."""
        return squared_error.forward(z, labels, *self.fracs)

    def igrad(self, tape: Tensor) -> Real[Tensor, "batch classes"]:
        """z - onehot."""
        return self.scaled(tape)
