"""The exponential-step law: the step is a constant less an exponential of the weight.

aihwkit's ExpStep (``src/rpucuda/rpu_expstep_device.cpp``; Gong et al., Nature Communications 9:2102,
2018), in its own parameters. With the weight w between w_min and w_max and
z = 2 a w / (w_max - w_min) + b, one noise-free pulse is

    LTP: w += dw_min max(1 - amp_up exp(gamma_up z), 0)
    LTD: w -= dw_min max(1 - amp_down exp(-gamma_down z), 0)

where an imbalance up_down > 0 takes the LTD step times (1 - up_down), and up_down < 0 the LTP step
times (1 + up_down). Weights have no unit: g_min stands at w_min and g_max at w_max.
A card without gamma_down and amp_down (phase change) has no gradual LTD: one pulse resets the cell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from hwtrain.cards import key
from hwtrain.strict_toml import Strict
from hwtrain.synapse.laws.base import Stepwise

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_SMALLEST = 1e-9
"""Smallest first step: a branch that starts at rest never leaves its end."""


class ExpStepParams(Strict):
    """The parameters of aihwkit's ExpStep, in units of its weight."""

    dw_min: float = key("step without the exponential", "fit the curve", gt=0)
    up_down: float = key("imbalance of the two directions", "fit both curves", default=0.0, gt=-1, lt=1)
    w_min: float = key("weight at g_min", "choose the scale of weights")
    w_max: float = key("weight at g_max", "choose the scale of weights")
    a: float = key("slope of z over half the range", "fit the curve", ge=-50, le=50)
    b: float = key("z at weight 0", "fit the curve", ge=-50, le=50)
    gamma_up: float = key("rate of the LTP exponential", "fit the curve", ge=-50, le=50)
    gamma_down: float | None = key(
        "rate of the LTD exponential", "fit the curve", default=None, ge=-50, le=50
    )
    amp_up: float = key("amplitude of the LTP exponential (aihwkit's A_up)", "fit the curve")
    amp_down: float | None = key(
        "amplitude of the LTD exponential (aihwkit's A_down)", "fit the curve", default=None
    )

    @model_validator(mode="after")
    def _moves(self) -> ExpStepParams:
        if self.w_min >= self.w_max:
            raise ValueError(f"w_min = {self.w_min:g} is not below w_max = {self.w_max:g}: exchange them")
        if (self.gamma_down is None) != (self.amp_down is None):
            raise ValueError(
                "gamma_down and amp_down go together: give both, or neither for one-pulse resets"
            )
        for way in ("up", "down"):
            base, amp, rate = _branch(self, way)
            first, middle = (base * (1 - amp * math.exp(rate * at)) for at in (0.0, 0.5))
            if not (_SMALLEST < first <= 1 and 0 < middle <= 1):
                raise ValueError(
                    f"steps {way} are {first:g} of the range at the start and {middle:g} in the middle; "
                    f"both must lie between 0 and 1: look at amp_{way} and gamma_{way}"
                )
        return self


class ExpStep(Stepwise):
    """travel' = travel + step max(1 - amp e^(rate travel), 0) / (1 - amp)."""

    Params = ExpStepParams

    def __init__(self, params: ExpStepParams) -> None:
        self.params = params
        self._bent = [_branch(params, way)[1:] for way in ("up", "down")]

    def nominal(self, direction: Literal["up", "down"]) -> tuple[float, float]:
        """(first step, 0 for LTP and 1 for LTD)."""
        base, amp, _ = _branch(self.params, direction)
        return base * (1 - amp), float(direction == "down")

    def shape(self, travel: Float[Tensor, "cells"], bend: Tensor) -> Float[Tensor, "cells"]:
        """max(1 - amp e^(rate travel), 0) / (1 - amp), with the branch's own amp and rate."""
        (up, rise), (down, fall) = self._bent
        amp, rate = up + (down - up) * bend, rise + (fall - rise) * bend
        return (1 - amp * (rate * travel.clamp(0, 1)).exp()).clamp(min=0) / (1 - amp)

    def terms(self, direction: Literal["up", "down"]) -> list[float]:
        """(amplitude, rate)."""
        return list(self._bent[direction == "down"])


def _branch(p: ExpStepParams, way: str) -> tuple[float, float, float]:
    """(step without the exponential, amplitude at the branch's start, rate), in travel."""
    width = p.w_max - p.w_min
    if way == "up":
        z = 2 * p.a * p.w_min / width + p.b
        base = p.dw_min * (1 + min(p.up_down, 0.0))
        return base / width, p.amp_up * math.exp(p.gamma_up * z), 2 * p.a * p.gamma_up
    if p.gamma_down is None or p.amp_down is None:
        return 1.0, 0.0, 0.0
    z = 2 * p.a * p.w_max / width + p.b
    base = p.dw_min * (1 - max(p.up_down, 0.0))
    return base / width, p.amp_down * math.exp(-p.gamma_down * z), 2 * p.a * p.gamma_down
