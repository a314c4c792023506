"""How fast pulsed training is: 784-256-128-10, batch 1, stochastic trains of at most 31 slots.

Random inputs, 19 % active, and random labels, so that pulses do not dwindle as a net learns; lr 0.05; soft
bounds with scatter between cells and cycles. Samples per second of CPU time, engines in turns. The one-sided
pair has the same device, refreshed when worn. The peer (aihwkit) is not driven from here yet: "absent".
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _study import HERE, Figures

from hwtrain.config import make_config
from hwtrain.ledger import Ledger
from hwtrain.nets.base import mlp
from hwtrain.training.engine import engine_of
from hwtrain.training.trial import Spec, place

NET, LR = "784-256-128-10", 0.05
CARD: Path = HERE / "soft-bounds.toml"
ROUNDS = 5
SAMPLES = {"native": 400, "torch": 20}
OVER_PEER = {"soft_bounds": ">= 10", "one_sided_pair": ">= 20"}
CELLS = {"soft_bounds": "single", "one_sided_pair": "unidirectional-ltp"}


def samples(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same random samples for everyone."""
    rng = np.random.default_rng(0)
    x = rng.random((n, 784)) * (rng.random((n, 784)) < 0.19)
    return torch.from_numpy(x).float(), torch.from_numpy(rng.integers(0, 10, n))


def ready(engine: str, cell: str) -> tuple[Any, Ledger]:
    """An engine that has compiled what it needs."""
    config = make_config(
        device=str(CARD), update="stochastic-pulse", cell=cell, engine=engine, weight_range=14
    )
    bound, ledger = place(Spec("device", "backprop", str(CARD), 0, LR), config, mlp(NET, "tanh"))
    made = engine_of(engine, bound, ledger, 1, (784,))
    made.run(*samples(2), 0, LR)
    return made, ledger


def main() -> int:
    """Both engines on both cells, in turns."""
    torch.set_num_threads(1)
    figures = Figures("synapse_speed")
    for name, cell in CELLS.items():
        engines = {engine: ready(engine, cell) for engine in SAMPLES}
        rates: dict[str, list[float]] = {engine: [] for engine in SAMPLES}
        for turn in range(ROUNDS):
            for engine, n in SAMPLES.items():
                x, labels = samples(n)
                began = time.process_time()
                engines[engine][0].run(x, labels, 2 + turn * n, LR)
                rates[engine].append(n / (time.process_time() - began))
        rows = [row for row in engines["native"][1].rows() if row["port"] == "write" and "pulses_up" in row]
        done = 2 + ROUNDS * SAMPLES["native"]
        pulses = sum(int(row["pulses_up"]) + int(row["pulses_down"]) for row in rows) / done
        resets = sum(int(row["resets"]) for row in rows) / done
        native, eager = (float(np.median(rates[engine])) for engine in ("native", "torch"))
        figures.add(f"{name}_native", native, "samples/CPU-s")
        figures.add(f"{name}_torch", eager, "samples/CPU-s")
        figures.add(f"{name}_native_over_torch", native / eager, "x")
        figures.add(f"{name}_pulses", pulses, "pulses/sample")
        figures.add(f"{name}_resets", resets, "resets/sample")
        figures.add(f"{name}_pulse_rate", pulses * native, "pulses/CPU-s")
        figures.add(f"{name}_native_over_aihwkit", None, "x", OVER_PEER[name])
    figures.detail["peer"] = "absent: aihwkit is not driven from this benchmark yet"
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
