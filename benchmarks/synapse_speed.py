"""How fast pulsed training is: 784-256-128-10, batch 1, stochastic trains of at most 31 slots, soft bounds.

Every cell and every pulse scatters. The work is committed here: inputs (19 % active), labels (random, so
that pulses do not dwindle as a net learns), first weights, rates, devices. The one-sided pair is refreshed
when worn, looked at after every update. Engines take the same samples in turns, in equal chunks; rates are
medians of samples per second of CPU time, ratios medians of those within a turn, for a machine that others
share changes its pace from turn to turn. With HWTRAIN_AIHWKIT_PYTHON naming a Python that has aihwkit 1.2.0,
the peer takes its turn with the same samples, weights, device, rate and trains; without it, the peer is
absent and the figures that need it are not ok. The first tenth of a chunk is not timed: by then threads that
slept have cores, and caches hold the engine's own arrays.

Laws without a closed form are walked pulse by pulse; each stands beside torch on the same work, without a
target.

Tiki-Taka v2 stands beside aihwkit's BufferedTransferCompound, a column read after every update on both sides.
Its pulses are those on the fast array, the great part; on aihwkit's slow one nobody counts them.

The steps of a pair at mid-range are half those at its start, by which aihwkit reckons; so the pair here
learns at half the rate, for equal trains.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _study import HERE, Figures

from hwtrain.config import make_config
from hwtrain.layers.dense import Dense
from hwtrain.layers.tanh import Tanh
from hwtrain.net import Net
from hwtrain.training.engine import engine_of
from hwtrain.training.trial import Spec, place

WIDTHS, LR = (784, 256, 128, 10), 0.05
CELLS = {"soft_bounds": "single", "one_sided_pair": "unidirectional-ltp", "tiki_taka_v2": "single"}
RATES = {"one_sided_pair": LR / 2}
UPDATES = {"tiki_taka_v2": "tiki-taka-v2"}
OVER_PEER = {"soft_bounds": ">= 10", "one_sided_pair": ">= 20"}
WALKED = {"exp_step": "gong-es", "pow_step": "gong-pow", "piecewise": "gong-piecewise", "cdf_table": "enode"}
"""A card of each law that has no closed form."""
ROUNDS, CHUNK = 7, 1000
LOOKS = 10
"""Samples of each engine whose pulses are counted before the timed ones, and whose refreshes after them."""
W_MAX, RANGE = 0.6, 14.0


def work(n: int) -> dict[str, np.ndarray]:
    """Samples and first weights, the same for everyone."""
    rng = np.random.default_rng(0)
    x = rng.random((n, WIDTHS[0])) * (rng.random((n, WIDTHS[0])) < 0.19)
    made = {"x": x.astype(np.float32), "labels": rng.integers(0, 10, n)}
    for k, (in_, out) in enumerate(pairwise(WIDTHS)):
        w = rng.uniform(-1, 1, (out, in_)).astype(np.float32)
        made[f"w{k}"] = w * np.float32(W_MAX / RANGE) / torch.from_numpy(w).std().numpy()
    return made


class Ours:
    """A net on an engine of hwtrain."""

    def __init__(self, name: str, engine: str, samples: dict[str, np.ndarray], threads: int = 1) -> None:
        walked = WALKED.get(name)
        cell, self.lr = CELLS.get(name, "single"), RATES.get(name, LR)
        update = UPDATES.get(name, "stochastic-pulse")
        device = walked or str(HERE / f"soft-bounds{'-pair' if cell != 'single' else ''}.toml")
        spread = {} if walked else {"weight_range": RANGE}
        config = make_config(device=device, update=update, cell=cell, engine=engine, **spread)
        layers: dict[str, Any] = {}
        for k in range(len(WIDTHS) - 1):
            w = torch.from_numpy(samples[f"w{k}"])
            layers |= {f"fc{k}": Dense(w.shape[1], w.shape[0], weights=w), f"tanh{k}": Tanh()}
        layers.popitem()
        self.bound, self.ledger = place(Spec("device", "backprop", device, 0, self.lr), config, Net(layers))
        self.engine = engine_of(engine, self.bound, self.ledger, 1, (WIDTHS[0],), threads)
        self.x, self.labels = torch.from_numpy(samples["x"]), torch.from_numpy(samples["labels"])

    def train(self, first: int, last: int) -> dict[str, float]:
        """Seconds of CPU and of the clock on the wall."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.engine.run(self.x[first:last], self.labels[first:last], first, self.lr)
        return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}

    def look(self, first: int, last: int) -> dict[str, float]:
        """Pulses by updates (slots of refreshes are their pulses) and refreshed weights, a sample."""
        before = self._counts()
        self.train(first, last)
        spent = {name: (n - before[name]) / (last - first) for name, n in self._counts().items()}
        return {"pulses": spent["pulses"] - spent["refreshing"], "refreshed": spent["resets"] / 2}

    def _counts(self) -> dict[str, int]:
        found = {"pulses": 0, "refreshing": 0, "resets": 0}
        paths = [path for path, _ in self.bound.net.arrays()]
        for path in [path for path in paths if path.endswith(".fast")] or paths:
            line = self.ledger.of("train", path, "write")
            found["pulses"] += line["pulses_up"] + line["pulses_down"]
            found["refreshing"] += line["refreshing"]
            found["resets"] += line["resets"]
        return found


