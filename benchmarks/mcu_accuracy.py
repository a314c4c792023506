"""Does a net learn as well in FP16 as in float32? An MLP, a DS-CNN, and the last block of a ResNet-8.

MLP: 784-64-10 on the first 10,000 images of Fashion-MNIST, tested on all 10,000. DS-CNN: on log-mel features
of spoken digits (../shared/data); recordings of index 15 to 49 train and 0 to 14 are the test, for of the
usual 300 recordings one is a third of a point. Five seeds each, paired by first weights and order of
samples. ResNet-8: trained in float32 on CIFAR-10 (JPEG copies), then its last block and classifier, begun
anew, learn behind what the others make of other images, rounded to halves once; one seed.

The learning rate is float32's best on a sixth of the training samples that is held out (seeds 100 and 101);
FP16 takes it as it is. Beside it, a hundredth of that rate, where rounding to the nearest half loses most of
what it should learn. Of updates that are not 0, the share that leaves all that is kept of a weight as it was
is counted in a run of its own on the first 2,000 samples. Trials resume; about 25 minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _qat import cifar10
from _study import HERE, Figures, difference, work
from numpy.typing import NDArray
from torch import Tensor

from hwtrain import data
from hwtrain.config import make_config
from hwtrain.data import spoken
from hwtrain.data.known import SPOKEN_DIGITS
from hwtrain.data.logmel import log_mels
from hwtrain.files import write_file
from hwtrain.kernels import half
from hwtrain.layers.relu import Relu
from hwtrain.net import Net
from hwtrain.nets import ds_cnn, resnet8
from hwtrain.nets.base import mlp
from hwtrain.training.engine import engine_of
from hwtrain.training.trial import Spec, place

SHARED = HERE.parent.parent / "shared" / "data"
ARCHIVE = Path(os.environ.get(SPOKEN_DIGITS, SHARED / "spoken_digits.zip"))
SOFTWARE = "float32"
CARDS = ("fp16", "fp16-compensated", "fp16-nearest", "fp16-stochastic")
SEEDS = range(5)
DECAY = 0.8
Samples = tuple[NDArray[Any], NDArray[Any]]


class Task:
    """A net, what it trains and is tested on, and how."""

    def __init__(
        self, name: str, net: Net, train: Samples, test: Samples, epochs: int, batch: int, engine: str
    ) -> None:
        self.name, self.net, self.train, self.test = name, net, train, test
        self.epochs, self.batch, self.engine = epochs, batch, engine

    def held_out(self) -> Task:
        """The same with a sixth of the training samples for the test."""
        order = np.random.default_rng(0).permutation(len(self.train[1]))
        held = len(order) // 6
        parts = [(self.train[0][at], self.train[1][at]) for at in (order[held:], order[:held])]
        return Task(self.name, self.net, parts[0], parts[1], self.epochs, self.batch, self.engine)

    def accuracy(self, device: str, seed: int, lr: float) -> float:
        """Percent right on the test part after the last epoch."""
        bound, ledger = place(Spec("device", "backprop", device, seed, lr), make_config(), self.net)
        shape = self.train[0].shape[1:]
        engine = engine_of(self.engine, bound, ledger, self.batch, shape)
        for epoch in range(self.epochs):
            order = np.random.default_rng((seed, epoch)).permutation(len(self.train[1]))
            order = order[: len(order) // self.batch * self.batch]
            x, y = (torch.from_numpy(part[order]) for part in self.train)
            engine.run(x, y, epoch * len(order) // self.batch, lr * DECAY**epoch)
        found = engine.evaluate(*map(torch.from_numpy, self.test), 0)
        return 100 * found.correct / found.samples

    def lost(self, device: str, lr: float) -> float:
        """Percent of changes that are not 0 and leave the weight as it was; in the first 2,000 samples."""
        counts = {"changes": 0, "lost": 0}
        kept = half._update

        def counted(
            w: Any, x: Any, d: Any, scaling: Any, held: Any, scale: float, keep: Any, **how: Any
        ) -> None:
            def keep_and_count(w: Any, change: Any, where: Any) -> Any:
                counts["changes"] += int((where & (change != 0)).sum())
                still = keep(w, change, where)
                counts["lost"] += int((still & where & (change != 0)).sum())
                return still

            kept(w, x, d, scaling, held, scale, keep_and_count, **how)

        half._update = counted
        try:
            part = self.train[0][:2000], self.train[1][:2000]
            Task(self.name, self.net, part, (part[0][:1], part[1][:1]), 1, self.batch, "torch").accuracy(
                device, 0, lr
            )
        finally:
            half._update = kept
        return 100 * counts["lost"] / counts["changes"]


class NotDone(Exception):
    """A trial that `--done` would have to run."""


def once(name: str, make: Callable[..., float], *how: Any) -> float:
    """What ``make`` gets out of the rest; known from before if it was done before."""
    file = work("mcu_accuracy") / f"{name}.json"
    if not file.exists():
        if "--done" in sys.argv:
            raise NotDone(name)
        print(f"mcu_accuracy: {name}", file=sys.stderr, flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, json.dumps(make(*how)))
    found: float = json.loads(file.read_text())
    return found


def fashion() -> Task:
    """The MLP's."""
    split = data.load("fashion-mnist")
    x, test = (part.reshape(len(part), -1) for part in (split.train_x[:10_000], split.eval_x))
    train = x, split.train_y[:10_000]
    return Task("mlp", mlp("784-64-10", "relu"), train, (test, split.eval_y), 10, 4, "native")


