"""Rows of images, so that no image need be whole: what hwtrain/program/strips.py puts in. Copies alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hwtrain.kernels.base import kernel


@kernel(halves="own")
def cut(
    x: Float[Tensor, "batch channels height width"], first: int, rows: int, padding: int
) -> Float[Tensor, "batch channels rows wide"]:
    """Rows ``first`` to ``first + rows`` of x; zeros where it has none and ``padding`` wide."""
    height = x.shape[2]
    start, end = max(first, 0), min(first + rows, height)
    return functional.pad(x[:, :, start:end], (padding, padding, start - first, first + rows - end))


@cut.numpy
def _(x: NDArray[Any], first: int, rows: int, padding: int) -> NDArray[Any]:
    start, end = max(first, 0), min(first + rows, x.shape[2])
    sides = (0, 0), (0, 0), (start - first, first + rows - end), (padding, padding)
    return np.pad(x[:, :, start:end], sides)


@kernel(halves="own")
def join(
    a: Float[Tensor, "batch channels upper width"],
    b: Float[Tensor, "batch channels lower width"],
    first: int,
    rows: int,
    padding: int,
) -> Float[Tensor, "batch channels rows wide"]:
    """``cut`` of the rows of a and then those of b."""
    return cut.eager(torch.cat((a, b), 2), first, rows, padding)


@join.numpy
def _(a: NDArray[Any], b: NDArray[Any], first: int, rows: int, padding: int) -> NDArray[Any]:
    numbers = {"first": first, "rows": rows, "padding": padding}
    (found,) = cut.mean({"x": np.concatenate((a, b), 2)}, numbers)
    return found


@kernel(halves="own")
def begin(
    x: Float[Tensor, "batch channels rows width"], height: int
) -> Float[Tensor, "batch channels height width"]:
    """An image whose first rows are x, and then zeros."""
    return functional.pad(x, (0, 0, 0, height - x.shape[2]))


@begin.numpy
def _(x: NDArray[Any], height: int) -> NDArray[Any]:
    return np.pad(x, ((0, 0), (0, 0), (0, height - x.shape[2]), (0, 0)))


@kernel(writes=("into",), halves="own")
def put(
    into: Float[Tensor, "batch channels height width"],
    x: Float[Tensor, "batch channels rows width"],
    first: int,
) -> None:
    """Rows from ``first`` on <- x."""
    into[:, :, first : first + x.shape[2]] = x


@put.numpy
def _(into: NDArray[Any], x: NDArray[Any], first: int) -> None:
    into[:, :, first : first + x.shape[2]] = x
