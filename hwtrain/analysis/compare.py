"""Cards side by side: what they say of a device, and what a net learns on each."""

from __future__ import annotations

import math
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from hwtrain.analysis.estimate import Estimate, estimate
from hwtrain.analysis.fit_samples import interval, sampled
from hwtrain.analysis.sensitivity import to_toml
from hwtrain.cards import SynapseCard, card, card_id
from hwtrain.config import TrainConfig, make_config
from hwtrain.errors import ConfigError
from hwtrain.files import write_file
from hwtrain.registry import lookup
from hwtrain.synapse.label import UNIT, label_of_rate
from hwtrain.synapse.laws.base import Law
from hwtrain.training.array_cost import Layout
from hwtrain.training.cost import mean
from hwtrain.training.loop import run, run_quickest
from hwtrain.training.metrics import Result

Way = Literal["up", "down"]
Progress = Callable[[str, int, int], None]

ARRAY = (1, 128, 128)
"""The array whose read is compared: groups, outputs, inputs."""
UNCERTAIN = (
    "on_off",
    "levels_up",
    "levels_down",
    "label_up",
    "label_down",
    "asymmetry",
    "symmetry_point",
    "c2c",
    "energy_up_J",
    "energy_down_J",
)
"""Figures that have an interval where a card was fitted."""
_LONGEST = 1 << 20
"""Pulses after which a branch is said never to arrive."""
_ARRIVED = 1 - 1e-6
_LEFT = 1e-9
"""Share of its first step below which a branch has none left."""
_GRID = 2001
_D2D = {"range": ("g_min_dtod", "g_max_dtod"), "variation": ("step_dtod", "bias_dtod", "label_dtod")}


