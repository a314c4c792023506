"""The tables of the page: every cell as people read it, beside the exact number it stands for."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from hwtrain.analysis.estimate import estimate
from hwtrain.cards import Card, SynapseCard, card_id
from hwtrain.config import TrainConfig
from hwtrain.report.quantities import (
    NONE,
    UNKNOWN,
    UNSEEN,
    accuracy,
    count,
    duration,
    interval,
    quantity,
    share,
    signed,
    surface,
)
from hwtrain.report.run_folder import LayerCounts, Role, RunFolder, Trial
from hwtrain.training.cost import PulseCost, mean, mean_cost, total

RESULT_COLUMNS = (
    "Accuracy, %",
    "Difference to software backprop, points",
    "Pulses",
    "Clipped share",
    "Pulse energy",
    "Pulse time",
    "Endurance used",
    "Wall time a trial",
)
LAYER_COLUMNS = (
    "Pulses",
    "Clipped share",
    "Resets",
    "Pulse energy",
    "Pulse time",
    "Most pulses on one cell",
)
HARDWARE_COLUMNS = (
    "Area",
    "Energy of an inference",
    "Time of an inference",
    "Energy of a training step",
    "of which pulses",
    "Time of a training step",
)


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, the number behind it (None where there is none), a second line."""

    text: str
    value: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Row:
    """A row: what it is about, a line of detail, its cells."""

    label: str
    detail: str
    cells: list[Cell]


@dataclass(frozen=True)
class CardFacts:
    """A card's provenance and what it says of the device."""

    name: str
    title: str
    technology: str
    citation: str
    location: str
    licence: str
    kind: str
    verified: bool
    facts: list[tuple[str, str]]


def results(run: RunFolder) -> list[Row]:
    """The device beside its controls; a control that is the device itself has no row of its own."""
    names: dict[Role, tuple[str, str]] = {
        "device": (" + ".join(map(card_id, run.cards)), f"device, {run.config.rule}"),
        "baseline": ("software backprop", "control"),
        "shallow": ("shallow", "control: hidden layers frozen"),
    }
    return [Row(*names[role], _result(run, role)) for role in names if run.of(role)]


def _result(run: RunFolder, role: Role) -> list[Cell]:
    trials = run.of(role)
    found = estimate([trial.row.accuracy for trial in trials])
    cells = [Cell(accuracy(found), found.mean), _against_software(run, role)]
    if role == "device" and run.synapses:
        rows = [trial.row for trial in trials]
        cells += _cost([PulseCost(row.pulses, row.clipped, row.energy_J, row.pulse_time_s) for row in rows])
        used = mean(row.endurance_used for row in rows)
        unseen = any(layer.wear is None for trial in trials for layer in trial.epochs[-1].layers.values())
        cells.append(Cell((UNSEEN if unseen else UNKNOWN) if used is None else share(used), used))
    else:
        cells += [Cell(NONE)] * 5
    wall = statistics.fmean(trial.row.wall_s for trial in trials)
    return [*cells, Cell(duration(wall), wall)]


def _against_software(run: RunFolder, role: Role) -> Cell:
    """The difference to software backprop, seed by seed."""
    # A run whose device is software backprop is its own control.
    control: Role = "baseline" if run.of("baseline") else "device"
    baseline = {trial.row.seed: trial.row.accuracy for trial in run.of(control)}
    paired = [
        trial.row.accuracy - baseline[trial.row.seed] for trial in run.of(role) if trial.row.seed in baseline
    ]
    if role == control or not paired:
        return Cell(NONE)
    found = estimate(paired)
    return Cell(signed(found.mean), found.mean, interval(found))


def _cost(trials: list[PulseCost]) -> list[Cell]:
    """Pulses, clipped share, energy and time of training one trial, mean over seeds."""
    found = mean_cost(trials)
    return [
        Cell(count(found.pulses), found.pulses),
        Cell(share(found.clipped_share), found.clipped_share),
        Cell(quantity(found.energy_J, "J"), found.energy_J),
        Cell(duration(found.time_s), found.time_s),
    ]


