"""The mean of every channel of a square image."""

from __future__ import annotations

from torch import Tensor

from hwtrain.kernels import pool
from hwtrain.layers.base import Layer, Shape, State


class GlobalAvgPool2d(Layer):
    """One window as large as the image; the tape is the input's shape."""

    def out_shape(self, shape: Shape) -> Shape:
        """(channels, 1, 1)."""
        if len(shape) != 3 or shape[1] != shape[2]:
            raise ValueError(f"a mean over square images gets {shape}")
        return (shape[0], 1, 1)

    def refuses_codes(self) -> str | None:
        """Only some sizes are a shift, and it knows none before a signal comes."""
        return "its window is as large as the image: use avg-pool2d over 2, 4 or 8"

    def fw(self, x: Tensor, state: State = None) -> tuple[Tensor, State, Shape]:
        """The means."""
        return pool.average_forward(x, x.shape[2]), state, x.shape

    def igrad(self, d: Tensor, tape: Shape) -> Tensor:
        """d / size^2 all over each image."""
        return pool.average_input_gradient(d, tape[2], *tape[2:])
