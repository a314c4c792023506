"""How fast speculative backpropagation and its exact kin are, and what a threshold costs in accuracy.

    ./run bench speculative [--only speed|sweep|stretch|integer]

784-128-10, relu, softmax cross-entropy, float32, batch 1, lr 0.01, on Fashion-MNIST. Speed: every contestant
takes the same 400 samples in turns, in chunks of a few milliseconds; a figure is the tenth percentile of its
chunks. The peers are PyTorch, and JAX where HWTRAIN_JAX_PYTHON names a Python that has it; without it those
figures are null and their targets missed. Sweep: thresholds 0 to 0.5, 5 seeds, 3 epochs, beside the plain
step with the same seeds; what is done is kept in runs/studies. Integer: the same on fixed16, with a
learning rate of 2^-7, the nearest to the float's. Stretch: two prototypes a label, correction, and a
threshold that adapts. The speedup of hardware is a model's, not a measurement:
hwtrain/analysis/speculation.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _study import RESULTS, Figures, difference, work

from hwtrain import data
from hwtrain.analysis.speculation import speedup
from hwtrain.config import make_config
from hwtrain.data import Split
from hwtrain.export.run import NativeRunner
from hwtrain.files import write_file
from hwtrain.native import FLAGS
from hwtrain.nets.base import mlp
from hwtrain.program.lower import lower
from hwtrain.report.figure import BLUE, GREY, ORANGE, Plot, Table, blank, house_style, percent
from hwtrain.rules.base import Bound
from hwtrain.training.trial import Spec, order_of, place

NET, LR = "784-128-10", 0.01
CHUNK, ROUNDS = 400, 100
THRESHOLDS = (0.0, 0.05, 0.1, 0.25, 0.35, 0.5)
WATCHED, LOOK = "threshold=0.25", 3000
"""Settings of which the guessed gradients are held to the exact ones, on so many samples."""
SEEDS, INTEGER_SEEDS, EPOCHS = 5, 3, 3
SCALAR = tuple({"-O3": "-O1", "-march=native": "-DHWT_PLAIN"}.get(flag, flag) for flag in FLAGS)


def bound_of(options: str, seed: int = 0, device: str = "float32") -> Bound:
    """The rule at work on a new net."""
    config = make_config(rule="speculative", rule_options=options)
    return place(Spec("device", "speculative", device, seed, LR), config, mlp(NET, "relu"))[0]


def runner_of(options: str, **how: Any) -> NativeRunner:
    """The program of the rule, compiled."""
    return NativeRunner(lower(bound_of(options), (784,)), **how)


def rows_of(bound: Bound, x: np.ndarray) -> np.ndarray:
    """Images as signals of the net, one a step."""
    rows = torch.from_numpy(np.ascontiguousarray(x.reshape(len(x), -1), np.float32))
    return bound.net.encode(rows).numpy()[:, None]


class Contestant:
    """A program at work on the chunk of a turn."""

    def __init__(
        self, options: str, x: np.ndarray, labels: np.ndarray, *, entry: Any = "step", **how: Any
    ) -> None:
        self.entry = entry
        self.runner = runner_of(options, **how)
        self.memory = self.runner.memory(CHUNK, {"x": x[:CHUNK, None], "labels": labels[:CHUNK, None]})
        self.x, self.labels, self.loss = x, labels, 0.0

    def __call__(self, turn: int) -> float:
        """Seconds for one chunk."""
        part = slice(turn * CHUNK, (turn + 1) * CHUNK)
        self.memory["x"], self.memory["labels"] = self.x[part, None], self.labels[part, None]
        began = time.perf_counter()
        self.runner.run(self.entry, CHUNK, self.memory, LR, turn * CHUNK)
        took = time.perf_counter() - began
        self.loss += float(self.memory["loss"].sum(dtype=np.float64))
        return took

    def shares(self) -> dict[str, float]:
        """What a step can leave out: hidden rows without error, and blocks of 16 inputs that are all 0."""
        w, b = self.memory["fc1.weight/weights"][0], self.memory["fc1.bias/weights"][0]
        sums = self.x[:CHUNK] @ w.T + b.reshape(1, -1)
        blocks = self.x[:CHUNK].reshape(CHUNK, -1, 16)
        return {
            "hidden_rows_without_error": float((sums <= 0).mean()),
            "input_blocks_of_zeros": float((blocks == 0).all(2).mean()),
        }


class Peer:
    """JAX in a process of its own, asked for one chunk at a time."""

    def __init__(self, python: str, folder: Path, x: np.ndarray, labels: np.ndarray) -> None:
        contents = runner_of("mode=sequential").program.contents
        arrays = {"x": x, "labels": labels, "lr": np.float32(LR)}
        for number in (1, 2):
            arrays[f"w{number}"] = contents[f"fc{number}.weight/weights"][0]
            arrays[f"b{number}"] = contents[f"fc{number}.bias/weights"][0, :, 0]
        np.savez(folder / "peer.npz", **arrays)
        script = Path(__file__).with_name("speculative_jax.py")
        self.process = subprocess.Popen(
            [python, script, folder / "peer.npz"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.loss = 0.0

    def ask(self, batch: int, first: int, count: int) -> float:
        """Seconds for so many samples."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(batch, first, count, file=self.process.stdin, flush=True)
        took, loss = map(float, self.process.stdout.readline().split())
        self.loss += loss if batch == 1 else 0.0
        return took


