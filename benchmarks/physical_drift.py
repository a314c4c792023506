"""What drift costs each way to learn: a fibre that decorrelates by 1 % every 1,000 training samples.

Fashion-MNIST, 60,000 images once, one physical layer without a digital skip, equal samples for all, 5 seeds.
Every method trains twice, on a fibre that stays and on one that drifts, and is tested on the fibre as it is
at the end. In-silico learns on a perfect copy of the fibre as it was at the start, the best that a
calibration could be; physics-aware training measures, and goes back through that copy, which here, with one
frozen layer of physics, is backpropagation of the readout itself: what no local rule can be expected to beat.
Ridge is what drift costs at all: a readout solved anew from all samples, old ones forgotten exponentially.
Constant rates of each, and the samples that ridge remembers, are tuned on validation on the fibre that
drifts: who follows a drift may not stop learning. Losses are paired over seeds.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import torch
from _study import HERE, Figures, difference, work

from hwtrain.analysis.estimate import estimate
from hwtrain.analysis.physical_study import Budget, Contestant, bound, split_of
from hwtrain.files import make_folder, write_file
from hwtrain.report.physical_plots import drift_plot
from hwtrain.rules.ridge import RidgeBound
from hwtrain.substrates.physical import PhysicalArray
from hwtrain.training.engine import TorchEngine
from hwtrain.training.trial import order_of

LEGS = 4
"""Looks at test on the way, one every 15,000 samples."""
SEEDS = 5
TUNING_SEED = 1 << 20
EVERY = 100
"""Samples between two small drifts."""
FIBRES = {"stays": 0.0, "drifts": 0.01}
"""Share of the fibre that is lost every 1,000 samples."""
LOOKED_AT = 3000
"""Test images that a leg is judged by."""
READOUT = Budget("fashion-mnist", batch=50, width=300)
COPY = Contestant("physics-aware", "fibre", 1, "copy", skip=False)
METHODS: dict[str, tuple[Contestant, Budget, tuple[float, ...], dict[str, float]]] = {
    "phyll": (
        Contestant("phyll", "fibre", 1, skip=False),
        replace(READOUT, batch=100),
        (0.0005, 0.001, 0.0025, 0.005),
        {"theta": 10.0, "inner": 3},
    ),
    "spsa": (
        Contestant("spsa", "fibre", 1, skip=False),
        replace(READOUT, width=100),
        (0.001, 0.003),
        {"directions": 8},
    ),
    "physics-aware": (COPY, READOUT, (0.001, 0.003, 0.01), {}),
    "in-silico": (replace(COPY, rule="in-silico"), READOUT, (0.001, 0.003, 0.01), {}),
    "ridge": (Contestant("ridge", "fibre", 1, skip=False), READOUT, (2000.0, 4000.0, 8000.0), {}),
}
"""What trains, with how many outputs and which batch, the rates to choose from, and the rule's settings.
Of ridge, samples after which one counts a share 1/e on a fibre that drifts; on one that stays all count."""
PENALTY = 1e-3
"""Of ridge."""


def curve(method: str, fibre: str, seed: int, rate: float, evaluate: str) -> list[float]:
    """Accuracy in shares after each leg; done once, kept in runs/studies."""
    file = work("physical_drift") / f"{method}-{fibre}-{rate}-s{seed}.json"
    if not file.exists():
        print(f"physical_drift: {file.stem}", file=sys.stderr, flush=True)
        make_folder(file.parent)
        write_file(file, json.dumps(_curve(method, seed, rate, FIBRES[fibre], evaluate)))
    found: list[float] = json.loads(file.read_text())
    return found


def _curve(method: str, seed: int, rate: float, per_1000: float, evaluate: str) -> list[float]:
    one, budget, _, settings = METHODS[method]
    split = split_of(budget, evaluate)
    rule, ledger = bound(one, budget, seed, split)
    for name, value in settings.items():
        setattr(rule, name, value)
    engine = TorchEngine(rule, ledger, budget.batch)
    x, labels = torch.from_numpy(split.train_x), torch.from_numpy(split.train_y)
    held = torch.from_numpy(split.eval_x[:LOOKED_AT]), torch.from_numpy(split.eval_y[:LOOKED_AT])
    media = [array for _, array in rule.net.arrays() if isinstance(array, PhysicalArray)]
    order = torch.from_numpy(order_of(seed, 0, len(x)))
    step, accuracy, kept_samples = 0, [], math.inf
    if isinstance(rule, RidgeBound):
        rate, kept_samples = PENALTY, rate if per_1000 else math.inf
    for leg in order.tensor_split(LEGS):
        for chosen in leg.split(EVERY):
            engine.run(x[chosen], labels[chosen], step, rate)
            if isinstance(rule, RidgeBound):
                rule.sums *= math.exp(-len(chosen) / kept_samples)
            step += -(-len(chosen) // budget.batch)
            kept = (1 - per_1000) ** (len(chosen) / 1000)
            for array in media if per_1000 else ():
                array.disturb("drift", 1 - kept)
        found = engine.evaluate(*held, step)
        accuracy.append(found.correct / found.samples)
    return accuracy


def main() -> int:
    """Tune, train on the fibres, draw the curves."""
    torch.set_num_threads(1)
    figures = Figures("physical_drift")
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for method, (_, budget, rates, settings) in METHODS.items():
        scores = [curve(method, "drifts", TUNING_SEED, rate, "validation")[-1] for rate in rates]
        rate = rates[scores.index(max(scores))]
        curves[method] = {
            fibre: [curve(method, fibre, seed, rate, "test") for seed in range(SEEDS)] for fibre in FIBRES
        }
        figures.detail[method] = {
            "outputs": budget.width,
            "batch": budget.batch,
            **settings,
            "rates": rates,
            "validation": scores,
            "chosen": rate,
            **curves[method],
        }
    for method, its in curves.items():
        last = {fibre: [100 * legs[-1] for legs in by_seed] for fibre, by_seed in its.items()}
        floor = {"phyll": ">= 80", "spsa": ">= 60"}.get(method)
        figures.add(f"{method}_stays", estimate(last["stays"]).mean, "%", floor)
        ceiling = "<= 1" if method in ("phyll", "spsa") else None
        loss = difference(last["stays"], last["drifts"])
        figures.add(f"{method}_loss", loss.mean, "points", ceiling)
        figures.add(f"{method}_loss_low", loss.low, "points")
        figures.add(f"{method}_loss_high", loss.high, "points")
    plot = drift_plot(curves, "1 % every 1,000 samples", 60_000 // LEGS)
    write_file(HERE.parent / "docs" / "images" / "physical-drift.svg", plot.svg)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
