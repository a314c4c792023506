"""The power-step law: the step is a power of the way that is left.

One pulse maps travel t to t + s (1 - t)^p. It is aihwkit's PowStep
(``src/rpucuda/rpu_powstep_device.cpp``), after the soft bounds that Frascaroli et al., Scientific
Reports 8:7178, 2018 measured: a step dw ((w_max - w) / (w_max - w_min))^p is s = dw / (w_max - w_min).
p = 0 is linear and p = 1 soft bounds. Steps are shares of the range.

Long trains have no end where p > 1. With v = (1 - t)^(1-p), a = p - 1, k = a (a + 1) / 2 and
c = a (a + 1) (a + 2) / 6, a pulse is v' = v + a s + k s^2/v + c s^3/v^2 + ..., and

    N(v) = v/(a s) - k/a^2 ln v - ((k/a)^2 - (c + a k / 2) / a) s/(a v)

counts pulses: N(v_n) = N(v_0) + n but for terms of order (s/v)^2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hwtrain.cards import key
from hwtrain.strict_toml import Strict
from hwtrain.synapse.laws.base import Branch, Stepwise

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

_COUNTED = 64
"""Pulses that are walked one by one before the count N(v) takes over."""


class PowStepParams(Strict):
    """First steps and powers."""

    step_up: float = key("first LTP step, share of the range", "step at g_min", gt=0, le=0.5)
    step_down: float = key("first LTD step, share of the range", "step at g_max", gt=0, le=0.5)
    power_up: float = key(
        "power of the way left in LTP (aihwkit's pow_gamma)",
        "slope of ln step over ln way left",
        ge=0,
        le=20,
    )
    power_down: float = key(
        "power of the way left in LTD (aihwkit's pow_gamma)",
        "slope of ln step over ln way left",
        ge=0,
        le=20,
    )


class PowStep(Stepwise):
    """travel' = travel + step (1 - travel)^power; ``bend`` is the power."""

    Params = PowStepParams

    def __init__(self, params: PowStepParams) -> None:
        self.params = params

    def nominal(self, direction: Literal["up", "down"]) -> tuple[float, float]:
        """(first step, power)."""
        p = self.params
        return (p.step_up, p.power_up) if direction == "up" else (p.step_down, p.power_down)

    def shape(self, travel: Float[Tensor, "cells"], bend: Tensor) -> Float[Tensor, "cells"]:
        """(1 - travel)^power."""
        return (1 - travel.clamp(0, 1)) ** bend

    def terms(self, direction: Literal["up", "down"]) -> list[float]:
        """(power)."""
        return [self.nominal(direction)[1]]

    def advance(
        self, travel: Float[Tensor, "cells"], n: Int[Tensor, "cells"], branch: Branch
    ) -> Float[Tensor, "cells"]:
        """Pulse by pulse; where the power is above 1, by N(v) after the first 64."""
        step = branch.step.expand_as(travel)
        power = branch.bend.expand_as(travel)
        endless = (power > 1.001) & (n > _COUNTED)
        near = super().advance(travel, n.where(~endless, n.clamp(max=_COUNTED)), branch)
        far = endless & (near < 1)
        if not bool(far.any()):
            return near
        a, s = power[far] - 1, step[far]
        near[far] = 1 - _count_on((1 - near[far]) ** -a, n[far] - _COUNTED, a, s) ** (-1 / a)
        return near


def _count_on(v: Tensor, n: Tensor, a: Tensor, s: Tensor) -> Tensor:
    """v_n with N(v_n) = N(v) + n, by Newton's method."""
    k, c = a * (a + 1) / 2, a * (a + 1) * (a + 2) / 6
    log, inverse = k / a**2, ((k / a) ** 2 - (c + a * k / 2) / a) * s / a
    reached = v + a * s * n
    for _ in range(8):
        gone = (reached - v) / (a * s) - log * (reached / v).log() - inverse * (1 / reached - 1 / v)
        slope = 1 / (a * s) - log / reached + inverse / reached**2
        reached = (reached - (gone - n) / slope).clamp(min=v)
    return reached
