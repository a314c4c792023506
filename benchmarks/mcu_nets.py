"""DS-CNN and ResNet-8 trained on simulated microcontrollers: the same weights as the host's, bit for bit.

    ./run bench mcu_nets [--steps 100] [--only resnet8]

At a quarter of the width for ``--steps`` steps, at full width for one, each on every core; and the last block
of ResNet-8 alone, behind images that are made in strips. The host's weights
are those of the interpreter (NumPy). Inputs are normal and labels uniform: what is learned does not matter,
its bits do. Weights that changed are counted beside the hash, for a run that learns nothing would have the
same. What was measured is kept net by net: a second call goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _study import Figures, commit, work

from hwtrain.config import make_config
from hwtrain.errors import NativeError
from hwtrain.export.mcu import run_mcu, write_mcu
from hwtrain.files import make_folder, write_file
from hwtrain.layers.relu import Relu
from hwtrain.nets import ds_cnn, resnet8
from hwtrain.program.lower import lower
from hwtrain.sim.cores import CORES
from hwtrain.training.trial import Spec, place

NETS = {"ds-cnn": (ds_cnn.make, (1, 16, 16), 32), "resnet8": (resnet8.make, (3, 32, 32), 16)}
"""Maker, shape of a sample and full width."""
CASES = [
    ("ds-cnn", 4, "fp16", None),
    ("resnet8", 4, "fp16", None),
    ("ds-cnn", 1, "fp16", None),
    ("resnet8", 1, "fp16-stochastic", None),
    ("resnet8", 1, "fp16", "last=2,still=true"),
]
"""Net, what its width is divided by, the device, and the options of rule shallow where only a part learns."""
LR, SEED, SAMPLES, LIMIT_S = 0.02, 0, 8, 3000.0


def measured(net: str, part: int, device: str, options: str | None, steps: int) -> list[dict[str, object]]:
    """One row a core."""
    make, shape, width = NETS[net]
    made = make(shape, 10, Relu, width // part)
    rule = "shallow" if options else "backprop"
    config = make_config(device=device, batch=1, rule=rule, rule_options=options)
    bound, _ = place(Spec("device", rule, device, SEED, LR), config, made)
    program = lower(bound, shape)
    rng = np.random.default_rng(SEED)
    given = {
        "x": rng.normal(size=(min(steps, SAMPLES), 1, *shape)).astype(np.float16),
        "labels": rng.integers(0, 10, (min(steps, SAMPLES), 1)).astype(np.int32),
    }
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "net"
        write_mcu(program, given, LR, folder, "a core", steps)
        for name, core in CORES.items():
            row: dict[str, object] = {
                "net": net,
                "width": width // part,
                "device": device,
                "learns": options or "all",
                "core": name,
                "commit": commit(),
            }
            started = time.perf_counter()
            try:
                found = run_mcu(folder, name, core(), LIMIT_S)
            except NativeError as problem:
                rows.append(row | {"failed": str(problem)})
                continue
            seconds = time.perf_counter() - started
            row |= {"steps": found.steps, "sha256": found.sha256, "equal": found.sha256 == found.expected}
            row |= {"changed": found.changed, "arena": found.arena, "high_water": found.high_water}
            rows.append(row | {"below": found.below, "seconds": round(seconds, 1)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> int:
    """A line a net and core; the hashes are in the result's rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100, help="at a quarter of the width (100)")
    parser.add_argument("--only", choices=NETS, help="one net")
    asked = parser.parse_args()
    kept = work("mcu_nets") / "rows.json"
    rows = json.loads(kept.read_text()) if kept.exists() else []
    figures = Figures("mcu_nets")
    figures.detail["rows"] = rows
    for net, part, device, options in CASES:
        steps = asked.steps if part > 1 else 1
        width = NETS[net][2] // part
        same = [
            row for row in rows if (row["net"], row["width"], row["learns"]) == (net, width, options or "all")
        ]
        known = [row for row in same if "failed" not in row]
        if len(known) == len(CORES) or asked.only not in (None, net):
            continue
        rows[:] = [row for row in rows if row not in same]
        rows += measured(net, part, device, options, steps)
        _kept(figures, rows)
    return _kept(figures, rows)


def _kept(figures: Figures, rows: list[dict[str, object]]) -> int:
    make_folder(work("mcu_nets"))
    write_file(work("mcu_nets") / "rows.json", json.dumps(rows) + "\n")
    figures.lines.clear()
    for row in rows:
        part = "" if row["learns"] == "all" else "_last_block"
        name = f"{row['net']}_{row['width']}{part}_{row['core']}"
        if "failed" in row:
            figures.add(f"{name}_equal", None, "bool", ">= 1")
            continue
        figures.add(f"{name}_steps", float(str(row["steps"])), "steps", ">= 1")
        figures.add(f"{name}_equal", float(bool(row["equal"])), "bool", ">= 1")
        least = ">= 0.9" if int(str(row["steps"])) > 1 else None
        figures.add(f"{name}_changed", round(float(str(row["changed"])), 4), "share", least)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
