"""How long an epoch of Fashion-MNIST takes with every non-ideality that the C kernels know.

784-256-128-10, batch 1, 60,000 images, stochastic trains of at most 31 slots on soft bounds: range, steps and
their balance scatter from cell to cell, every pulse scatters, cells are stuck, inputs and outputs are
converted, every read has noise, arrays are cut into tiles. One thread and two, seconds of the wall and of CPU
time; with other work on the machine the wall says little.
"""

from __future__ import annotations

import sys
import time

import torch
from _study import HERE, Figures

from hwtrain.config import make_config
from hwtrain.data import known
from hwtrain.net import Net
from hwtrain.nets.base import mlp
from hwtrain.training.engine import engine_of
from hwtrain.training.trial import Spec, place

DEVICE = str(HERE / "every-non-ideality.toml")
LR, CHUNK = 0.01, 2000


def epoch(threads: int, net: Net) -> dict[str, float]:
    """Seconds of the clock on the wall and of CPU time, and the loss a sample of the second half."""
    (x, y), _ = ((part.x, part.y) for part in known.fashion_mnist())
    config = make_config(device=DEVICE, update="stochastic-pulse", cell="single", engine="native")
    bound, ledger = place(Spec("device", "backprop", DEVICE, 0, LR), config, net)
    engine = engine_of("native", bound, ledger, 1, (784,), threads)
    samples = torch.from_numpy(x).float().reshape(len(x), -1), torch.from_numpy(y).long()
    wall, cpu, loss = time.perf_counter(), time.process_time(), 0.0
    for start in range(0, len(y), CHUNK):
        part = slice(start, start + CHUNK)
        found = engine.run(samples[0][part], samples[1][part], start, LR)
        loss += found.loss if start >= len(y) // 2 else 0.0
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    return took | {"loss": loss / (len(y) - len(y) // 2)}


def main() -> int:
    """One thread, then two."""
    torch.set_num_threads(1)
    figures = Figures("synapse_epoch")
    found = {threads: epoch(threads, mlp("784-256-128-10", "tanh")) for threads in (1, 2)}
    for threads, took in found.items():
        for what, unit in (("wall_s", "s"), ("cpu_s", "CPU-s"), ("loss", "nats")):
            target = "<= 25" if (threads, what) == (2, "wall_s") else None
            figures.add(f"threads_{threads}_{what}", took[what], unit, target)
    figures.add("two_threads_over_one", found[1]["wall_s"] / found[2]["wall_s"], "x", ">= 1.6")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
