"""What fpga plan prints."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from hwtrain.analysis.fpga_plan import Ask, Option, Plan, plan, target
from hwtrain.cards import card_id


def print_plan(ask: Ask, name: str, *, as_json: bool) -> None:
    """A row a lane count, and the memories of the best.

    Raises:
        ProgramError: nothing fits; names the largest that does.
    """
    found = plan(ask, card_id(name), target(name))
    if as_json:
        print(json.dumps(found.as_dict(ask)))
        return
    best = found.best
    assert best is not None
    console = Console()
    console.print(_options(ask, found))
    console.print(_memories(found, best))
    for text in _notes(found, best):
        print(text)


def _options(ask: Ask, found: Plan) -> Table:
    table = Table(title=f"{ask.net}, {ask.device}: {found.title}", title_justify="left")
    for column in ("lanes", "cycles", "blocks", "DSP", "LUT", "fits"):
        side: Any = "left" if column == "fits" else "right"
        table.add_column(column, justify=side)
    for one in found.options:
        fits = "best" if one is found.best else "yes"
        fits = f"lacks {one.lacks}" if one.lacks else fits if one.lut is not None else f"{fits}, if LUT do"
        table.add_row(f"{one.lanes:,}", _cycles(one), *_numbers(one.blocks, one.dsp), _lut(one), fits)
    table.add_section()
    table.add_row("there are", "", *_numbers(found.blocks, found.multipliers, found.luts), "")
    return table


def _memories(found: Plan, best: Option) -> Table:
    table = Table(title=f"memories with {best.lanes} lanes", title_justify="left")
    for column in ("memory", "words", "bits", "lanes", "blocks"):
        table.add_column(column, justify="left" if column == "memory" else "right")
    for one in best.memories:
        blocks = f"{one.blocks:,}" if one.blocks else "tables"
        table.add_row(one.name, *_numbers(one.words, one.bits, one.lanes), blocks)
    return table


def _notes(found: Plan, best: Option) -> list[str]:
    told = [f"{best.lanes} lanes are best: {_cycles(best)} cycles a step, exact, at lr = {found.lr:g}"]
    if found.line is None:
        told.append(
            "LUT: not measured for this arithmetic on this part: it may lack them, sooner with more lanes; "
            "hwtrain synth counts those of an exported folder"
        )
    else:
        told.append(str(found.line))
    return told


def _cycles(one: Option) -> str:
    return f"{one.cycles:,}" if one.miss is None else f"{one.cycles:,} a hit, {one.miss:,} a miss"


def _lut(one: Option) -> str:
    return "not measured" if one.lut is None else f"about {one.lut:,}"


def _numbers(*values: int) -> list[str]:
    return [f"{value:,}" for value in values]
