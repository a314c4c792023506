"""Additive powers of two (APoT; Li, Dong and Wang, ICLR 2020, arXiv 1909.13144): a level is a sum of some.

    net = additive_weights(nn.Sequential(nn.Conv2d(3, 32, 3), FixedPoint(relu=True), ...), terms=2)

Each term is 0 or one of three powers: n of them take 1 + 2 n bits with the sign, and a product is n shifts:

    1 term     0 1 2 4                     the levels of Pot(3)
    2 terms    {0 2 8 32} + {0 1 4 16}
    3 terms    {0 4 32 256} + {0 2 16 128} + {0 1 8 64}

The levels are those of the authors' published code, as copies of it show them. Their learnt clipping and
their normalisation of weights are not here: a power of two places the largest level by the largest weight.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hwtrain.arith.pow2 import Scale
from hwtrain.errors import ConfigError
from hwtrain.qat.layers import WEIGHTED


def levels(terms: int) -> list[int]:
    """The magnitudes, from 0 on, in units of the smallest.

    Raises:
        ConfigError: another number of terms than 1, 2 or 3.
    """
    if terms not in (1, 2, 3):
        raise ConfigError(f"terms = {terms}: a level is a sum of 1, 2 or 3 powers of two")
    choices = [[0, *(1 << terms * place + term for place in range(3))] for term in range(terms)]
    return sorted(map(sum, product(*choices)))


class AdditiveLevels(nn.Module):
    """A parametrisation: float weights to the nearest level, halves upward; the gradient passes."""

    def __init__(self, terms: int = 2, scale: Scale = "tensor") -> None:
        super().__init__()
        if scale not in ("tensor", "channel"):
            raise ConfigError(f"scale = {scale!r}: choose tensor or channel")
        found = torch.tensor(levels(terms), dtype=torch.float32)
        self.scale = scale
        self.levels: Tensor
        self.halfway: Tensor
        self.register_buffer("levels", found, persistent=False)
        self.register_buffer("halfway", (found[1:] + found[:-1]) / 2, persistent=False)

    def forward(self, w: Float[Tensor, "out *rest"]) -> Float[Tensor, "out *rest"]:
        """What the layer sees."""
        seen: Tensor = _Straight.apply(w, self)  # type: ignore[no-untyped-call]
        return seen

    def unit(self, w: Float[Tensor, "out *rest"]) -> Tensor:
        """The smallest level: a power of two, one for the tensor or one a channel (of zeros: 1)."""
        size = w.detach().abs()
        largest = size.flatten(1).amax(1) if self.scale == "channel" else size.amax().reshape(1)
        unit = torch.where(largest > 0, (largest / self.levels[-1]).log2().round().exp2(), 1.0)
        return unit.reshape(-1, *[1] * (w.dim() - 1))


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, w: Tensor, by: AdditiveLevels) -> Tensor:
        unit = by.unit(w)
        place = torch.bucketize((w.detach().abs() / unit).contiguous(), by.halfway, right=True)
        return torch.empty_like(w).copy_(torch.copysign(by.levels[place] * unit, w))  # in w's order of memory

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        return d, None


def additive_weights(model: nn.Module, terms: int = 2, scale: Scale = "tensor") -> nn.Module:
    """The same module, its layers of weights now on sums of powers of two."""
    for layer in model.modules():
        if isinstance(layer, WEIGHTED):
            parametrize.register_parametrization(layer, "weight", AdditiveLevels(terms, scale))
    return model
