"""Holds a card to what was published about it, on a simulated response."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import Card, SynapseCard, check_expectations, without_scatter
from hwtrain.errors import CardError
from hwtrain.synapse.conductances import Conductances
from hwtrain.synapse.label import UNIT

_POINTS = 256
_NEAR_END = 0.02
"""Share of the range by which a response may miss an end."""
_LABEL_OFF = 0.1


def sweep(card: SynapseCard, way: Literal["up", "down"]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pulses and conductances in siemens of the typical device, from one end of its range to the other.

    At most 256 points: a device of more pulses gets them in equal bursts.
    """
    streams, cpu = Streams(0), torch.device("cpu")
    cells = Conductances(without_scatter(card), (1,), streams, 0, torch.float64, cpu)
    where, draws = torch.zeros(1, dtype=torch.long), streams.stream(Purpose.PULSE)
    start = 0.0 if way == "up" else 1.0
    cells.g = torch.full_like(cells.g, start)
    needed = int(cells.pulses_to(torch.ones(1, dtype=torch.float64), way)) + 1
    burst = -(-needed // _POINTS)
    pulses = np.arange(0, needed + burst, burst)
    found = [float(cells.siemens()[0])]
    for number in range(1, len(pulses)):
        cells.pulse(where, torch.tensor([burst if way == "up" else -burst]), draws.at(number))
        found.append(float(cells.siemens()[0]))
    return pulses, np.array(found)


def check_card(name: str, card: Card) -> None:
    """Hold a card, and the response that it makes, to the published figures; CardError if it misses them."""
    check_expectations(name, card)
    if not isinstance(card, SynapseCard) or not card.response:
        return
    low, high = card.range.g_min_S, card.range.g_max_S
    reached = {}
    for way in ("up", "down"):
        pulses, response = sweep(card, way)
        reached[way] = response[-1]
        missed = abs(response[-1] - (high if way == "up" else low)) / (high - low)
        if missed > _NEAR_END:
            raise CardError(
                f"{name}: {pulses[-1]} pulses {way} end {missed:.1%} of the range short: "
                f"look at the steps of response, or at range"
            )
        if pulses[1] == 1:
            _check_label(name, card, way, response)
    simulated = {"on_off": reached["up"] / reached["down"], "r_on_ohm": 1 / reached["up"]}
    for key, value in simulated.items():
        published = getattr(card.expect, key)
        if published is not None and abs(value / published - 1) > 2 * _NEAR_END:
            raise CardError(
                f"{name}: the simulated response gives {key} = {value:.4g}; expect.{key} is {published:.4g}"
            )


def _check_label(
    name: str, card: SynapseCard, way: Literal["up", "down"], response: NDArray[np.float64]
) -> None:
    """The label that the simulated curve has, against the one that the card gives."""
    given, levels = card.response.get(f"label_{way}"), card.response.get(f"levels_{way}")
    if given is None or levels is None:
        return
    travel = np.abs(response[: levels + 1] - response[0]) / (card.range.g_max_S - card.range.g_min_S)
    off = travel - np.arange(len(travel)) / levels
    size = float(np.abs(off).max() / UNIT)
    bent = size if off[np.abs(off).argmax()] > 0 else -size
    label = bent if way == "up" else -bent
    if abs(label - given) > _LABEL_OFF:
        raise CardError(
            f"{name}: the simulated response has label {label:.3g} {way}, the card says {given:g}"
        )
