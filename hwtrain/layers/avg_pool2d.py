"""The mean of each square window."""

from __future__ import annotations

from torch import Tensor

from hwtrain.kernels import pool
from hwtrain.layers.base import Layer, Shape, State
from hwtrain.layers.max_pool2d import pooled_shape


class AvgPool2d(Layer):
    """Windows of ``size`` side by side; the tape is the input's shape."""

    def __init__(self, size: int) -> None:
        self.size = size

    def out_shape(self, shape: Shape) -> Shape:
        """(channels, height // size, width // size)."""
        return pooled_shape(shape, self.size)

    def refuses_codes(self) -> str | None:
        """A mean of codes is a shift, or nothing."""
        try:
            pool.shift_of(self.size)
        except ValueError as problem:
            return str(problem)
        return None

    def fw(self, x: Tensor, state: State = None) -> tuple[Tensor, State, Shape]:
        """The means."""
        return pool.average_forward(x, self.size), state, x.shape

    def igrad(self, d: Tensor, tape: Shape) -> Tensor:
        """d / size^2 all over each window."""
        return pool.average_input_gradient(d, self.size, *tape[2:])
