"""Which property of a device limits what a net learns on it, and how good it would have to be.

Every property of the card is moved by itself: made ideal, and made twice as bad. Where ideal brings the
accuracy to the target and the card alone does not, the smallest of four moves that does is looked for. All
accuracies are means over the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hwtrain.analysis.estimate import Estimate, estimate
from hwtrain.cards import SynapseCard
from hwtrain.errors import ConfigError
from hwtrain.strict_toml import dump
from hwtrain.synapse.laws.cdf_table import means

Score = Callable[[str, SynapseCard], list[float]]
"""(what is tried, card) to accuracies by seed, fractions."""
MOVES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the way from the card's value to the ideal one."""
_FINER = 8
"""An ideal device has so many times the card's levels."""
Values = dict[str, Any]


@dataclass(frozen=True)
class Property:
    """A property moved by itself.

    ``difference`` is paired with the card as it is; ``needed``: the value that reaches the target, None where
    no move does or none is needed.
    """

    name: str
    value: str
    ideal: str
    accuracy_ideal: float
    difference: Estimate
    accuracy_worse: float | None
    needed: str | None


@dataclass(frozen=True)
class Sensitivity:
    """The card's own accuracies (fractions) by seed, and its properties, the most limiting one first."""

    target: float
    accuracies: list[float]
    accuracy: Estimate
    properties: list[Property]

    @property
    def reached(self) -> bool:
        """Whether the card as it is reaches the target."""
        return self.accuracy.mean >= self.target

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [vars(row) | {"difference": vars(row.difference)} for row in self.properties]
        return vars(self) | {"accuracy": vars(self.accuracy), "reached": self.reached, "properties": rows}


def sensitivity(found: SynapseCard, target: float, score: Score) -> Sensitivity:
    """Move every property of the card; ``target`` is a fraction."""
    if not 0 < target < 1:
        raise ConfigError(f"--target {100 * target:g}: a percentage between 0 and 100")
    own = score("as it is", found)
    before = estimate(own)
    rows = []
    for name, move in KNOBS.items():
        best, now, worse = (_moved(found, move, share) for share in (1.0, 0.0, -1.0))
        if best is None or now is None or best[0] == now[0]:
            continue
        ideal = score(f"{name}, ideal", best[0])
        bad = None
        if worse is not None and worse[0] != now[0]:
            bad = estimate(score(f"{name}, twice as bad", worse[0])).mean
        mean, needed = estimate(ideal).mean, None
        if before.mean < target <= mean:
            needed = best[1]
            # More of the way is taken to be no worse, so that two looks decide among three moves.
            low, high = 0, len(MOVES) - 1
            while low < high:
                middle = (low + high) // 2
                tried = _moved(found, move, MOVES[middle])
                name_ = f"{name}, {MOVES[middle]:.0%} of the way"
                if tried and estimate(score(name_, tried[0])).mean >= target:
                    needed, high = tried[1], middle
                else:
                    low = middle + 1
        gain = estimate([a - b for a, b in zip(ideal, own, strict=True)])
        rows.append(Property(name, now[1], best[1], mean, gain, bad, needed))
    rows.sort(key=lambda row: -row.difference.mean)
    return Sensitivity(target, own, before, rows)


def to_toml(found: SynapseCard) -> str:
    """A card as a file that reads back as the same card."""
    plain = found.model_dump(by_alias=True, exclude_none=True)
    return dump({name: part for name, part in plain.items() if part != {}})


def _moved(
    found: SynapseCard, move: Callable[[Values, float], str | None], share: float
) -> tuple[SynapseCard, str] | None:
    """The card with a property ``share`` of the way to ideal, and its value; None where there is none."""
    values = found.model_dump(by_alias=True, exclude_none=True)
    values.pop("expect", None)
    said = move(values, share)
    if said is None:
        return None
    try:
        return SynapseCard.model_validate(values), said
    except ValueError:  # twice as bad is more than a card may say
        return None


