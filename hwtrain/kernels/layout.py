"""Where the channels of an image stand: first, as in NCHW, or last, as a dense array reads them."""

from __future__ import annotations

from typing import Any

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
