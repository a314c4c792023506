"""The main job on real input: Fashion-MNIST, 60,000 images, 784-128-10, a published device.

Batch 1, update sign-pulse. Each method is tuned over its grid on the validation split for one epoch, with a
seed of its own. Then each trains on all 60,000 images with the same budget and seeds, and the test split is
looked at for the curve alone: the figure is that of the final epoch. Differences are paired over seeds.
"""

from __future__ import annotations

import sys

from _study import Figures, by_seed, difference, resumed

from hwtrain.analysis.estimate import estimate

DEVICE = "taox-tio2"
COMMON = {"data": "fashion-mnist", "net": "784-128-10", "engine": "native"}
RATES = [{"lr": lr} for lr in (0.001, 0.003, 0.01, 0.03, 0.1)]
METHODS = {
    "software": {"device": "float32", "rule": "backprop"},
    "shallow": {"device": "float32", "rule": "shallow"},
    "device": {"device": DEVICE, "rule": "backprop", "update": "sign-pulse"},
}
GRIDS = {"device": [{"lr": lr, "weight_range": r} for r in (6.0, 9.0, 13.0) for lr in (0.0003, 0.001, 0.003)]}
"""What a method is tuned over, where it is not the rate alone: only a device has a range of weights."""
EPOCHS = 5
SEEDS = 5


def main() -> int:
    """Tune, then train each method with the same budget."""
    figures = Figures("fashion_main")
    accuracy: dict[str, list[float]] = {}
    for method, what in METHODS.items():
        grid = GRIDS.get(method, RATES)
        scores = []
        for place, point in enumerate(grid):
            held_out = {**COMMON, **what, **point, "epochs": 1, "evaluate": "validation"}
            tuned = resumed("fashion_main", f"tune-{method}-{place}", **held_out, seed=100, seeds=1)
            scores.append(tuned.accuracy)
        chosen = grid[scores.index(max(scores))]
        final = resumed(
            "fashion_main", f"final-{method}", **COMMON, **what, **chosen, epochs=EPOCHS, seeds=SEEDS
        )
        accuracy[method] = by_seed(final)
        figures.detail[method] = {
            "grid": grid,
            "validation": scores,
            "chosen": chosen,
            "test_by_seed": accuracy[method],
            "pulses": final.pulses,
            "clipped_share": final.clipped_share,
            "energy_J": final.energy_J,
            "pulse_time_s": final.pulse_time_s,
        }
    figures.detail["settings"] = COMMON | {"device": DEVICE, "epochs": EPOCHS, "seeds": SEEDS}
    figures.add("software_accuracy", estimate(accuracy["software"]).mean, "%", ">= 86")
    figures.add("device_accuracy", estimate(accuracy["device"]).mean, "%")
    figures.add("shallow_accuracy", estimate(accuracy["shallow"]).mean, "%")
    for other in ("software", "shallow"):
        gap = difference(accuracy["device"], accuracy[other])
        figures.add(f"device_minus_{other}", gap.mean, "points")
        figures.add(f"device_minus_{other}_low", gap.low, "points")
        figures.add(f"device_minus_{other}_high", gap.high, "points")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
