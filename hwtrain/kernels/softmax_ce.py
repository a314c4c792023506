"""Softmax with cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.float32 import exp, log
from hwtrain.kernels.base import kernel


@kernel(halves="to-float32")
def forward(
    z: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch classes"]]:
    """-ln softmax(z)[label] of each sample, and the softmax."""
    shifted = z - z.amax(1, keepdim=True)
    powers = shifted.exp()
    total = powers.sum(1, keepdim=True)
    loss = total.log().squeeze(1) - shifted.gather(1, labels[:, None]).squeeze(1)
    return loss, powers / total


@forward.numpy
def _(z: NDArray[np.float32], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    shifted = z - z.max(1, keepdims=True)
    powers = exp(shifted)
    total = np.zeros(len(z), np.float32)
    for column in powers.T:
        total = total + column
    logarithm = np.where(np.isnan(total), total, log(total))
    return logarithm - shifted[np.arange(len(z)), labels], powers / total[:, None]


@kernel()
def input_gradient(
    p: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
) -> Float[Tensor, "batch classes"]:
    """softmax - onehot, of each sample's own loss."""
    return p.scatter_add(1, labels[:, None], torch.full_like(p[:, :1], -1.0))


@input_gradient.numpy
def _(p: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[Any]:
    d = p.copy()
    d[np.arange(len(p)), labels] -= np.float32(1)
    return d
