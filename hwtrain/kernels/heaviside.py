"""The step function with one bit of output, whose gradient is taken to be that of the logistic function."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.float32 import exp
from hwtrain.kernels.base import kernel


@kernel()
def forward(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """1 where x >= 0, else 0."""
    return (x >= 0).to(x.dtype)


@forward.numpy
def _(x: NDArray[np.float32]) -> NDArray[Any]:
    return np.where(x >= 0, np.float32(1), np.float32(0))


@kernel()
def input_gradient(d: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """d s (1 - s), s = 1 / (1 + exp(-x))."""
    s = x.sigmoid()
    return d * s * (1 - s)


@input_gradient.numpy
def _(d: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[Any]:
    s = np.float32(1) / (np.float32(1) + exp(-x))
    y: NDArray[Any] = d * s * (np.float32(1) - s)
    return y