def _nonlinearity(card: Values, share: float) -> str | None:
    response, left = card["response"], 1 - share
    if "label_up" in response:
        for way in ("up", "down"):
            response[f"label_{way}"] = _sound(response[f"label_{way}"] * left)
        shown = response["label_up"], response["label_down"]
        return f"labels {shown[0]:.3g}/{shown[1]:.3g}"
    if "curvature_up" in response:
        for way in ("up", "down"):
            bend = response[f"curvature_{way}"]
            to = min(bend * left, 1.0)
            response[f"curvature_{way}"] = to
            response[f"step_{way}"] *= (1 - bend / 2) / (1 - to / 2)  # the middle step stays
        return f"curvatures {response['curvature_up']:.3g}/{response['curvature_down']:.3g}"
    return None


def _levels(card: Values, share: float) -> str | None:
    response = card["response"]
    factor = 1 + (_FINER - 1) * share if share >= 0 else 0.5
    if "levels_up" in response:
        for way in ("up", "down"):
            response[f"levels_{way}"] = min(max(2, round(response[f"levels_{way}"] * factor)), 1 << 16)
        return f"{response['levels_up']}/{response['levels_down']} levels"
    if "step_up" in response:
        for way in ("up", "down"):
            response[f"step_{way}"] /= factor
        return f"steps {response['step_up']:.3g}/{response['step_down']:.3g}"
    return None


def _shrinks(table: str, keys: tuple[str, ...], shown: str) -> Callable[[Values, float], str | None]:
    """Values of a table that are 0 when ideal; ``shown`` names them."""

    def move(card: Values, share: float) -> str | None:
        part = card[table]
        here = {key: part[key] for key in keys if part.get(key)}
        if not here:
            return None
        part |= {key: value * (1 - share) for key, value in here.items()}
        return f"{shown} " + ", ".join(f"{key} {part[key]:.3g}" for key in here)

    return move


def _cycles(card: Values, share: float) -> str | None:
    """Scatter from cycle to cycle: of the card, and of a table that draws its steps."""
    said = _shrinks("variation", ("c2c_rel_range", "c2c_rel_step"), "c2c")(card, share)
    table = card["response"]
    if not table.get("p"):
        return said
    for name in ("up_quantiles", "down_quantiles"):
        middle = means(table["p"], table[name])
        table[name] = [
            [m + (q - m) * (1 - share) for m, q in zip(middle, row, strict=True)] for row in table[name]
        ]
    return ", ".join([f"{1 - share:.3g} of the steps' scatter", *([said] if said else [])])


def _converters(card: Values, share: float) -> str | None:
    read = card["read"]
    here = [key for key in ("dac_bits", "adc_bits") if key in read]
    if not here:
        return None
    for key in here:
        read[key] = max(2, round(read[key] + share * (16 - read[key])) if share >= 0 else read[key] - 1)
    return ", ".join(f"{key} {read[key]}" for key in here)


def _leak(card: Values, share: float) -> str | None:
    part = card.get("ageing", {})
    life = part.get("lifetime_steps")
    if life is None:
        return None
    if share == 1.0:
        del part["lifetime_steps"]
        return "lifetime without end"
    part["lifetime_steps"] = max(life / (1 - share), 1.001)
    return f"lifetime {part['lifetime_steps']:.3g} steps"


def _sound(label: float) -> float:
    return max(-9.0, min(9.0, label))


_SPREAD = ("step_dtod", "bias_dtod", "label_dtod")
KNOBS: dict[str, Callable[[Values, float], str | None]] = {
    "nonlinearity": _nonlinearity,
    "levels": _levels,
    "cycle-to-cycle": _cycles,
    "device-to-device, steps": _shrinks("variation", _SPREAD, "d2d"),
    "device-to-device, ends": _shrinks("range", ("g_min_dtod", "g_max_dtod"), "d2d"),
    "stuck cells": _shrinks("faults", ("stuck_on", "stuck_off", "stuck_random"), "share"),
    "read noise": _shrinks("read", ("noise_rel",), "sd"),
    "converters": _converters,
    "resistance of lines": _shrinks("read", ("line_ohm",), "ohm"),
    "leakage": _leak,
}
"""What can be moved: (values of the card, share of the way) changes them and says the value."""
