"""Powers of two times a float a channel, of least squares: for layers that a normalisation follows.

    fitted_weights([net.conv1, net.conv2], Pot(4))

``Pot`` alone puts its largest level at a power of two, wherever the weights lie between two of them. Before a
batch normalisation a factor a channel costs nothing, for the normalisation multiplies by one already, so
levels may lie anywhere: a channel w is seen as c Q(w / s). Of some s in the octave about its largest weight
the best is taken, each with its best c = <w, Q> / <Q, Q>. The gradient passes as it is.

``hold`` ends the learning of a layer's weights. While the codes of a first layer of few weights still jump,
nothing behind it comes to rest (such oscillations: Nagel et al., ICML 2022, arXiv 2203.11086).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hwtrain.arith.pow2 import Pot
from hwtrain.qat import pot as levels

_PLACES = 8
"""That are tried of an octave."""


def fitted(
    w: Float[Tensor, "out *rest"], pot: Pot
) -> tuple[Float[Tensor, "out *rest"], Float[Tensor, " out"]]:
    """Q: 0 and, with either sign, 1, 1/2, 1/4 ...; and c, a factor a channel (of zeros: 0)."""
    flat = w.detach().reshape(len(w), -1)
    size = flat.abs().amax(1, keepdim=True)
    size = torch.where(size > 0, size, 1.0)
    one = torch.full((1, 1), 127, dtype=torch.int32)  # the exponent field of 1
    found, factors = torch.zeros_like(flat), torch.zeros_like(size)
    gains = torch.zeros_like(size)  # what the squared error lacks of that of nothing
    for place in range(_PLACES):
        q = levels.nearest(flat / (size * 2 ** (place / _PLACES - 0.5)), one, pot)
        along, own = (q * flat).sum(1, keepdim=True), q.square().sum(1, keepdim=True)
        gain = torch.where(own > 0, along.square() / own, 0.0)
        better = gain > gains
        found, gains = torch.where(better, q, found), torch.where(better, gain, gains)
        factors = torch.where(better, along / own, factors)
    return torch.empty_like(w).copy_(found.reshape(w.shape)), factors[:, 0]  # in w's order of memory


class FittedLevels(nn.Module):
    """A parametrisation: float weights to c Q."""

    def __init__(self, pot: Pot) -> None:
        super().__init__()
        self.pot = pot

    def forward(self, w: Float[Tensor, "out *rest"]) -> Float[Tensor, "out *rest"]:
        """What the layer sees."""
        seen: Tensor = _Straight.apply(w, self.pot)  # type: ignore[no-untyped-call]
        return seen


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, w: Tensor, pot: Pot) -> Tensor:
        q, factor = fitted(w, pot)
        return q.mul_(factor.reshape(-1, *[1] * (w.dim() - 1)))

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        return d, None


def fitted_weights(layers: Iterable[nn.Module], pot: Pot) -> None:
    """Puts the weights of layers on powers of two times a float a channel."""
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", FittedLevels(pot))


def hold(layer: nn.Module) -> None:
    """A layer's weights, behind a parametrisation, learn no more: optimisers pass over them."""
    kept: Any = layer.parametrizations["weight"].original  # type: ignore[union-attr, index]
    kept.requires_grad_(False)
    kept.grad = None
