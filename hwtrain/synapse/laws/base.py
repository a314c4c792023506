"""What a conductance law is.

A law is written once, for both directions, in the coordinate of **travel**: the way from the end
where a branch starts (g_min for LTP, g_max for LTD) as a share of the cell's range, 0 at the start
and 1 at the far end. Clipping, scatter between cells and physical units are not its business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

_STILL = 1e-13
"""A pulse that moves a cell by less than this share of its range moves it no more."""


@dataclass(frozen=True)
class Branch:
    """Parameters of one direction for some cells; scalars (shape ()) or one value a cell.

    ``step``: travel of the first pulse from the start of the branch; ``bend``: the law's own shape
    parameter (the curvature of the affine law; unused by the linear one).
    """

    step: Tensor
    bend: Tensor


class Law(ABC):
    """A conductance law with its parameters."""

    Params: ClassVar[type[Strict]]

    @abstractmethod
    def nominal(self, direction: Literal["up", "down"]) -> tuple[float, float]:
        """(step, bend) of the typical device."""

    @property
    def labelled(self) -> bool:
        """Whether ``bends`` can shift a nonlinearity label."""
        return False

    def bends(self, direction: Literal["up", "down"], label_shift: Tensor) -> tuple[Tensor, Tensor]:
        """(step, bend) of cells whose label is off by ``label_shift``; for labelled laws."""
        raise TypeError(f"the law {type(self).__name__} has no label")

    @abstractmethod
    def advance(
        self, travel: Float[Tensor, "cells"], n: Int[Tensor, "cells"], branch: Branch
    ) -> Float[Tensor, "cells"]:
        """Travel after n >= 1 pulses without scatter, not clipped."""

    @abstractmethod
    def step_variance(
        self,
        travel: Float[Tensor, "cells"],
        n: Int[Tensor, "cells"],
        branch: Branch,
        sigma: float,
        kind: Literal["add", "mult"],
    ) -> Float[Tensor, "cells"]:
        """Variance of the travel after n pulses whose steps each scatter by ``sigma``.

        ``add``: by ``sigma`` times the mid-range step; ``mult``: by ``sigma`` times the step taken.
        """

    @abstractmethod
    def middle_step(self, branch: Branch) -> Tensor:
        """The step at mid-range, the unit in which sizes of steps are compared."""


class Stepwise(Law):
    """A law without a closed form: one pulse maps travel t to t + step shape(t), pulse after pulse.

    ``shape`` is the step in units of the first one, 1 at t = 0. Past the far end it stays as it is
    there. ``Branch.bend`` is what tells the branches apart, for cells of both stand in one call.
    """

    @abstractmethod
    def shape(self, travel: Float[Tensor, "cells"], bend: Tensor) -> Float[Tensor, "cells"]:
        """The step at this travel, 0 to 1, in units of the first step."""

    def advance(
        self, travel: Float[Tensor, "cells"], n: Int[Tensor, "cells"], branch: Branch
    ) -> Float[Tensor, "cells"]:
        """Pulse by pulse on the cells that have pulses left and have not arrived."""
        alike = travel.numel() > 1 and branch.step.ndim == branch.bend.ndim == 0
        if alike and bool((travel == travel[0]).all()):
            return self._staircase(travel[:1], n, branch)
        travel, step, bend = travel.clone(), *_each(branch, travel)
        going = (n > 0).nonzero()[:, 0]
        done = 0
        while going.numel() > 0:
            at = travel[going]
            size = step[going] * self.shape(at, bend[going])
            last = (at >= 1) | (size < _STILL)  # from here on every step is this one
            travel[going] = at + size * (n[going] - done).where(last, 1)
            done += 1
            going = going[~last & (n[going] > done)]
        return travel

    def step_variance(
        self,
        travel: Float[Tensor, "cells"],
        n: Int[Tensor, "cells"],
        branch: Branch,
        sigma: float,
        kind: Literal["add", "mult"],
    ) -> Float[Tensor, "cells"]:
        """Exact for one pulse; after it, what has gathered is stretched by the slope of the law."""
        step, bend = _each(branch, travel)
        middle = self.middle_step(branch).expand_as(travel)
        total, travel = travel * 0, travel.clone()
        going = (n > 0).nonzero()[:, 0]
        done = 0
        while going.numel() > 0:
            at, first, turn = travel[going], step[going], bend[going]
            size = first * self.shape(at, turn)
            scale = sigma * (middle[going] if kind == "add" else size)
            if done > 0:
                near = (at - 1e-3).clamp(0, 1), (at + 1e-3).clamp(0, 1)
                rise = (self.shape(near[1], turn) - self.shape(near[0], turn)) / 2e-3
                total[going] *= (1 + first * rise) ** 2
            total[going] += scale**2
            travel[going] = (at + size).clamp(max=1)
            done += 1
            going = going[n[going] > done]
        return total

    def middle_step(self, branch: Branch) -> Tensor:
        """step shape(1/2)."""
        step, bend = branch.step.reshape(-1), branch.bend.reshape(-1)
        half = (step * 0 + bend * 0) + 0.5
        middle = step * self.shape(half, bend.expand_as(half))
        return middle if branch.step.ndim or branch.bend.ndim else middle[0]

    def _staircase(self, start: Tensor, n: Tensor, branch: Branch) -> Tensor:
        """Travel of cells that all stand at ``start``: one walk serves them all."""
        step, bend = _each(branch, start)
        stairs, size = [start], step * self.shape(start, bend)
        for _ in range(int(n.max())):
            if bool((stairs[-1] >= 1) | (size < _STILL)):
                break
            stairs.append(stairs[-1] + size)
            size = step * self.shape(stairs[-1], bend)
        known = n.clamp(max=len(stairs) - 1)
        last = (n - known) * size  # from there on every step is this one
        return stairs[0].new_tensor(stairs)[known] + last


class Table(Stepwise):
    """A law of steps at some conductances, both shares of the range; linear between them.

    ``bend`` is 0 on the LTP branch and 1 on the LTD branch.
    """

    def __init__(
        self, g_up: Sequence[float], up: Sequence[float], g_down: Sequence[float], down: Sequence[float]
    ) -> None:
        fallen = [1 - g for g in reversed(g_down)], list(reversed(down))
        self._rows = [(list(g_up), list(up)), fallen]  # both in travel
        for name, (_, steps) in zip(("up", "down"), self._rows, strict=True):
            if min(steps) <= 0 or max(steps) > 1:
                raise ValueError(f"the steps {name} must lie above 0 and be at most the range")

    def nominal(self, direction: Literal["up", "down"]) -> tuple[float, float]:
        """(first step, 0 for LTP and 1 for LTD)."""
        down = direction == "down"
        return self._rows[down][1][0], float(down)

    def shape(self, travel: Float[Tensor, "cells"], bend: Tensor) -> Float[Tensor, "cells"]:
        """Linear interpolation of the branch's steps."""
        up, down = (_interpolated(travel, *row) for row in self._rows)
        return up.where(bend < 0.5, down)


def _interpolated(travel: Tensor, where: list[float], steps: list[float]) -> Tensor:
    at, y = travel.new_tensor(where), travel.new_tensor(steps) / steps[0]
    travel = travel.clamp(0, 1)
    right = (travel[:, None] > at).sum(1).clamp(1, len(where) - 1)
    share = (travel - at[right - 1]) / (at[right] - at[right - 1])
    return y[right - 1] + share * (y[right] - y[right - 1])


def _each(branch: Branch, like: Tensor) -> tuple[Tensor, Tensor]:
    """(step, bend) of every cell."""
    return branch.step.expand_as(like), branch.bend.expand_as(like)
