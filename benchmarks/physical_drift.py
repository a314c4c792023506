"""What drift costs each way to learn: a fibre that decorrelates by 1 % every 1,000 training samples.

Fashion-MNIST, 60,000 images once, one physical layer without a digital skip, equal samples for all, 5 seeds.
Every method trains twice, on a fibre that stays and on one that drifts, and is tested on the fibre as it is
at the end. In-silico learns on a perfect copy of the fibre as it was at the start, the best that a
calibration could be; physics-aware training measures, and goes back through that copy. Rates are tuned on
validation on the fibre that stays. Losses are paired over seeds.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import torch
from _study import HERE, WORK, Figures, difference

from hwtrain.analysis.estimate import estimate
from hwtrain.analysis.physical_study import Budget, Contestant, bound, split_of
from hwtrain.files import make_folder, write_file
from hwtrain.report.physical_plots import drift_plot
from hwtrain.substrates.physical import PhysicalArray
from hwtrain.training.engine import TorchEngine
from hwtrain.training.trial import order_of

LEGS = 6
"""Looks at test on the way, one every 10,000 samples."""
SEEDS = 5
TUNING_SEED = 1 << 20
EVERY = 100
"""Samples between two small drifts."""
PER_1000 = 0.01
FLOOR = 0.2
"""Share of the rate that stays to the end: who follows a drift may not stop learning."""
LOOKED_AT = 5000
"""Test images that a leg is judged by."""
MANY = Budget("fashion-mnist", batch=50, width=300)
FEW = replace(MANY, batch=10, width=100)
METHODS: dict[str, tuple[Contestant, Budget, tuple[float, ...]]] = {
    "phyll": (Contestant("phyll", "fibre", 1, skip=False), MANY, (0.0005, 0.001)),
    "spsa": (Contestant("spsa", "fibre", 1, skip=False), FEW, (0.03, 0.1)),
    "physics-aware": (Contestant("physics-aware", "fibre", 1, "copy", skip=False), MANY, (0.001, 0.003)),
    "in-silico": (Contestant("in-silico", "fibre", 1, "copy", skip=False), MANY, (0.001, 0.003)),
}
"""What trains, with how many outputs and which batch, and what its rate is tuned over."""


def curve(method: str, name: str, seed: int, rate: float, drift: bool, evaluate: str) -> list[float]:
    """Accuracy in shares after each leg; done once, kept in runs/studies."""
    file = WORK / "physical_drift" / f"{method}-{name}.json"
    if not file.exists():
        print(f"physical_drift: {method}-{name}", file=sys.stderr, flush=True)
        make_folder(file.parent)
        write_file(file, json.dumps(_curve(method, seed, rate, drift, evaluate)))
    found: list[float] = json.loads(file.read_text())
    return found


def _curve(method: str, seed: int, rate: float, drift: bool, evaluate: str, legs: int = LEGS) -> list[float]:
    one, budget, _ = METHODS[method]
    split = split_of(budget, evaluate)
    rule, ledger = bound(one, budget, seed, split)
    engine = TorchEngine(rule, ledger, budget.batch)
    x, labels = torch.from_numpy(split.train_x), torch.from_numpy(split.train_y)
    held = torch.from_numpy(split.eval_x[:LOOKED_AT]), torch.from_numpy(split.eval_y[:LOOKED_AT])
    media = [array for _, array in rule.net.arrays() if isinstance(array, PhysicalArray)]
    order = torch.from_numpy(order_of(seed, 0, len(x)))
    step, accuracy = 0, []
    for number, leg in enumerate(order.tensor_split(LEGS)[:legs]):
        falling = rate * max(FLOOR, 1 - number / LEGS)
        for chosen in leg.split(EVERY):
            engine.run(x[chosen], labels[chosen], step, falling)
            step += -(-len(chosen) // budget.batch)
            if drift:
                kept = (1 - PER_1000) ** (len(chosen) / 1000)
                for array in media:
                    array.disturb("drift", 1 - kept)
        found = engine.evaluate(*held, step)
        accuracy.append(found.correct / found.samples)
    return accuracy


def main() -> int:
    """Tune, train on both fibres, draw the curves."""
    figures = Figures("physical_drift")
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for method, (_, budget, rates) in METHODS.items():
        scores = [curve(method, f"tune-{rate}", TUNING_SEED, rate, False, "validation")[-1] for rate in rates]
        rate = rates[scores.index(max(scores))]
        curves[method] = {
            fibre: [
                curve(method, f"{fibre}-s{seed}", seed, rate, fibre == "drifts", "test")
                for seed in range(SEEDS)
            ]
            for fibre in ("stays", "drifts")
        }
        figures.detail[method] = {
            "outputs": budget.width,
            "batch": budget.batch,
            "rates": rates,
            "validation": scores,
            "chosen": rate,
            **curves[method],
        }
    for method in METHODS:
        last = {fibre: [100 * its[-1] for its in curves[method][fibre]] for fibre in ("stays", "drifts")}
        floor = {"phyll": ">= 80", "spsa": ">= 60"}.get(method)
        figures.add(f"{method}_stays", estimate(last["stays"]).mean, "%", floor)
        loss = difference(last["stays"], last["drifts"])
        ceiling = "<= 1" if method in ("phyll", "spsa") else None
        figures.add(f"{method}_loss", loss.mean, "points", ceiling)
        figures.add(f"{method}_loss_low", loss.low, "points")
        figures.add(f"{method}_loss_high", loss.high, "points")
    plot = drift_plot(curves, "1 % every 1,000 samples", "leg of 10,000 samples")
    write_file(HERE.parent / "docs" / "images" / "physical-drift.svg", plot.svg)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
