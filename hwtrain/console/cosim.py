"""What cosim prints."""

from __future__ import annotations

import json
from pathlib import Path

from hwtrain.errors import ConfigError
from hwtrain.files import make_folder, write_file

_FEW, _TIMELINE_STEPS = 10, 100
"""Steps that a timeline needs, and those that it looks at."""


def print_cosim(folder: Path, steps: int, out: Path | None, *, as_json: bool) -> bool:
    """Whether RTL and interpreter agree, on how much, and what a step takes."""
    from hwtrain.console.base import busy
    from hwtrain.export.cosim import cosim, exported

    if out is not None:
        if steps < _FEW:
            raise ConfigError(f"--steps {steps}: a timeline needs at least {_FEW}")
        exported(folder)  # or nothing is made
        make_folder(out)
    with busy(f"building and running {steps:,} steps, twice"):
        found = cosim(folder, steps)
    if out is not None:
        write_file(out / "cosim.json", json.dumps(vars(found), indent=1) + "\n")
    if out is not None and not found.mismatches:
        with busy("building once more and watching the engines"):
            _write_timeline(folder, steps, out)
    if as_json:
        print(json.dumps(vars(found)))
        return found.mismatches == 0
    where = f", first in step {found.first_wrong}" if found.mismatches else ""
    print(
        f"{found.steps:,} steps, twice: {found.compared:,} values compared, {found.changed:.1%} of the "
        f"weights changed, {found.mismatches:,} mismatches{where}"
    )
    print(
        f"  {found.cycles_per_step:,.2f} cycles a step, {found.model:,.2f} by the model; "
        f"{found.wrong_frames:,} wrong frames dropped; {found.mode}: {found.hits} hits, {found.misses} misses"
    )
    print(f"  {found.ends_reached} of {found.ends} lowest and highest codes were reached")
    return found.mismatches == 0


def _write_timeline(folder: Path, steps: int, out: Path) -> None:
    from hwtrain.export.rtl_timeline import timeline
    from hwtrain.report.rtl_timeline_plot import steps_in_time

    plot = steps_in_time(timeline(folder, min(steps, _TIMELINE_STEPS)))
    write_file(out / f"{plot.name}.png", plot.png())
    write_file(out / f"{plot.name}.svg", plot.svg)
    write_file(out / f"{plot.name}.csv", plot.csv())


def print_circuit(folder: Path, steps: int, *, as_json: bool) -> None:
    """How long the circuit that a compiler made of the C was equal to it; a difference is an error."""
    from rich.console import Console

    from hwtrain.errors import ConfigError
    from hwtrain.export.c_to_rtl import STALL_PERCENT, circuit, matched

    if steps < 1:
        raise ConfigError(f"steps = {steps}: at least 1")
    with Console(stderr=True).status("C to RTL: clang, CIRCT, Verilator; minutes, once") as status:
        made = circuit(folder)
        status.update(f"the circuit learns, {steps} steps, twice")
        free, stalled = matched(made, folder, steps), matched(made, folder, steps, STALL_PERCENT)
    if as_json:
        print(json.dumps({"lines": made.lines, "free": vars(free), "stalled": vars(stalled)}))
        return
    compared = free.compared + stalled.compared
    print(
        f"{steps:,} steps, twice: {compared:,} values of circuit and C compared, 0 differ\n"
        f"  {made.lines:,} lines of SystemVerilog by CIRCT. Its loops do not overlap: its cycles "
        f"({free.cycles / steps:,.0f} a step) are not what a synthesis tool of yours reaches."
    )
