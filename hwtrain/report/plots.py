"""The figures of a run: one function a figure, each with the table that it shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.ticker import NullLocator

from hwtrain.analysis.estimate import estimate
from hwtrain.analysis.trace import trace
from hwtrain.cards import SynapseCard, card_id
from hwtrain.cards.synapse import Faults, Variation
from hwtrain.report.figure import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    Plot,
    Table,
    blank,
    epochs_on,
    house_style,
    legend,
    percent,
    siemens,
)
from hwtrain.report.quantities import accuracy, quantity, share
from hwtrain.report.run_folder import Role, RunFolder, Trial
from hwtrain.report.speculation_plots import speculation_plots

ROLES: dict[Role, tuple[str, str, str, str]] = {
    "device": ("device", BLUE, "-", "o"),
    "baseline": ("software backprop", GREY, "--", "s"),
    "shallow": ("shallow", ORANGE, ":", "^"),
}
_LAYERS = [(c, m) for m in "os^D" for c in (BLUE, ORANGE, GREEN, PURPLE, GREY)]
_MARKED = 30
"""Epochs up to which every point has a marker."""
_TRACES = 2
"""Noisy devices beside the typical one; more of them hide one another."""
_ARRIVED, _LONGEST = 0.99, 1000
"""A law without levels is traced to this share of its range, or for so many pulses."""


def plots(run: RunFolder) -> list[Plot]:
    """Every figure that this run has data for; figures about conductance need a synapse."""
    with house_style():
        made = [accuracy_by_epoch(run)]
        made += [response(*named) for named in _distinct(run.synapses, card_id)]
        first = run.of("device")[0]
        made += [conductances(run, *named) for named in _distinct({p: p for p in first.histograms}, str)]
        if first.epochs[-1].layers:
            made.append(clipped_share(run))
        made += speculation_plots(run)
    return made


def _distinct(things: dict[str, Any], short: Callable[[str], str]) -> Iterator[tuple[str, Any]]:
    """(name fit for a file, thing); two that would share a name are numbered."""
    used: set[str] = set()
    for key, thing in things.items():
        name = plain = re.sub(r"[^\w.-]+", "-", short(key))
        number = 1
        while name.lower() in used:  # some file systems do not tell case apart
            name, number = f"{plain}-{number + 1}", number + 1
        used.add(name.lower())
        yield name, thing


def accuracy_by_epoch(run: RunFolder) -> Plot:
    """Mean over seeds by epoch for the device and its controls, with a band of one deviation."""
    figure, axes = blank("Accuracy by epoch")
    table: Table = {"epoch": list(range(1, run.config.epochs + 1))}
    said = []
    for role, (label, colour, dash, marker) in ROLES.items():
        if not (trials := run.of(role)):
            continue
        found = [estimate(values) for values in _by_epoch(trials)]
        mean, sd = [one.mean for one in found], [one.sd or 0.0 for one in found]
        mark = marker if run.config.epochs <= _MARKED else ""
        axes.plot(table["epoch"], mean, dash, color=colour, marker=mark, label=label)
        low, high = np.subtract(mean, sd), np.add(mean, sd)
        axes.fill_between(table["epoch"], low, high, color=colour, alpha=0.18, linewidth=0)
        table |= {f"{role}_mean": mean, f"{role}_sd": [one.sd for one in found]}
        said.append(f"{label} {accuracy(found[-1])} %")
    epochs_on(axes, run.config.epochs)
    axes.set_ylabel(f"accuracy ({run.result.eval_name} set)")
    percent(axes.yaxis)
    legend(figure, axes)
    band = "; bands: ± 1 sd" if len(run.of("device")) > 1 else ""
    caption = f"{_seeds(run)}{band}. The shallow control trains its readout alone."
    alt = f"Line plot of accuracy by epoch. At the end: {', '.join(said)}."
    return Plot("accuracy", "Accuracy by epoch", caption, alt, figure, table)


def _by_epoch(trials: list[Trial]) -> list[tuple[float, ...]]:
    return list(zip(*([e.accuracy for e in t.epochs] for t in trials), strict=True))


def response(name: str, card: SynapseCard) -> Plot:
    """LTP over the card's levels and LTD back: the typical device, and devices with their scatter."""
    up, down = _levels(card, "up"), _levels(card, "down")
    walk = partial(trace, card, up=up, down=down, start=-1.0)
    points = walk(noise_free=True)
    table: Table = {
        "pulse": [p.pulse for p in points],
        "direction": [p.direction for p in points],
        "typical_S": [p.conductance_S for p in points],
    }
    for seed in range(_TRACES if _varies(card) else 0):
        noisy = walk(seed=seed)
        table[f"with_variation_{seed}_S"] = [p.conductance_S for p in noisy]
    figure, axes = blank(f"Conductance response, {name}")
    axes.plot(table["pulse"], table["typical_S"], color=BLUE, label="typical", linewidth=2.2, zorder=3)
    for colour, column in zip((ORANGE, GREEN), list(table)[3:], strict=False):
        label = f"scatter, seed {len(axes.lines) - 1}"
        axes.plot(table["pulse"], table[column], color=colour, linewidth=0.9, label=label)
    axes.axvline(up, color=INK, linewidth=0.7, linestyle=(0, (2, 3)))
    siemens(axes.yaxis)
    axes.set_ylabel("conductance")
    axes.set_xlabel(f"pulse number (LTP up to {up}, then LTD)")
    axes.margins(x=0.02)
    legend(figure, axes)
    scatter = "" if _varies(card) else " The card gives no variation."
    ends = f"{quantity(card.range.g_min_S, 'S')} to {quantity(card.range.g_max_S, 'S')}"
    caption = f"{card.device.title}: {up} LTP pulses from the lowest conductance, then {down} LTD.{scatter}"
    alt = f"Line plot of conductance by pulse for {name}, which ranges from {ends}."
    return Plot(f"response-{name}", f"Conductance response, {name}", caption, alt, figure, table)


