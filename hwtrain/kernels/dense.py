"""Matrix times vectors, by group: the three products that a layer of weights needs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def read(
    w: Float[Tensor, "groups out in_"], x: Float[Tensor, "batch groups in_"]
) -> Float[Tensor, "batch groups out"]:
    """y = W x in every group."""
    if w.shape[0] == 1:  # a plain product has a tenth of einsum's overhead at batch 1
        return torch.mm(x[:, 0], w[0].T)[:, None]
    return torch.einsum("goi,ngi->ngo", w, x)


def read_t(
    w: Float[Tensor, "groups out in_"], d: Float[Tensor, "batch groups out"]
) -> Float[Tensor, "batch groups in_"]:
    """W^T d in every group."""
    if w.shape[0] == 1:
        return torch.mm(d[:, 0], w[0])[:, None]
    return torch.einsum("goi,ngo->ngi", w, d)


def add_outer(
    w: Float[Tensor, "groups out in_"],
    x: Float[Tensor, "pairs groups in_"],
    d: Float[Tensor, "pairs groups out"],
    scale: float,
) -> None:
    """W += scale * sum_k d[k] x[k]^T, in place."""
    for group in range(w.shape[0]):
        w[group].addmm_(d[:, group].T, x[:, group], alpha=scale)
