"""The main job on real input: Fashion-MNIST, 60,000 images, 784-128-10, a published device.

Batch 1, update sign-pulse. The controls are each tuned over a grid on the validation split for one epoch;
the device is not tuned: it takes what software backprop chose. Then each trains on all 60,000 images with
the same budget, and the test split is looked at for the curve alone: the figure is that of the final epoch.
"""

from __future__ import annotations

import sys

from _study import Figures, by_seed, resumed

DEVICE = "taox-tio2"
COMMON = {"data": "fashion-mnist", "net": "784-128-10"}
GRID = [{"lr": 0.003}, {"lr": 0.01}]
METHODS = {
    "software": {"device": "float32", "rule": "backprop"},
    "shallow": {"device": "float32", "rule": "shallow"},
    "device": {"device": DEVICE, "rule": "backprop", "update": "sign-pulse"},
}
EPOCHS = 2
SEEDS = 1


def main() -> int:
    """Tune, then train each method with the same budget."""
    figures = Figures("fashion_main")
    accuracy: dict[str, float] = {}
    for method, what in METHODS.items():
        scores = []
        for place, point in enumerate(GRID if method != "device" else []):
            held_out = {**COMMON, **what, **point, "epochs": 1, "evaluate": "validation"}
            tuned = resumed("fashion_main", f"tune-{method}-{place}", **held_out, seed=100, seeds=1)
            scores.append(tuned.accuracy)
        chosen = GRID[scores.index(max(scores))] if scores else figures.detail["software"]["chosen"]
        final = resumed(
            "fashion_main", f"final{EPOCHS}-{method}", **COMMON, **what, **chosen, epochs=EPOCHS, seeds=SEEDS
        )
        accuracy[method] = final.accuracy
        figures.detail[method] = {
            "chosen": chosen,
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
