"""Training steps of 784-128-10 as RTL under Verilator, on real data: sequential, lookahead and speculative.

    ./run bench rtl_modes

Each mode is trained for an epoch of Fashion-MNIST, exported with 128 lanes an engine and simulated for 1,000
more steps, without stalls and with: every score, loss and weight is compared with the interpreter's. About
five minutes of one core a mode; what was trained and what was measured is kept in runs/studies.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from _study import HERE, WORK, Figures, commit

MODES = {
    "sequential": ("shift4", ["--rule", "backprop"], None),
    "lookahead": ("fixed16", ["--rule", "speculative", "--rule-options", "mode=lookahead"], ">= 1.9"),
    "speculative": ("shift4", ["--rule", "speculative"], None),
}
"""Card, rule, and how the cycles of a sequential step over its own are asked to be."""
NET = [
    "--data",
    "fashion-mnist",
    "--net",
    "784-128-10",
    "--activation",
    "relu",
    "--batch",
    "1",
    "--lr",
    "0.0078125",
]
STEPS = 1000


def measured(mode: str) -> dict[str, Any]:
    """What cosim says of a mode; from runs/studies if it was asked before."""
    folder = WORK / "rtl_modes"
    kept = folder / f"{mode}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    card, rule, _ = MODES[mode]
    run, out = folder / mode, folder / f"{mode}-rtl"
    if not (run / "result.json").exists():
        hwtrain(
            "train",
            *NET,
            "--device",
            card,
            *rule,
            *["--epochs", "1", "--seeds", "1", "--engine", "native", "--out"],
            str(run),
        )
    if not out.exists():
        hwtrain("export", str(run), "--to", "rtl", "--lanes", "128", "--out", str(out))
    told = hwtrain("cosim", str(out), "--steps", str(STEPS), "--json")
    found = json.loads(told) | {"card": card, "commit": commit()}
    kept.write_text(json.dumps(found) + "\n")
    return found


def hwtrain(*given: str) -> str:
    """The output of a command."""
    print("rtl_modes: hwtrain", *given, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "hwtrain", *given]
    return subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    """All modes."""
    figures = Figures("rtl_modes")
    found = {mode: measured(mode) for mode in MODES}
    figures.detail["cosim"] = found
    sequential = found["sequential"]["cycles_per_step"]
    for mode, one in found.items():
        figures.add(f"{mode}_mismatches", one["mismatches"], f"of {one['compared']:,} values", "<= 0")
        figures.add(f"{mode}_cycles", one["cycles_per_step"], "cycles a step", "<= 1700")
        figures.add(f"{mode}_cycles_over_model", one["cycles_per_step"] / one["model"], "x", "1 to 1")
        figures.add(f"{mode}_ends_reached", one["ends_reached"] / one["ends"], "share of ends", ">= 0.1")
        if mode != "sequential":
            figures.add(f"{mode}_speedup", sequential / one["cycles_per_step"], "x", MODES[mode][2])
    share = found["speculative"]["hits"] / STEPS
    figures.add("speculative_hits", share, "share", "0.1 to 0.9")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
