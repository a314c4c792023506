"""A dense layer: y = W x + b."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.arith.threefry import Stream
from hwtrain.direction import Direction, Outer
from hwtrain.layers.base import Layer, MakeArray, Shape, State
from hwtrain.substrates.base import Array


class Dense(Layer):
    """``in_`` inputs, ``out`` outputs; the bias is digital.

    ``weights`` and ``offsets`` are first values in place of a draw: uniform of variance
    2/(in_ + out) for the weights (Glorot and Bengio, AISTATS 2010), zeros for the bias.
    """

    def __init__(
        self,
        in_: int,
        out: int,
        *,
        bias: bool = True,
        weights: Float[Tensor, "out in_"] | None = None,
        offsets: Float[Tensor, "out"] | None = None,
    ) -> None:
        self.in_, self.out, self.bias = in_, out, bias
        self.weights, self.offsets = weights, offsets
        self._arrays: dict[str, Array] = {}

    @property
    def arrays(self) -> Mapping[str, Array]:
        """``weight`` and, with a bias, ``bias``."""
        return self._arrays

    def out_shape(self, shape: Shape) -> Shape:
        """(out,)."""
        if shape != (self.in_,):
            raise ValueError(f"a dense layer of {self.in_} inputs gets {shape}")
        return (self.out,)

    def place(self, make: MakeArray) -> None:
        """One array of (1, out, in_), one of (1, out, 1) for the bias."""
        std = first_std(self.weights, self.in_, self.out)
        self._arrays = {"weight": make("weight", 1, self.out, self.in_, std)}
        if self.bias:
            self._arrays["bias"] = make("bias", 1, self.out, 1, 1.0)

    def initialise(self, stream: Stream) -> None:
        """Load ``weights``, or draw them."""
        load_first(self._arrays, stream, (1, self.out, self.in_), self.weights, self.offsets)

    def fw(
        self, x: Float[Tensor, "batch in_"], state: State = None
    ) -> tuple[Float[Tensor, "batch out"], State, Tensor]:
        """W x + b; the tape is x."""
        y = self._arrays["weight"].read(x[:, None])[:, 0]
        if self.bias:
            y = y + self._arrays["bias"].read(x.new_ones(x.shape[0], 1, 1))[:, 0]
        return y, state, x

    def igrad(self, d: Float[Tensor, "batch out"], tape: Tensor) -> Float[Tensor, "batch in_"]:
        """W^T d."""
        return self._arrays["weight"].read_t(d[:, None])[:, 0]

    def wgrad(self, d: Float[Tensor, "batch out"], tape: Tensor) -> dict[str, Direction]:
        """d x^T of every sample."""
        found: dict[str, Direction] = {"weight": Outer(tape[:, None], d[:, None])}
        if self.bias:
            found["bias"] = Outer(d.new_ones(d.shape[0], 1, 1), d[:, None])
        return found


def first_std(weights: Tensor | None, in_: int, out: int) -> float:
    """Standard deviation of the first weights: of those given, or of the draw."""
    if weights is None or weights.numel() < 2 or float(weights.std()) == 0:
        return math.sqrt(2 / (in_ + out))
    return float(weights.std())


def load_first(
    arrays: Mapping[str, Array],
    stream: Stream,
    shape: tuple[int, int, int],
    weights: Tensor | None,
    offsets: Tensor | None,
) -> None:
    """Load first weights and biases, drawing the weights if none are given."""
    weight = arrays["weight"]
    if weights is None:
        bound = weight.geometry.std * math.sqrt(3)  # of a uniform draw with this deviation
        draw = stream.at(0).uniform(shape[0] * shape[1] * shape[2])
        weights = bound * (2 * torch.from_numpy(draw) - 1)
    weight.load(weights.reshape(shape))
    if "bias" in arrays:
        bias = arrays["bias"]
        bias.load(
            torch.zeros(bias.geometry.shape) if offsets is None else offsets.reshape(bias.geometry.shape)
        )
