"""Does the physics bring anything? Fashion-MNIST through an emulated fibre, no digital way round it.

One physical layer of 1,000 outputs, then a digital layer trained by PhyLL. Beside it, at the same number of
outputs: the same with the fibre's linear part in its place, the same with nothing there, a ridge readout of
the fibre, backpropagation of a linear readout behind the same frozen fibre, the same with as many digital
weights as PhyLL has (a hidden layer with ReLU), and a ridge readout of the pixels.

Three rates of each are tuned on validation, with 10,000 images, 3 epochs and a seed of its own; then 5 seeds
at 10,000 images and one at 60,000 look at test, once. Differences are paired over seeds and have no required
sign; at 60,000, where there is one seed, the interval is that over test images.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from typing import Any

from _study import Figures, difference, work

from hwtrain.analysis.estimate import estimate
from hwtrain.analysis.physical_study import Budget, Contestant, train
from hwtrain.files import make_folder, write_file

OUTPUTS = 1000
BUDGET = Budget("fashion-mnist", samples=10_000, epochs=8, batch=250, width=OUTPUTS, pairs=5000)
LARGE = replace(BUDGET, samples=None, epochs=8)
LARGE_TOO = ("phyll", "ridge", "ridge_pixels")
"""What is trained on 60,000 images as well: the rest would take as long again as PhyLL."""
SEEDS = 5
IMAGES = 10_000
"""Of the test set."""
TUNING_SEED = 1 << 20
GOODNESS, PENALTY = (0.001, 0.002, 0.004), (0.001, 0.01, 0.1)
FIBRE = Contestant("phyll", "fibre", 1, skip=False)
METHODS: dict[str, tuple[Contestant, tuple[float, ...]]] = {
    "phyll": (FIBRE, GOODNESS),
    "linear": (replace(FIBRE, change="linear"), GOODNESS),
    "ridge": (replace(FIBRE, rule="ridge"), PENALTY),
    "backprop": (replace(FIBRE, rule="backprop", change="copy"), (0.001, 0.003, 0.01)),
    "ridge_pixels": (Contestant("ridge", None, 0), PENALTY),
    "zero": (replace(FIBRE, change="zero"), GOODNESS[:1]),  # sees nothing: no rate can help it
    "backprop_hidden": (
        replace(FIBRE, rule="backprop", change="copy", hidden=True),
        (0.0003, 0.001, 0.003),
    ),
}


def trained(name: str, one: Contestant, budget: Budget, seed: int, rate: float, evaluate: str) -> Any:
    """Accuracy in percent and what the training spent; done once, kept in runs/studies."""
    file = work("physical_fashion") / f"{name}.json"
    if not file.exists():
        print(f"physical_fashion: {name}", file=sys.stderr, flush=True)
        accuracy, ledger = train(one, budget, seed, rate, budget.epochs, evaluate)
        spent = [line for line in ledger.rows() if line["phase"] != "eval"]
        made = {
            "accuracy": 100 * accuracy,
            "passes": sum(int(line.get("passes", 0)) for line in spent),
            "digital_macs": sum(int(line.get("macs", 0)) for line in spent),
        }
        make_folder(file.parent)
        write_file(file, json.dumps(made))
    return json.loads(file.read_text())


def over_images(ours: float, theirs: float) -> tuple[float, float, float]:
    """Difference in points of two accuracies in percent, and the 95 % interval of two independent shares of
    the test images: wider than need be, for the images are the same."""
    half = 1.96 * math.sqrt((ours * (100 - ours) + theirs * (100 - theirs)) / IMAGES)
    return ours - theirs, ours - theirs - half, ours - theirs + half


def main() -> int:
    """Tune, then look at test."""
    figures = Figures("physical_fashion")
    small: dict[str, list[float]] = {}
    large = {}
    for method, (one, rates) in METHODS.items():
        scores = []
        for rate in rates:
            tuning = replace(BUDGET, epochs=3)
            made = trained(f"tune-{method}-{rate}", one, tuning, TUNING_SEED, rate, "validation")
            scores.append(made["accuracy"])
        rate = rates[scores.index(max(scores))]
        figures.detail[method] = {"rates": rates, "validation": scores, "chosen": rate}
        runs = [
            trained(f"small-{method}-s{seed}", one, BUDGET, seed, rate, "test")
            for seed in range(1 if method == "zero" else SEEDS)
        ]
        small[method] = [run["accuracy"] for run in runs]
        figures.detail[method] |= {"test_10000_by_seed": small[method], "spent_10000": runs[0]}
        if method not in LARGE_TOO:
            continue
        large[method] = trained(f"large-{method}", one, LARGE, 0, rate, "test")
        figures.detail[method] |= {"test_60000": large[method]["accuracy"], "spent_60000": large[method]}
    figures.add("phyll_60000", large["phyll"]["accuracy"], "%", ">= 87")
    for method in large:
        if method != "phyll":
            gap = over_images(large["phyll"]["accuracy"], large[method]["accuracy"])
            for name, value in zip(("", "_low", "_high"), gap, strict=True):
                target = ">= 0" if (method, name) == ("ridge", "") else None
                figures.add(f"phyll_60000_minus_{method}{name}", value, "points", target)
    figures.add("phyll_10000", estimate(small["phyll"]).mean, "%")
    for method in small:
        if method not in ("phyll", "zero"):
            paired = difference(small["phyll"], small[method])
            figures.add(f"phyll_10000_minus_{method}", paired.mean, "points")
            figures.add(f"phyll_10000_minus_{method}_low", paired.low, "points")
            figures.add(f"phyll_10000_minus_{method}_high", paired.high, "points")
    figures.add("zero_10000", small["zero"][0], "%")
    figures.detail["settings"] = {
        "outputs": OUTPUTS,
        "seeds": SEEDS,
        "card": "fibre",
        "theta": 30,
        "inner": 2,
    }
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
