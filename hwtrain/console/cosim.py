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
        f"  {found.cycles_per_step:,.2f} cycles a step, {found.model:,} by the model; {found.wrong_frames:,} "
        f"wrong frames dropped; speculation: {found.hits} hits, {found.misses} misses (sequential)"
    )
    return found.mismatches == 0