def torch_batches(x: np.ndarray, labels: np.ndarray) -> Callable[[int], float]:
    """PyTorch eager, autograd and SGD, batch 64; seconds for 384 samples."""
    torch.set_num_threads(1)
    layers = [torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)]
    net = torch.nn.Sequential(*layers)
    descent = torch.optim.SGD(net.parameters(), LR)
    images, classes = torch.from_numpy(x), torch.from_numpy(labels).long()

    def chunk(turn: int) -> float:
        began = time.perf_counter()
        for start in range(turn * CHUNK, turn * CHUNK + 384, 64):
            descent.zero_grad()
            torch.nn.functional.cross_entropy(
                net(images[start : start + 64]), classes[start : start + 64]
            ).backward()
            descent.step()
        return time.perf_counter() - began

    return chunk


def speed(figures: Figures, split: Split) -> bool:
    """All contestants in turns; False where the machine was too busy to tell."""
    rng = np.random.default_rng(0)
    taken = rng.permutation(len(split.train_y))[: CHUNK * ROUNDS]
    rows = torch.from_numpy(split.train_x[taken].reshape(len(taken), -1)).float()
    x = rows.clone().numpy()  # beginning on a line of the cache, as a trial's data do
    labels = split.train_y[taken].astype(np.int32)
    ours = {
        "sequential": Contestant("mode=sequential", x, labels),
        "fused_sweep": Contestant("mode=fused-sweep", x, labels),
        "neuron_2": Contestant("mode=neuron", x, labels, threads=2),
        "forward_alone": Contestant("mode=sequential", x, labels, entry="predict"),
        "scalar_sequential": Contestant("mode=sequential", x, labels, flags=SCALAR),
        "scalar_speculative": Contestant("threshold=0.25", x, labels, flags=SCALAR),
    }
    turns: dict[str, tuple[Callable[[int], float], int]] = {name: (run, CHUNK) for name, run in ours.items()}
    turns["torch_64"] = torch_batches(x, labels), 384
    python = os.environ.get("HWTRAIN_JAX_PYTHON")
    if python and subprocess.run([python, "-c", "import jax"], capture_output=True, check=False).returncode:
        sys.exit(f"HWTRAIN_JAX_PYTHON = {python}: has no jax: install it there, or leave the variable out")
    with tempfile.TemporaryDirectory() as scratch:
        peer = Peer(python, Path(scratch), x, labels) if python else None
        if peer is not None:
            turns["jax"] = (lambda turn: peer.ask(1, turn * CHUNK, CHUNK)), CHUNK
            turns["jax_64"] = (lambda turn: peer.ask(64, turn * CHUNK, 384)), 384
        times: dict[str, list[float]] = {name: [] for name in turns}
        for turn in range(ROUNDS):
            for name, (chunk, samples) in turns.items():
                times[name].append(chunk(turn) / samples)
        if peer is not None:
            peer.process.stdin.close()  # type: ignore[union-attr]
            peer.process.wait()
    best = {name: float(np.percentile(found[2:], 10)) for name, found in times.items()}  # but for compiling
    for name, seconds in best.items():
        figures.add(f"{name}_rate", 1 / seconds, "samples/s")
    same = ours["sequential"].loss == ours["fused_sweep"].loss == ours["neuron_2"].loss
    figures.add("exact_modes_have_one_loss", float(same), "1 = yes", ">= 1")
    if peer is not None:
        gap = abs(ours["sequential"].loss / peer.loss - 1)
        figures.add("loss_beside_jax", gap, "relative difference", "<= 0.01")
    else:
        figures.detail["jax"] = "absent"

    def ratio(name: str, one: str, other: str, target: str) -> None:
        value = best[other] / best[one] if other in best else None
        figures.add(name, value, "x", target)

    ratio("sequential_over_jax", "sequential", "jax", ">= 1.5")
    ratio("fused_over_sequential", "fused_sweep", "sequential", ">= 1.5")
    ratio("neuron_over_sequential", "neuron_2", "sequential", ">= 2.8")
    ratio("fused_over_jax", "fused_sweep", "jax", ">= 3")
    ratio("neuron_over_jax", "neuron_2", "jax", ">= 5")
    ratio("neuron_over_jax_64", "neuron_2", "jax_64", ">= 1")
    ratio("neuron_over_torch_64", "neuron_2", "torch_64", ">= 1")
    ratio("scalar_speculative_over_sequential", "scalar_speculative", "scalar_sequential", ">= 0.97")
    figures.detail |= ours["sequential"].shares()
    figures.detail["load"] = os.getloadavg()
    # A quiet machine repeats itself: the middle of the chunks lies near their best decile.
    spread = float(np.percentile(times["sequential"][2:], 50)) / best["sequential"]
    figures.detail["median_over_p10"] = spread
    return spread < 1.25 and os.getloadavg()[0] < 1 + (os.cpu_count() or 1)


