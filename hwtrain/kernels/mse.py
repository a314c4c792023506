"""Mean squared error against one-hot targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hwtrain.kernels.base import kernel


@kernel(halves="to-float32")
def forward(
    z: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch classes"]]:
    """Mean over classes of (z - onehot)^2 of each sample, and z - onehot."""
    error = z - functional.one_hot(labels, z.shape[1]).to(z.dtype)
    return (error * error).mean(1), error


@forward.numpy
def _(z: NDArray[np.float32], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    error = z.copy()
    error[np.arange(len(z)), labels] -= np.float32(1)
    total = np.zeros(len(z), np.float32)
    for column in error.T:
        total = total + column * column
    return total / np.float32(z.shape[1]), error


@kernel()
def input_gradient(error: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """2 (z - onehot) / classes."""
    return error * (2 / error.shape[1])


@input_gradient.numpy
def _(error: NDArray[np.float32]) -> NDArray[Any]:
    return error * np.float32(2 / error.shape[1])
