"""What a layer is: pure functions of signals, over arrays that it holds; tapes belong to the caller.

    fw(x, state)    -> y, state, tape
    igrad(d, tape)  -> gradient of the loss by the layer's input
    wgrad(d, tape)  -> one direction for each of the layer's arrays: the gradient, not yet scaled

A layer holds parameters, never activations. ``state`` is what recurrent layers carry from tick to
tick; the others pass None through.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from hwtrain.arith.threefry import Stream
from hwtrain.direction import Direction
from hwtrain.substrates.base import Array

Tape = Any
State = Any
Shape = tuple[int, ...]
MakeArray = Callable[[str, int, int, int, float], Array]
"""Allots an array: (name, groups, out, in_, std). "weight" lives on the device, others are digital."""


class Layer(ABC):
    """A step of a net.

    Class attributes:
        slope_of: the layer whose slope stands in for this one's, which has none to learn by.
    """

    slope_of: ClassVar[type[Layer] | None] = None

    @property
    def arrays(self) -> Mapping[str, Array]:
        """The layer's arrays by name; none for most layers, and none before ``place``."""
        return {}

    @property
    def running(self) -> Mapping[str, Tensor]:
        """What training changes in place beside the arrays, by name; none for most layers."""
        return {}

    @abstractmethod
    def out_shape(self, shape: Shape) -> Shape:
        """Shape of one sample's output; ValueError says why an input shape does not fit."""

    def place(self, make: MakeArray) -> None:  # noqa: B027 - most layers have nothing to place
        """Allot the arrays."""

    def initialise(self, stream: Stream) -> None:  # noqa: B027 - as above
        """Load the first weights."""

    def refuses_codes(self) -> str | None:
        """Why it cannot work on whole numbers, and what could instead; None if it can."""
        return None

    @abstractmethod
    def fw(self, x: Tensor, state: State = None) -> tuple[Tensor, State, Tape]:
        """Output, state and tape."""

    @abstractmethod
    def igrad(self, d: Tensor, tape: Tape) -> Tensor:
        """Gradient by the input, from the gradient by the output."""

    def wgrad(self, d: Tensor, tape: Tape) -> dict[str, Direction]:
        """Gradient by each array's weights, as a direction."""
        return {}
