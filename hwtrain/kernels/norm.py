"""Normalisation over the samples and positions of a channel, floating point only.

With batch statistics (Ioffe and Szegedy, ICML 2015) a step also moves the running mean and variance;
with running statistics, the "frozen" kernels, they are constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.float32 import inverse_root
from hwtrain.kernels.base import kernel, lanes16


@kernel(writes=("mean", "variance"))
def batch_forward(
    x: Float[Tensor, "batch channels positions"],
    mean: Float[Tensor, "channels"],
    variance: Float[Tensor, "channels"],
    momentum: float,
    eps: float,
) -> tuple[Float[Tensor, "batch channels positions"], Float[Tensor, "channels"]]:
    """y = (x - m) / sqrt(v + eps) with the batch's m and v, and that inverse root; mean and variance move.

    mean += momentum (m - mean); the same for the variance, there with the unbiased v, as torch has it.
    """
    v, m = _moments(x)
    count = x.shape[0] * x.shape[2]
    mean.mul_(1 - momentum).add_(m, alpha=momentum)
    variance.mul_(1 - momentum).add_(v, alpha=momentum * count / max(count - 1, 1))
    inverse = (v + eps).rsqrt()
    return (x - m[:, None]) * inverse[:, None], inverse


@batch_forward.numpy
def _(
    x: NDArray[Any], mean: NDArray[Any], variance: NDArray[Any], momentum: float, eps: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    count = np.float32(x.shape[0] * x.shape[2])
    m = _channel_sums(x) / count
    centred = x - m[:, None]
    squares = _channel_sums(centred * centred)
    keep, take = np.float32(1) - np.float32(momentum), np.float32(momentum)
    mean[...] = keep * mean + take * m
    variance[...] = keep * variance + take * (squares / max(count - np.float32(1), np.float32(1)))
    inverse = inverse_root(squares / count + np.float32(eps))
    return centred * inverse[:, None], inverse


@kernel()
def frozen_forward(
    x: Float[Tensor, "batch channels positions"],
    mean: Float[Tensor, "channels"],
    variance: Float[Tensor, "channels"],
    eps: float,
) -> tuple[Float[Tensor, "batch channels positions"], Float[Tensor, "channels"]]:
    """y = (x - mean) / sqrt(variance + eps), and that inverse root."""
    inverse = (variance + eps).rsqrt()
    return (x - mean[:, None]) * inverse[:, None], inverse


@frozen_forward.numpy
def _(
    x: NDArray[Any], mean: NDArray[Any], variance: NDArray[Any], eps: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    inverse = inverse_root(variance + np.float32(eps))
    return (x - mean[:, None]) * inverse[:, None], inverse


@kernel()
def batch_input_gradient(
    d: Float[Tensor, "batch channels positions"],
    y: Float[Tensor, "batch channels positions"],
    inverse: Float[Tensor, "channels"],
) -> Float[Tensor, "batch channels positions"]:
    """inverse (d - mean of d - y times the mean of d y), the means over samples and positions."""
    along = (d * y).mean((0, 2))
    return (d - d.mean((0, 2))[:, None] - y * along[:, None]) * inverse[:, None]


@batch_input_gradient.numpy
def _(d: NDArray[Any], y: NDArray[Any], inverse: NDArray[Any]) -> NDArray[Any]:
    count = np.float32(d.shape[0] * d.shape[2])
    mean, along = _channel_sums(d) / count, _channel_sums(d * y) / count
    back: NDArray[Any] = ((d - mean[:, None]) - y * along[:, None]) * inverse[:, None]
    return back


@kernel()
def frozen_input_gradient(
    d: Float[Tensor, "batch channels positions"], inverse: Float[Tensor, "channels"]
) -> Float[Tensor, "batch channels positions"]:
    """d times the inverse root of its channel."""
    return d * inverse[:, None]


@frozen_input_gradient.numpy
def _(d: NDArray[Any], inverse: NDArray[Any]) -> NDArray[Any]:
    back: NDArray[Any] = d * inverse[:, None]
    return back


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Biased variance and mean of every channel."""
    m = x.mean((0, 2))
    return (x - m[:, None]).square().mean((0, 2)), m


def _channel_sums(x: NDArray[Any]) -> NDArray[np.float32]:
    """Of every channel over samples, then positions, in 16 lanes."""
    return lanes16(x.transpose(1, 0, 2).reshape(x.shape[1], -1))