def trained(options: str, seed: int, split: Split, device: str = "float32") -> dict[str, Any]:
    """Accuracy and share of hits by epoch; from runs/studies if it was done before."""
    name = f"{device}-{options}".replace("=", "-").replace(",", "_")
    file = work("speculative") / f"{name}-s{seed}.json"
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    print(f"speculative: {device}, {options}, seed {seed}", file=sys.stderr, flush=True)
    bound = bound_of(options, seed, device)
    runner = NativeRunner(lower(bound, (784,)))
    lr = LR if device == "float32" else 2.0**-7
    n, x, test = len(split.train_y), rows_of(bound, split.train_x), rows_of(bound, split.eval_x)
    kept: dict[str, Any] = {}
    rows, before = [], np.zeros(4)
    for epoch in range(EPOCHS):
        order = order_of(seed, epoch, n)
        given = kept | {"x": x[order], "labels": split.train_y[order, None].astype(np.int32)}
        memory = runner.memory(n, given)
        runner.run("step", n, memory, lr, epoch * n)
        windowed = {name for name, buffer in runner.program.buffers.items() if buffer.windowed}
        kept = {name: values for name, values in memory.items() if name not in windowed}
        look = runner.memory(len(test), kept | {"x": test})
        runner.run("predict", len(test), look)
        accuracy = 100 * float((look["z"].reshape(len(test), -1).argmax(1) == split.eval_y).mean())
        counts = kept.get("rule/counts", np.zeros((1, 4))).sum(0).astype(float)
        hits, _, cold, right = counts - before
        before = counts
        share = hits / n
        rows.append(
            {"accuracy": accuracy, "hits": share, "cold": cold, "right": right / hits if hits else None}
        )
    if options == WATCHED:
        order = order_of(seed, EPOCHS, n)[:LOOK]
        rows[-1]["cosine"] = cosines(kept, rows_of(bound, split.train_x[order])[:, 0], split.train_y[order])
    found = {"epochs": rows, "counts": kept["rule/counts"].tolist() if "rule/counts" in kept else None}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, json.dumps(found) + "\n")
    return found


