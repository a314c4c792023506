"""Softmax with cross-entropy."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def forward(
    z: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch classes"]]:
    """-ln softmax(z)[label] of each sample, and the softmax."""
    shifted = z - z.amax(1, keepdim=True)
    powers = shifted.exp()
    total = powers.sum(1, keepdim=True)
    loss = total.log().squeeze(1) - shifted.gather(1, labels[:, None]).squeeze(1)
    return loss, powers / total


def input_gradient(
    p: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
) -> Float[Tensor, "batch classes"]:
    """softmax - onehot, of each sample's own loss."""
    return p.scatter_add(1, labels[:, None], torch.full_like(p[:, :1], -1.0))
