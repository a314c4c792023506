"""Pooling over square windows without overlap or padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Real
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hwtrain.arith.fixed import requantize_codes
from hwtrain.kernels.base import kernel


@kernel()
def max_forward(
    x: Real[Tensor, "batch channels height width"], size: int
) -> tuple[
    Real[Tensor, "batch channels rows columns"],
    Int[Tensor, "batch channels rows columns"],
]:
    """The largest value of each window and where it stood (the first one among equals)."""
    y, where = functional.max_pool2d(x if x.is_floating_point() else x.double(), size, return_indices=True)
    return y.to(x.dtype), where.int()


@max_forward.numpy
def _(x: NDArray[Any], size: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
    windows, places = _windows(x, size), _windows(_places(x), size)
    first = windows.argmax(-1)[..., None]
    return np.take_along_axis(windows, first, -1)[..., 0], np.take_along_axis(places, first, -1)[..., 0]


@kernel()
def max_input_gradient(
    d: Real[Tensor, "batch channels rows columns"],
    where: Int[Tensor, "batch channels rows columns"],
    height: int,
    width: int,
) -> Real[Tensor, "batch channels height width"]:
    """d at the place of each largest value, 0 elsewhere."""
    back = d.new_zeros(d.shape[0], d.shape[1], height * width)
    back.scatter_(2, where.long().flatten(2), d.flatten(2))
    return back.view(d.shape[0], d.shape[1], height, width)


@max_input_gradient.numpy
def _(d: NDArray[Any], where: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    back = np.zeros((*d.shape[:2], height * width), d.dtype)
    np.put_along_axis(back, where.reshape(*d.shape[:2], -1), d.reshape(*d.shape[:2], -1), 2)
    return back.reshape(*d.shape[:2], height, width)


@kernel()
def average_forward(
    x: Real[Tensor, "batch channels height width"], size: int
) -> Real[Tensor, "batch channels rows columns"]:
    """The mean of each window; of codes, rounded half up, for windows of 2^n values."""
    if x.is_floating_point():
        return functional.avg_pool2d(x, size)
    return _rounded(x, functional.avg_pool2d(x.double(), size) * size**2, size)


@average_forward.numpy
def _(x: NDArray[Any], size: int) -> NDArray[Any]:
    windows = _windows(x, size)
    if x.dtype != np.float32:
        return requantize_codes(windows.astype(np.int64).sum(-1), shift_of(size), 8 * x.itemsize)
    total = np.zeros(windows.shape[:-1], np.float32)
    for place in range(windows.shape[-1]):
        total = total + windows[..., place]
    return total / np.float32(size**2)


@kernel()
def average_input_gradient(
    d: Real[Tensor, "batch channels rows columns"], size: int, height: int, width: int
) -> Real[Tensor, "batch channels height width"]:
    """d / size^2 all over each window; 0 on a rim that no window covers."""
    back = d.new_zeros(d.shape[0], d.shape[1], height, width)
    spread = d.repeat_interleave(size, 2).repeat_interleave(size, 3)
    spread = spread / size**2 if d.is_floating_point() else _rounded(d, spread, size)
    back[:, :, : spread.shape[2], : spread.shape[3]] = spread
    return back


@average_input_gradient.numpy
def _(d: NDArray[Any], size: int, height: int, width: int) -> NDArray[Any]:
    back = np.zeros((*d.shape[:2], height, width), d.dtype)
    spread = d.repeat(size, 2).repeat(size, 3)
    if d.dtype == np.float32:
        spread = spread / np.float32(size**2)
    else:
        spread = requantize_codes(spread, shift_of(size), 8 * d.itemsize)
    back[:, :, : spread.shape[2], : spread.shape[3]] = spread
    return back


def shift_of(size: int) -> int:
    """log2 of the values in a window; ValueError where it is not whole, as a shift must be."""
    values = size**2
    if values & (values - 1):
        raise ValueError(f"the mean of {values} codes is no shift: pool over 2, 4 or 8, or take the maximum")
    return values.bit_length() - 1


def _rounded(like: Tensor, sums: Tensor, size: int) -> Tensor:
    codes = requantize_codes(sums.long().cpu().numpy(), shift_of(size), 8 * like.element_size())
    return torch.from_numpy(codes).to(like)


def _windows(x: NDArray[Any], size: int) -> NDArray[Any]:
    """(batch, channels, rows, columns, size^2); a rim narrower than a window is dropped."""
    rows, columns = x.shape[2] // size, x.shape[3] // size
    whole = x[:, :, : rows * size, : columns * size]
    split = whole.reshape(*x.shape[:2], rows, size, columns, size)
    return split.transpose(0, 1, 2, 4, 3, 5).reshape(*x.shape[:2], rows, columns, size**2)


def _places(x: NDArray[Any]) -> NDArray[np.int32]:
    """The index of every value in its own image."""
    height, width = x.shape[2:]
    return np.broadcast_to(np.arange(height * width, dtype=np.int32).reshape(height, width), x.shape)
