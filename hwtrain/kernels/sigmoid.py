"""The logistic function."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def forward(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """1 / (1 + exp(-x))."""
    return x.sigmoid()


def input_gradient(d: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """d y (1 - y)."""
    return d * y * (1 - y)
