"""Sums, copies and comparisons, value by value. Sums of codes saturate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.fixed import requantize_codes
from hwtrain.kernels.base import kernel


@kernel()
def add(a: Real[Tensor, "*shape"], b: Real[Tensor, "*shape"]) -> Real[Tensor, "*shape"]:
    """a + b."""
    return a + b if a.is_floating_point() else _saturated(a, a.long() + b.long())


@add.numpy
def _(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return a + b if a.dtype == np.float32 else requantize_codes(a + b.astype(np.int64), 0, 8 * a.itemsize)


@kernel()
def subtract(a: Real[Tensor, "*shape"], b: Real[Tensor, "*shape"]) -> Real[Tensor, "*shape"]:
    """a - b."""
    return a - b if a.is_floating_point() else _saturated(a, a.long() - b.long())


@subtract.numpy
def _(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return a - b if a.dtype == np.float32 else requantize_codes(a - b.astype(np.int64), 0, 8 * a.itemsize)


@kernel()
def scale(a: Float[Tensor, "*shape"], factor: float) -> Float[Tensor, "*shape"]:
    """factor a."""
    return a * factor


@scale.numpy
def _(a: NDArray[np.float32], factor: float) -> NDArray[Any]:
    return a * np.float32(factor)


@kernel()
def duplicate(a: Real[Tensor, "*shape"]) -> Real[Tensor, "*shape"]:
    """a, in a room of its own."""
    return a.clone()


@duplicate.numpy
def _(a: NDArray[Any]) -> NDArray[Any]:
    return a.copy()


@kernel(writes=("into",))
def copy(into: Real[Tensor, "*shape"], a: Real[Tensor, "*shape"]) -> None:
    """into <- a: how a rule keeps what the next step needs."""
    into.copy_(a)


@copy.numpy
def _(into: NDArray[Any], a: NDArray[Any]) -> None:
    into[...] = a


@kernel()
def within(a: Real[Tensor, "n"], b: Real[Tensor, "n"], limit: float) -> Int[Tensor, "1"]:
    """1 where sum |a - b| < limit, else 0; the terms add up in order."""
    return ((a.double() - b.double()).abs().sum() < limit).to(torch.int32).reshape(1)


@within.numpy
def _(a: NDArray[Any], b: NDArray[Any], limit: float) -> NDArray[Any]:
    kind = np.float32 if a.dtype == np.float32 else np.int64
    total = kind(0)
    for left, right in zip(a.astype(kind), b.astype(kind), strict=True):
        total += abs(left - right)
    return np.array([total < (limit if kind is np.int64 else np.float32(limit))], np.int32)


@kernel()
def gate(a: Real[Tensor, "*shape"], flag: Int[Tensor, "1"]) -> Real[Tensor, "*shape"]:
    """a where the flag is not 0, else zeros."""
    return a * (flag != 0).to(a.dtype)


@gate.numpy
def _(a: NDArray[Any], flag: NDArray[Any]) -> NDArray[Any]:
    return a if flag[0] else np.zeros_like(a)


@kernel()
def gate_loss(loss: Real[Tensor, "batch"], flag: Int[Tensor, "1"]) -> Real[Tensor, "batch"]:
    """The losses where the flag is not 0, else zeros."""
    return loss * (flag != 0).to(loss.dtype)


@gate_loss.numpy
def _(loss: NDArray[Any], flag: NDArray[Any]) -> NDArray[Any]:
    return loss if flag[0] else np.zeros_like(loss)


@kernel(writes=("into",))
def clear(into: Real[Tensor, "*shape"]) -> None:
    """into <- 0."""
    into.zero_()


@clear.numpy
def _(into: NDArray[Any]) -> None:
    into[...] = 0


@kernel(writes=("flag",))
def mark(flag: Int[Tensor, "n"], value: int) -> None:
    """flag <- value."""
    flag.fill_(value)


@mark.numpy
def _(flag: NDArray[Any], value: int) -> None:
    flag[...] = value


@kernel(writes=("into",))
def copy_labels(into: Int[Tensor, "n"], a: Int[Tensor, "n"]) -> None:
    """into <- a, of labels."""
    into.copy_(a)


@copy_labels.numpy
def _(into: NDArray[Any], a: NDArray[Any]) -> None:
    into[...] = a


def _saturated(like: Tensor, wide: Tensor) -> Tensor:
    limits = torch.iinfo(like.dtype)
    return wide.clamp(limits.min, limits.max).to(like.dtype)
