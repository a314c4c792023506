"""Half the squared error against one-hot targets: a loss without division, for whole numbers too."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Real
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.fixed import requantize_codes
from hwtrain.kernels.base import kernel


@kernel(halves="to-float32")
def forward(
    z: Real[Tensor, "batch classes"], labels: Int[Tensor, "batch"], frac: int, error_frac: int
) -> tuple[Real[Tensor, "batch"], Real[Tensor, "batch classes"]]:
    """Sum over classes of (z - onehot)^2 / 2 of each sample, and its gradient z - onehot.

    Of codes with ``frac`` bits after the point, the gradient has ``error_frac`` and the loss ``frac``.
    """
    if not z.is_floating_point():
        loss, d = _codes(z.cpu().numpy(), labels.cpu().numpy(), frac, error_frac)
        return torch.from_numpy(loss).to(torch.int32).to(z.device), torch.from_numpy(d).to(z)
    error = z.scatter_add(1, labels[:, None], torch.full_like(z[:, :1], -1.0))
    return (error * error).sum(1) / 2, error


@forward.numpy
def _(z: NDArray[Any], labels: NDArray[Any], frac: int, error_frac: int) -> tuple[Any, Any]:
    if z.dtype != np.float32:
        return _codes(z, labels, frac, error_frac)
    error = z.copy()
    error[np.arange(len(z)), labels] -= np.float32(1)
    total = np.zeros(len(z), np.float32)
    for column in error.T:
        total = total + column * column
    return total * np.float32(0.5), error


def _codes(z: NDArray[Any], labels: NDArray[Any], frac: int, error_frac: int) -> tuple[Any, Any]:
    error = z.astype(np.int64)
    error[np.arange(len(z)), labels] -= 1 << frac
    loss = requantize_codes((error * error).sum(1), frac + 1, 32)
    return loss, requantize_codes(error, frac - error_frac, 8 * z.itemsize)
