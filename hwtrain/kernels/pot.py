"""Weights that are 0 or a power of two: products are shifts.

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
from hwtrain.kernels.base import kernel
from hwtrain.kernels.dense import _exact, _whole


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
