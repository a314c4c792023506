"""The piecewise law: steps at equally spaced conductances, and straight lines between them.

aihwkit's PiecewiseStep (``src/rpucuda/rpu_piecewisestep_device.cpp``): with nodes y_0 ... y_m from
g_min to g_max, a pulse at share g of the range steps by step y(g), where y is linear between the
nodes. LTP and LTD each have their nodes, both in the order of rising conductance. The step is a
share of the range: aihwkit's dw_min / (w_max - w_min).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hwtrain.cards import key
from hwtrain.strict_toml import Strict
from hwtrain.synapse.laws.base import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

Node = Annotated[float, Field(gt=0, le=1e6)]


class PiecewiseParams(Strict):
    """Steps at equally spaced conductances."""

    step_up: float = key("unit of up, share of the range", "mean LTP step", gt=0, le=1)
    step_down: float = key("unit of down, share of the range", "mean LTD step", gt=0, le=1)
    up: list[Node] = key("LTP steps from g_min to g_max", "mean step by conductance", min_length=2)
    down: list[Node] = key("LTD steps from g_min to g_max", "mean step by conductance", min_length=2)


class Piecewise(Table):
    """travel' = travel + step y(g)."""

    Params = PiecewiseParams

    def __init__(self, params: PiecewiseParams) -> None:
        self.params = params
        super().__init__(
            _even(params.up), [params.step_up * y for y in params.up],
            _even(params.down), [params.step_down * y for y in params.down],
        )  # fmt: skip


def _even(nodes: Sequence[float]) -> list[float]:
    return [number / (len(nodes) - 1) for number in range(len(nodes))]
