"""Does the physics bring anything? Fashion-MNIST through an emulated fibre, no digital way round it.

One physical layer of 1,000 outputs, then a digital layer trained by PhyLL. Beside it, at the same number of
outputs: the same with the fibre's linear part in its place, a ridge readout of the fibre, backpropagation of
a readout behind the same frozen fibre, and a ridge readout of the pixels. Rates are tuned on validation with
10,000 images and a seed of its own; then 5 seeds at 10,000 images and one at 60,000 look at test, once.
Differences are paired over seeds and have no required sign.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

from _study import WORK, Figures, difference

from hwtrain.analysis.estimate import estimate
from hwtrain.analysis.physical_study import Budget, Contestant, train
from hwtrain.files import make_folder, write_file

OUTPUTS = 1000
BUDGET = Budget("fashion-mnist", samples=10_000, epochs=10, batch=250, width=OUTPUTS)
LARGE = replace(BUDGET, samples=None, epochs=12)
SEEDS = 5
TUNING_SEED = 1 << 20
METHODS: dict[str, tuple[Contestant, tuple[float, ...]]] = {
    "phyll": (Contestant("phyll", "fibre", 1, skip=False), (0.001, 0.002)),
    "linear": (Contestant("phyll", "fibre", 1, change="linear", skip=False), (0.001, 0.002)),
    "ridge": (Contestant("ridge", "fibre", 1, skip=False), (0.001, 0.01, 0.1)),
    "backprop": (Contestant("backprop", "fibre", 1, change="copy", skip=False), (0.001, 0.003)),
    "ridge_pixels": (Contestant("ridge", None, 0), (0.001, 0.01, 0.1)),
    "zero": (Contestant("phyll", "fibre", 1, change="zero", skip=False), (0.002,)),
}


def trained(name: str, one: Contestant, budget: Budget, seed: int, rate: float, evaluate: str) -> Any:
    """Accuracy in percent and what the training spent; done once, kept in runs/studies."""
    file = WORK / "physical_fashion" / f"{name}.json"
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


def main() -> int:
    """Tune, then look at test."""
    figures = Figures("physical_fashion")
    small: dict[str, list[float]] = {}
    large: dict[str, float] = {}
    chosen = {}
    for method, (one, rates) in METHODS.items():
        scores = []
        for rate in rates:
            tuning = replace(BUDGET, epochs=3)
            made = trained(f"tune-{method}-{rate}", one, tuning, TUNING_SEED, rate, "validation")
            scores.append(made["accuracy"])
        chosen[method] = rates[scores.index(max(scores))]
        figures.detail[method] = {"rates": rates, "validation": scores, "chosen": chosen[method]}
    one, _ = METHODS["phyll"]
    made = {"phyll": trained("large-phyll", one, LARGE, 0, chosen["phyll"], "test")}
    large["phyll"] = made["phyll"]["accuracy"]
    for method, (one, _) in METHODS.items():
        runs = [
            trained(f"small-{method}-s{seed}", one, BUDGET, seed, chosen[method], "test")
            for seed in range(1 if method == "zero" else SEEDS)
        ]
        small[method] = [run["accuracy"] for run in runs]
        figures.detail[method] |= {"test_10000_by_seed": small[method], "spent_10000": runs[0]}
    for method in ("ridge", "ridge_pixels", "backprop", "linear"):
        one, _ = METHODS[method]
        made[method] = trained(f"large-{method}", one, LARGE, 0, chosen[method], "test")
        large[method] = made[method]["accuracy"]
    for method, found in made.items():
        figures.detail[method] |= {"test_60000": found["accuracy"], "spent_60000": found}
    figures.add("phyll_60000", large["phyll"], "%", ">= 87")
    figures.add("phyll_60000_minus_ridge", large["phyll"] - large["ridge"], "points", ">= 0")
    for method in ("linear", "backprop", "ridge_pixels"):
        figures.add(f"phyll_60000_minus_{method}", large["phyll"] - large[method], "points")
    figures.add("phyll_10000", estimate(small["phyll"]).mean, "%")
    for method in ("linear", "ridge", "backprop", "ridge_pixels"):
        gap = difference(small["phyll"], small[method])
        figures.add(f"phyll_10000_minus_{method}", gap.mean, "points")
        figures.add(f"phyll_10000_minus_{method}_low", gap.low, "points")
        figures.add(f"phyll_10000_minus_{method}_high", gap.high, "points")
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
