"""What a conductance law is.

A law is written once, for both directions, in the coordinate of **travel**: the way from the end
where a branch starts (g_min for LTP, g_max for LTD) as a share of the cell's range, 0 at the start
and 1 at the far end. Clipping, scatter between cells and physical units are not its business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

_STILL = 1e-13
"""A pulse that moves a cell by less than this share of its range moves it no more."""
WALKED = 64
"""Longest train that cells which differ walk pulse by pulse; longer ones (write-verify) flow."""


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

    @property
    def draws(self) -> bool:
        """Whether steps have a distribution of their own, of which ``drawn`` draws them."""
        return False

    @property
    def spread(self) -> float:
        """Standard deviation of a drawn step about its mean, all over the range; 0 where none is drawn."""
        return 0.0

    def drawn(
        self,
        travel: Float[Tensor, "cells"],
        n: Int[Tensor, "cells"],
        branch: Branch,
        lots: Callable[[int, Int[Tensor, "some"]], Float[Tensor, "some"]],
    ) -> Float[Tensor, "cells"]:
        """Travel after n >= 1 pulses whose steps are drawn, kept between the ends after each.

        ``lots``: uniforms in [0, 1) for a pulse of the train, 0 at first, on some of the cells.
        """
        raise TypeError(f"the law {type(self).__name__} has no distribution of steps")

    @abstractmethod
    def nominal(self, direction: Literal["up", "down"]) -> tuple[float, float]:
        """(step, bend) of the typical device."""

    def typical(self, direction: Literal["up", "down"]) -> Branch:
        """The typical device's branch, in float64."""
        import torch  # not above: reading a card takes no torch

        step, bend = self.nominal(direction)
        return Branch(torch.tensor(step, dtype=torch.float64), torch.tensor(bend, dtype=torch.float64))

    def path(self, direction: Literal["up", "down"], pulses: int) -> list[float]:
        """Travel of the typical device after 0 .. ``pulses`` pulses."""
        import torch

        n = torch.arange(1, pulses + 1)
        start = torch.zeros(pulses, dtype=torch.float64)
        return [0.0, *self.advance(start, n, self.typical(direction)).clamp(0, 1).tolist()]

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

    @abstractmethod
    def terms(self, direction: Literal["up", "down"]) -> list[float]:
        """What ``shape`` knows of this branch, as devices/synapse/src/hwt_laws.h takes it."""

    def advance(
        self, travel: Float[Tensor, "cells"], n: Int[Tensor, "cells"], branch: Branch
    ) -> Float[Tensor, "cells"]:
        """Pulse by pulse; trains of over 64 pulses on cells that differ by the flow of the law."""
        if travel.numel() == 0:
            return travel.clone()
        step, bend = _each(branch, travel)
        if all(bool((each == each[0]).all()) for each in (travel, step, bend)):
            return self._staircase(travel[:1], n, Branch(step[:1], bend[:1]))
        long = n > WALKED
        travel = self._flow(travel, n, step, bend).where(long, travel)
        going = ((n > 0) & ~long).nonzero()[:, 0]
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

    def _flow(self, travel: Tensor, n: Tensor, step: Tensor, bend: Tensor) -> Tensor:
        """The smooth curve through the staircase, by Euler's modified equation.

        With H the integral of 1/shape, n = (H(t') - H(t))/step + ln(shape(t')/shape(t))/2, but for
        terms of the order of the step.
        """
        import torch

        travel = travel.clone()
        for value in sorted(set(bend[n > WALKED].tolist())):
            where = ((n > WALKED) & (bend == value)).nonzero()[:, 0]
            share = torch.linspace(0, 1, 4097, dtype=torch.float64, device=travel.device)
            grid = 1 - (1 - share) ** 3  # dense at the far end, where steps may vanish
            shape = self.shape(grid, grid * 0 + value).clamp(min=1e-9)
            passed = torch.cumulative_trapezoid(1 / shape, grid).clone()
            passed = torch.cat([passed.new_zeros(1), passed])
            start, s = travel[where].double().clamp(0, 1), step[where].double()
            from_, at = _between(start, grid, passed), _between(start, grid, shape)
            target = from_ + s * n[where]
            for _ in range(3):
                end = _between(target, passed, grid)
                target = from_ + s * (n[where] - (_between(end, grid, shape) / at).log() / 2)
            beyond = (target - passed[-1]).clamp(min=0) * shape[-1]
            travel[where] = (_between(target, passed, grid) + beyond).to(travel.dtype)
        return travel

    def _staircase(self, start: Tensor, n: Tensor, branch: Branch) -> Tensor:
        """Travel of cells that all stand at ``start``: one walk serves them all."""
        step, bend = branch.step, branch.bend
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
        self._tensors: dict[Any, list[tuple[Tensor, Tensor]]] = {}
        for name, (_, steps) in zip(("up", "down"), self._rows, strict=True):
            if min(steps) <= 0 or max(steps) > 1:
                raise ValueError(f"the steps {name} must lie above 0 and be at most the range")

    def nominal(self, direction: Literal["up", "down"]) -> tuple[float, float]:
        """(first step, 0 for LTP and 1 for LTD)."""
        down = direction == "down"
        return self._rows[down][1][0], float(down)

    def shape(self, travel: Float[Tensor, "cells"], bend: Tensor) -> Float[Tensor, "cells"]:
        """Linear interpolation of the branch's steps."""
        place = (travel.dtype, travel.device)
        if place not in self._tensors:  # by dtype and device: pulses come one by one
            self._tensors[place] = [
                (travel.new_tensor(at), travel.new_tensor(steps) / steps[0]) for at, steps in self._rows
            ]
        up, down = (_between(travel, *row) for row in self._tensors[place])
        return up.where(bend < 0.5, down)

    def terms(self, direction: Literal["up", "down"]) -> list[float]:
        """Travels, then the steps there in units of the first; the last of each as often as needed."""
        at, steps = self._rows[direction == "down"]
        short = max(len(row) for row, _ in self._rows) - len(at)
        return [*at, *at[-1:] * short, *(step / steps[0] for step in [*steps, *steps[-1:] * short])]


def places(x: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """(point on the right, share of the way to it from the one on its left), within the points."""
    import torch  # not above: reading a card takes no torch

    x = x.clamp(at[0], at[-1]).contiguous()
    right = torch.searchsorted(at, x).clamp(1, len(at) - 1)
    return right, (x - at[right - 1]) / (at[right] - at[right - 1]).clamp(min=1e-300)


def _between(x: Tensor, at: Tensor, y: Tensor) -> Tensor:
    """Linear interpolation of y(at), flat outside."""
    right, share = places(x, at)
    return y[right - 1] + share * (y[right] - y[right - 1])


def _each(branch: Branch, like: Tensor) -> tuple[Tensor, Tensor]:
    """(step, bend) of every cell."""
    return branch.step.expand_as(like), branch.bend.expand_as(like)
