"""Where the channels of an image stand: first, as in NCHW, or last, as a dense array reads them; joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Real
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.kernels.base import kernel


@kernel()
def channels_first(y: Real[Tensor, "batch positions channels"]) -> Real[Tensor, "batch channels positions"]:
    """From one row a position to one row a channel."""
    return y.transpose(1, 2).contiguous()


@channels_first.numpy
def _(y: NDArray[Any]) -> NDArray[Any]:
    return y.transpose(0, 2, 1)


@kernel()
def channels_last(d: Real[Tensor, "batch channels positions"]) -> Real[Tensor, "batch positions channels"]:
    """From one row a channel to one row a position."""
    return d.transpose(1, 2).contiguous()


@channels_last.numpy
def _(d: NDArray[Any]) -> NDArray[Any]:
    return d.transpose(0, 2, 1)


@kernel()
def join(
    a: Real[Tensor, "batch channels positions"], b: Real[Tensor, "batch more positions"]
) -> Real[Tensor, "batch joined positions"]:
    """The channels of a, then those of b."""
    return torch.cat((a, b), 1)


@join.numpy
def _(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate((a, b), 1)


@kernel()
def part(
    x: Real[Tensor, "batch joined positions"], start: int, end: int
) -> Real[Tensor, "batch channels positions"]:
    """The channels from ``start`` to before ``end``."""
    return x[:, start:end].contiguous()


@part.numpy
def _(x: NDArray[Any], start: int, end: int) -> NDArray[Any]:
    return x[:, start:end]
