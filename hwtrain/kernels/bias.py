"""Biases: weights whose input is always one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Real
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.fixed import requantize_codes
from hwtrain.kernels.base import kernel


@kernel()
def ones(like: Real[Tensor, "n *rest"], one: float | int) -> Real[Tensor, "n 1 1"]:
    """The input of a bias for each of n samples: ``one`` is how a signal writes 1."""
    return torch.full((like.shape[0], 1, 1), one, dtype=like.dtype, device=like.device)


@ones.numpy
def _(like: NDArray[Any], one: float | int) -> NDArray[Any]:
    return np.full((like.shape[0], 1, 1), one, like.dtype)


@kernel()
def add(
    y: Real[Tensor, "batch positions out"], b: Real[Tensor, "batch 1 out"], shift: int
) -> Real[Tensor, "batch positions out"]:
    """y + b; of accumulators, b is rounded to y's binary point first, which lies ``shift`` bits higher."""
    if y.is_floating_point():
        return y + b
    return y + torch.from_numpy(requantize_codes(b.cpu().numpy(), shift, 63)).to(y.device)


@add.numpy
def _(y: NDArray[Any], b: NDArray[Any], shift: int) -> NDArray[Any]:
    return y + b if y.dtype == np.float32 else y + requantize_codes(b, shift, 63)