@dataclass(frozen=True)
class Facts:
    """What a card says; None is what it does not say, or what its law does not have.

    ``levels``: pulses over the range (None: it never arrives). ``label``: NeuroSim's, of that curve.
    ``asymmetry`` = |label_up - label_down|. ``symmetry_point``: the weight, -1 at g_min and 1 at g_max, at
    which the steps up and down are equal. ``c2c``: sd of one pulse, share of the range. ``d2d``: the card's
    keys. ``energy``: V^2 G t of one pulse at mid-range, or the measured one. ``read_J``, ``read_s``,
    ``area_m2``: of an array of 128 x 128 weights in the cell that the card advises.
    """

    id: str
    title: str
    law: str
    on_off: float | None
    levels_up: float | None
    levels_down: float | None
    label_up: float | None
    label_down: float | None
    asymmetry: float | None
    symmetry_point: float | None
    c2c: float | None
    d2d: dict[str, float] | None
    energy_up_J: float | None
    energy_down_J: float | None
    read_J: float | None
    read_s: float | None
    area_m2: float | None
    provenance: str
    citation: str
    verified: bool
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Of figures above, the middle 95 % over cards that the data of its fit would have given as well."""


@dataclass(frozen=True)
class Trained:
    """Accuracies (fractions) by seed of a card under an update, or of a control (``update`` is None).

    ``difference``: paired with the same seeds of the first card under the same update; of a control, with
    the first row. ``engine``: which one really ran.
    """

    id: str
    update: str | None
    accuracies: list[float]
    accuracy: Estimate
    difference: Estimate | None
    pulses: float | None
    energy_J: float | None
    engine: str


@dataclass(frozen=True)
class Comparison:
    """Facts of every card, and accuracies if they were trained."""

    facts: list[Facts]
    trained: list[Trained]
    config: TrainConfig | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        settings = (
            None if self.config is None else self.config.model_dump(exclude={"device", "update", "engine"})
        )
        trained = [
            vars(row)
            | {"accuracy": vars(row.accuracy), "difference": row.difference and vars(row.difference)}
            for row in self.trained
        ]
        return {"cards": [vars(one) for one in self.facts], "settings": settings, "trained": trained}


def facts(name: str, samples: int = 0) -> Facts:
    """What the card ``name`` says; ConfigError for one that is no synapse.

    ``samples``: cards that are drawn from the intervals of a fit.
    """
    found = synapse(name)
    said = _facts(name, found)
    if samples == 0 or not found.uncertainty:
        return said
    drawn = [_facts(name, sampled(found, number)) for number in range(samples)]
    ranges = {key: interval([getattr(one, key) for one in drawn]) for key in UNCERTAIN}
    return replace(said, intervals={key: value for key, value in ranges.items() if value is not None})


def _facts(name: str, found: SynapseCard) -> Facts:
    law, spread = found.law(), found.variation
    levels = {way: _levels(law, way) for way in ("up", "down")}
    labels = {way: _label(found, law, way, levels[way]) for way in ("up", "down")}
    up, down = labels["up"], labels["down"]
    given = {key for key in ("c2c_rel_range", "c2c_rel_step") if key in spread.model_fields_set}
    middle = (_middle(law, "up") + _middle(law, "down")) / 2
    d2d = {
        key: float(getattr(getattr(found, table), key))
        for table, keys in _D2D.items()
        for key in keys
        if key in getattr(found, table).model_fields_set
    }
    array = Layout(found, ARRAY, lookup("cells", found.cell.kind).branches)
    return Facts(
        card_id(name),
        found.device.title,
        str(found.response["law"]),
        found.range.on_off,
        levels["up"],
        levels["down"],
        up,
        down,
        None if up is None or down is None else abs(up - down),
        _symmetry(law),
        math.hypot(spread.c2c_rel_range, spread.c2c_rel_step * middle, law.spread)
        if given or law.draws
        else None,
        d2d or None,
        found.pulse_energy_J("up"),
        found.pulse_energy_J("down"),
        array.read().energy_J,
        array.read().time_s,
        array.area_m2,
        found.provenance.kind,
        found.provenance.citation,
        found.provenance.verified,
    )


def compare_cards(
    names: Sequence[str],
    *,
    train: bool = False,
    updates: Sequence[str] = (),
    workers: int = 1,
    fit_samples: int = 0,
    progress: Progress = lambda *_: None,
    **settings: Any,
) -> Comparison:
    """The facts of the cards and, if ``train``, what ``settings`` learn on each under each update.

    They learn on the native engine where it can, unless ``settings`` name one. ``fit_samples``: so many
    cards are drawn from the intervals of each that was fitted; when trained, every seed takes the
    next of them, so that the spread over seeds holds what the fit does not know.
    """
    if len(set(map(card_id, names))) < len(names):
        raise ConfigError("compare: two cards have the same name: rename one, or leave it out")
    if not names:
        raise ConfigError("compare: no card is named: name one or more")
    if fit_samples and not any(synapse(name).uncertainty for name in names):
        raise ConfigError(
            f"--fit-samples {fit_samples}: no effect: no card of these has [uncertainty], which hwtrain "
            "devices fit writes: leave it out"
        )
    if fit_samples < 0 or fit_samples == 1:
        raise ConfigError(f"--fit-samples {fit_samples}: an interval needs at least 2: give more")
    found = [facts(name, fit_samples) for name in names]
    if not train:
        return Comparison(found, [], None)
    tried = list(updates) or [make_config(**settings).update]
    if len(set(tried)) < len(tried):
        raise ConfigError("update: the same one twice: leave one out")
    planned = [
        (name, update, make_config(**{**settings, "device": name, "update": update}))
        for update in tried
        for name in names
    ]
    rows: list[Trained] = []
    controls: list[tuple[str, list[float]]] = []
    firsts: dict[str, list[float]] = {}
    config = planned[0][2]
    for name, update, wanted in planned:
        how = {"workers": workers, "controls": not rows, "progress": progress}
        results = _trained(wanted, run if "engine" in settings else run_quickest, fit_samples, **how)
        trials = [trial for result in results for trial in result.trials]
        if not rows:
            config = wanted
            labels = {"baseline": "software backprop", "shallow": "shallow"}
            controls = [(label, _by_seed(trials, role)) for role, label in labels.items()]
        values = _by_seed(trials, "device")
        first = firsts.setdefault(update, values)
        other = None if first is values else _paired(values, first)
        pulses, energy = mean(result.pulses for result in results), mean(r.energy_J for r in results)
        engine = results[0].config.engine
        rows.append(Trained(card_id(name), update, values, estimate(values), other, pulses, energy, engine))
    rows += [
        Trained(
            label,
            None,
            values,
            estimate(values),
            _paired(values, rows[0].accuracies),
            None,
            None,
            rows[0].engine,
        )
        for label, values in controls
    ]
    return Comparison(found, rows, config)


def _trained(wanted: TrainConfig, run: Callable[..., Result], fit_samples: int, **how: Any) -> list[Result]:
    """One run over the seeds; of a fitted card that is sampled one run a seed, each with its own card."""
    name = str(wanted.device)
    found = synapse(name)
    if not (fit_samples and found.uncertainty):
        return [run(wanted, **how)]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(wanted.seeds):
            file = Path(folder) / f"{card_id(name)}.toml"
            write_file(file, to_toml(sampled(found, number % fit_samples)))
            seed = wanted.model_copy(update={"device": str(file), "seed": wanted.seed + number, "seeds": 1})
            results.append(run(seed, **how))
    return results


def synapse(name: str) -> SynapseCard:
    """A synapse's card."""
    found = card(name)
    if not isinstance(found, SynapseCard):
        raise ConfigError(f"{name}: a card of kind {found.kind} has no pulse response: choose a synapse")
    if not found.response:
        raise ConfigError(
            f"{name}: this card knows writing and reading alone, no pulses: use it with hwtrain deploy"
        )
    return found


