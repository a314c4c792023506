"""Torch modules that train for shift hardware: weights become powers of two, signals fixed point.

    net = shift_weights(nn.Sequential(nn.Conv2d(3, 32, 3), FixedPoint(relu=True), ...), Pot(4))

``shift_weights`` puts a parametrisation on every layer of weights: the float weights go on living, what the
layer sees are levels. How the gradient reaches them:

    ste           as it is (Bengio, Leonard and Courville, arXiv 1308.3432)
    clipped-ste   not beyond the largest level
    blend         the layer sees a Q(w) + (1 - a) w, whose derivative is 1 - a; ``set_blend`` moves a, 0 to 1.
                  At 1, where that would learn no more, it goes on as ste

``blend`` is what the abstract of n-BQ-NN (Chen et al., arXiv 2004.02396) fixes: a derivative of the function
that is computed, not an estimate. The paper's own formula is not known to us. In evaluation every mode sees
Q(w). With Pot(rounding="log", zero=False) and ``ste`` the weights are those of DeepShift-Q; ``ShiftAndSign``
is DeepShift-PS, sign and shift learnt by themselves (Elhoushi et al., arXiv 1905.13298, as described there).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hwtrain.arith.pow2 import Pot
from hwtrain.errors import ConfigError, nearest
from hwtrain.qat import pot as levels

Gradient = Literal["ste", "clipped-ste", "blend", "shift-and-sign"]
GRADIENTS = get_args(Gradient)
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)


class PotLevels(nn.Module):
    """A parametrisation: float weights to levels."""

    def __init__(self, pot: Pot, gradient: Gradient = "ste") -> None:
        super().__init__()
        self.pot, self.gradient = pot, gradient
        self.blend = 0.0

    def forward(self, w: Tensor) -> Tensor:
        """What the layer sees."""
        if self.gradient == "blend" and self.training and self.blend < 1:
            fixed = levels.nearest(w, levels.top(w, self.pot), self.pot)
            return self.blend * fixed + (1 - self.blend) * w
        clip = 1.0 if self.gradient == "clipped-ste" else None
        seen: Tensor = levels.Straight.apply(w, self.pot, clip)  # type: ignore[no-untyped-call]
        return seen


class ShiftAndSign(nn.Module):
    """A parametrisation by a shift p and a sign s: the weight is round(s) 2^round(p), both straight-through.

    p is clamped to the levels below ``top``, which is fixed, for the tensor or for each channel, when the
    weights are first given.
    """

    def __init__(self, pot: Pot) -> None:
        super().__init__()
        self.pot = pot
        self.top: Tensor
        self.register_buffer("top", torch.zeros(()))

    def right_inverse(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and sign of given weights."""
        self.top = (levels.top(w, self.pot) - 127).float()
        under = self.top - self.pot.most - 1
        p = torch.minimum(torch.maximum(w.abs().clamp(min=2.0**-60).log2(), under), self.top)
        # Below half of the smallest level a weight begins as nothing.
        s = torch.where(w.abs() < under.exp2(), 0.25, 1.0) * w.sign()
        return p, s

    def forward(self, p: Tensor, s: Tensor) -> Tensor:
        """The weights; the derivative by p is w ln 2, by s it is 2^p."""
        low = self.top - self.pot.most
        power = p + (p.round() - p).detach()
        power = torch.minimum(torch.maximum(power, low), self.top)
        sign = s.clamp(-1, 1)
        whole = sign.round() if self.pot.zero else torch.where(s < 0, -1.0, 1.0)
        return (sign + (whole - sign).detach()) * power.exp2()


class FixedPoint(nn.Module):
    """Signals of ``bits`` bits, sign included, with ``frac`` of them after the point; ties to even.

    ``relu``: from 0 on, which takes the place of a rectifier. Without ``frac`` the point is placed by the
    largest magnitude of the first ``collect`` batches in training and stays; with ``learn`` it then follows
    the gradient of its logarithm, through the rounding of both.
    """

    def __init__(
        self,
        bits: int = 8,
        *,
        relu: bool = False,
        frac: int | None = None,
        learn: bool = False,
        collect: int = 100,
    ) -> None:
        super().__init__()
        if not 2 <= bits <= 16:
            raise ConfigError(f"bits = {bits}: a signal has 2 to 16")
        self.bits, self.relu, self.learn, self.collect = bits, relu, learn, collect
        start = 0.0 if frac is None else float(bits - 1 - frac)
        self.log2_range = nn.Parameter(torch.tensor(start), requires_grad=learn)
        self.seen: Tensor
        self.register_buffer("seen", torch.tensor(0 if frac is None else collect))

    @property
    def frac(self) -> int:
        """Bits after the point."""
        return self.bits - 1 - int(self.log2_range.detach().ceil())

    def forward(self, x: Tensor) -> Tensor:
        """x on the grid."""
        if self.training and int(self.seen) < self.collect:
            largest = float((x.detach().amax() if self.relu else x.detach().abs().amax()).clamp(min=2.0**-20))
            known = float(self.log2_range.detach()) if int(self.seen) else -20.0
            self.log2_range.data.fill_(max(known, float(torch.tensor(largest).log2())))
            self.seen += 1
        high = 2 ** (self.bits - 1) - 1
        low = 0 if self.relu else -high - 1
        if self.learn and self.training:
            learnt: Tensor = _Learnt.apply(x, self.log2_range, 2.0**self.frac, low, high)  # type: ignore[no-untyped-call]
            return learnt
        on_grid: Tensor = _Grid.apply(x, 2.0**self.frac, low, high)  # type: ignore[no-untyped-call]
        return on_grid


class _Grid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, low: int, high: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ends = low / scale, high / scale
        return (x * scale).round_().clamp_(low, high).mul_(1 / scale)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(d, x, *ctx.ends), None, None, None


class _Learnt(torch.autograd.Function):
    """y = clip(round(x s)) / s: by log2 (1/s) the derivative is ln 2 (y - x), ln 2 y where it is clipped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, log2_range: Tensor, scale: float, low: int, high: int) -> Tensor:
        y = (x * scale).round_().clamp_(low, high).mul_(1 / scale)
        ctx.save_for_backward(x, y)
        ctx.ends = low / scale, high / scale
        return y

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        x, y = ctx.saved_tensors
        inner = torch.ops.aten.hardtanh_backward(d, x, *ctx.ends)
        by_range = 0.6931471805599453 * ((d * y).sum() - (inner * x).sum())
        return inner, by_range, None, None, None


def shift_weights(model: nn.Module, pot: Pot, gradient: Gradient = "ste") -> nn.Module:
    """The same module, its layers of weights now on powers of two.

    Raises:
        ConfigError: an unknown gradient.
    """
    if gradient not in GRADIENTS:
        raise ConfigError(f"gradient = {gradient!r}: {nearest(gradient, GRADIENTS)}")
    for layer in model.modules():
        if isinstance(layer, WEIGHTED):
            made = ShiftAndSign(pot) if gradient == "shift-and-sign" else PotLevels(pot, gradient)
            parametrize.register_parametrization(layer, "weight", made)
    return model


def set_blend(model: nn.Module, share: float) -> None:
    """How much of Q(w) the mode ``blend`` shows, 0 to 1: a schedule calls it, by step or by epoch."""
    if not 0 <= share <= 1:
        raise ConfigError(f"blend = {share}: a share between 0 and 1")
    for found in _levels_of(model):
        found.blend = share


def _levels_of(model: nn.Module) -> Iterator[PotLevels]:
    yield from (part for part in model.modules() if isinstance(part, PotLevels))
