"""What the electronic-synapse papers claim of their update methods, as described in their abstracts.

Lim et al. (arXiv 1707.06381): a linear device of high dynamic range learns as well as software; for
nonlinear devices the unidirectional update beats the others; and it bears variation between devices. Held
against numbers here on Fashion-MNIST, 784-128-10, batch 1, update sign-pulse, five epochs of which the last
one counts, five seeds, differences paired:

1. 256 linear levels, on/off 50, unidirectional pairs: within half a point of software backprop;
2. 64 levels, labels 6 and -6, on/off 10: unidirectional pairs at least ten points above the better of a
   single cell and a bidirectional pair;
3. steps that differ by 30 % from cell to cell on that device: the unidirectional method loses at most two.

All train on the first 6,000 images and are tested on the 10,000 test images; ``--full`` adds the first claim
on all 60,000, tuned there. Every method is tuned over the same grid, for one epoch with a seed of its own, on
a sixth of the training images held out; software has no range of weights. The varied device takes the
settings of the other one. The shallow control trains the readout alone, in software. Beside the second claim
stands the same comparison at one rate for all, software's own, where no method may retreat to steps so small
that its hidden layer stays as it was.

``--rates`` alone shows the second claim by the rate, one for all and untuned, on validation.

The grid had fewer points, and the full size the settings of the small one, until first results had been seen
on test; most of the best had stood at the edge of the grid on validation.
"""

from __future__ import annotations

import sys
from itertools import product

from _study import HERE, Figures, by_seed, difference, work

from hwtrain.analysis.estimate import estimate
from hwtrain.config import make_config
from hwtrain.data import known
from hwtrain.training.loop import run
from hwtrain.training.metrics import Result

COMMON = {"net": "784-128-10", "engine": "native", "update": "sign-pulse"}
RATES_FOR_ALL = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
RATES, RANGES = (0.001, 0.003, 0.01, 0.03), (1.5, 3.0, 6.0)
LINEAR, BENT, VARIED = (str(HERE / f"{name}.toml") for name in ("linear-256", "label-6", "label-6-varied"))
METHODS = {
    "software": {"device": "float32"},
    "shallow": {"device": "float32", "rule": "shallow"},
    "linear": {"device": LINEAR, "cell": "unidirectional-ltp"},
    "bent_single": {"device": BENT, "cell": "single"},
    "bent_pair": {"device": BENT, "cell": "bidirectional-pair"},
    "bent_one_way": {"device": BENT, "cell": "unidirectional-ltp"},
    "varied_one_way": {"device": VARIED, "cell": "unidirectional-ltp"},
}
BENT_METHODS = ("bent_single", "bent_pair", "bent_one_way")
FEW, EPOCHS, SEEDS = 6_000, 5, 5


def trained(name: str, images: int, **settings: object) -> Result:
    """A run on the first images, which goes on where it was killed."""
    folder = work("synapse_claims") / name
    print(f"synapse_claims: {name}", file=sys.stderr, flush=True)
    (x, y), (x_test, y_test) = ((part.x, part.y) for part in known.fashion_mnist())
    resume = (folder / "config.toml").exists()
    config = make_config(**COMMON, **settings)
    return run(
        config, data=(x[:images], y[:images], x_test, y_test), out=folder, resume=resume, controls=False
    )


def by_rate() -> int:
    """The second claim at rates from where pulses are rare to where nearly every one is sent."""
    figures = Figures("synapse_claims_rates")
    settings = {"weight_range": 3.0, "epochs": 3, "seeds": 3, "evaluate": "validation"}
    figures.detail["settings"] = COMMON | settings | {"images": FEW}
    for lr in RATES_FOR_ALL:
        accuracy = {}
        for method in BENT_METHODS:
            result = trained(f"rate-{lr:g}-{method}", FEW, **METHODS[method], **settings, lr=lr)
            accuracy[method] = by_seed(result)
            figures.add(f"{method}_at_{lr:g}", estimate(accuracy[method]).mean, "%")
        better = max(BENT_METHODS[:2], key=lambda method: sum(accuracy[method]))
        gap = difference(accuracy["bent_one_way"], accuracy[better])
        for name, value in (("", gap.mean), ("_low", gap.low), ("_high", gap.high)):
            figures.add(f"one_way_minus_better_of_both_ways_at_{lr:g}{name}", value, "points")
    return figures.finish()


