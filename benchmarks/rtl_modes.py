"""Training steps as RTL under Verilator, on real data: sequential, lookahead and speculative.

    ./run bench rtl_modes

784-128-10 on Fashion-MNIST with 128 lanes an engine, and 37-23-11-5 on five of the digits with four. Each
mode is trained for an epoch, exported and simulated for 1,000 more steps, without stalls and with: every
score, loss and weight is compared with the interpreter's. Such steps reach few ends of the codes, so each
mode also takes 1,000 steps from the first weights at a rate of 1, which teaches nothing and saturates. What
was trained and what was measured is kept in runs/studies while the code stays as it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _study import HERE, Figures, commit, work

from hwtrain import data
from hwtrain.arith.fixed import limits
from hwtrain.export.cosim import RtlSettings, simulate
from hwtrain.export.rtl import module_text

sys.path.insert(0, str(HERE.parent))
from tests.hardware.rtl_nets import HARNESS, RTL, made

MODES: dict[str, tuple[str, dict[str, str], str | None]] = {
    "sequential": ("shift4", {}, None),
    "lookahead": ("fixed16", {"mode": "lookahead"}, ">= 1.9"),
    "speculative": ("shift4", {"mode": "speculative", "threshold": "0.25"}, None),
}
"""Card, options of rule speculative, and how the cycles of a sequential step over its own are asked to be."""
STEPS, FOLDER = 1000, work("rtl_modes", HERE.parent / "tests" / "hardware" / "rtl_nets.py")


@dataclass(frozen=True)
class Shape:
    """A net, its data, its lanes, and a rate at which it learns."""

    net: str
    data: str
    lanes: int
    lr: float


LARGE = Shape("784-128-10", "fashion-mnist", 128, 2.0**-7)
SMALL = Shape("37-23-11-5", str(FOLDER / "five-digits.npz"), 4, 2.0**-5)
SATURATING = 1.0


def five_digits() -> None:
    """The first 37 pixels that are ever set, of the digits 0 to 4."""
    split = data.load("digits")
    x, y = split.train_x.reshape(len(split.train_y), -1), split.train_y
    kept, some = y < 5, np.flatnonzero(x.any(0))[:37]
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.savez(SMALL.data, x=x[kept][:, some], y=y[kept])


def measured(mode: str, shape: Shape, lr: float) -> dict[str, Any]:
    """What cosim says of a mode; from runs/studies if this code was asked before."""
    name = f"{mode}-{shape.net}-{lr:g}"
    kept = FOLDER / f"{name}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    card = MODES[mode][0]
    told = saturated(mode, shape) if lr == SATURATING else trained(mode, shape, name)
    found = told | {"card": card, "lr": lr, "lanes": shape.lanes, "commit": commit()}
    kept.write_text(json.dumps(found) + "\n")
    return found


def saturated(mode: str, shape: Shape) -> dict[str, Any]:
    """From the first weights on, at a rate that drives signals and weights to their ends."""
    print(f"rtl_modes: {mode}, {shape.net}, saturating", file=sys.stderr, flush=True)
    card, options, _ = MODES[mode]
    named = {"mode": mode, "options": options} if options else {}
    program, net = made(card, shape.net, shape.lanes, SATURATING, **named)
    split, numbers = data.load(shape.data), program.listing.numbers
    assert numbers is not None
    taken = np.resize(np.arange(len(split.train_y)), STEPS)
    ends = limits(numbers.signal_bits)
    x = np.rint(split.train_x[taken].reshape(STEPS, 1, -1) * 2.0**numbers.signal_frac).clip(*ends)
    samples = {"x": x.astype(np.int64), "labels": split.train_y[taken, None].astype(np.int64)}
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "hwt_net.sv").write_text(module_text(net))
        sources = [Path(scratch) / "hwt_net.sv", *sorted(RTL.glob("*.sv"))]
        settings = RtlSettings(lanes=shape.lanes, lr=SATURATING)
        return vars(simulate(program, net, sources, HARNESS, samples, settings))


def trained(mode: str, shape: Shape, name: str) -> dict[str, Any]:
    """After an epoch at a rate at which the net learns, by the commands that a user gives."""
    card, options, _ = MODES[mode]
    rule = ["--rule", "speculative" if options else "backprop"]
    if options:
        rule += ["--rule-options", ",".join(f"{name}={value}" for name, value in options.items())]
    run, out = FOLDER / name, FOLDER / f"{name}-rtl"
    if not (run / "result.json").exists():
        given = {"data": shape.data, "net": shape.net, "device": card, "lr": shape.lr}
        given |= {"activation": "relu", "batch": 1, "epochs": 1, "seeds": 1, "engine": "native", "out": run}
        hwtrain(
            "train", *(word for name, value in given.items() for word in (f"--{name}", str(value))), *rule
        )
    if not out.exists():
        hwtrain("export", str(run), "--to", "rtl", "--lanes", str(shape.lanes), "--out", str(out))
    told: dict[str, Any] = json.loads(hwtrain("cosim", str(out), "--steps", str(STEPS), "--json"))
    return told


def hwtrain(*given: str) -> str:
    """The output of a command."""
    print("rtl_modes: hwtrain", *given, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "hwtrain", *given]
    return subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    """All modes of both nets, at both rates."""
    figures = Figures("rtl_modes")
    five_digits()
    for shape in (SMALL, LARGE):
        for lr in (shape.lr, SATURATING):
            sequential = measured("sequential", shape, lr)["cycles_per_step"]
            for mode, (_, _, faster) in MODES.items():
                one = measured(mode, shape, lr)
                name = f"{mode}_{shape.net}" + ("_saturating" if lr == SATURATING else "")
                figures.detail[name] = one
                figures.add(f"{name}_mismatches", one["mismatches"], f"of {one['compared']:,} values", "<= 0")
                cycles, ends = one["cycles_per_step"], one["ends_reached"] / one["ends"]
                large = shape is LARGE
                figures.add(f"{name}_cycles", cycles, "cycles a step", "<= 1700" if large else None)
                figures.add(f"{name}_cycles_over_model", cycles / one["model"], "x", "1 to 1")
                asked = ">= 0.1" if lr == SATURATING else None
                figures.add(f"{name}_ends_reached", ends, f"of {one['ends']} ends", asked)
                if mode != "sequential":
                    figures.add(f"{name}_speedup", sequential / cycles, "x", faster if large else None)
                if mode == "speculative":
                    figures.add(f"{name}_hits", one["hits"] / STEPS, "share", "0.1 to 0.9")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
