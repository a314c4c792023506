"""A dense layer: y = W x + b."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Real
from torch import Tensor

from hwtrain.arith.threefry import Stream
from hwtrain.direction import Direction, Outer
from hwtrain.kernels import bias as bias_kernels
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
        weights: Real[Tensor, "out in_"] | None = None,
        offsets: Real[Tensor, "out"] | None = None,
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
        self, x: Real[Tensor, "batch in_"], state: State = None
    ) -> tuple[Real[Tensor, "batch out"], State, Tensor]:
        """W x + b; the tape is x."""
        y = ended(self._arrays, self._arrays["weight"].read(x[:, None]), x)
        return y[:, 0], state, x

    def igrad(self, d: Real[Tensor, "batch out"], tape: Tensor) -> Real[Tensor, "batch in_"]:
        """W^T d."""
        weight = self._arrays["weight"]
        return weight.end(weight.read_t(d[:, None]))[:, 0]

    def wgrad(self, d: Real[Tensor, "batch out"], tape: Tensor) -> dict[str, Direction]:
        """d x^T of every sample."""
        found: dict[str, Direction] = {"weight": Outer(tape[:, None], d[:, None])}
        if self.bias:
            found["bias"] = Outer(self._arrays["bias"].ones(d), d[:, None])
        return found


def ended(
    arrays: Mapping[str, Array], y: Real[Tensor, "batch positions out"], x: Real[Tensor, "batch *rest"]
) -> Real[Tensor, "batch positions out"]:
    """What was read from the weights of x, the bias added where there is one, as a signal."""
    weight, bias = arrays["weight"], arrays.get("bias")
    if bias is not None:
        y = bias_kernels.add(y, bias.read(bias.ones(x)), bias.frac - weight.frac)
    return weight.end(y)


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
