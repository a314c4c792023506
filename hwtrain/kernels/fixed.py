"""Whole numbers: the end of an accumulator, and the update of weights that are codes.

What rounding means is in hwtrain/arith/fixed.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.fixed import requantize_codes
from hwtrain.arith.threefry import threefry, threefry_words
from hwtrain.kernels.base import Rate, kernel

DTYPES = {8: torch.int8, 16: torch.int16, 32: torch.int32, 64: torch.int64}


@kernel()
def requantize(acc: Int[Tensor, "*shape"], shift: int, bits: int, rounding: str) -> Int[Tensor, "*shape"]:
    """sat(round(acc / 2^shift)): an accumulator's end, a signal of ``bits`` bits."""
    codes = requantize_codes(acc.cpu().numpy(), shift, bits, rounding)
    return torch.from_numpy(codes).to(DTYPES[bits]).to(acc.device)


@requantize.numpy
def _(acc: NDArray[Any], shift: int, bits: int, rounding: str) -> NDArray[Any]:
    return requantize_codes(acc, shift, bits, rounding)


@kernel(port="write", writes=("w",))
def add_outer(
    w: Int[Tensor, "groups out in_"],
    x: Int[Tensor, "pairs groups in_"],
    d: Int[Tensor, "pairs groups out"],
    scale: float,
    shift: int,
    rounding: str,
    key0: int,
    key1: int,
    step: int,
) -> None:
    """W = sat(W + round(sign(scale) sum_k d[k] x[k]^T / 2^(shift + rate))), rate = -log2 |scale|.

    The pairs of one step add up before they are rounded once. The noise of stochastic rounding is drawn
    at (step, 0, 0) of the stream with this key, an element's words being its index in W.
    """
    change = _change(x.cpu().numpy(), d.cpu().numpy(), scale, shift, rounding, (key0, key1), step)
    codes = requantize_codes(w.cpu().numpy() + change, 0, 8 * w.element_size())
    w.copy_(torch.from_numpy(codes))


@add_outer.numpy
def _(
    w: NDArray[Any],
    x: NDArray[Any],
    d: NDArray[Any],
    scale: float,
    shift: int,
    rounding: str,
    key0: int,
    key1: int,
    step: int,
) -> None:
    change = _change(x, d, scale, shift, rounding, (key0, key1), step)
    w[...] = requantize_codes(w + change, 0, 8 * w.itemsize)


@kernel(port="propose", writes=("into",))
def propose_outer(
    into: Int[Tensor, "groups out in_"],
    w: Int[Tensor, "groups out in_"],
    x: Int[Tensor, "pairs groups in_"],
    d: Int[Tensor, "pairs groups out"],
    scale: float,
    shift: int,
    rounding: str,
    key0: int,
    key1: int,
    step: int,
) -> None:
    """into <- what ``add_outer`` would make of W; W stays."""
    into.copy_(w)
    add_outer.eager(into, x, d, scale, shift, rounding, key0, key1, step)


@propose_outer.numpy
def _(
    into: NDArray[Any],
    w: NDArray[Any],
    x: NDArray[Any],
    d: NDArray[Any],
    scale: float,
    shift: int,
    rounding: str,
    key0: int,
    key1: int,
    step: int,
) -> None:
    change = _change(x, d, scale, shift, rounding, (key0, key1), step)
    into[...] = requantize_codes(w + change, 0, 8 * w.itemsize)


@kernel()
def correct(
    y: Int[Tensor, "1 1 out"],
    x: Int[Tensor, "1 1 in_"],
    before: Int[Tensor, "1 1 in_"],
    d: Int[Tensor, "1 1 out"],
    scale: float,
    shift: int,
    one: int,
) -> Int[Tensor, "1 1 out"]:
    """y + what ``scale d before^T``, not yet written, would add to W x + b: scale d (<x, before> + one^2).

    ``one`` is the input of the bias, 0 where there is none. The exact product is
    rounded once, half up, and saturated at 31 bits.
    """
    acc, signal, last, error = (each.cpu().numpy() for each in (y, x, before, d))
    return torch.from_numpy(_corrected(acc, signal, last, error, scale, shift, one)).to(y.device)


@correct.numpy
def _(
    y: NDArray[Any],
    x: NDArray[Any],
    before: NDArray[Any],
    d: NDArray[Any],
    scale: float,
    shift: int,
    one: int,
) -> NDArray[Any]:
    return _corrected(y, x, before, d, scale, shift, one)


def _corrected(
    y: NDArray[Any],
    x: NDArray[Any],
    before: NDArray[Any],
    d: NDArray[Any],
    scale: float,
    shift: int,
    one: int,
) -> NDArray[Any]:
    overlap = int((x.astype(np.int64) * before).sum()) + one * one
    missing = sign(scale) * d.astype(np.int64) * overlap
    return y + requantize_codes(missing, min(shift + rate(scale), 62), 31)


def rate(scale: float) -> int:
    """-log2 |scale|, the learning rate and its factor each rounded to a power of two."""
    factor = abs(scale.factor) if isinstance(scale, Rate) else 1.0
    return halvings(abs(scale) / factor) + halvings(factor)


def sign(scale: float) -> int:
    """+1 or -1."""
    return 1 if scale > 0 else -1


def halvings(value: float) -> int:
    """How often 1 is halved to come nearest to a positive value."""
    return math.floor(-math.log2(value) + 0.5)


def _change(
    x: NDArray[Any],
    d: NDArray[Any],
    scale: float,
    shift: int,
    rounding: str,
    key: tuple[int, int],
    step: int,
) -> NDArray[Any]:
    total = np.einsum("kgo,kgi->goi", d.astype(np.int64), x.astype(np.int64))
    return rounded(total, scale, shift, rounding, *key, step)


def rounded(
    total: NDArray[np.int64], scale: float, shift: int, rounding: str, key0: int, key1: int, step: int
) -> NDArray[Any]:
    """The change of weights (groups, out, in_) that the sum over the pairs of one step stands for."""
    total = sign(scale) * total
    noise: Any = 0
    if rounding == "stochastic":
        words = np.arange(total.size, dtype=np.uint32)
        first, second = threefry_words(threefry((key0, key1), (step % 2**32, 0)), words)
        both = first.astype(np.uint64) | second.astype(np.uint64) << np.uint64(32)
        noise = both.view(np.int64).reshape(total.shape)
    return requantize_codes(total, min(shift + rate(scale), 62), 62, rounding, noise)
