"""Patches of an image as the inputs of a dense array, and back."""

from __future__ import annotations

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
    patches = [patch.reshape(groups, -1) for sample in padded for patch in _patches(sample, filter_, stride)]
    return np.stack(patches)


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
    rows = columns.reshape(batch, -1, channels, filter_, filter_)
    for sample, patches in zip(padded, rows, strict=True):
        for patch, row in zip(_patches(sample, filter_, stride), patches, strict=True):
            patch += row
    return padded[:, :, padding : padding + height, padding : padding + width]


def _patches(image: NDArray[Any], filter_: int, stride: int) -> list[NDArray[Any]]:
    """Views of every patch of (channels, height, width), row by row."""
    return [
        image[:, top : top + filter_, left : left + filter_]
        for top in range(0, image.shape[1] - filter_ + 1, stride)
        for left in range(0, image.shape[2] - filter_ + 1, stride)
    ]


def _plain(x: Tensor) -> Tensor:
    """torch folds no whole numbers; float64 holds them exactly."""
    return x if x.is_floating_point() else x.double()
