"""The affine law: the step changes in proportion to the way travelled.

One pulse maps travel t to t + s (1 - kappa t), with s the first step and kappa the curvature. That
is an affine map, so n pulses have the closed form (rho = 1 - s kappa)

    t' = rho^n t + s (1 - rho^n) / (1 - rho).

It is NeuroSim's exponential curve (rho = exp(-1/A); Chen, Peng, Yu, IEEE TCAD 37(12):3067, 2018,
equations 8-10), aihwkit's LinearStep (kappa < 1) and its SoftBounds (kappa = 1) in one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from hwtrain.cards import key
from hwtrain.strict_toml import Strict
from hwtrain.synapse.label import LARGEST, curvature_of_label, rate_of_label
from hwtrain.synapse.laws.base import Branch, Law

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

STRAIGHT = 1e-9
"""Below this |s kappa| a branch is taken as linear: the closed form would divide 0 by 0."""
_STEEPEST = 9.0
"""Largest label of a branch with growing steps: beyond 9.4 its last step overflows float32."""


class AffineParams(Strict):
    """Either levels and labels (NeuroSim), or first steps and curvatures (aihwkit)."""

    levels_up: int | None = key("pulses from g_min to g_max", "count them", default=None, ge=2, le=1 << 16)
    levels_down: int | None = key("pulses from g_max to g_min", "count them", default=None, ge=2, le=1 << 16)
    label_up: float | None = key(
        "NeuroSim's nonlinearity label of LTP; > 0 when the first steps are the largest",
        "fit the curve",
        default=None,
        ge=-_STEEPEST,
        le=LARGEST,
    )
    label_down: float | None = key(
        "NeuroSim's label of LTD: < 0 when its first steps are the largest, > 0 when it retraces LTP",
        "fit the curve",
        default=None,
        ge=-LARGEST,
        le=_STEEPEST,
    )
    step_up: float | None = key(
        "first LTP step, share of the range", "step at g_min", default=None, gt=0, le=1
    )
    step_down: float | None = key(
        "first LTD step, share of the range", "step at g_max", default=None, gt=0, le=1
    )
    curvature_up: float | None = key(
        "share of the first LTP step that is lost at g_max (soft bounds: 1)",
        "1 - last step / first step",
        default=None,
        ge=-1e20,
        le=1,
    )
    curvature_down: float | None = key(
        "share of the first LTD step that is lost at g_min (soft bounds: 1)",
        "1 - last step / first step",
        default=None,
        ge=-1e20,
        le=1,
    )

    @model_validator(mode="after")
    def _one_way_of_saying_it(self) -> AffineParams:
        by_label = (self.levels_up, self.levels_down, self.label_up, self.label_down)
        by_step = (self.step_up, self.step_down, self.curvature_up, self.curvature_down)
        labelled = None not in by_label and by_step == (None,) * 4
        stepped = None not in by_step and by_label == (None,) * 4
        if not (labelled or stepped):
            raise ValueError(
                "the affine law takes levels_up, levels_down, label_up and label_down, "
                "or step_up, step_down, curvature_up and curvature_down: give one set whole"
            )
        return self


class Affine(Law):
    """travel' = rho^n travel + s (1 - rho^n) / (1 - rho), rho = 1 - s kappa."""

    Params = AffineParams

    def __init__(self, params: AffineParams) -> None:
        self.params = params

    def nominal(self, direction: Literal["up", "down"]) -> tuple[float, float]:
        """(first step, curvature)."""
        p = self.params
        if p.step_up is not None:
            up, down = (p.step_up, p.curvature_up), (p.step_down, p.curvature_down)
            step, bend = up if direction == "up" else down
            assert step is not None
            assert bend is not None
            return step, bend
        levels, label = self._labelled(direction)
        return _first_step(float(rate_of_label(label)), levels), float(curvature_of_label(label))

    @property
    def labelled(self) -> bool:
        """Whether the parameters are levels and labels."""
        return self.params.label_up is not None

    def bends(self, direction: Literal["up", "down"], label_shift: Tensor) -> tuple[Tensor, Tensor]:
        """(first step, curvature) of cells whose label is off by ``label_shift``."""
        levels, label = self._labelled(direction)
        labels = (label + label_shift.double()).clamp(-_STEEPEST, LARGEST)
        rate = labels.new_tensor(rate_of_label(labels.cpu().numpy()))
        straight = rate.abs() < STRAIGHT
        bend = -(-rate).expm1()
        step = -(-rate / levels).expm1() / bend.masked_fill(straight, 1.0)
        step = step.masked_fill(straight, 1 / levels)
        return step.to(label_shift.dtype), bend.to(label_shift.dtype)

    def advance(
        self, travel: Float[Tensor, "cells"], n: Int[Tensor, "cells"], branch: Branch
    ) -> Float[Tensor, "cells"]:
        """The closed form above."""
        lost, straight = _lost(branch)
        # rho^n - 1, without cancellation; past e^80 a growing branch has long arrived.
        change = (n * (-lost).log1p()).clamp(max=80.0).expm1()
        pulses = (-change / lost).where(~straight, n.to(travel.dtype))
        return travel + change.masked_fill(straight, 0.0) * travel + branch.step * pulses

    def step_variance(
        self,
        travel: Float[Tensor, "cells"],
        n: Int[Tensor, "cells"],
        branch: Branch,
        sigma: float,
        kind: Literal["add", "mult"],
    ) -> Float[Tensor, "cells"]:
        """add: (sigma s_mid)^2 (1 - rho^2n) / (1 - rho^2).

        mult: gap^2 ((rho^2 + (1 - rho)^2 sigma^2)^n - rho^2n), with gap the way that is left to the
        target 1/kappa. Both moments are exact as long as nothing clips inside the train.
        """
        lost, straight = _lost(branch)
        rho = 1 - lost
        if kind == "mult":
            gap = branch.step / lost - travel
            # (a + b)^n - a^n and, below, 1 - rho^2n, both without cancellation when lost is small.
            power = ((rho**2 + (lost * sigma) ** 2) ** n).clamp(max=1e30)
            ratio = (lost * sigma / rho.clamp(min=1e-15)) ** 2
            bent = -(gap**2) * power * (-n * ratio.log1p()).expm1()
        else:
            middle = (sigma * self.middle_step(branch)) ** 2
            log = 2 * (-lost).log1p()
            bent = middle * (n * log).clamp(max=60.0).expm1() / log.expm1()
        return bent.where(~straight, n * (sigma * branch.step) ** 2)

    def middle_step(self, branch: Branch) -> Tensor:
        """s (1 - kappa/2)."""
        return branch.step * (1 - branch.bend / 2)

    def _labelled(self, direction: Literal["up", "down"]) -> tuple[int, float]:
        """(levels, label), the label's sign such that > 0 always means "first steps largest"."""
        p = self.params
        up, down = (p.levels_up, p.label_up), (p.levels_down, p.label_down)
        levels, label = up if direction == "up" else down
        assert levels is not None
        assert label is not None
        return levels, label if direction == "up" else -label


def _first_step(rate: float, levels: int) -> float:
    """The first step with which ``levels`` pulses cross the range: (1 - rho) / kappa.

    From the rate, not from kappa, which rounds to 1 for labels above 8.8.
    """
    if abs(rate) < STRAIGHT:
        return 1 / levels
    return math.expm1(-rate / levels) / math.expm1(-rate)


def _lost(branch: Branch) -> tuple[Tensor, Tensor]:
    """s kappa = 1 - rho, at most 1, with a harmless stand-in where the branch is straight."""
    lost = (branch.step * branch.bend).clamp(max=1.0)
    straight = lost.abs() < STRAIGHT
    return lost.masked_fill(straight, 0.5), straight
