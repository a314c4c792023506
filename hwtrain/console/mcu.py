"""Microcontrollers: what training takes on them, and a run on a simulated one beside the host's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hwtrain.analysis.mcu_plan import Ask, Planned, Run, planned, rank, refusal, targets
from hwtrain.console.base import busy
from hwtrain.errors import ProgramError
from hwtrain.files import make_folder, write_file


def print_plan(ask: Ask, target: str, out: Path | None, *, as_json: bool) -> None:
    """One card in full, or all of them ranked.

    Raises:
        ProgramError: the net does not fit the one card that was asked for.
    """
    its = targets(target)
    with busy("compiling the step for its size"):
        found = rank([planned(ask, name, card, compiled=True) for name, card in its.items()])
    if target != "all" and found[0].over:
        raise ProgramError(refusal(ask, found[0].card, its[target], found[0]))
    if out is not None:
        _write(ask, found, out)
    if as_json:
        for one in found:
            print(json.dumps(one.as_dict()))
    elif target == "all":
        _ranked(ask, found)
    else:
        _whole(ask, found[0])


def _write(ask: Ask, found: list[Planned], out: Path) -> None:
    from hwtrain.report.mcu_plot import memory_map

    make_folder(out)
    write_file(out / "plan.json", json.dumps([one.as_dict() for one in found], indent=1) + "\n")
    for one in found:
        plot = memory_map(one, ask.net)
        write_file(out / f"{plot.name}.png", plot.png())
        write_file(out / f"{plot.name}.svg", plot.svg)
        write_file(out / f"{plot.name}.csv", plot.csv())


def _ranked(ask: Ask, found: list[Planned]) -> None:
    table = Table(title=_title(ask), title_justify="left")
    for column in ("card", "fits", "RAM kB", "ms a step", "mJ", "ms predicting", "in"):
        side: Any = "left" if column in ("card", "fits", "in") else "right"
        table.add_column(column, justify=side, no_wrap=column == "card")
    for one in found:
        table.add_row(
            one.card,
            "yes" if not one.over else f"lacks {one.over / 1024:,.0f} kB",
            f"{one.needs / 1024:,.0f}",
            _ms(one.step),
            "?" if one.step.joule is None else _short(1e3 * one.step.joule),
            _short(1e3 * one.predict.seconds),
            one.arithmetic,
        )
    Console().print(table)
    for one in found:
        print(f"{one.card}: {_rests_on(one)}")
    for text in sorted({text for one in found for text in _open(one)}):
        print(text)


def _whole(ask: Ask, one: Planned) -> None:
    console = Console()
    table = Table(title=f"{_title(ask)} on {one.card} in {one.arithmetic}: it fits", title_justify="left")
    for column in ("", "training step", "prediction"):
        table.add_column(column, justify="left" if not column else "right")
    step, predict = one.step, one.predict
    table.add_row("ms", _ms(step), _ms(predict))
    table.add_row("mJ", _mj(step), _mj(predict))
    table.add_row("multiply-adds", f"{step.macs:,}", f"{predict.macs:,}")
    table.add_row("cycles", f"{step.cycles:,.0f}", f"{predict.cycles:,.0f}")
    table.add_row("multiply-adds a cycle", f"{step.macs_per_cycle:.2f}", f"{predict.macs_per_cycle:.2f}")
    table.add_row("kB through the fast memory", _kb(step.fast_bytes), _kb(predict.fast_bytes))
    table.add_row("kB moved from the main memory", _kb(step.main_bytes), _kb(predict.main_bytes))
    console.print(table)
    memory = Table(title="memory, bytes", title_justify="left")
    for column in ("RAM", "bytes", "flash", "bytes "):
        memory.add_column(column, justify="right" if "bytes" in column else "left")
    rows = [*one.ram.items()], [*one.flash.items()]
    for place in range(max(map(len, rows))):
        cells = [(name, f"{size:,}") for side in rows for name, size in side[place : place + 1] or [("", 0)]]
        memory.add_row(*[text if text != "0" else "" for cell in cells for text in cell])
    has = "not given" if one.flash_bytes is None else f"{one.flash_bytes:,}"
    memory.add_section()
    memory.add_row("needed", f"{one.needs:,}", "needed", f"{sum(one.flash.values()):,}")
    memory.add_row("there is", f"{one.ram_bytes:,}", "there is", has)
    console.print(memory)
    print(f"code: {one.code}; the self test's recorded samples come on top")
    print(
        f"temporaries: no plan needs less than {one.bound:,} bytes; without sharing they take {one.naive:,}"
    )
    times = Table(title="where a training step's time goes", title_justify="left")
    for column in ("kernel", "calls", "share", "limited by"):
        times.add_column(column, justify="right" if column in ("calls", "share") else "left")
    for kernel, row in list(step.kernels.items())[:10]:
        limits = {
            name: row[name] for name in ("arithmetic", "accesses", "instructions", "DMA") if name in row
        }
        times.add_row(
            kernel,
            f"{row['calls']:.0f}",
            f"{row['cycles'] / step.cycles:.1%}",
            max(limits, key=lambda k: limits[k]),
        )
    console.print(times)
    for text in (_rests_on(one), *_open(one)):
        print(text)


def _rests_on(one: Planned) -> str:
    of = ", ".join(f"{count} {status}" for status, count in one.statuses.items())
    return f"constants of the card: {of} (hwtrain devices show {one.card}); the range is theirs alone"


def _open(one: Planned) -> Iterator[str]:
    """What is not known of the net's kernels."""
    if one.uncounted:
        yield f"instructions guessed or taken from a like kernel, not counted: {', '.join(one.uncounted)}"
    if one.unprinted:
        yield f"no FP16 C yet, so that no export: {', '.join(one.unprinted)}"


def _title(ask: Ask) -> str:
    options = f" ({ask.rule_options})" if ask.rule_options else ""
    return f"{ask.net}, {ask.rule}{options}, batch {ask.batch}"


def _ms(run: Run) -> str:
    return (
        f"{_short(1e3 * run.seconds)} ({_short(1e3 * run.seconds_low)} to {_short(1e3 * run.seconds_high)})"
    )


def _mj(run: Run) -> str:
    if run.joule is None or run.joule_low is None or run.joule_high is None:
        return "unknown"
    return f"{_short(1e3 * run.joule)} ({_short(1e3 * run.joule_low)} to {_short(1e3 * run.joule_high)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _kb(nbytes: float) -> str:
    return f"{nbytes / 1024:,.1f}"


def print_proof(folder: Path, sim: str, *, as_json: bool) -> bool:
    """Whether the core has learned the same bits, and what a step cost there."""
    from hwtrain.export.mcu import run_mcu
    from hwtrain.sim.cores import core

    on = core(sim)
    with busy(f"training on {on.title}"):
        found = run_mcu(folder, sim, on)
    if as_json:
        print(json.dumps(asdict(found) | {"ok": found.ok}))
        return found.ok
    same = "the same bits as" if found.sha256 == found.expected else "OTHER BITS than"
    print(f"{on.title}: {found.steps} training steps, {same} the host's interpreter")
    print(f"  weights and all that training keeps: SHA-256 {found.sha256}")
    print(f"  {found.changed:.1%} of the weights changed")
    print(f"  {found.instructions:,} instructions a step (instructions, not cycles)")
    print(f"  arena {found.arena:,} bytes, of which {found.high_water:,} were written")
    return found.ok
