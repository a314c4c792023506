"""What pulses cost: energy, time and endurance, derived from the ledger's counts and the cards.

A card without the constants gives None; nothing is assumed in their place.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwtrain.cards import SynapseCard
from hwtrain.ledger import Ledger


@dataclass(frozen=True)
class PulseCost:
    """Cost of the pulses of training."""

    pulses: int
    clipped: int
    energy_J: float | None
    time_s: float | None


def pulse_cost(ledger: Ledger, layer: str, card: SynapseCard) -> PulseCost:
    """The cost of one array's training pulses; those of refreshes are among them."""
    counts = ledger.of("train", layer, "write")
    up, down = counts["pulses_up"], counts["pulses_down"]
    return PulseCost(
        up + down,
        counts["clipped"],
        _energy(up, down, card),
        _time(up, down, counts["slots"], card),
    )


def _energy(up: int, down: int, card: SynapseCard) -> float | None:
    """V^2 G t at mid-range for every pulse, or the card's measured energy."""
    pulse = card.pulse
    if pulse.energy_J is not None:
        return (up + down) * pulse.energy_J
    conductance = (card.range.g_min_S + card.range.g_max_S) / 2
    total = 0.0
    for n, volt, second in (
        (up, pulse.v_up_V, pulse.t_up_s),
        (down, pulse.v_down_V, pulse.t_down_s),
    ):
        if n == 0:
            continue
        if volt is None or second is None:
            return None
        total += n * volt**2 * conductance * second
    return total


def _time(up: int, down: int, slots: int, card: SynapseCard) -> float | None:
    """Slots times the pulse width, LTP and LTD widths in the proportion of their pulses."""
    if up + down == 0:
        return 0.0
    total = 0.0
    for n, second in ((up, card.pulse.t_up_s), (down, card.pulse.t_down_s)):
        if n == 0:
            continue
        if second is None:
            return None
        total += slots * second * n / (up + down)
    return total