def layers(run: RunFolder) -> list[Row]:
    """What the pulses of each layer came to, mean over seeds; the worn cell is the worst of all."""
    devices = run.of("device")
    return [
        Row(path, card_id(run.card_of(path)), _layer(devices, path)) for path in devices[0].epochs[-1].layers
    ]


def _layer(trials: list[Trial], path: str) -> list[Cell]:
    found: list[LayerCounts] = [trial.epochs[-1].layers[path] for trial in trials]
    pulses, clipped, *others = _cost([PulseCost(f.pulses, f.clipped, f.energy_J, f.time_s) for f in found])
    resets = statistics.fmean(f.resets for f in found)
    return [pulses, clipped, Cell(count(resets), resets), *others, _worn(found)]


def _worn(found: list[LayerCounts]) -> Cell:
    """The most pulses on one cell; unknown where the cells stand in a laboratory."""
    known = [one.wear for one in found if one.wear is not None]
    if len(known) < len(found):
        return Cell(UNSEEN)
    wear, endurance = max(known), found[0].endurance
    worn = "" if endurance is None else f"{share(wear / endurance)} of {count(endurance)}"
    return Cell(count(wear), wear, worn)


def hardware(run: RunFolder) -> list[Row]:
    """What each layer takes as hardware, mean over seeds, and all of them; none if no card says anything."""
    devices = run.of("device")
    rows = []
    every: list[list[float | None]] = []
    for path in devices[0].epochs[-1].layers:
        found = [one for trial in devices if (one := trial.epochs[-1].layers[path].hardware) is not None]
        values = [
            mean(one.area_m2 for one in found),
            mean(one.inference_J for one in found),
            mean(one.inference_s for one in found),
            mean(one.step_J for one in found),
            mean(one.parts_J["pulses"] for one in found),
            mean(one.step_s for one in found),
        ]
        every.append(values)
        rows.append(Row(path, card_id(run.card_of(path)), _hardware(values)))
    if not any(value is not None for values in every for value in values):
        return []
    if len(every) > 1:
        together = [total(column) for column in zip(*every, strict=True)]
        rows.append(Row("all", "one after another", _hardware(together)))
    return rows


def _hardware(values: list[float | None]) -> list[Cell]:
    area, *others = values
    shown = [surface(area), *(quantity(v, "J") for v in others)]
    for at in (2, 5):
        shown[at] = duration(values[at])
    return [Cell(text, value) for text, value in zip(shown, values, strict=True)]


def card_facts(run: RunFolder) -> list[CardFacts]:
    """Provenance of every card of the device."""
    return [_card_facts(name, found) for name, found in run.cards.items()]


def _card_facts(name: str, found: Card) -> CardFacts:
    source = found.provenance
    facts = _synapse_facts(found) if isinstance(found, SynapseCard) else []
    return CardFacts(
        card_id(name),
        found.device.title,
        found.device.technology,
        source.citation,
        source.location,
        source.licence,
        source.kind.replace("-", " "),
        source.verified,
        facts,
    )


def _synapse_facts(found: SynapseCard) -> list[tuple[str, str]]:
    """Range and on/off ratio, then every key that the card gives, under its own name."""
    low, high = found.range.g_min_S, found.range.g_max_S
    stand_in = f" ({found.range.stand_in}: a stand-in)" if found.range.stand_in else ""
    facts = [("range", f"{quantity(low, 'S')} to {quantity(high, 'S')}{stand_in}")]
    if found.range.on_off is not None:
        facts.append(("on/off", f"{found.range.on_off:.3g}"))
    given = dict(found.response)
    for part in (found.variation, found.read, found.faults, found.pulse):
        given |= part.model_dump(exclude_unset=True)
    scattered = found.range.model_dump(exclude_defaults=True)
    given |= {key: value for key, value in scattered.items() if key.endswith("_dtod")}
    return facts + [(key, shown(value)) for key, value in given.items() if value is not None]


def settings(config: TrainConfig) -> list[tuple[str, str, str]]:
    """Key, value and meaning of every setting."""
    return [
        (name, shown(getattr(config, name)), field.description or "")
        for name, field in type(config).model_fields.items()
    ]


def shown(value: Any) -> str:
    """A setting as people write it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={part}" for key, part in value.items())
    return str(value)