class Peer:
    """aihwkit in a process of its own, on one thread, without this machine's choice of a BLAS kernel."""

    def __init__(self, python: str, name: str, samples: dict[str, np.ndarray], folder: Path) -> None:
        file = folder / f"{name}.npz"
        np.savez(file, **samples, lr=LR)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment.pop("OPENBLAS_CORETYPE", None)
        self.process = subprocess.Popen(
            [python, str(HERE / "_aihwkit.py"), str(file), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answer()

    def train(self, first: int, last: int) -> dict[str, float]:
        """As Ours."""
        return self._ask("train", first, last)

    def look(self, first: int, last: int) -> dict[str, float]:
        """As Ours; pulses are the expected ones, for aihwkit counts none on a CPU."""
        return self._ask("look", first, last)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _ask(self, *request: Any) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended with {self.process.wait()}")
        found: dict[str, float] = json.loads(line)
        return found


def measure(name: str, figures: Figures, folder: Path) -> None:
    """One cell on every engine, in turns."""
    samples = work(ROUNDS * CHUNK + 2 * LOOKS)
    python = os.environ.get("HWTRAIN_AIHWKIT_PYTHON")
    runners: dict[str, Any] = {
        "native": Ours(name, "native", samples),
        "two_threads": Ours(name, "native", samples, threads=2),
        "torch": Ours(name, "torch", samples),
    }
    if python:
        runners["aihwkit"] = Peer(python, name, samples, folder)
    looks = {engine: runner.look(0, LOOKS) for engine, runner in runners.items()}
    times: dict[str, list[dict[str, float]]] = {engine: [] for engine in runners}
    for turn in range(ROUNDS):
        first = LOOKS + turn * CHUNK
        for engine, runner in runners.items():
            n = CHUNK // 20 if engine == "torch" else CHUNK
            lead = n // 10
            runner.train(first, first + lead)
            spent = runner.train(first + lead, first + n)
            times[engine].append({key: (n - lead) / s for key, s in spent.items()})
    last = LOOKS + ROUNDS * CHUNK
    for engine in ("native", "aihwkit"):
        if engine in runners:
            looks[engine]["refreshed"] = runners[engine].look(last, last + LOOKS)["refreshed"]
    if python:
        runners["aihwkit"].close()
    rate = {engine: float(np.median([t["cpu_s"] for t in found])) for engine, found in times.items()}
    for engine in ("native", "torch", "aihwkit"):
        figures.add(f"{name}_{engine}", rate.get(engine), "samples/CPU-s")
    for engine in ("native", "aihwkit"):
        for what in ("pulses", "refreshed"):
            figures.add(f"{name}_{engine}_{what}", looks.get(engine, {}).get(what), f"{what}/sample")
    figures.add(f"{name}_native_over_torch", faster(times, "native", "torch", "cpu_s"), "x")
    ratio = faster(times, "native", "aihwkit", "cpu_s") if python else None
    figures.add(f"{name}_native_over_aihwkit", ratio, "x", OVER_PEER.get(name))
    work_ratio = looks["native"]["pulses"] / looks["aihwkit"]["pulses"] if python else None
    figures.add(f"{name}_work_over_aihwkit", work_ratio, "x", "0.9 to 1.1")
    two_over_one = faster(times, "two_threads", "native", "wall_s")
    figures.add(f"{name}_two_threads_over_one", two_over_one, "x", ">= 1.6" if name in OVER_PEER else None)


def faster(times: dict[str, list[dict[str, float]]], one: str, other: str, clock: str) -> float:
    """How many times as fast one engine was as another: the median over turns."""
    turns = zip(times[one], times[other], strict=True)
    return float(np.median([a[clock] / b[clock] for a, b in turns]))


def measure_walked(name: str, figures: Figures) -> None:
    """A law that is walked, on both engines in turns."""
    samples = work(LOOKS + ROUNDS * CHUNK)
    runners = {engine: Ours(name, engine, samples) for engine in ("native", "torch")}
    pulses = {engine: runner.look(0, LOOKS)["pulses"] for engine, runner in runners.items()}
    rates: dict[str, list[float]] = {engine: [] for engine in runners}
    for turn in range(ROUNDS):
        first = LOOKS + turn * CHUNK
        for engine, runner in runners.items():
            n = CHUNK // (20 if engine == "torch" else 3)
            rates[engine].append(n / runner.train(first, first + n)["cpu_s"])
    rate = {engine: float(np.median(found)) for engine, found in rates.items()}
    figures.add(f"{name}_native", rate["native"], "samples/CPU-s")
    figures.add(f"{name}_native_pulses", pulses["native"], "pulses/sample")
    figures.add(f"{name}_native_over_torch", rate["native"] / rate["torch"], "x")
    figures.add(f"{name}_pulses_over_torch", pulses["native"] / pulses["torch"], "x", "0.99 to 1.01")


def main() -> int:
    """Both cells, a fast array, and the laws that are walked."""
    torch.set_num_threads(1)
    figures = Figures("synapse_speed")
    figures.detail["peer"] = "aihwkit 1.2.0" if os.environ.get("HWTRAIN_AIHWKIT_PYTHON") else "absent"
    with tempfile.TemporaryDirectory() as folder:
        for name in CELLS:
            measure(name, figures, Path(folder))
    for name in WALKED:
        measure_walked(name, figures)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