def _varies(card: SynapseCard) -> bool:
    ends = card.range.g_min_dtod or card.range.g_max_dtod
    return bool(ends) or card.variation != Variation() or card.faults != Faults()


def _levels(card: SynapseCard, direction: str) -> int:
    """The card's levels, or the pulses in which a law without levels has about arrived."""
    if levels := card.response.get(f"levels_{direction}"):
        return int(levels)
    start, end = (-1.0, 2 * _ARRIVED - 1) if direction == "up" else (1.0, 1 - 2 * _ARRIVED)
    path = trace(card, **{"up": 0, "down": 0, direction: _LONGEST}, start=start, noise_free=True)
    arrived = (p.pulse for p in path if (p.weight >= end if direction == "up" else p.weight <= end))
    return next(arrived, _LONGEST)


def conductances(run: RunFolder, name: str, layer: str) -> Plot:
    """Share of a layer's cells by conductance, before and after training, over all seeds."""
    found = [trial.histograms[layer] for trial in run.of("device")]
    edges = found[0].edges_S
    before = np.sum([h.before for h in found], axis=0)
    after = np.sum([h.after for h in found], axis=0)
    cells = max(int(before.sum()), 1)
    table: Table = {"low_S": edges[:-1], "high_S": edges[1:]}
    table |= {"before_cells": before.tolist(), "after_cells": after.tolist()}
    table |= {"before_share": (before / cells).tolist(), "after_share": (after / cells).tolist()}
    device = card_id(run.card_of(layer))
    figure, axes = blank(f"Conductances of {layer}")
    floor = 0.5 / cells  # below a single cell, where a logarithmic axis may end
    axes.set_yscale("log", nonpositive="clip")
    axes.stairs(
        table["before_share"],
        edges,
        baseline=floor,
        fill=True,
        color=GREY,
        alpha=0.45,
        label="before training",
    )
    axes.stairs(
        table["after_share"], edges, baseline=floor, color=BLUE, linewidth=1.5, label="after training"
    )
    axes.set_ylim(bottom=floor)
    axes.yaxis.set_minor_locator(NullLocator())
    siemens(axes.xaxis)
    axes.set_xlabel(f"conductance ({device})")
    axes.set_ylabel("share of cells")
    percent(axes.yaxis)
    axes.margins(x=0.02)
    legend(figure, axes)
    caption = f"{cells // len(found)} cells of {device}, logarithmic scale. {_seeds(run)}."
    alt = f"Histograms of the conductances of {layer} before and after training. {_ends(table)}"
    return Plot(f"conductances-{name}", f"Conductances of {layer}", caption, alt, figure, table)


def _ends(table: Table) -> str:
    low, high = table["after_share"][0], table["after_share"][-1]
    return f"After training {share(low)} lie in the lowest bin and {share(high)} in the highest."


def clipped_share(run: RunFolder) -> Plot:
    """Share of each epoch's pulses that met an end of the range, by layer, over all seeds."""
    devices = run.of("device")
    figure, axes = blank("Clipped pulses by epoch")
    table: Table = {"epoch": list(range(1, run.config.epochs + 1))}
    said = []
    for (colour, marker), layer in zip(cycle(_LAYERS), devices[0].epochs[-1].layers, strict=False):
        pulses = _each_epoch(devices, layer, "pulses")
        clipped = _each_epoch(devices, layer, "clipped")
        # An epoch without pulses has no share: the line has a gap there.
        shares = [c / p if p else None for c, p in zip(clipped, pulses, strict=True)]
        drawn = [np.nan if s is None else s for s in shares]
        mark = marker if run.config.epochs <= _MARKED else ""
        axes.plot(table["epoch"], drawn, color=colour, marker=mark, label=layer)
        table |= {f"{layer}_pulses": pulses, f"{layer}_clipped": clipped, f"{layer}_share": shares}
        said.append(f"{layer} {share(shares[-1])}")
    epochs_on(axes, run.config.epochs)
    axes.set_ylabel("share of pulses clipped")
    percent(axes.yaxis)
    axes.set_ylim(bottom=0)
    legend(figure, axes)
    caption = "Pulses that met an end of the cell's range, share of the pulses of that epoch and layer."
    alt = f"Line plot of the share of clipped pulses by epoch. In the last epoch: {', '.join(said)}."
    return Plot("clipped", "Clipped pulses by epoch", caption, alt, figure, table)


def _each_epoch(trials: list[Trial], layer: str, what: str) -> list[int]:
    """A layer's count in each epoch, over all seeds; the run holds counts from the first step on."""
    so_far = [[getattr(e.layers[layer], what) for e in trial.epochs] for trial in trials]
    return [int(n) for n in np.diff(np.sum(so_far, axis=0), prepend=0)]


def _seeds(run: RunFolder) -> str:
    seeds = len(run.of("device"))
    return "One seed" if seeds == 1 else f"Mean over {seeds} seeds"
