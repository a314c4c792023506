"""A convolution over images, as reads of one array at every position."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Real
from torch import Tensor

from hwtrain.arith.threefry import Stream
from hwtrain.direction import Direction, Outer
from hwtrain.kernels import layout
from hwtrain.kernels.im2col import col2im, im2col
from hwtrain.layers.base import Layer, MakeArray, Shape, State
from hwtrain.layers.dense import ended, first_std, load_first
from hwtrain.substrates.base import Array

Images = Real[Tensor, "batch _ _ _"]


class Conv2d(Layer):
    """``in_channels`` to ``out_channels`` with a square filter; torch's meaning of every argument.

    The array is (groups, out_channels/groups, in_channels/groups * kernel^2). Each position of each
    sample is one read, and one pair of the weight's direction.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
        weights: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> None:
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{groups} groups do not divide {in_channels} and {out_channels} channels")
        self.in_channels, self.out_channels, self.kernel = in_channels, out_channels, kernel
        self.stride, self.padding, self.groups, self.bias = stride, padding, groups, bias
        self.weights, self.offsets = weights, offsets
        self._arrays: dict[str, Array] = {}

    @property
    def arrays(self) -> Mapping[str, Array]:
        """``weight`` and, with a bias, ``bias``."""
        return self._arrays

    def out_shape(self, shape: Shape) -> Shape:
        """(out_channels, height, width)."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise ValueError(f"a convolution of {self.in_channels} channels gets {shape}")
        height, width = ((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in shape[1:])
        if height < 1 or width < 1:
            raise ValueError(f"a filter of {self.kernel} is larger than its input {shape}")
        return (self.out_channels, height, width)

    def place(self, make: MakeArray) -> None:
        """The array of the filters, and (1, out_channels, 1) for the bias."""
        groups, out, in_ = self._shape
        self._arrays = {"weight": make("weight", groups, out, in_, first_std(self.weights, in_, out))}
        if self.bias:
            self._arrays["bias"] = make("bias", 1, self.out_channels, 1, 1.0)

    def initialise(self, stream: Stream) -> None:
        """Load ``weights``, or draw them."""
        load_first(self._arrays, stream, self._shape, self.weights, self.offsets)

    def fw(self, x: Images, state: State = None) -> tuple[Images, State, tuple[Tensor, Shape]]:
        """The tape is the patches and the input's shape."""
        columns = im2col(x, self.kernel, self.stride, self.padding, self.groups)
        y = self._arrays["weight"].read(columns)
        _, height, width = self.out_shape(tuple(x.shape[1:]))
        y = y.reshape(x.shape[0], height * width, self.out_channels)
        y = layout.channels_first(ended(self._arrays, y, x))
        return y.reshape(x.shape[0], self.out_channels, height, width), state, (columns, x.shape)

    def igrad(self, d: Images, tape: tuple[Tensor, Shape]) -> Images:
        """W^T d at every position, overlaps added."""
        columns = self._arrays["weight"].read_t(self._by_position(d))
        batch, channels, height, width = tape[1]
        shape = batch, channels, height, width, self.kernel, self.stride, self.padding
        return self._arrays["weight"].end(col2im(columns, *shape))

    def wgrad(self, d: Images, tape: tuple[Tensor, Shape]) -> dict[str, Direction]:
        """d x^T at every position of every sample, in order."""
        rows = self._by_position(d)
        found: dict[str, Direction] = {"weight": Outer(tape[0], rows)}
        if self.bias:
            found["bias"] = Outer(self._arrays["bias"].ones(rows), rows.reshape(-1, 1, self.out_channels))
        return found

    @property
    def _shape(self) -> tuple[int, int, int]:
        inputs = self.in_channels // self.groups * self.kernel**2
        return self.groups, self.out_channels // self.groups, inputs

    def _by_position(self, d: Images) -> Real[Tensor, "pairs groups out"]:
        rows = layout.channels_last(d.flatten(2))
        return rows.reshape(-1, self.groups, self.out_channels // self.groups)
