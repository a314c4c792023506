"""Matrix times vectors, by group: the three products that a layer of weights needs.

Of whole numbers, the products are exact and are returned as accumulators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Real
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.kernels.base import kernel, lanes16


@kernel(port="read")
def read(
    w: Real[Tensor, "groups out in_"], x: Real[Tensor, "batch groups in_"]
) -> Real[Tensor, "batch groups out"]:
    """y = W x in every group; in a program the terms add up in 16 lanes, then by a tree."""
    if not w.is_floating_point():
        return _exact("goi,ngi->ngo", w, x)
    if w.shape[0] == 1:  # a plain product has a tenth of einsum's overhead at batch 1
        return torch.mm(x[:, 0], w[0].T)[:, None]
    return torch.einsum("goi,ngi->ngo", w, x)


@read.numpy
def _(w: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    if w.dtype != np.float32:
        return _whole("goi,ngi->ngo", w, x)
    return np.stack([lanes16(w * sample[:, None, :]) for sample in x])


@kernel(port="read_t")
def read_t(
    w: Real[Tensor, "groups out in_"], d: Real[Tensor, "batch groups out"]
) -> Real[Tensor, "batch groups in_"]:
    """W^T d in every group; in a program the terms add up in the order of the rows."""
    if not w.is_floating_point():
        return _exact("goi,ngo->ngi", w, d)
    if w.shape[0] == 1:
        return torch.mm(d[:, 0], w[0])[:, None]
    return torch.einsum("goi,ngo->ngi", w, d)


@read_t.numpy
def _(w: NDArray[Any], d: NDArray[Any]) -> NDArray[Any]:
    if w.dtype != np.float32:
        return _whole("goi,ngo->ngi", w, d)
    y = np.zeros((d.shape[0], w.shape[0], w.shape[2]), np.float32)
    for o in range(w.shape[1]):
        y = y + w[:, o, :] * d[:, :, o, None]
    return y


@kernel(port="write", writes=("w",))
def add_outer(
    w: Real[Tensor, "groups out in_"],
    x: Real[Tensor, "pairs groups in_"],
    d: Real[Tensor, "pairs groups out"],
    scale: float,
) -> None:
    """W += scale * sum_k d[k] x[k]^T, in place; in a program pair by pair, (scale d) x."""
    for group in range(w.shape[0]):
        w[group].addmm_(d[:, group].T, x[:, group], alpha=scale)


@add_outer.numpy
def _(w: NDArray[Any], x: NDArray[Any], d: NDArray[Any], scale: float) -> None:
    for k in range(x.shape[0]):
        w += (np.float32(scale) * d[k])[:, :, None] * x[k][:, None, :]


def _exact(equation: str, w: Tensor, x: Tensor) -> Tensor:
    """Whole numbers through float64, where every sum below 2^53 is exact: 2^23 terms of 16 by 16 bits."""
    return torch.einsum(equation, w.double(), x.double()).long()


def _whole(equation: str, w: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    total: NDArray[Any] = np.einsum(equation, w.astype(np.int64), x.astype(np.int64))
    return total