def main() -> int:
    """Tune, train, compare."""
    if "--rates" in sys.argv:
        return by_rate()
    figures = Figures("synapse_claims")
    accuracy: dict[str, list[float]] = {}
    chosen: dict[str, dict[str, float]] = {}

    def final(label: str, method: str, images: int) -> None:
        settings = METHODS[method] | chosen[method]
        result = trained(f"final-{label}", images, **settings, epochs=EPOCHS, seeds=SEEDS)
        accuracy[label] = by_seed(result)
        pulses = result.pulses / (images * EPOCHS)
        figures.detail[label] = {"chosen": chosen[method], "test_by_seed": accuracy[label]} | {
            "pulses_a_sample": pulses, "clipped_share": result.clipped_share, "images": images
        }  # fmt: skip
        figures.add(f"{label}_accuracy", estimate(accuracy[label]).mean, "%")
        if pulses:
            figures.add(f"{label}_pulses_a_sample", pulses, "pulses")

    def compare(name: str, one: str, other: str, target: str) -> None:
        gap = difference(accuracy[one], accuracy[other])
        figures.add(name, gap.mean, "points", target)
        figures.add(f"{name}_low", gap.low, "points")
        figures.add(f"{name}_high", gap.high, "points")

    def tune(method: str, images: int, label: str = "tune") -> None:
        what = METHODS[method]
        device = what["device"] != "float32"
        grid = [
            {"lr": lr} | ({"weight_range": r} if device else {})
            for lr, r in product(RATES, RANGES if device else (0,))
        ]
        held_out = {"epochs": 1, "evaluate": "validation", "seed": 100, "seeds": 1}
        scores = [
            trained(f"{label}-{method}-{place}", images, **what, **point, **held_out).accuracy
            for place, point in enumerate(grid)
        ]
        chosen[method] = grid[scores.index(max(scores))]
        figures.detail[f"{label}_{method}"] = {"grid": grid, "validation": scores}

    for method in METHODS:
        if method == "varied_one_way":
            chosen[method] = chosen["bent_one_way"]
        else:
            tune(method, FEW)
        final(method, method, FEW)
    compare("linear_minus_software", "linear", "software", ">= -0.5")
    better = max(BENT_METHODS[:2], key=lambda method: sum(accuracy[method]))
    compare("one_way_minus_better_of_both_ways", "bent_one_way", better, ">= 10")
    compare("varied_minus_equal_cells", "varied_one_way", "bent_one_way", ">= -2")
    compare("bent_one_way_minus_shallow", "bent_one_way", "shallow", ">= 0")
    tuned = dict(chosen)
    for method in BENT_METHODS:
        chosen[method] = {**chosen["software"], "weight_range": tuned[method]["weight_range"]}
        final(f"{method}_one_rate", method, FEW)
    both = max(BENT_METHODS[:2], key=lambda method: sum(accuracy[f"{method}_one_rate"]))
    compare("one_way_minus_both_ways_one_rate", "bent_one_way_one_rate", f"{both}_one_rate", ">= 10")
    figures.detail["settings"] = COMMON | {"epochs": EPOCHS, "seeds": SEEDS, "better_of_both_ways": better}
    if "--full" in sys.argv:
        for method in ("software", "shallow", "linear"):
            tune(method, 60_000, "tune_full")
            final(f"{method}_full", method, 60_000)
        compare("linear_minus_software_full", "linear_full", "software_full", ">= -0.5")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
