"""What synth prints."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hwtrain.export.synth import Figure, ratio, synthesized
from hwtrain.sim.yosys import FAMILIES


def print_synth(folder: Path, target: str, seeds: int, *, as_json: bool) -> None:
    """A row a design, what each figure is from, and the ratios."""
    with Console(stderr=True).status("reading the folder") as status:
        figures = synthesized(folder, target, seeds, status.update)
    if as_json:
        for one in figures:
            print(json.dumps(one.as_dict()))
        return
    table = Table(title=f"{folder}: {FAMILIES[target].title}", title_justify="left")
    for column in ("design", "weights"):
        table.add_column(column)
    for column in ("lanes", "LUT", "FF", "DSP", "memories", "cycles a step", "MHz", "steps/s"):
        table.add_column(column, justify="right")
    for one in figures:
        table.add_row(one.design, one.weights, *_numbers(one))
    Console().print(table)
    for text in dict.fromkeys(text for one in figures for text in _rests_on(one)):
        print(text)
    for design in ("engine", "array"):
        if (found := ratio(figures, design)) is not None:
            print(f"LUT of the {design} with shifts over LUT multiplying in fabric: {found:.2f}")


def _numbers(one: Figure) -> list[str]:
    clock, cycles = one.fmax_MHz, one.cycles_per_step
    return [
        *(f"{number:,}" for number in (one.lanes, one.lut, one.flip_flop, one.dsp, one.memory)),
        "" if cycles is None else f"{cycles:,}",
        "" if clock is None else f"{clock:.1f}",
        "" if clock is None or cycles is None else f"{1e6 * clock / cycles:,.0f}",
    ]


def _rests_on(one: Figure) -> list[str]:
    told = [f"LUT, FF, DSP, memories: {one.cells_by}; LUT counts carries and memory made of LUT"]
    if one.fmax_by is not None:
        told.append(f"MHz: {one.fmax_by}")
    if one.no_fmax is not None:
        told.append(f"no MHz of the {one.design} of {one.lanes} lanes, {one.weights}: {one.no_fmax}")
    return told
