"""The table law: measured steps at measured conductances, and straight lines between them.

The raw dG(G) of a device, as in the jump tables of CrossSim and of Burr et al. (Sidler et al.,
ESSDERC 2016). Conductances and steps are shares of the range: 0 is g_min, 1 is g_max. A table has either
the mean step at each conductance, the scatter about it being the card's ``variation``; or the distribution,
as the step that a share p of all pulses does not exceed. Then every pulse draws its own:

    travel' = travel + dG(G, u),   u uniform in [0, 1), dG linear between the points in G and in p,

the first quantile below the first p and the last one above the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from hwtrain.cards import key
from hwtrain.strict_toml import Strict
from hwtrain.synapse.laws.base import Branch, Table, places

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

Step = Annotated[float, Field(gt=0, le=1)]
Quantile = Annotated[float, Field(ge=-1, le=1)]
Point = Annotated[float, Field(ge=0, le=1)]


class CdfTableParams(Strict):
    """Conductances, and the mean steps there or their distribution."""

    g: list[float] = key("conductances, shares of the range, from 0 to 1", "bin the response", min_length=2)
    up: list[Step] = key("mean LTP step at each of g, share of the range", "mean of a bin", default=[])
    down: list[Step] = key("mean LTD step at each of g, share of the range", "mean of a bin", default=[])
    p: list[Point] = key("shares of pulses, rising: where the distribution is known", "choose", default=[])
    up_quantiles: list[list[Quantile]] = key(
        "LTP steps that a share p of pulses does not exceed: for each p a row, in it a step for each of g",
        "sort the steps of a bin",
        default=[],
    )
    down_quantiles: list[list[Quantile]] = key(
        "the same of LTD steps, which count downwards: what lowers G is above 0",
        "sort the steps of a bin",
        default=[],
    )

    @model_validator(mode="after")
    def _rows(self) -> CdfTableParams:
        if self.g[0] != 0 or self.g[-1] != 1 or any(a >= b for a, b in pairwise(self.g)):
            raise ValueError("g must rise from 0 to 1: sort it, and write the ends of the range")
        if not self.p:
            if self.up_quantiles or self.down_quantiles:
                raise ValueError("quantiles have no p: write the shares of pulses that their rows stand for")
            if not len(self.g) == len(self.up) == len(self.down):
                raise ValueError(
                    f"g has {len(self.g)} conductances, up {len(self.up)} steps and down {len(self.down)}: "
                    "give one step for each conductance"
                )
            return self
        if self.up or self.down:
            raise ValueError("up and down follow from the quantiles: leave them out, or p and the quantiles")
        if len(self.p) < 2 or any(a >= b for a, b in pairwise(self.p)):
            raise ValueError("p must rise, and have two points or more: sort it")
        for name, rows in (("up", self.up_quantiles), ("down", self.down_quantiles)):
            if len(rows) != len(self.p) or any(len(row) != len(self.g) for row in rows):
                raise ValueError(
                    f"{name}_quantiles: a row for each of {len(self.p)} p, in it a step for each of "
                    f"{len(self.g)} g: mend the table"
                )
            for at, column in enumerate(zip(*rows, strict=True)):
                if any(a > b for a, b in pairwise(column)):
                    raise ValueError(f"{name}_quantiles fall with p at g = {self.g[at]:g}: sort the steps")
            for at, mean in enumerate(means(self.p, rows)):
                if mean <= 0:
                    raise ValueError(
                        f"{name}_quantiles have a mean of {mean:.3g} at g = {self.g[at]:g}: pulses go "
                        "the way of their branch on average; narrow the range, or take wider bins"
                    )
        return self


class CdfTable(Table):
    """travel' = travel + dG(G), or drawn."""

    Params = CdfTableParams

    def __init__(self, params: CdfTableParams) -> None:
        self.params = params
        up, down = params.up, params.down
        if params.p:
            up, down = means(params.p, params.up_quantiles), means(params.p, params.down_quantiles)
        super().__init__(params.g, up, params.g, down)
        fallen = [row[::-1] for row in params.down_quantiles]
        firsts = up[0], down[-1]
        self._spread = [  # in units of the first mean step, nodes in the order of travel
            [[step / first for step in row] for row in rows]
            for rows, first in zip((params.up_quantiles, fallen), firsts, strict=True)
        ]
        self._quantiles: dict[Any, tuple[Tensor, list[tuple[Tensor, Tensor]]]] = {}

    @property
    def draws(self) -> bool:
        """Whether the table has the distribution."""
        return bool(self.params.p)

    def drawn(
        self,
        travel: Float[Tensor, "cells"],
        n: Int[Tensor, "cells"],
        branch: Branch,
        lots: Callable[[int, Int[Tensor, "some"]], Float[Tensor, "some"]],
    ) -> Float[Tensor, "cells"]:
        """Pulse by pulse."""
        step, bend = branch.step.expand_as(travel), branch.bend.expand_as(travel)
        travel = travel.clamp(0, 1)
        going = (n > 0).nonzero()[:, 0]
        done = 0
        while going.numel() > 0:
            size = step[going] * self._quantile(travel[going], lots(done, going), bend[going])
            travel[going] = (travel[going] + size).clamp(0, 1)
            done += 1
            going = going[n[going] > done]
        return travel

    @property
    def spread(self) -> float:
        """Root of the mean variance over the range and both branches."""
        p, g = self.params.p, self.params.g
        both = (self.params.up_quantiles, self.params.down_quantiles) if self.draws else ()
        total = 0.0
        for rows in both:
            columns = zip(*rows, strict=True)
            at = [_mean(p, column, square=True) - _mean(p, column) ** 2 for column in columns]
            total += sum(
                (b - a) * (x + y) / 2 for (a, b), (x, y) in zip(pairwise(g), pairwise(at), strict=True)
            )
        return math.sqrt(max(total, 0.0) / 2)

    def terms(self, direction: Literal["up", "down"]) -> list[float]:
        """Of a distribution how many p, p, the mean law's terms, and row by row the steps in its unit."""
        mean = super().terms(direction)
        if not self.draws:
            return mean
        p, rows = self.params.p, self._spread[direction == "down"]
        return [len(p), *p, *mean, *(step for row in rows for step in row)]

    def _quantile(self, travel: Tensor, u: Tensor, bend: Tensor) -> Tensor:
        """dG at this travel and u, in units of the first mean step."""
        place = (travel.dtype, travel.device)
        if place not in self._quantiles:
            self._quantiles[place] = (
                travel.new_tensor(self.params.p),
                [
                    (travel.new_tensor(at), travel.new_tensor(steps))
                    for (at, _), steps in zip(self._rows, self._spread, strict=True)
                ],
            )
        p, both = self._quantiles[place]
        above, part = places(u, p)
        found = []
        for at, rows in both:
            right, share = places(travel, at)
            low, high = (
                rows[k, right - 1] + share * (rows[k, right] - rows[k, right - 1]) for k in (above - 1, above)
            )
            found.append(low + part * (high - low))
        up, down = found
        return up.where(bend < 0.5, down)


def means(p: list[float], rows: list[list[float]]) -> list[float]:
    """The mean of the steps that are drawn at each conductance."""
    return [_mean(p, column) for column in zip(*rows, strict=True)]


def _mean(p: list[float], steps: tuple[float, ...], *, square: bool = False) -> float:
    """Integral over u of the step, or of its square, linear between the points and flat outside."""
    total = p[0] * steps[0] ** (1 + square) + (1 - p[-1]) * steps[-1] ** (1 + square)
    for (low, high), (a, b) in zip(pairwise(p), pairwise(steps), strict=True):
        total += (high - low) * ((a * a + a * b + b * b) / 3 if square else (a + b) / 2)
    return total
