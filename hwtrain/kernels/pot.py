"""Weights and errors that are 0 or a power of two: products are shifts.

A code is 0 for 0 and sign * (k + 1) for sign * 2^k, k = 0 .. most; the array's own exponent scales all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith import pow2
from hwtrain.arith.fixed import requantize_codes
from hwtrain.arith.threefry import threefry, threefry_words
from hwtrain.kernels.base import kernel
from hwtrain.kernels.dense import _exact, _whole
from hwtrain.kernels.fixed import rounded


@kernel(writes=("codes",))
def encode(codes: Int[Tensor, "*shape"], w: Int[Tensor, "*shape"], low: int, most: int) -> None:
    """codes <- the nearest power of two of w / 2^low, ties upward; below 1/2 it is 0."""
    codes.copy_(torch.from_numpy(_codes(w.cpu().numpy(), low, most)))


@encode.numpy
def _(codes: NDArray[Any], w: NDArray[Any], low: int, most: int) -> None:
    codes[...] = _codes(w, low, most)


@kernel(port="read")
def read(
    codes: Int[Tensor, "groups out in_"], x: Int[Tensor, "batch groups in_"]
) -> Int[Tensor, "batch groups out"]:
    """y = W x by shifts and adds: an accumulator in units of the smallest power."""
    return _exact("goi,ngi->ngo", _values(codes), x)


@read.numpy
def _(codes: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    return _whole("goi,ngi->ngo", pow2.values(codes), x)


@kernel(port="read_t")
def read_t(
    codes: Int[Tensor, "groups out in_"], d: Int[Tensor, "batch groups out"]
) -> Int[Tensor, "batch groups in_"]:
    """W^T d by shifts and adds."""
    return _exact("goi,ngo->ngi", _values(codes), d)


@read_t.numpy
def _(codes: NDArray[Any], d: NDArray[Any]) -> NDArray[Any]:
    return _whole("goi,ngo->ngi", pow2.values(codes), d)


@kernel()
def round_error(d: Int[Tensor, "*shape"], key0: int, key1: int, step: int) -> Int[Tensor, "*shape"]:
    """Codes of d as powers of two, right on average: of the two beside |d|, the upper by the way to it.

    The share is compared with noise drawn at (step, 1, 0) of the stream with this key; no d is too large.
    """
    return torch.from_numpy(_error_codes(d.cpu().numpy(), (key0, key1), step)).to(d.device)


@round_error.numpy
def _(d: NDArray[Any], key0: int, key1: int, step: int) -> NDArray[Any]:
    return _error_codes(d, (key0, key1), step)


@kernel(port="write", writes=("w",))
def add_outer(
    w: Int[Tensor, "groups out in_"],
    x: Int[Tensor, "pairs groups in_"],
    codes: Int[Tensor, "pairs groups out"],
    scale: float,
    shift: int,
    rounding: str,
    key0: int,
    key1: int,
    step: int,
) -> None:
    """``fixed.add_outer`` of errors that are codes: every product is a shift of x."""
    change = _change(x.cpu().numpy(), codes.cpu().numpy(), scale, shift, rounding, key0, key1, step)
    w.copy_(torch.from_numpy(requantize_codes(w.cpu().numpy() + change, 0, 8 * w.element_size())))


@add_outer.numpy
def _(
    w: NDArray[Any],
    x: NDArray[Any],
    codes: NDArray[Any],
    scale: float,
    shift: int,
    rounding: str,
    key0: int,
    key1: int,
    step: int,
) -> None:
    change = _change(x, codes, scale, shift, rounding, key0, key1, step)
    w[...] = requantize_codes(w + change, 0, 8 * w.itemsize)


def _change(x: NDArray[Any], codes: NDArray[Any], *numbers: Any) -> NDArray[Any]:
    total = np.einsum("kgo,kgi->goi", pow2.values(codes), x.astype(np.int64))
    return rounded(total, *numbers)


def _error_codes(d: NDArray[Any], key: tuple[int, int], step: int) -> NDArray[np.int8]:
    magnitude = abs(d.astype(np.int64))
    leading = np.frexp(magnitude.astype(np.float64))[1] - 1  # the place of the leading bit; -1 for 0
    below = magnitude & ((1 << np.maximum(leading, 0)) - 1)
    words, _ = threefry_words(threefry(key, (step, 1 << 8)), np.arange(d.size, dtype=np.uint32))
    noise = words.astype(np.int64).reshape(d.shape) & ((1 << np.maximum(leading, 0)) - 1)
    code = leading + 1 + (noise < below)
    signed: NDArray[np.int8] = (np.sign(d.astype(np.int64)) * code).astype(np.int8)
    return signed


def _values(codes: Tensor) -> Tensor:
    return torch.from_numpy(pow2.values(codes.cpu().numpy())).to(codes.device)


def _codes(w: NDArray[Any], low: int, most: int) -> NDArray[np.int8]:
    magnitude = abs(w.astype(np.int64))
    leading = np.frexp(magnitude.astype(np.float64))[1] - 1  # the place of the leading bit; -1 for 0
    next_bit = np.where(leading > 0, magnitude >> np.maximum(leading - 1, 0) & 1, 0)
    power = np.where(leading == low - 1, 0, leading + next_bit - low)
    code = np.where((magnitude == 0) | (power < 0), 0, np.minimum(power, most) + 1)
    signed: NDArray[np.int8] = (np.sign(w) * code).astype(np.int8)
    return signed
