"""The hyperbolic tangent."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith import float32
from hwtrain.kernels.base import kernel


@kernel()
def forward(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """tanh(x)."""
    return x.tanh()


@forward.numpy
def _(x: NDArray[np.float32]) -> NDArray[Any]:
    return float32.tanh(x)


@kernel()
def input_gradient(d: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """d (1 - y^2)."""
    return d * (1 - y * y)


@input_gradient.numpy
def _(d: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[Any]:
    return d * (np.float32(1) - y * y)
