"""The linear law: every pulse moves the conductance by the same step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hwtrain.cards import key
from hwtrain.strict_toml import Strict
from hwtrain.synapse.laws.base import Branch, Law

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class LinearParams(Strict):
    """Pulses from one end of the range to the other."""

    levels_up: int = key("pulses from g_min to g_max", "count them", ge=2, le=1 << 16)
    levels_down: int = key("pulses from g_max to g_min", "count them", ge=2, le=1 << 16)


class Linear(Law):
    """travel' = travel + n step, with step = 1/levels (aihwkit's ConstantStep)."""

    Params = LinearParams

    def __init__(self, params: LinearParams) -> None:
        self.params = params

    def nominal(self, direction: Literal["up", "down"]) -> tuple[float, float]:
        """(1/levels, 0)."""
        levels = self.params.levels_up if direction == "up" else self.params.levels_down
        return 1 / levels, 0.0

    def advance(
        self, travel: Float[Tensor, "cells"], n: Int[Tensor, "cells"], branch: Branch
    ) -> Float[Tensor, "cells"]:
        """travel + n step."""
        return travel + n * branch.step

    def step_variance(
        self,
        travel: Float[Tensor, "cells"],
        n: Int[Tensor, "cells"],
        branch: Branch,
        sigma: float,
        kind: Literal["add", "mult"],
    ) -> Float[Tensor, "cells"]:
        """n (sigma step)^2; both kinds agree, for every step is the mid-range step."""
        return n * (sigma * branch.step) ** 2

    def middle_step(self, branch: Branch) -> Tensor:
        """The step itself."""
        return branch.step
