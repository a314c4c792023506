"""Rules on physics, beside what the physics must be held against: each tuned with the same budget.

Main net: physics with a digital skip, a dense layer, the same once more, then the classes; every physical
layer has as many outputs as the data have values. Controls are the same net with one thing changed:

    zero        nothing in place of the physics: what the digital part does alone
    linear      the physics' linear part (least squares on measured pairs) in its place
    skip_off    no way round the physics
    backprop    backpropagation through the same frozen physics (an exact copy of it gives J^T d)
    ridge       a ridge readout of the raw values: no physics, nothing learned below
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from hwtrain import data as datasets
from hwtrain.analysis.estimate import Estimate, estimate
from hwtrain.arith.threefry import Streams
from hwtrain.cards import PhysicalCard, card, card_id, cards
from hwtrain.config import SOFTWARE
from hwtrain.data import Split
from hwtrain.direction import Adam, Transform
from hwtrain.errors import ConfigError, IncompatibleRule, nearest
from hwtrain.layers.dense import Dense
from hwtrain.layers.physical import Physical
from hwtrain.layers.relu import Relu
from hwtrain.ledger import Ledger
from hwtrain.net import Net
from hwtrain.physical.emulators.base import Emulator
from hwtrain.physical.twin import Copy, DigitalTwin, Linear, Zero
from hwtrain.registry import lookup, names, unknown
from hwtrain.rules._blocks import labelled
from hwtrain.rules._goodness import GoodnessRule
from hwtrain.rules.base import Bound
from hwtrain.substrates.base import Options, Substrate, Trial, substrate_of
from hwtrain.substrates.physical import PhysicalArray
from hwtrain.training.engine import TorchEngine
from hwtrain.training.trial import order_of

CONTROLS = ("zero", "linear", "skip_off", "backprop", "ridge")
LEFT_OUT = ("backprop", "shallow")
"""Rules that are no rows: physics refuses the first, the second is a control of other nets."""
_DEPTH = {"ridge": 1, "spsa": 1, "coupled-learning": 0}
"""Physical layers before the classes, where it is not two; with 0 the physics itself makes the classes."""
_PLAIN = ("spsa", "in-situ", "coupled-learning", "ridge")
"""Rules whose changes go to controls or are seeded: gradient descent, not Adam."""
_RATES = {
    "spsa": (0.03, 0.1, 0.3),
    "in-situ": (0.05, 0.2, 0.8),
    "coupled-learning": (3.0, 10.0, 30.0),
    "ridge": (1e-4, 1e-2, 1.0),
    "node-perturbation": (0.001, 0.003, 0.01),
    "forward-gradient": (0.001, 0.003, 0.01),
}
_ADAM = (0.001, 0.003, 0.01)
_TUNING_SEED = 1 << 20


@dataclass(frozen=True)
class Budget:
    """What every contestant may spend: ``epochs`` over ``samples`` in batches; rates are tuned in ``tuning``
    epochs on validation, never on test. Without ``tuning`` the middle rate is taken. ``width``: outputs of a
    physical layer, by default as many as the data have values; ``pairs``: training samples that twins and
    linear parts are fitted to."""

    data: str = "digits"
    samples: int | None = None
    epochs: int = 6
    tuning: int = 2
    batch: int = 20
    width: int | None = None
    pairs: int = 1000
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Contestant:
    """A rule on a piece of physics, with what was changed about it; no card: no physics.

    ``hidden`` puts a digital layer with ReLU before the classes, as wide as that which goodness learns with.
    """

    rule: str
    card: str | None
    depth: int
    change: str = "main"
    skip: bool = True
    hidden: bool = False

    @property
    def rates(self) -> tuple[float, ...]:
        """What its rate is tuned over."""
        return _RATES.get(self.rule, _ADAM)


@dataclass(frozen=True)
class Found:
    """Accuracies by seed at the rate chosen, and what one training and one prediction spent."""

    accuracies: tuple[float, ...]
    rate: float
    passes: int
    passes_predict: float
    macs: int
    energy_J: float | None


@dataclass
class Row:
    """A rule on a card beside its controls, or why it cannot run there."""

    rule: str
    emulator: str
    found: Found | None = None
    refused: str | None = None
    controls: dict[str, Found] = field(default_factory=dict)

    def difference(self, control: str) -> Estimate:
        """Paired over seeds, in shares."""
        assert self.found is not None
        pairs = zip(self.found.accuracies, self.controls[control].accuracies, strict=True)
        return estimate([a - b for a, b in pairs])

    def as_dict(self) -> dict[str, Any]:
        """For JSON: accuracies in shares, controls by name."""
        row: dict[str, Any] = {"rule": self.rule, "emulator": self.emulator, "refused": self.refused}
        if self.found is None:
            return row
        row["accuracy"] = estimate(self.found.accuracies).mean
        row |= {name: estimate(its.accuracies).mean for name, its in self.controls.items()}
        row |= {
            "rate": self.found.rate,
            "passes": self.found.passes,
            "passes_per_prediction": self.found.passes_predict,
            "digital_macs": self.found.macs,
            "physics_energy_J": self.found.energy_J,
            "by_seed": self.found.accuracies,
        }
        for name in self.controls:
            gap = self.difference(name)
            row[f"minus_{name}"] = {"mean": gap.mean, "low": gap.low, "high": gap.high}
        return row


def study(
    rules: Sequence[str] | None = None,
    emulators: Sequence[str] | None = None,
    budget: Budget | None = None,
    *,
    controls: bool = True,
    workers: int = 1,
    tick: Callable[[int, int], None] = lambda *_: None,
) -> list[Row]:
    """Every rule on every emulator's card; ``tick`` hears contestants done and in all.

    Without ``controls`` the main nets have no skip, and the only control is that without physics.
    """
    budget = budget or Budget()
    rows, wanted = _planned(rules, emulators, budget, controls)
    unique = list(dict.fromkeys(one for _, its in wanted for one in its.values()))
    found: dict[Contestant, Found] = {}
    for done, (one, its) in enumerate(_compete(unique, budget, workers), start=1):
        found[one] = its
        tick(done, len(unique))
    for row, its_controls in wanted:
        row.found = found[its_controls["main"]]
        row.controls = {name: found[one] for name, one in its_controls.items() if name != "main"}
    return rows


def _planned(
    rules: Sequence[str] | None, emulators: Sequence[str] | None, budget: Budget, controls: bool
) -> tuple[list[Row], list[tuple[Row, dict[str, Contestant]]]]:
    every = [name for name in names("rules") if name not in LEFT_OUT]
    for name in rules or ():
        if name not in names("rules"):
            raise ConfigError(unknown("rules", name))
    shipped = [name for name, its in cards() if isinstance(its, PhysicalCard)]
    rows: list[Row] = []
    wanted = []
    for rule in rules or every:
        for emulator in emulators or shipped:
            if not isinstance(card(emulator), PhysicalCard):
                raise ConfigError(
                    f"emulators: {emulator} is no card of physics: {nearest(emulator, shipped)}"
                )
            row = Row(rule, card_id(emulator))
            rows.append(row)
            depth = _DEPTH.get(rule, 2)
            main = Contestant(rule, emulator, depth, skip=controls and depth > 0)
            try:
                bound(main, budget, 0, split_of(budget, "test"))
            except IncompatibleRule as problem:
                row.refused = str(problem)
                continue
            wanted.append((row, {"main": main, **_controls(main, controls)}))
    return rows, wanted


def _controls(main: Contestant, every: bool) -> dict[str, Contestant]:
    # In situ, light itself is what learns: without it the digital rest learns by backpropagation.
    rule = "backprop" if main.rule == "in-situ" else main.rule
    # Without physics every card is the same; but a network that is all there is must be there to be asked.
    zero = replace(main, rule=rule, change="zero", card="fibre" if main.depth else main.card)
    if not every:
        return {"zero": zero}
    return {
        "zero": zero,
        "linear": replace(main, rule=rule, change="linear"),
        "skip_off": replace(main, skip=False),
        "backprop": replace(main, rule="backprop", depth=max(1, main.depth), change="copy"),
        "ridge": Contestant("ridge", None, 0),
    }


def _compete(
    unique: Iterable[Contestant], budget: Budget, workers: int
) -> Iterator[tuple[Contestant, Found]]:
    if workers == 1:
        for one in unique:
            yield one, compete(one, budget)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        futures = {one: pool.submit(compete, one, budget) for one in unique}
        for one, future in futures.items():
            yield one, future.result()


def compete(one: Contestant, budget: Budget) -> Found:
    """Tune on validation with a seed of its own, then train with every seed."""
    torch.set_num_threads(1)
    rates = one.rates
    rate = rates[len(rates) // 2]
    if budget.tuning:
        scores = [train(one, budget, _TUNING_SEED, r, budget.tuning, "validation")[0] for r in rates]
        rate = rates[scores.index(max(scores))]
    outcomes = [train(one, budget, seed, rate, budget.epochs, "test") for seed in budget.seeds]
    ledger = outcomes[0][1]
    spent = [line for line in ledger.rows() if line["phase"] != "eval"]
    looked = sum(int(line.get("passes", 0)) for line in ledger.rows() if line["phase"] == "eval")
    passes = sum(int(line.get("passes", 0)) for line in spent)
    its = None if one.card is None or one.change in ("zero", "linear") else card(one.card)
    per_pass = its.pass_.energy_J if isinstance(its, PhysicalCard) else 0.0
    return Found(
        tuple(accuracy for accuracy, _ in outcomes),
        rate,
        passes,
        looked / len(split_of(budget, "test").eval_y),
        sum(int(line.get("macs", 0)) for line in spent),
        None if per_pass is None else passes * per_pass,
    )


def train(
    one: Contestant, budget: Budget, seed: int, rate: float, epochs: int, evaluate: str
) -> tuple[float, Ledger]:
    """Accuracy after training, and the ledger. The rate falls as a cosine."""
    split = split_of(budget, evaluate)
    placed, ledger = bound(one, budget, seed, split)
    engine = TorchEngine(placed, ledger, budget.batch)
    x, labels = torch.from_numpy(split.train_x), torch.from_numpy(split.train_y)
    step = 0
    for epoch in range(epochs):
        order = torch.from_numpy(order_of(seed, epoch, len(x)))
        falling = rate if one.rule == "ridge" else rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        engine.run(x[order], labels[order], step, falling)
        step += -(-len(x) // budget.batch)
        if one.rule == "ridge":
            break  # it has seen everything
    if one.depth == 0 and one.change == "linear":  # of the physics as it has learned
        _stand_in(one, placed.net, x[: budget.pairs])
    held = torch.from_numpy(split.eval_x), torch.from_numpy(split.eval_y)
    found = engine.evaluate(*held, step)
    return found.correct / found.samples, ledger


@cache
def split_of(budget: Budget, evaluate: str) -> Split:
    split = datasets.load(budget.data, evaluate=evaluate)
    n = budget.samples or len(split.train_y)
    return replace(
        split,
        train_x=split.train_x.reshape(len(split.train_x), -1)[:n],
        train_y=split.train_y[:n],
        eval_x=split.eval_x.reshape(len(split.eval_x), -1),
    )


def bound(one: Contestant, budget: Budget, seed: int, split: Split) -> tuple[Bound, Ledger]:
    """The contestant's rule at work on its net, its physics with what the change puts in its place."""
    n = split.train_x.shape[1]
    net = _net(one, n, budget.width or n, split.classes)
    ledger = Ledger()
    software = substrate_of(card(SOFTWARE), Options())
    home = software if one.card is None else substrate_of(card(one.card), Options())

    def substrate(path: str) -> Substrate:
        return home if path.startswith("phi") else software

    def transforms() -> list[Transform]:
        return [] if one.rule in _PLAIN else [Adam(ledger.clock)]

    net.place(Trial(Streams(seed), ledger), substrate, software, transforms)
    if one.depth or one.change != "linear":
        x = torch.from_numpy(split.train_x[: budget.pairs])
        rule = lookup("rules", one.rule)
        if (
            issubclass(rule, GoodnessRule) and rule.labels_in
        ):  # its physics sees labels too, and what never varied has no linear part
            x = labelled(x, torch.arange(len(x)) % split.classes, split.classes)
        _stand_in(one, net, x)
    return lookup("rules", one.rule)().bind(net), ledger