def digits() -> Task:
    """The DS-CNN's."""
    found = spoken.recordings(ARCHIVE)
    x, test = log_mels(found.words)[:, None], found.indices < 15
    net = ds_cnn.make((1, 16, 16), 10, Relu)
    return Task("ds-cnn", net, (x[~test], found.digits[~test]), (x[test], found.digits[test]), 6, 16, "torch")


def last_block() -> Task:
    """ResNet-8's last block and classifier behind what the others, trained in float32, make of images."""
    file = work("mcu_accuracy") / "resnet8-features.npz"
    if not file.exists():
        features_of_cifar10(file)
    with np.load(file) as held:
        x, test_x = (held[name].astype(np.float32) for name in ("x", "test_x"))
        train, test = (x, held["y"]), (test_x, held["test_y"])
    children = resnet8.make((3, 32, 32), 10, Relu).children
    names = list(children)
    net = Net({name: children[name] for name in names[names.index("block3_1") :]})
    return Task("resnet8", net, train, test, 4, 16, "torch")


def features_of_cifar10(file: Path) -> None:
    """Train the net on 8,000 images; what its first blocks make of 2,000 others and of 3,000 of the test."""
    print("mcu_accuracy: resnet8 in float32", file=sys.stderr, flush=True)
    x, y, test_x, test_y = cifar10(SHARED / "cifar10_jpeg.npz")
    whole = resnet8.make((3, 32, 32), 10, Relu)
    bound, ledger = place(Spec("baseline", "backprop", SOFTWARE, 0, 0.1), make_config(), whole)
    engine = engine_of("torch", bound, ledger, 32, (3, 32, 32))
    for epoch in range(3):
        order = torch.from_numpy(np.random.default_rng((0, epoch)).permutation(8000))
        engine.run(x[order], y[order], 250 * epoch, 0.1 * 0.6**epoch)
    right = engine.evaluate(test_x[:2000], test_y[:2000], 0).correct / 20
    print(f"mcu_accuracy: resnet8 in float32, all of it: {right} %", file=sys.stderr, flush=True)
    names = list(bound.net.children)
    first = Net({name: bound.net.children[name] for name in names[: names.index("block3_1")]})
    ledger.clock.phase = "eval"  # running statistics

    def features(images: Tensor) -> NDArray[np.float16]:
        parts = [first.fw(images[at : at + 500])[0] for at in range(0, len(images), 500)]
        return torch.cat(parts).half().numpy()

    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        file,
        **{"x": features(x[8000:10_000]), "y": y[8000:10_000].numpy()},
        **{"test_x": features(test_x[:3000]), "test_y": test_y[:3000].numpy()},
    )


