"""Cards side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hwtrain.analysis.compare import Comparison, Facts, compare_cards
from hwtrain.console.base import STOPPED, progress_bar
from hwtrain.files import make_folder, write_file
from hwtrain.report.compare_plots import compare_plots
from hwtrain.report.quantities import UNKNOWN, accuracy, interval, quantity, share, signed, surface
from hwtrain.training.trial import Stopped


def compare(cards: list[str], out: Path | None, options: dict[str, Any], *, as_json: bool) -> int:
    """Cards side by side, as a table or JSON; figures and JSON in ``out``."""
    if out is not None:  # before the training, which may take long
        make_folder(out)
    with progress_bar(None) as progress:
        try:
            found = compare_cards(cards, progress=progress, **options)
        except Stopped:
            print("stopped: nothing was kept, start it anew", file=sys.stderr)
            return STOPPED
    text = json.dumps(found.as_dict(), indent=None if as_json else 1)
    if out is not None:
        write_file(out / "compare.json", text + "\n")
        for plot in compare_plots(found, cards):
            write_file(out / f"{plot.name}.png", plot.png())
            write_file(out / f"{plot.name}.svg", plot.svg)
            write_file(out / f"{plot.name}.csv", plot.csv())
    if as_json:
        print(text)
        return 0
    console = Console()
    table = Table()
    table.add_column("")
    for one in found.facts:
        table.add_column(one.id, overflow="fold")
    for label, cells in _compared(found.facts):
        table.add_row(label, *cells)
    console.print(table)
    if found.trained:
        console.print(_trained(found))
    return 0


def _compared(facts: list[Facts]) -> Iterator[tuple[str, list[str]]]:
    """Rows of the table of facts; of fitted cards that were sampled with intervals in brackets."""

    def row(shown: Callable[[Facts], str]) -> list[str]:
        return [shown(one) for one in facts]

    def number(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:.3g}"

    def joules(value: float | None) -> str:
        return quantity(value, "J")

    def within(one: Facts, key: str, shown: Callable[[float | None], str] = number) -> str:
        said = shown(getattr(one, key))
        if key not in one.intervals:
            return said
        low, high = one.intervals[key]
        return f"{said} [{shown(low)}, {shown(high)}]"

    def levels(value: float | None) -> str:
        return "never arrives" if value is None else f"{value:g}"

    def bent(value: float | None) -> str:
        return "none: soft bounds" if value is None else f"{value:.3g}"

    def both(one: Facts, key: str, shown: Callable[[float | None], str]) -> str:
        return ", ".join(within(one, f"{key}_{way}", shown) for way in ("up", "down"))

    yield "law", row(lambda one: one.law)
    yield "on/off", row(lambda one: within(one, "on_off"))
    yield "levels up, down", row(lambda one: both(one, "levels", levels))
    yield "label up, down", row(lambda one: both(one, "label", bent))
    yield "asymmetry", row(lambda one: within(one, "asymmetry", bent))
    yield (
        "symmetry point",
        row(lambda one: "none" if one.symmetry_point is None else within(one, "symmetry_point")),
    )
    yield "c2c, of the range", row(lambda one: UNKNOWN if one.c2c is None else within(one, "c2c", share))
    yield "d2d", row(lambda one: ", ".join(f"{k} {v:.3g}" for k, v in (one.d2d or {}).items()) or UNKNOWN)
    yield "energy of a pulse up", row(lambda one: within(one, "energy_up_J", joules))
    yield "energy of a pulse down", row(lambda one: within(one, "energy_down_J", joules))
    yield "read of 128 x 128", row(lambda one: quantity(one.read_J, "J"))
    yield "its time", row(lambda one: quantity(one.read_s, "s"))
    yield "its area", row(lambda one: surface(one.area_m2))
    yield "provenance", row(lambda one: f"{one.provenance}{'' if one.verified else ', not verified'}")


def _trained(found: Comparison) -> Table:
    """Accuracies; differences are paired over seeds, with 95 % intervals."""
    config = found.config
    assert config is not None
    table = Table(
        title=f"{config.data}, {config.net}, {config.seeds} seeds, {config.epochs} epochs",
        title_justify="left",
    )
    for column in ("card", "update", "accuracy %", "points from the first card", "pulses", "pulse energy"):
        table.add_column(column, overflow="fold")
    for one in found.trained:
        other = "" if one.difference is None else f"{signed(one.difference.mean)} {interval(one.difference)}"
        pulsed = ["", ""] if one.update is None else [quantity(one.pulses, ""), quantity(one.energy_J, "J")]
        table.add_row(one.id, one.update or "software", accuracy(one.accuracy), other.rstrip(), *pulsed)
    return table
