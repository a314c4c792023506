"""A layer that is a piece of physics: measured, never written."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.arith.threefry import Stream
from hwtrain.layers.base import Layer, MakeArray, Shape, State
from hwtrain.substrates.base import Array


class Physical(Layer):
    """y = physics(x), or with ``skip`` [physics(x); x]: the input goes past it as well.

    Its array is called ``medium``. On a substrate of weights it is a fixed random matrix.
    """

    def __init__(self, in_: int, out: int, *, skip: bool = False) -> None:
        self.in_, self.out, self.skip = in_, out, skip
        self._arrays: dict[str, Array] = {}

    @property
    def arrays(self) -> Mapping[str, Array]:
        """``medium``."""
        return self._arrays

    def out_shape(self, shape: Shape) -> Shape:
        """(out,), or (out + in_,) with a skip."""
        if shape != (self.in_,):
            raise ValueError(f"a physical layer of {self.in_} inputs gets {shape}")
        return (self.out + self.in_ * self.skip,)

    def place(self, make: MakeArray) -> None:
        """One array of (1, out, in_)."""
        self._arrays = {"medium": make("medium", 1, self.out, self.in_, 1 / math.sqrt(self.in_))}

    def initialise(self, stream: Stream) -> None:
        """Load a random matrix, where it can be loaded."""
        medium = self._arrays["medium"]
        if "load" in medium.ports:
            draw = torch.from_numpy(stream.at(0).normal(self.out * self.in_))
            medium.load(draw.view(1, self.out, self.in_) * medium.geometry.std)

    def refuses_codes(self) -> str | None:
        """Physics takes and gives real numbers."""
        return "a physical layer works on real numbers: give the net a floating-point device"

    def fw(
        self, x: Float[Tensor, "batch in_"], state: State = None
    ) -> tuple[Float[Tensor, "batch out"], State, Tensor]:
        """The response; the tape is x."""
        y = self._arrays["medium"].read(x[:, None])[:, 0]
        return torch.cat([y, x], 1) if self.skip else y, state, x

    def igrad(self, d: Float[Tensor, "batch out"], tape: Tensor) -> Float[Tensor, "batch in_"]:
        """J^T d at the measured input."""
        found = self._arrays["medium"].read_t(d[:, None, : self.out], at=tape[:, None])[:, 0]
        return found + d[:, self.out :] if self.skip else found
