"""Images to vectors, in C order of (channel, height, width)."""

from __future__ import annotations

import math

from torch import Tensor

from hwtrain.layers.base import Layer, Shape, State


class Flatten(Layer):
    """The tape is the input's shape."""

    def out_shape(self, shape: Shape) -> Shape:
        """(number of values,)."""
        return (math.prod(shape),)

    def fw(self, x: Tensor, state: State = None) -> tuple[Tensor, State, Shape]:
        """One row a sample."""
        return x.flatten(1), state, x.shape

    def igrad(self, d: Tensor, tape: Shape) -> Tensor:
        """Back to the input's shape."""
        return d.view(tape)
