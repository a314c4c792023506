"""Softmax to the base 2 with its cross-entropy in bits: whole numbers need two tables and no division."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Real
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.fixed import requantize_codes
from hwtrain.arith.float32 import exp, log
from hwtrain.kernels.base import Table, kernel

LN2 = 0.69314718
ONE = 15
"""Powers and shares have so many bits after the point."""

EXP2 = Table("exp2", np.rint(2.0**ONE * 2.0 ** (-np.arange(32) / 32)).astype(np.int32))
"""2^(-i/32)."""
RECIPROCAL = Table("reciprocal", np.rint(2.0**ONE / (1 + (np.arange(32) + 0.5) / 32)).astype(np.int32))
"""1 / (1 + (i + 1/2)/32): of a number between 1 and 2 by its five highest bits."""


@kernel(halves="to-float32")
def forward(
    z: Real[Tensor, "batch classes"],
    labels: Int[Tensor, "batch"],
    frac: int,
    error_frac: int,
    exp2: Int[Tensor, "32"],
    reciprocal: Int[Tensor, "32"],
) -> tuple[Real[Tensor, "batch"], Real[Tensor, "batch classes"]]:
    """log2(sum 2^z) - z[label] of each sample, and its gradient 2^z / sum 2^z - onehot.

    Of codes: 2^(z - max) is a table of the fraction, shifted by the whole part; the sum's reciprocal is
    a table of its leading bits, shifted by their place; the loss takes log2(1 + f) as f (Mitchell, 1962).
    The label's error is minus the sum of the others': shares that are off by the table's 1.5 % would pull
    all scores one way, step after step, until they reach the end of their codes.
    """
    if not z.is_floating_point():
        tables = exp2.cpu().numpy(), reciprocal.cpu().numpy()
        loss, d = _codes(z.cpu().numpy(), labels.cpu().numpy(), frac, error_frac, *tables)
        return torch.from_numpy(loss).to(torch.int32).to(z.device), torch.from_numpy(d).to(z)
    shifted = z - z.amax(1, keepdim=True)
    powers = torch.exp2(shifted)
    total = powers.sum(1, keepdim=True)
    loss = total.log2().squeeze(1) - shifted.gather(1, labels[:, None]).squeeze(1)
    p = powers / total
    return loss, p.scatter_add(1, labels[:, None], torch.full_like(p[:, :1], -1.0))


@forward.numpy
def _(
    z: NDArray[Any],
    labels: NDArray[Any],
    frac: int,
    error_frac: int,
    exp2: NDArray[Any],
    reciprocal: NDArray[Any],
) -> tuple[Any, Any]:
    if z.dtype != np.float32:
        return _codes(z, labels, frac, error_frac, exp2, reciprocal)
    shifted = z - z.max(1, keepdims=True)
    powers = exp(shifted * np.float32(LN2))
    total = np.zeros(len(z), np.float32)
    for column in powers.T:
        total = total + column
    d = powers / total[:, None]
    here = np.arange(len(z)), labels
    d[here] -= np.float32(1)
    return log(total) / np.float32(LN2) - shifted[here], d


def _codes(
    z: NDArray[Any],
    labels: NDArray[Any],
    frac: int,
    error_frac: int,
    exp2: NDArray[Any],
    reciprocal: NDArray[Any],
) -> tuple[Any, Any]:
    here = np.arange(len(z)), labels
    below = z.max(1, keepdims=True).astype(np.int64) - z
    whole = np.minimum(below >> frac, 31)
    powers = exp2.astype(np.int64)[((below & ((1 << frac) - 1)) << 5) >> frac] >> whole
    total = powers.sum(1)
    place = np.array([int(value).bit_length() - 1 for value in total], np.int64)
    inverse = reciprocal.astype(np.int64)[(total >> (place - 5)) & 31]
    shares = (powers * inverse[:, None]) >> place[:, None]
    bits = 8 * z.itemsize
    d = requantize_codes(shares, ONE - error_frac, bits).astype(np.int64)
    d[here] -= d.sum(1)
    over = ((total - (np.int64(1) << place)) << frac) >> place
    loss = ((place - ONE) << frac) + over + below[here]
    return requantize_codes(loss, 0, 32), requantize_codes(d, 0, bits)
