"""The main job on real input: Fashion-MNIST, 60,000 images, 784-128-10, a published device.

Batch 1, update sign-pulse. Each method is tuned over the same grid on the validation split for one
epoch; then it trains on all 60,000 images, and the test split is looked at for the curve alone: the
figure is that of the final epoch.
"""

from __future__ import annotations

import sys
from itertools import product

from _study import Figures, by_seed, resumed

DEVICE = "taox-tio2"
COMMON = {"data": "fashion-mnist", "net": "784-128-10"}
GRID = [{"lr": lr} for (lr,) in product((0.003, 0.01))]
METHODS = {
    "software": {"device": "float32", "rule": "backprop"},
    "shallow": {"device": "float32", "rule": "shallow"},
    "device": {"device": DEVICE, "rule": "backprop", "update": "sign-pulse"},
}
EPOCHS = 4
SEEDS = 2


def main() -> int:
    """Tune, then train each method with the same budget."""
    figures = Figures("fashion_main")
    accuracy = {}
    for method, what in METHODS.items():
        scores = []
        for place, point in enumerate(GRID):
            held_out = {**COMMON, **what, **point, "epochs": 1, "evaluate": "validation"}
            tuned = resumed("fashion_main", f"tune-{method}-{place}", **held_out, seed=100, seeds=1)
            scores.append(tuned.accuracy)
        best = GRID[scores.index(max(scores))]
        final = resumed(
            "fashion_main", f"final-{method}", **COMMON, **what, **best, epochs=EPOCHS, seeds=SEEDS
        )
        accuracy[method] = final.accuracy
        figures.detail[method] = {
            "chosen": best,
            "validation": scores,
            "test_by_seed": by_seed(final),
            "pulses": final.pulses,
            "clipped_share": final.clipped_share,
            "energy_J": final.energy_J,
            "pulse_time_s": final.pulse_time_s,
        }
    figures.detail["settings"] = COMMON | {"device": DEVICE, "epochs": EPOCHS, "seeds": SEEDS}
    figures.add("software_accuracy", 100 * accuracy["software"], "%", ">= 86")
    figures.add("device_accuracy", 100 * accuracy["device"], "%")
    figures.add("shallow_accuracy", 100 * accuracy["shallow"], "%")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