def cosines(kept: dict[str, Any], x: np.ndarray, labels: np.ndarray) -> list[list[float]]:
    """By label [of hits, of misses], the mean cosine of the guessed gradient and the exact one.

    Of samples that are looked at with the weights at rest, each held to the one of its label before it.
    """
    (w1, w2), (b1, b2) = ([kept[f"fc{n}.{what}/weights"][0] for n in (1, 2)] for what in ("weight", "bias"))
    h = np.maximum(x @ w1.T + b1[:, 0], 0)
    z = h @ w2.T + b2[:, 0]
    d = np.exp(z - z.max(1, keepdims=True))
    d = d / d.sum(1, keepdims=True) - np.eye(z.shape[1])[labels]
    below = (d @ w2) * (h > 0)
    sums = np.zeros((z.shape[1], 2, 2))
    for label in range(z.shape[1]):
        own = np.flatnonzero(labels == label)
        for before, now in pairwise(own):
            guess = (d[before] @ w2) * (h[before] > 0)
            inputs = x[now] @ x[now] + 1

            def inner(k: int, m: int, a: Any, b: Any, inputs: float = inputs) -> float:
                return float(a @ b * inputs + d[k] @ d[m] * (h[k] @ h[m] + 1))

            one, other = inner(before, before, guess, guess), inner(now, now, below[now], below[now])
            cosine = inner(before, now, guess, below[now]) / max(np.sqrt(one * other), 1e-30)
            hit = abs(d[before] - d[now]).sum() < 0.25
            sums[label, 0 if hit else 1] += cosine, 1
    return (sums[:, :, 0] / np.maximum(sums[:, :, 1], 1)).tolist()


def sweep(figures: Figures, split: Split) -> None:
    """Accuracy, hits and modelled speedup by threshold, paired with the plain step."""
    plain = [trained("mode=sequential", seed, split) for seed in range(SEEDS)]
    base = [run["epochs"][-1]["accuracy"] for run in plain]
    figures.add("sequential_accuracy", float(np.mean(base)), "%")
    for threshold in THRESHOLDS:
        runs = [trained(f"threshold={threshold}", seed, split) for seed in range(SEEDS)]
        hits = float(np.mean([row["hits"] for run in runs for row in run["epochs"]]))
        gap = difference([run["epochs"][-1]["accuracy"] for run in runs], base)
        name, quarter = f"tau_{threshold:g}", threshold == 0.25
        figures.add(f"{name}_hits", hits, "share")
        figures.add(f"{name}_accuracy_change", gap.mean, "points", ">= -0.5" if quarter else None)
        figures.detail[f"{name}_interval"] = [gap.low, gap.high]
        by_epoch = np.mean([[row["hits"] for row in run["epochs"]] for run in runs], axis=0)
        figures.detail[f"{name}_hits_by_epoch"] = by_epoch.tolist()
        if quarter:
            by_label = np.mean([run["epochs"][-1]["cosine"] for run in runs], axis=0)
            figures.add(f"{name}_gradient_cosine_on_hits", float(by_label[:, 0].mean()), "mean of labels")
            figures.add(f"{name}_gradient_cosine_on_misses", float(by_label[:, 1].mean()), "mean of labels")
            figures.detail[f"{name}_gradient_cosine_by_label"] = by_label.tolist()
        for multipliers in (16, 128):
            target = ">= 1.25" if quarter else None
            figures.add(
                f"{name}_model_speedup_P{multipliers}",
                speedup([784, 128, 10], multipliers, hits),
                "x",
                target,
            )


STRETCH = {
    "prototypes": ("threshold=0.25,prototypes=2", 2, ("redo",)),
    "prototypes_corrected": (
        "threshold=0.25,prototypes=2,shadow=true,miss=correct",
        2,
        ("correct", "folded"),
    ),
    "adaptive": ("threshold=0.25,hit_share=0.53", 1, ("redo",)),
}
"""Options, prototypes, and the ways of the model that a miss may go. 0.53 hits: 1.35 times by the model."""


def stretch(figures: Figures, split: Split) -> None:
    """What prototypes, correction and a threshold that adapts bring, paired with the plain step."""
    base = [trained("mode=sequential", seed, split)["epochs"][-1]["accuracy"] for seed in range(SEEDS)]
    for name, (options, prototypes, ways) in STRETCH.items():
        runs = [trained(options, seed, split) for seed in range(SEEDS)]
        hits = float(np.mean([row["hits"] for run in runs for row in run["epochs"]]))
        gap = difference([run["epochs"][-1]["accuracy"] for run in runs], base)
        asked = name == "prototypes_corrected"
        figures.add(f"{name}_hits", hits, "share")
        figures.add(f"{name}_accuracy_change", gap.mean, "points", ">= -0.5" if asked else None)
        figures.detail[f"{name}_interval"] = [gap.low, gap.high]
        for way in ways:
            for multipliers in (16, 128):
                value = speedup([784, 128, 10], multipliers, hits, prototypes, way)
                target = ">= 1.35" if way == "correct" else None
                figures.add(f"{name}_{way}_model_speedup_P{multipliers}", value, "x", target)


