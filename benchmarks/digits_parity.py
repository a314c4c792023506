"""Does a linear synapse with at most 256 levels and on/off >= 50 learn as well as software?

Digits, 64-32-10, batch 1. Every method (device, software backprop, shallow) is tuned over the same
grid on the validation split with seeds of its own, then trained on all training samples with five
fresh seeds; the test split is looked at once, after the final epoch.
"""

from __future__ import annotations

import sys
from itertools import product

from _study import Figures, by_seed, difference, resumed

DEVICE = "ideal-envm"
COMMON = {"data": "digits", "net": "64-32-10", "epochs": 10}
GRID = [{"lr": lr, "lr_decay": decay} for lr, decay in product((0.02, 0.05, 0.1), (0.7, 0.85))]
METHODS = {
    "device": {"device": DEVICE, "rule": "backprop"},
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
    against = difference(by_seed(final["device"]), software)
    figures.detail["settings"] = COMMON | {"device": DEVICE, "update": "sign-pulse", "seeds": 5}
    figures.add("software_accuracy", sum(software) / 5, "%", ">= 96")
    figures.add("device_accuracy", 100 * final["device"].accuracy, "%")
    figures.add("shallow_accuracy", 100 * final["shallow"].accuracy, "%")
    figures.add("difference", against.mean, "points", ">= -1")
    figures.add("difference_low", against.low, "points")
    figures.add("difference_high", against.high, "points")
    figures.add("pulses_a_sample", final["device"].pulses / (1437 * COMMON["epochs"]), "pulses")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
