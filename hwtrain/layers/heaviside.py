"""Units of one bit, 1 where the input is not below 0; learning sees the slope of the logistic function.

At 0 itself, where a coarse converter often stands, a unit is on, as in MLP+NeuroSim V3.0 (Train.cpp): that
decides whether its task can be learned at all (benchmarks/neurosim_task.py).
"""

from __future__ import annotations

from torch import Tensor

from hwtrain.kernels import heaviside
from hwtrain.layers.base import Layer, Shape, State
from hwtrain.layers.sigmoid import Sigmoid


class Heaviside(Layer):
    """Pointwise; the tape is the input."""

    slope_of = Sigmoid

    def out_shape(self, shape: Shape) -> Shape:
        """The input's."""
        return shape

    def refuses_codes(self) -> str:
        """Its slope has no meaning in whole numbers here."""
        return "heaviside needs floating-point numbers: use relu"

    def fw(self, x: Tensor, state: State = None) -> tuple[Tensor, State, Tensor]:
        """The bit of every value."""
        return heaviside.forward(x), state, x

    def igrad(self, d: Tensor, tape: Tensor) -> Tensor:
        """d times the logistic function's slope at the input."""
        return heaviside.input_gradient(d, tape)