def picture(figures: Figures) -> Plot:
    """What a threshold costs, and what it may bring: both sides of the sweep on one axis of hits."""
    found = {line["name"]: line["value"] for line in figures.lines}
    names = [f"tau_{threshold:g}" for threshold in THRESHOLDS]
    table: Table = {
        "threshold": list(THRESHOLDS),
        "hits": [found[f"{name}_hits"] for name in names],
        "accuracy_change": [found[f"{name}_accuracy_change"] for name in names],
        "low": [figures.detail[f"{name}_interval"][0] for name in names],
        "high": [figures.detail[f"{name}_interval"][1] for name in names],
        "speedup_P16": [found[f"{name}_model_speedup_P16"] for name in names],
    }
    with house_style():
        figure, left = blank("What a threshold costs and may bring")
        width, height = figure.get_size_inches()
        figure.set_size_inches(1.9 * width, height)
        grid = figure.add_gridspec(1, 2)
        left.set_subplotspec(grid[0])
        right = figure.add_subplot(grid[1])
        left.axhline(0, color=GREY, linestyle=":")
        left.fill_between(
            table["threshold"], table["low"], table["high"], color=BLUE, alpha=0.18, linewidth=0
        )
        left.plot(table["threshold"], table["accuracy_change"], "-o", color=BLUE)
        left.set_xlabel("threshold")
        left.set_ylabel("points of accuracy beside sequential")
        share = np.linspace(0, max(table["hits"]), 50)
        right.plot(share, [speedup([784, 128, 10], 16, h) for h in share], color=GREY)
        right.plot(table["hits"], table["speedup_P16"], "o", color=ORANGE)
        for threshold, x, y in zip(THRESHOLDS, table["hits"], table["speedup_P16"], strict=True):
            right.annotate(f"{threshold:g}", (x, y), (-4, 4), textcoords="offset points", ha="right")
        right.set_xlabel("share of hits (the dots: thresholds)")
        right.set_ylabel("speedup of the cycle model, P = 16")
        percent(right.xaxis)
    rows = zip(THRESHOLDS, table["hits"], table["accuracy_change"], strict=True)
    said = "; ".join(f"{tau:g}: {100 * hits:.0f} % hits, {gap:+.2f} points" for tau, hits, gap in rows)
    caption = (
        f"{SEEDS} seeds, {EPOCHS} epochs, paired; the band is a 95 % interval. The speedup is a model's."
    )
    return Plot("speculative", "What a threshold costs and may bring", caption, f"{said}.", figure, table)


def integer(figures: Figures, split: Split) -> None:
    """Whole numbers beside floats, with the same seeds: plain steps, and speculative ones."""
    for name, options in (("sequential", "mode=sequential"), ("speculative", "threshold=0.25")):
        ends = [
            [trained(options, seed, split, device)["epochs"][-1] for seed in range(INTEGER_SEEDS)]
            for device in ("fixed16", "float32")
        ]
        accuracies = [[end["accuracy"] for end in runs] for runs in ends]
        gap = difference(*accuracies)
        figures.add(f"fixed16_{name}_accuracy", float(np.mean(accuracies[0])), "%")
        figures.add(f"fixed16_{name}_below_float", gap.mean, "points", ">= -1.5")
        figures.detail[f"fixed16_{name}_interval"] = [gap.low, gap.high]
        figures.detail[f"fixed16_{name}_hits_at_the_end"] = [end["hits"] for end in ends[0]]


def main() -> int:
    """All parts, or the one that was asked for; 3 where the machine was too busy to time anything."""
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else None
    figures = Figures("speculative" if only is None else f"speculative_{only}")
    split = data.load("fashion-mnist")
    if only in (None, "sweep"):
        sweep(figures, split)
        write_file(RESULTS / "speculative.svg", picture(figures).svg)
    if only in (None, "stretch"):
        stretch(figures, split)
    if only in (None, "integer"):
        integer(figures, split)
    quiet = only in ("sweep", "stretch", "integer") or speed(figures, split)
    code = figures.finish()
    if not quiet:
        print("busy: the machine was not quiet enough to time anything", file=sys.stderr)
        return 3
    return code


if __name__ == "__main__":
    sys.exit(main())