def _by_goodness(one: Contestant) -> bool:
    return issubclass(lookup("rules", one.rule), GoodnessRule)


def _net(one: Contestant, n: int, width: int, classes: int) -> Net:
    children: dict[str, Any] = {}
    below = n
    for place in range(1, one.depth + 1):
        children[f"phi{place}"] = Physical(below, width, skip=one.skip)
        seen = width + below * one.skip
        last = place == one.depth and not _by_goodness(one) and not one.hidden
        # a first draw of a readout would have to be unlearned, which perturbation is slow at
        start = torch.zeros(classes, seen) if last and one.rule == "spsa" else None
        children[f"fc{place}"] = Dense(seen, classes if last else width, weights=start)
        if place == one.depth and not last:
            children |= {"relu": Relu()} if one.hidden else {}
            children["labels"] = Dense(width, classes)  # for goodness its width alone counts
        below = width
    if one.depth == 0:
        children = {"phi1": Physical(n, classes)} if one.card else {"fc1": Dense(n, classes)}
    return Net(children)


def _stand_in(one: Contestant, net: Net, x: Tensor) -> None:
    """Twins and stand-ins for every piece of physics, from what it sees before training."""
    needs_twin = one.rule in ("physics-aware", "in-silico")
    if one.change == "main" and not needs_twin:
        return  # and measure nothing that would be counted
    h: Tensor = x
    for _, layer in net.layers():
        medium = layer.arrays.get("medium")
        if isinstance(medium, PhysicalArray):
            if one.change == "zero":
                medium.stand_in = Zero(medium.geometry.out)
                medium.attach(medium.stand_in)
            elif one.change == "linear":
                medium.stand_in = Linear(*medium.pairs(_spread(h)))
                medium.attach(medium.stand_in)
            elif one.change == "copy" and isinstance(medium.source, Emulator):
                medium.attach(Copy(medium.source, medium.controls))
            elif needs_twin or one.change == "copy":
                medium.attach(DigitalTwin.fit(*medium.pairs(_spread(h)), kinds=("mlp",)))
        h = layer.fw(h)[0]


def _spread(h: Tensor) -> Tensor:
    """Inputs to measure: what the layer sees at first, and mixtures of that, for it will see others."""
    half = len(h) // 2
    mixed = h[:half] - h[half : 2 * half].roll(1, 0)
    return torch.cat([h, mixed])
