"""The logistic function."""

from __future__ import annotations

from torch import Tensor

from hwtrain.kernels import sigmoid
from hwtrain.layers.base import Layer, Shape, State


class Sigmoid(Layer):
    """Pointwise; the tape is the output."""

    def out_shape(self, shape: Shape) -> Shape:
        """The input's."""
        return shape

    def refuses_codes(self) -> str:
        """It has no meaning in whole numbers here."""
        return "sigmoid needs floating-point numbers: use relu"

    def fw(self, x: Tensor, state: State = None) -> tuple[Tensor, State, Tensor]:
        """The function of every value."""
        y = sigmoid.forward(x)
        return y, state, y

    def igrad(self, d: Tensor, tape: Tensor) -> Tensor:
        """d times the slope at the output."""
        return sigmoid.input_gradient(d, tape)
