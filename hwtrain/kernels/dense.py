"""Matrix times vectors, by group: the three products that a layer of weights needs.

Of whole numbers, the products are exact and are returned as accumulators. Of FP16 each is a chain of
fused multiply-adds in the order of its terms (hwtrain/arith/fp16.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Real
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith import fp16, fp16_native
from hwtrain.kernels.base import kernel, lanes16


@kernel(port="read", halves="own")
def read(
    w: Real[Tensor, "groups out in_"], x: Real[Tensor, "batch groups in_"]
) -> Real[Tensor, "batch groups out"]:
    """y = W x in every group; in a program the terms add up in 16 lanes, then by a tree."""
    if not w.is_floating_point():
        return _exact("goi,ngi->ngo", w, x)
    if w.dtype == torch.float16:
        return _halves("nt", x, w, w.shape[1])
    if w.shape[0] == 1:  # a plain product has a tenth of einsum's overhead at batch 1
        return torch.mm(x[:, 0], w[0].T)[:, None]
    return torch.einsum("goi,ngi->ngo", w, x)


@read.numpy
def _(w: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    if w.dtype == np.float16:
        return fp16.chain(x.swapaxes(0, 1), w.swapaxes(1, 2)).swapaxes(0, 1)
    if w.dtype != np.float32:
        return _whole("goi,ngi->ngo", w, x)
    return np.stack([lanes16(w * sample[:, None, :]) for sample in x])


@kernel(port="read_t", halves="own")
def read_t(
    w: Real[Tensor, "groups out in_"], d: Real[Tensor, "batch groups out"]
) -> Real[Tensor, "batch groups in_"]:
    """W^T d in every group; in a program the terms add up in the order of the rows."""
    if not w.is_floating_point():
        return _exact("goi,ngo->ngi", w, d)
    if w.dtype == torch.float16:
        return _halves("nn", d, w, w.shape[2])
    if w.shape[0] == 1:
        return torch.mm(d[:, 0], w[0])[:, None]
    return torch.einsum("goi,ngo->ngi", w, d)


@read_t.numpy
def _(w: NDArray[Any], d: NDArray[Any]) -> NDArray[Any]:
    if w.dtype == np.float16:
        return fp16.chain(d.swapaxes(0, 1), w).swapaxes(0, 1)
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


@kernel(writes=("w",))
def sweep(
    w: Real[Tensor, "groups out in_"],
    before: Real[Tensor, "pairs groups in_"],
    d: Real[Tensor, "pairs groups out"],
    x: Real[Tensor, "batch groups in_"],
    scale: float,
) -> Real[Tensor, "batch groups out"]:
    """``add_outer`` of (before, d), then ``read`` of x, each row of W in one go."""
    add_outer.eager(w, before, d, scale)
    return read.eager(w, x)


@sweep.numpy
def _(w: NDArray[Any], before: NDArray[Any], d: NDArray[Any], x: NDArray[Any], scale: float) -> NDArray[Any]:
    for k in range(before.shape[0]):
        w += (np.float32(scale) * d[k])[:, :, None] * before[k][:, None, :]
    return np.stack([lanes16(w * sample[:, None, :]) for sample in x])


@kernel()
def correct(
    y: Float[Tensor, "1 1 out"],
    x: Float[Tensor, "1 1 in_"],
    before: Float[Tensor, "1 1 in_"],
    d: Float[Tensor, "1 1 out"],
    scale: float,
    one: float,
) -> Float[Tensor, "1 1 out"]:
    """y + what ``scale d before^T``, not yet written, would add to W x + b: scale d (<x, before> + one^2).

    ``one`` is the input of the bias, 0 where there is none.
    """
    return y + d * scale * ((x * before).sum() + one * one)


@correct.numpy
def _(
    y: NDArray[Any], x: NDArray[Any], before: NDArray[Any], d: NDArray[Any], scale: float, one: float
) -> NDArray[Any]:
    overlap = lanes16(x[0] * before[0])[0] + np.float32(one * one)
    z: NDArray[Any] = y + (np.float32(scale) * d) * overlap
    return z


@kernel(port="propose", writes=("into",))
def propose_outer(
    into: Real[Tensor, "groups out in_"],
    w: Real[Tensor, "groups out in_"],
    x: Real[Tensor, "pairs groups in_"],
    d: Real[Tensor, "pairs groups out"],
    scale: float,
) -> None:
    """into <- W + scale * sum_k d[k] x[k]^T, in the order of ``add_outer``; W stays."""
    into.copy_(w)
    add_outer.eager(into, x, d, scale)


@propose_outer.numpy
def _(into: NDArray[Any], w: NDArray[Any], x: NDArray[Any], d: NDArray[Any], scale: float) -> None:
    into[...] = w
    for k in range(x.shape[0]):
        into += (np.float32(scale) * d[k])[:, :, None] * x[k][:, None, :]


def _exact(equation: str, w: Tensor, x: Tensor) -> Tensor:
    """Whole numbers through float64, where every sum below 2^53 is exact: 2^23 terms of 16 by 16 bits."""
    return torch.einsum(equation, w.double(), x.double()).long()


def _whole(equation: str, w: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    total: NDArray[Any] = np.einsum(equation, w.astype(np.int64), x.astype(np.int64))
    return total


def _halves(form: str, rows: Tensor, w: Tensor, columns: int) -> Tensor:
    """Every group's product of (batch, groups, terms) and W."""
    y = np.empty((*rows.shape[:2], columns), np.float16)
    fp16_native.product(form, rows.contiguous().numpy().swapaxes(0, 1), w.numpy(), y.swapaxes(0, 1))
    return torch.from_numpy(y)
