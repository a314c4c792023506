"""Patches of an image as the inputs of a dense array, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Real
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hwtrain.kernels.base import kernel


@kernel()
def im2col(
    x: Real[Tensor, "batch channels height width"], filter_: int, stride: int, padding: int, groups: int
) -> Real[Tensor, "rows groups in_"]:
    """One row a position (row by row); inside it (channel, filter_h, filter_w) in C order."""
    columns = functional.unfold(_plain(x), filter_, padding=padding, stride=stride).to(x.dtype)
    batch, rows, positions = columns.shape
    return columns.transpose(1, 2).reshape(batch * positions, groups, rows // groups)


@im2col.numpy
def _(x: NDArray[Any], filter_: int, stride: int, padding: int, groups: int) -> NDArray[Any]:
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    patches = np.stack([padded[part] for part in _places(padded.shape, filter_, stride)], axis=2)
    # (batch, channels, filter^2, height, width)
    return patches.transpose(0, 3, 4, 1, 2).reshape(-1, groups, x.shape[1] * filter_**2 // groups)


@kernel()
def col2im(
    columns: Real[Tensor, "rows groups in_"],
    batch: int,
    channels: int,
    height: int,
    width: int,
    filter_: int,
    stride: int,
    padding: int,
) -> Real[Tensor, "batch channels height width"]:
    """The adjoint of ``im2col``: what overlaps is added, position by position."""
    rows = columns.reshape(batch, -1, columns.shape[1] * columns.shape[2]).transpose(1, 2)
    folded = functional.fold(_plain(rows), (height, width), filter_, padding=padding, stride=stride)
    return folded.to(columns.dtype)


@col2im.numpy
def _(
    columns: NDArray[Any],
    batch: int,
    channels: int,
    height: int,
    width: int,
    filter_: int,
    stride: int,
    padding: int,
) -> NDArray[Any]:
    dtype = columns.dtype if columns.dtype == np.float32 else np.int64
    padded = np.zeros((batch, channels, height + 2 * padding, width + 2 * padding), dtype)
    places = list(_places(padded.shape, filter_, stride))
    high, wide = padded[places[0]].shape[2:]
    parts = columns.reshape(batch, high, wide, channels, filter_**2).transpose(4, 0, 3, 1, 2)
    # To a pixel, the positions in order are the filter's places from the last to the first.
    for part, place in zip(parts[::-1], places[::-1], strict=True):
        padded[place] += part
    return padded[:, :, padding : padding + height, padding : padding + width]


def _places(shape: tuple[int, ...], filter_: int, stride: int) -> Iterator[tuple[slice, ...]]:
    """For every place in the filter, the pixels that lie there, one a position."""
    whole, high, wide = slice(None), *(side - filter_ + 1 for side in shape[2:])
    for top in range(filter_):
        for left in range(filter_):
            yield whole, whole, slice(top, top + high, stride), slice(left, left + wide, stride)


def _plain(x: Tensor) -> Tensor:
    """torch folds no whole numbers; float64 holds them exactly."""
    return x if x.is_floating_point() else x.double()
