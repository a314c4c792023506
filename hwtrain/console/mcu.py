"""A run on a simulated microcontroller beside the host's."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path


def print_proof(folder: Path, sim: str, *, as_json: bool) -> bool:
    """Whether the core has learned the same bits, and what a step cost there."""
    from hwtrain.console.base import busy
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
