"""The loss softmax with cross-entropy."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.kernels import softmax_ce
from hwtrain.losses.base import Loss


class SoftmaxCe(Loss):
    """-ln softmax(z)[label]."""

    def fw(
        self, z: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch"], tuple[Tensor, Tensor]]:
        """The loss of each sample; the tape is the softmax and the labels."""
        loss, p = softmax_ce.forward(z, labels)
        return loss, (p, labels)

    def igrad(self, tape: tuple[Tensor, Tensor]) -> Float[Tensor, "batch classes"]:
        """softmax - onehot."""
        return self.scaled(softmax_ce.input_gradient(*tape))
