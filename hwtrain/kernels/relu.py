"""The rectifier."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def forward(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """max(x, 0)."""
    return x.clamp(min=0)


def input_gradient(d: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """d where the output is positive, else 0."""
    return d * (y > 0)
