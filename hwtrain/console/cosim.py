"""What cosim prints."""

from __future__ import annotations

import json
from pathlib import Path


def print_cosim(folder: Path, steps: int, *, as_json: bool) -> bool:
    """Whether RTL and interpreter agree, on how much, and what a step takes."""
    from hwtrain.console.base import busy
    from hwtrain.export.cosim import cosim

    with busy(f"building and running {steps:,} steps, twice"):
        found = cosim(folder, steps)
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
    return found.mismatches == 0


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
