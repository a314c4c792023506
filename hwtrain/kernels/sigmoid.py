"""The logistic function."""

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
    """1 / (1 + exp(-x))."""
    return x.sigmoid()


@forward.numpy
def _(x: NDArray[np.float32]) -> NDArray[Any]:
    return np.float32(1) / (np.float32(1) + exp(-x))


@kernel()
def input_gradient(d: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """d y (1 - y)."""
    return d * y * (1 - y)


@input_gradient.numpy
def _(d: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[Any]:
    return d * y * (np.float32(1) - y)
