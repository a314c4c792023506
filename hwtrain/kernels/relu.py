"""The rectifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Real
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.kernels.base import kernel


@kernel()
def forward(x: Real[Tensor, "*shape"]) -> Real[Tensor, "*shape"]:
    """max(x, 0)."""
    return x.clamp(min=0)


@forward.numpy
def _(x: NDArray[Any]) -> NDArray[Any]:
    return np.where(x > 0, x, np.zeros_like(x))


@kernel()
def input_gradient(d: Real[Tensor, "*shape"], y: Real[Tensor, "*shape"]) -> Real[Tensor, "*shape"]:
    """d where the output is positive, else 0."""
    return d * (y > 0)


@input_gradient.numpy
def _(d: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    return np.where(y > 0, d, np.zeros_like(d))
