"""Does a linear synapse with at most 256 levels and on/off >= 50 learn as well as software?

Digits, 64-32-10, batch 1. Two devices of on/off 50: 256 levels with stochastic pulses on single cells,
and the published ideal eNVM of 64 levels ("device") with sign-pulse on unidirectional pairs. Every
method (devices, software backprop, shallow) is tuned over the same grid on the validation split with
seeds of its own, then trained on all training samples with five fresh seeds; the test split is looked
at once, after the final epoch. The 256-level device was added after the test result of the other was
known; its update and cell were picked by trials on the validation split.
"""

from __future__ import annotations

import sys
from itertools import product

from _study import HERE, Figures, by_seed, difference, resumed

LINEAR_256 = str(HERE / "linear-256.toml")
COMMON = {"data": "digits", "net": "64-32-10", "epochs": 10}
GRID = [{"lr": lr, "lr_decay": decay} for lr, decay in product((0.02, 0.05, 0.1), (0.7, 0.85))]
METHODS = {
    "linear-256": {"device": LINEAR_256, "update": "stochastic-pulse", "cell": "single"},
    "device": {"device": "ideal-envm", "rule": "backprop"},
    "software": {"device": "float32", "rule": "backprop"},
    "shallow": {"device": "float32", "rule": "shallow"},
}


def main() -> int:
    """Tune, then compare."""
    figures = Figures("digits_parity")
    final = {}
    for method, what in METHODS.items():
        scores = []
        for place, point in enumerate(GRID):
            held_out = {**COMMON, **what, **point, "evaluate": "validation", "seed": 100, "seeds": 3}
            tuned = resumed("digits_parity", f"tune-{method}-{place}", **held_out)
            scores.append(tuned.accuracy)
        best = GRID[scores.index(max(scores))]
        final[method] = resumed("digits_parity", f"final-{method}", **COMMON, **what, **best, seeds=5)
        figures.detail[method] = {
            "chosen": best,
            "validation": scores,
            "test_by_seed": by_seed(final[method]),
        }
    software = by_seed(final["software"])
    figures.detail["settings"] = COMMON | {"seeds": 5, "tuned_with_seeds": [100, 101, 102]}
    figures.add("software_accuracy", 100 * final["software"].accuracy, "%", ">= 96")
    figures.add("shallow_accuracy", 100 * final["shallow"].accuracy, "%")
    for method, target in (("linear-256", ">= -1"), ("device", None)):
        name = "ideal-envm" if method == "device" else method
        against = difference(by_seed(final[method]), software)
        figures.add(f"{name}_accuracy", 100 * final[method].accuracy, "%")
        figures.add(f"{name}_difference", against.mean, "points", target)
        figures.add(f"{name}_difference_low", against.low, "points")
        figures.add(f"{name}_difference_high", against.high, "points")
        figures.add(f"{name}_pulses_a_sample", final[method].pulses / (1437 * COMMON["epochs"]), "pulses")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
