"""The hyperbolic tangent."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def forward(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """tanh(x)."""
    return x.tanh()


def input_gradient(d: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """d (1 - y^2)."""
    return d * (1 - y * y)
