"""Exact 8-bit convolutions, bias and requantisation inside, in C with AVX-512 VNNI (fpga/host/hwt_conv8.h).

Compiled on first use; where there is no compiler or no such processor there is none, and torch serves.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.errors import NativeError
from hwtrain.native import FLAGS, build
from hwtrain.shipped import shipped

_SOURCE = """
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "hwt_conv8.h"
#endif
"""

_Sizes = ctypes.c_int32 * 11
"""hwt_conv8_sizes."""


@cache
def library() -> ctypes.CDLL | None:
    """The compiled convolutions, or None where they cannot be had."""
    try:
        made = build(_SOURCE, (shipped("fpga") / "host",), (*FLAGS, "-fno-tree-pre"))
    except NativeError:
        return None
    if not hasattr(made, "hwt_conv8"):
        return None
    for run, given in ((made.hwt_conv8, 7), (made.hwt_conv8_depthwise, 6)):
        run.argtypes, run.restype = [ctypes.c_void_p] * given, None
    return made


@dataclass(frozen=True)
class Convolution8:
    """A convolution made ready: its tensors as hwt_conv8.h says; depthwise has no ``sums``."""

    groups: int
    out: int
    channels: int
    side: int
    stride: int
    padding: int
    shift: int
    even: bool
    packed: Tensor
    start: Tensor
    sums: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """int8 images (batch, channels, height, width) to requantised ones, both channels last in memory."""
        made = library()
        assert made is not None
        batch, _, height, width = x.shape
        high, wide = height + 2 * self.padding, width + 2 * self.padding
        rows, columns = (high - self.side) // self.stride + 1, (wide - self.side) // self.stride + 1
        depthwise = self.sums is None
        deep = 1 if depthwise else -(-self.channels // 4) * 4
        sizes = _Sizes(
            *(
                batch,
                height,
                width,
                self.channels,
                self.groups,
                self.out,
                self.side,
                self.stride,
                self.padding,
            ),
            *(self.shift, self.even),
        )
        last = x.contiguous(memory_format=torch.channels_last)
        raised = torch.empty(wide * (high if depthwise else height) * self.groups * deep, dtype=torch.uint8)
        y = torch.empty(batch, rows, columns, self.groups * self.out, dtype=torch.int8)
        given = (ctypes.addressof(sizes), last.data_ptr(), self.packed.data_ptr(), self.start.data_ptr())
        if self.sums is None:
            made.hwt_conv8_depthwise(*given, raised.data_ptr(), y.data_ptr())
        else:
            made.hwt_conv8(*given, self.sums.data_ptr(), raised.data_ptr(), y.data_ptr())
        return y.permute(0, 3, 1, 2)


def convolution8(
    weights: Tensor, bias: NDArray[Any], *, side: int, stride: int, padding: int, shift: int, rounding: str
) -> Convolution8 | None:
    """Of int8 weights (groups, out, in_), in_ in order of (channel, row, column).

    ``bias``: (groups * out) in units of the accumulator, whose sums must stay below 2^31 with half of 2^shift
    added. None where this form does not serve: other weights, a shift to the left, no library.
    """
    if weights.dtype != torch.int8 or not 0 <= shift < 31 or side > 16 or library() is None:
        return None
    w = weights.numpy()
    groups, out, in_ = w.shape
    channels = in_ // side**2
    half = {"half-up": 1 << shift >> 1, "half-even": max((1 << shift >> 1) - 1, 0), "floor": 0}[rounding]
    begin = bias.astype(np.int64).reshape(groups, out) + half - (w.sum(2, dtype=np.int64) << 7)
    if _depthwise(groups, out, channels):
        blocks, quads = -(-groups // 64), -(-(side**2) // 4)
        padded = np.zeros((64 * blocks, 4 * quads), np.int8)
        padded[:groups, : side**2] = w[:, 0]
        # A filter is (block, 128 bits, part, lane); a block's parts come one after another.
        packed = padded.reshape(blocks, 4, 4, 4, quads, 4).transpose(0, 4, 2, 1, 3, 5)
        start = np.zeros(64 * blocks, np.int64)
        start[:groups] = begin[:, 0]
        start = start.reshape(blocks, 4, 4, 4).transpose(0, 2, 1, 3)
        sums = None
    else:
        deep, most = -(-channels // 4), -(-out // 16)
        square = np.zeros((groups, most * 16, side, side, deep * 4), np.int8)
        last = w.reshape(groups, out, channels, side, side).transpose(0, 1, 3, 4, 2)
        square[:, :out, :, :, :channels] = last
        words = square.reshape(groups, most, 16, side**2 * deep, 4)
        pairs = (words[:, at : at + 2] for at in range(0, most, 2))
        parts = [pair.transpose(0, 3, 1, 2, 4).reshape(groups, -1) for pair in pairs]
        packed = np.concatenate(parts, 1)
        start = np.zeros((groups, most * 16), np.int64)
        start[:, :out] = begin
        rows = square.sum((3, 4), dtype=np.int32).transpose(2, 0, 1) << 7
        sums = torch.from_numpy(np.ascontiguousarray(rows))
    return Convolution8(
        *(groups, out, channels, side, stride, padding, shift, rounding == "half-even" and shift > 0),
        torch.from_numpy(np.ascontiguousarray(packed)),
        torch.from_numpy(np.ascontiguousarray(start).astype(np.int32)),  # wraps, as do the sums that undo it
        sums,
    )


def _depthwise(groups: int, out: int, channels: int) -> bool:
    return channels == out == 1 < groups
