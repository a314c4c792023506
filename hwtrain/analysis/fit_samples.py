"""Cards that the data of a fit would have given as well: every number drawn from its interval.

A card from ``hwtrain devices fit`` has half widths of 95 % intervals in [uncertainty]. A sample moves each
of those numbers by half/1.96 times a standard normal of its own, which leaves correlations between them out;
draws that make no card, such as an end that passes the other, are drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import SynapseCard
from hwtrain.errors import ConfigError

_Z = 1.959964
_TRIES = 200


def sampled(card: SynapseCard, number: int) -> SynapseCard:
    """Sample ``number`` of a card; the same number is the same sample.

    Raises ConfigError where the intervals hardly hold a card.
    """
    draws = Streams(number).stream(Purpose.FIT_SAMPLE)
    for attempt in range(_TRIES):
        values = card.model_dump(by_alias=True, exclude_none=True)
        values.pop("expect", None)
        off = draws.at(attempt).normal(len(card.uncertainty))
        for xi, (name, half) in zip(off.tolist(), card.uncertainty.items(), strict=True):
            table, _, field = name.partition(".")
            old = values[table][field]
            moved = old + half / _Z * xi
            values[table][field] = max(2, round(moved)) if isinstance(old, int) else moved
        try:
            return SynapseCard.model_validate(values)
        except ValueError:
            continue
    raise ConfigError(f"{card.device.title}: its intervals are so wide that they hold no card: measure more")


def interval(values: Sequence[float | None]) -> tuple[float, float] | None:
    """The middle 95 % of what samples say; None where one of them says nothing."""
    known = [value for value in values if value is not None]
    if len(known) < max(len(values), 2):
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
