"""The table law: measured mean steps at measured conductances, and straight lines between them.

The raw dG(G) of a device, as in the jump tables of CrossSim and of Burr et al. (Sidler et al.,
ESSDERC 2016), of whose distribution of dG this law takes the mean; the scatter about it is the
card's ``variation``. Conductances and steps are shares of the range: 0 is g_min, 1 is g_max.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from hwtrain.cards import key
from hwtrain.strict_toml import Strict
from hwtrain.synapse.laws.base import Table

Step = Annotated[float, Field(gt=0, le=1)]


class CdfTableParams(Strict):
    """Conductances and the mean steps there."""

    g: list[float] = key("conductances, shares of the range, from 0 to 1", "bin the response", min_length=2)
    up: list[Step] = key("mean LTP step at each of g, share of the range", "mean of a bin")
    down: list[Step] = key("mean LTD step at each of g, share of the range", "mean of a bin")

    @model_validator(mode="after")
    def _rows(self) -> CdfTableParams:
        if self.g[0] != 0 or self.g[-1] != 1 or any(a >= b for a, b in pairwise(self.g)):
            raise ValueError("g must rise from 0 to 1: sort it, and write the ends of the range")
        if not len(self.g) == len(self.up) == len(self.down):
            raise ValueError(
                f"g has {len(self.g)} conductances, up {len(self.up)} steps and down {len(self.down)}: "
                "give one step for each conductance"
            )
        return self


class CdfTable(Table):
    """travel' = travel + dG(G)."""

    Params = CdfTableParams

    def __init__(self, params: CdfTableParams) -> None:
        self.params = params
        super().__init__(params.g, params.up, params.g, params.down)
