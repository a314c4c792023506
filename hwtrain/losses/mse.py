"""The loss squared error against one-hot targets."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.kernels import mse
from hwtrain.losses.base import Loss


class Mse(Loss):
    """mean over classes of (z - onehot)^2."""

    def fw(
        self, z: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch"], Tensor]:
        """The loss of each sample; the tape is the error."""
        return mse.forward(z, labels)

    def igrad(self, tape: Tensor) -> Float[Tensor, "batch classes"]:
        """2 (z - onehot) / classes."""
        return self.scaled(mse.input_gradient(tape))
