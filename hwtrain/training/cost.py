"""What pulses cost: energy, time and endurance, derived from the ledger's counts and the cards.

A card without the constants gives None; nothing is assumed in their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


@dataclass(frozen=True)
class MeanCost:
    """The cost of one trial, mean over several; the share is that of all their pulses."""

    pulses: float
    clipped_share: float | None
    energy_J: float | None
    time_s: float | None


def mean_cost(trials: Sequence[PulseCost]) -> MeanCost:
    """What training one of the trials came to."""
    pulses, clipped = sum(trial.pulses for trial in trials), sum(trial.clipped for trial in trials)
    return MeanCost(
        pulses / len(trials),
        clipped / pulses if pulses else None,
        mean(trial.energy_J for trial in trials),
        mean(trial.time_s for trial in trials),
    )


def total(values: Iterable[float | None]) -> float | None:
    """The sum; None when there is nothing to add up or any part is unknown."""
    every = list(values)
    known = [value for value in every if value is not None]
    return sum(known) if every and len(known) == len(every) else None


def mean(values: Iterable[float | None]) -> float | None:
    """The mean; None as for the total."""
    every = list(values)
    found = total(every)
    return None if found is None else found / len(every)


def pulse_cost(ledger: Ledger, layer: str, card: SynapseCard) -> PulseCost:
    """The cost of one array's training pulses; those of refreshes and of loads in training too.

    How many cells are loaded at a time is not known, and so neither is the time.
    """
    counts, loads = ledger.of("train", layer, "write"), ledger.of("train", layer, "load")
    loaded = loads["pulses_up"] + loads["pulses_down"]
    up, down = (counts[way] + loads[way] for way in ("pulses_up", "pulses_down"))
    return PulseCost(
        up + down,
        counts["clipped"],
        _energy(up, down, card),
        None if loaded else _time(up, down, counts["slots"], card),
    )


def _energy(up: int, down: int, card: SynapseCard) -> float | None:
    """The energy of every pulse; None where that of one that was sent is not known."""
    one = (card.pulse_energy_J("up"), up), (card.pulse_energy_J("down"), down)
    used = [None if energy is None else energy * n for energy, n in one if n > 0]
    return total(used) if used else 0.0


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
