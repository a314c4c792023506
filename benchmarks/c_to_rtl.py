"""The exported training step by a foreign compiler from C to RTL: every array equal after every step.

clang, CIRCT and Verilator make a circuit of the C as it leaves (hwtrain/export/c_to_rtl.py). What is measured
is equality, with ports that never wait and with ports that do. Loops of such a circuit do not overlap: its
cycles are not those of the export in an FPGA engineer's tool, and not those of hwtrain's own RTL.

    ./run bench c_to_rtl [--kept]

Resumable: what was compared before (runs/studies/c_to_rtl) is not compared again; with --kept nothing else
is.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _study import Figures, work

from hwtrain.config import make_config
from hwtrain.data import load
from hwtrain.export.c_to_rtl import STALL_PERCENT, circuit, matched
from hwtrain.export.printers.hls import Hls
from hwtrain.nets.base import mlp
from hwtrain.program.lower import lower
from hwtrain.training.trial import Spec, place

CASES = {
    "64-32-10 sequential fixed16": ("64-32-10", "mode=sequential", "fixed16", 100),
    "8-6-4 sequential fixed16": ("8-6-4", "mode=sequential", "fixed16", 100),
    "8-6-4 speculative fixed16": ("8-6-4", "shadow=true,threshold=0.3", "fixed16", 50),
    "8-6-4 lookahead fixed16": ("8-6-4", "mode=lookahead", "fixed16", 50),
    "8-6-4 sequential shift4": ("8-6-4", "mode=sequential", "shift4", 50),
}
LR = 0.125


def samples(spec: str, n: int) -> tuple[Any, Any]:
    """Digits where they fit; else a centre for each class with noise about it."""
    inputs, classes = int(spec.split("-")[0]), int(spec.split("-")[-1])
    if inputs == 64:
        data = load("digits")
        return data.train_x[:n].reshape(n, -1), data.train_y[:n].astype(np.int32)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes, n).astype(np.int32)
    centres = rng.random((classes, inputs))
    return np.clip(centres[labels] + 0.4 * rng.normal(size=(n, inputs)), 0, 1), labels


def compare(name: str, folder: Path) -> dict[str, Any]:
    """One case: its export, its circuit, its steps."""
    spec, options, device, steps = CASES[name]
    bound, _ = place(
        Spec("device", "speculative", device, 0, LR), make_config(rule_options=options), mlp(spec, "relu")
    )
    x, labels = samples(spec, steps)
    codes = bound.net.encode(torch.from_numpy(x).float()).numpy().reshape(steps, 1, -1)
    export = folder / "hls"
    if not export.exists():
        program = lower(bound, (codes.shape[-1],))
        Hls(Hls.Options()).write(program, {"x": codes, "labels": labels.reshape(steps, 1)}, LR, export)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    made = circuit(export)
    found: dict[str, Any] = {
        "steps": steps,
        "systemverilog_lines": made.lines,
        "build_cpu_s": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, 1),
    }
    for way, stall in (("free", 0), ("stalled", STALL_PERCENT)):
        began = time.perf_counter()
        same = matched(made, export, steps, stall)
        found |= {
            f"{way}_steps_equal": same.steps,
            f"{way}_values_compared": same.compared,
            f"{way}_cycles_of_this_circuit": same.cycles,
            f"{way}_wall_s": round(time.perf_counter() - began, 1),
        }
        print(f"{name}: {way}: {same}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """All cases, each kept as soon as it is done."""
    figures = Figures("c_to_rtl")
    for name, (_, _, _, steps) in CASES.items():
        folder = work("c_to_rtl") / name.replace(" ", "-")
        kept = folder / "found.json"
        if not kept.exists() and "--kept" not in sys.argv:
            folder.mkdir(parents=True, exist_ok=True)
            found = compare(name, folder)
            kept.write_text(json.dumps(found))
        if kept.exists():
            figures.detail[name] = json.loads(kept.read_text())
        for way in ("free", "stalled"):
            equal = figures.detail.get(name, {}).get(f"{way}_steps_equal")
            figures.add(f"{name}, {way}: steps with every array equal", equal, "", f">= {steps}")
    return figures.finish()


if __name__ == "__main__":
    raise SystemExit(main())
