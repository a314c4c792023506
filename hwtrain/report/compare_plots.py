"""The figures of a comparison: responses over one another, and accuracies with their intervals."""

from __future__ import annotations

from itertools import cycle

import numpy as np

from hwtrain.analysis.compare import Comparison, synapse
from hwtrain.report.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    Plot,
    Table,
    blank,
    house_style,
    legend,
    percent,
)

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
_DASHES = ("-", "--", ":")
_SOFT = 1000
"""Pulses that are shown of a branch that never arrives."""
_POINTS = 200


def compare_plots(found: Comparison, names: list[str]) -> list[Plot]:
    """The responses and, after training, the accuracies."""
    with house_style():
        return [_responses(found, names), *([_accuracies(found)] if found.trained else [])]


def _responses(found: Comparison, names: list[str]) -> Plot:
    """Share of the range against share of the pulses: LTP, then LTD."""
    figure, axes = blank("Typical responses")
    figure.set_size_inches(5.6, 3.2)
    table: Table = {key: [] for key in ("card", "direction", "share_of_pulses", "share_of_range")}
    looks = cycle([(colour, dash) for dash in _DASHES for colour in _COLOURS])
    for name, facts, (colour, dash) in zip(names, found.facts, looks, strict=False):
        law = synapse(name).law()
        x, y = [], []
        for shift, way, levels in ((0, "up", facts.levels_up), (1, "down", facts.levels_down)):
            travel = np.array(law.path("up" if way == "up" else "down", int(levels or _SOFT)))
            share = np.linspace(0, 1, len(travel))
            if len(travel) > _POINTS:
                wanted = np.linspace(0, 1, _POINTS)
                travel, share = np.interp(wanted, share, travel), wanted
            g = travel if way == "up" else 1 - travel
            x += (share + shift).tolist()
            y += g.tolist()
            table["card"] += [facts.id] * len(g)
            table["direction"] += [way] * len(g)
            table["share_of_pulses"] += share.tolist()
            table["share_of_range"] += g.tolist()
        axes.plot(x, y, dash, color=colour, label=facts.id)
    percent(axes.yaxis)
    axes.set_ylabel("conductance, share of the range")
    axes.set_xlabel("share of the pulses (LTP up to 1, then LTD)")
    legend(figure, axes)
    caption = f"A branch that never arrives is shown over {_SOFT} pulses."
    alt = f"Conductance responses of {', '.join(one.id for one in found.facts)}."
    return Plot("response", "Typical responses", caption, alt, figure, table)


def _accuracies(found: Comparison) -> Plot:
    """Mean with its 95 % interval, a row for each card and update, the controls below."""
    figure, axes = blank("Accuracy")
    rows = found.trained
    figure.set_size_inches(4.6, 1.0 + 0.28 * len(rows))
    labels = [row.id if row.update is None else f"{row.id}, {row.update}" for row in rows]
    table: Table = {
        "row": labels,
        "accuracy": [row.accuracy.mean for row in rows],
        "low": [row.accuracy.low for row in rows],
        "high": [row.accuracy.high for row in rows],
    }
    for at, row in enumerate(rows):
        colour = GREY if row.update is None else BLUE
        if row.accuracy.low is not None and row.accuracy.high is not None:
            axes.plot([row.accuracy.low, row.accuracy.high], [at, at], color=colour)
        axes.plot([row.accuracy.mean], [at], "o", color=colour)
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    percent(axes.xaxis)
    axes.set_xlabel("accuracy")
    said = ", ".join(
        f"{label} {100 * row.accuracy.mean:.1f} %" for label, row in zip(labels, rows, strict=True)
    )
    return Plot("accuracy", "Accuracy", "Means with 95 % intervals.", f"{said}.", figure, table)
