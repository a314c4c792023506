"""Squared error against one-hot targets."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def forward(
    z: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch classes"]]:
    """Mean over classes of (z - onehot)^2 of each sample, and z - onehot."""
    error = z - functional.one_hot(labels, z.shape[1]).to(z.dtype)
    return (error * error).mean(1), error


def input_gradient(error: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """2 (z - onehot) / classes, of each sample's own loss."""
    return error * (2 / error.shape[1])