TASKS: dict[str, tuple[Callable[[], Task], tuple[float, ...], range]] = {
    "mlp": (fashion, (0.02, 0.05, 0.1), SEEDS),
    "ds-cnn": (digits, (0.05, 0.1, 0.2), SEEDS),
    "resnet8": (last_block, (0.02, 0.05), range(1)),
}


def study(name: str, figures: Figures) -> None:
    """One task: the rate, every card at it and its lost updates; the MLP at a small rate as well."""
    make, rates, seeds = TASKS[name]
    made: list[Task] = []

    def task() -> Task:
        made[:] = made or [make()]  # the features take a while, and a study that is done needs none
        return made[0]

    def by_seed(device: str, lr: float) -> list[float]:
        names = [f"{name}-{device}-{lr}-s{seed}" for seed in seeds]
        trials = zip(names, seeds, strict=True)
        return [once(trial, lambda *how: task().accuracy(*how), device, seed, lr) for trial, seed in trials]

    tuned = [
        [
            once(
                f"{name}-tune-{lr}-s{seed}",
                lambda lr, seed: task().held_out().accuracy(SOFTWARE, seed, lr),
                lr,
                seed,
            )
            for seed in (100, 101)
        ]
        for lr in rates
    ]
    means = [float(np.mean(row)) for row in tuned]
    best = rates[means.index(max(means))]
    figures.detail[name] = {"rates": dict(zip(map(str, rates), means, strict=True)), "rate": best}
    for lr in (best, best / 100) if name == "mlp" else (best,):
        what = name if lr == best else f"{name} at a hundredth of the rate"
        software = by_seed(SOFTWARE, lr)
        figures.add(f"{what}, {SOFTWARE}", float(np.mean(software)), "%")
        of_cards = figures.detail.setdefault(what, {})
        of_cards[SOFTWARE] = software
        for device in CARDS if lr == best else ("fp16-nearest", "fp16-compensated"):
            ours = of_cards[device] = by_seed(device, lr)
            mean = float(np.mean(ours) - np.mean(software))
            if len(seeds) > 1:
                of_cards[f"{device} - {SOFTWARE}"] = vars(difference(ours, software))
            target = None if device == "fp16-nearest" or lr != best else ">= -0.5"
            figures.add(f"{what}, {device}", float(np.mean(ours)), "%")
            figures.add(f"{what}, {device} - {SOFTWARE}", mean, "points", target)
            share = once(f"{name}-{device}-{lr}-lost", lambda *how: task().lost(*how), device, lr)
            target = "<= 0.1" if device == "fp16-compensated" else None
            figures.add(f"{what}, {device}: lost updates", share, "%", target)


def main() -> int:
    """The parts that are asked for; the results of all that are done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=TASKS, action="append", help="only this; a result of its own")
    parser.add_argument("--done", action="store_true", help="train nothing: results of what is trained")
    found = parser.parse_args()
    asked = found.part or list(TASKS)
    torch.set_num_threads(1)
    for file, mend in (
        (ARCHIVE, f"name the recordings' zip in {SPOKEN_DIGITS}"),
        (SHARED / "cifar10_jpeg.npz", "it is CIFAR-10 as JPEG files in one array"),
    ):
        if not file.exists():
            print(f"mcu_accuracy: {file} is not there: {mend}", file=sys.stderr)
            return 2
    figures = Figures("_".join(["mcu_accuracy", *(found.part or [])]))
    code = 0
    for name in TASKS:
        if name in asked:
            try:
                study(name, figures)
            except NotDone as trial:
                figures.detail.setdefault("first trial not done", []).append(str(trial))
            code = figures.finish()
    return code


if __name__ == "__main__":
    sys.exit(main())
