"""Power-of-two weights in torch: the codes of hwtrain/arith/pow2.py, with a gradient.

The bits of float32 are used as there: the exponent field counts octaves. Subnormal numbers count as 0.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.arith.pow2 import Pot
from hwtrain.errors import ConfigError

_MANTISSA = 23
_MAGNITUDE = 0x7FFFFFFF
_CARRY = {"linear": 1 << (_MANTISSA - 1), "log": (1 << _MANTISSA) - 0x3504F4}


def top(w: Float[Tensor, "out *rest"], pot: Pot) -> Tensor:
    """The exponent field of the largest level, nearest by log to the largest weight."""
    channel = pot.scale == "channel"
    size = w.detach().abs()
    largest = size.flatten(1).amax(1) if channel else size.amax().reshape(1)
    field = (largest.view(torch.int32) + _CARRY["log"]) >> _MANTISSA
    field = torch.where(largest == 0, 127, field)
    return field.reshape(-1, *[1] * (w.dim() - 1))


def nearest(w: Float[Tensor, "*shape"], top: Tensor, pot: Pot) -> Float[Tensor, "*shape"]:
    """The level of every weight; ``top`` is the exponent field of the largest level.

    Raises:
        ConfigError: stochastic rounding, whose noise training in whole numbers draws instead.
    """
    if pot.rounding not in _CARRY:
        raise ConfigError("rounding = stochastic: the float weights of torch take linear or log")
    bits = w.detach().view(torch.int32)
    size = bits & _MAGNITUDE
    low = top - pot.most
    field = (size + _CARRY[pot.rounding]) >> _MANTISSA
    field = torch.minimum(torch.maximum(field, low), top) << _MANTISSA
    signs = bits & ~_MAGNITUDE
    if pot.zero:
        field = field * (size >= (low - 1) << _MANTISSA)  # half of the smallest level
    else:
        signs.mul_(size > 0)
    return signs.bitwise_or_(field).view(torch.float32)  # in place: keeps the order of memory


class Straight(torch.autograd.Function):
    """The nearest level; backward the gradient as it is, or none beyond ``clip`` of the largest level."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, pot: Pot, clip: float | None) -> Tensor:
        """Levels."""
        highest = top(w, pot)
        if clip is not None:
            ctx.inside = w.detach().abs() <= clip * (highest << _MANTISSA).view(torch.float32)
        else:
            ctx.inside = None
        return nearest(w, highest, pot)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        """The gradient."""
        return (d if ctx.inside is None else d * ctx.inside), None, None
