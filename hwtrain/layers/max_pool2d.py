"""The largest value of each square window."""

from __future__ import annotations

from torch import Tensor

from hwtrain.kernels import pool
from hwtrain.layers.base import Layer, Shape, State


class MaxPool2d(Layer):
    """Windows of ``size`` side by side; the tape is where each maximum stood."""

    def __init__(self, size: int) -> None:
        self.size = size

    def out_shape(self, shape: Shape) -> Shape:
        """(channels, height // size, width // size)."""
        return pooled_shape(shape, self.size)

    def fw(self, x: Tensor, state: State = None) -> tuple[Tensor, State, tuple[Tensor, Shape]]:
        """The maxima."""
        y, where = pool.max_forward(x, self.size)
        return y, state, (where, x.shape)

    def igrad(self, d: Tensor, tape: tuple[Tensor, Shape]) -> Tensor:
        """d where the maximum stood."""
        where, shape = tape
        return pool.max_input_gradient(d, where, *shape[2:])


def pooled_shape(shape: Shape, size: int) -> Shape:
    """Shape after pooling; a rim narrower than a window is dropped."""
    if len(shape) != 3 or min(shape[1:]) < size:
        raise ValueError(f"a pooling window of {size} does not fit {shape}")
    return (shape[0], shape[1] // size, shape[2] // size)