def _by_seed(trials: list[dict[str, Any]], role: str) -> list[float]:
    return [float(row["accuracy"]) for row in trials if row["role"] == role]


def _paired(these: list[float], those: list[float]) -> Estimate:
    return estimate([a - b for a, b in zip(these, those, strict=True)])


def _middle(law: Law, way: Way) -> float:
    return float(law.middle_step(law.typical(way)))


def _levels(law: Law, way: Way) -> int | None:
    """Fewest pulses over the range; None where no step is left at its end."""
    branch = law.typical(way)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    first, last = (law.advance(ends, torch.ones(2, dtype=torch.long), branch) - ends).tolist()
    if last < _LEFT * first:
        return None
    pulses = 64
    while pulses <= _LONGEST:
        travel = law.path(way, pulses)  # one walk, not one for every guess: laws may go pulse by pulse
        if travel[-1] >= _ARRIVED:
            return bisect_left(travel, _ARRIVED)
        pulses *= 2
    return None


def _label(found: SynapseCard, law: Law, way: Way, levels: float | None) -> float | None:
    """As the card says it, else from the curvature, else from the curve itself."""
    given = found.response.get(f"label_{way}")
    if given is not None:
        return float(given)
    sign = 1.0 if way == "up" else -1.0
    name = found.response["law"]
    if name == "linear":
        return 0.0
    if levels is None:
        return None  # a branch that never arrives has no whole curve
    if name == "affine":
        return sign * label_of_rate(-math.log1p(-law.nominal(way)[1]))
    curve = law.path(way, int(levels))
    off = max((g - at / levels for at, g in enumerate(curve)), key=abs)
    return float(sign * off / UNIT)


def _symmetry(law: Law) -> float | None:
    """Where the difference of the steps changes sign; None where it never does, or vanishes everywhere."""
    g = torch.linspace(0, 1, _GRID, dtype=torch.float64)
    one = torch.ones(_GRID, dtype=torch.long)
    up = law.advance(g, one, law.typical("up")) - g
    down = law.advance(1 - g, one, law.typical("down")) - (1 - g)
    off = up - down
    off = off.masked_fill(off.abs() < 1e-12, 0.0)  # what rounding leaves of equal steps
    turns = torch.nonzero(off[:-1] * off[1:] < 0).flatten()
    exact = torch.nonzero(off == 0).flatten()
    if len(turns) == 0:
        return 2 * float(g[exact[0]]) - 1 if len(exact) == 1 else None
    at = int(turns[0])
    share = float(off[at] / (off[at] - off[at + 1]))
    return 2 * float(g[at] + share * (g[at + 1] - g[at])) - 1
