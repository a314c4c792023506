"""A factor and an offset for every channel of an FP16 image with channels first.

What hwtrain/program/lean.py makes of a product with one weight a channel and turns of the image around it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.kernels.base import kernel


@kernel(port="read", halves="own")
def scale(
    w: Float[Tensor, "channels 1 1"], x: Float[Tensor, "batch channels positions"]
) -> Float[Tensor, "batch channels positions"]:
    """round(w x), without a zero's sign: a sum of one term from +0 on."""
    return (x.float() * w[:, 0].float() + 0.0).half()


@scale.numpy
def _(w: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    """Products of halves are exact in float32."""
    with np.errstate(all="ignore"):
        wide = x.astype(np.float32) * w[:, 0].astype(np.float32) + np.float32(0)
        made: NDArray[Any] = wide.astype(np.float16)
    return made


@kernel()
def add(
    x: Float[Tensor, "batch channels positions"], b: Float[Tensor, "batch 1 channels"]
) -> Float[Tensor, "batch channels positions"]:
    """x + b."""
    return x + b.transpose(1, 2)


@add.numpy
def _(x: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    y: NDArray[Any] = x + b.swapaxes(1, 2)
    return y
