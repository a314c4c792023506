"""Every pair of a rule and a device trains, or is refused for a port that the device really lacks.

The task: four random patterns of 64 bits, of which 15 % are flipped in every sample, and a hidden
layer of only two units, so that a hidden layer left at random loses most of what tells the patterns
apart. Task and settings were chosen on seeds 100 to 105, where the control reached at most 0.64 and
backpropagation at least 0.74, and are the same for every pair; the test takes the mean of seeds 0 and 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from hwtrain.arith.threefry import Streams
from hwtrain.cards import PhysicalCard, card, learning_cards
from hwtrain.errors import IncompatibleRule
from hwtrain.registry import lookup, names
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
from hwtrain.synapse.updates._transfer import Transfer
from hwtrain.training.trial import Runner

SEEDS = (0, 1)
SETTINGS: dict[str, Any] = {
    "net": "64-2-4", "lr": 0.3, "epochs": 10, "batch": 10, "summed": True,
}  # fmt: skip
MARGIN = 0.05
RULES = ("backprop", "shallow", "dfa", "mono-forward")
"""Rules that two hidden units are enough for; the others learn wider nets: test_rules.py."""
CLOSED = ("linear", "affine")
"""Laws in closed form; the others walk pulse by pulse, which takes minutes."""
REFUSAL = re.compile(r"layer (\S+): \S+ needs port (\w+), which its substrate lacks")


class Pair(NamedTuple):
    """What is trained on what; no update and cell: those that the card advises."""

    rule: str
    device: str
    update: str = "sign-pulse"
    cell: str | None = None


def patterns(seed: int, n: int) -> tuple[Any, Any]:
    """n samples of the four patterns, which do not depend on the seed."""
    whole = np.random.default_rng(7).random((4, 64)) < 0.5
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    return (whole[y] ^ (rng.random((n, 64)) < 0.15)).astype(float), y


DATA = {seed: (*patterns(seed, 200), *patterns(seed + 1000, 400)) for seed in SEEDS}
MAJORITY = np.mean([np.bincount(data[3]).max() / 400 for data in DATA.values()])


@pytest.fixture(scope="session")
def score(trained: Callable[..., float]) -> Callable[[Pair], float]:
    @cache
    def train(pair: Pair) -> float:
        runs = [trained(DATA[seed], seed=seed, **pair._asdict(), **SETTINGS) for seed in SEEDS]
        return sum(runs) / len(runs)

    return train


def tell(line: str) -> None:
    """Into the captured output, which pytest -rP shows."""
    sys.stdout.write(line + "\n")


def really_lacks(pair: Pair, error: IncompatibleRule, trial: Callable[..., Runner]) -> bool:
    """Whether the port that a refusal names is missing from the array that it names."""
    found = REFUSAL.search(str(error))
    if found and isinstance(its := card(pair.device), PhysicalCard):
        made = substrate_of(its, Options()).array(Geometry("it.medium", 1, 1, 4, 4, 1.0), Trial(Streams(0)))
        return found[2] not in made.ports
    placed = trial(DATA[0], **(SETTINGS | {"device": pair.device, "rule": "shallow"}))
    return bool(found) and found[2] not in dict(placed.bound.net.arrays())[found[1]].ports


def judge(
    pairs: Iterable[Pair], score: Callable[[Pair], float], trial: Callable[..., Runner]
) -> tuple[int, int, list[str]]:
    """How many pairs train, how many are rightly refused, and all that do neither."""
    trained, refused, wrong = 0, 0, []
    for pair in pairs:
        try:
            found = score(pair)
        except IncompatibleRule as error:
            if really_lacks(pair, error, trial):
                refused += 1
            else:
                wrong.append(f"{pair}: refused without reason: {error}")
            continue
        control = MAJORITY if pair.rule == "shallow" else score(pair._replace(rule="shallow"))
        tell(f"{pair}: {found:.3f}, control {control:.3f}")
        if found > control + MARGIN:
            trained += 1
        else:
            wrong.append(f"{pair}: {found:.3f} is not above the control's {control:.3f} by {MARGIN}")
    return trained, refused, wrong


def check(pairs: list[Pair], score: Callable[[Pair], float], trial: Callable[..., Runner]) -> None:
    trained, refused, wrong = judge(pairs, score, trial)
    tell(f"pairs of rule and device: {len(pairs)}, {trained} trained, {refused} refused")
    assert trained + refused == len(pairs), "\n".join(wrong)
    assert trained > 0


@pytest.mark.slow
def test_a_card_of_every_kind_and_closed_law_trains_a_hidden_layer(
    score: Callable[[Pair], float], trial: Callable[..., Runner], card_of_law: dict[str, str]
) -> None:
    kinds = {its.kind: name for name, its in learning_cards() if its.kind != "synapse"}
    closed = [card_of_law[law] for law in CLOSED]
    check([Pair("backprop", name) for name in (*kinds.values(), *closed)], score, trial)


@pytest.mark.slow
def test_every_card_trains_a_hidden_layer(
    score: Callable[[Pair], float], trial: Callable[..., Runner]
) -> None:
    check([Pair("backprop", name) for name, _ in learning_cards()], score, trial)


SOFT = str(Path(__file__).resolve().parents[2] / "benchmarks" / "soft-bounds.toml")
ONE_BY_ONE: dict[str, Any] = {"lr": 0.1, "epochs": 5, "batch": 1, "summed": False}
"""For updates that transfer a column after every update: 1,000 of them, on a device that forgets."""


@pytest.mark.slow
@pytest.mark.parametrize("keeping", ["agad", "mixed-precision"])  # the others need rates of their own
def test_updates_that_bring_memory_along_train_a_hidden_layer(
    keeping: str, trained: Callable[..., float]
) -> None:
    transfers = issubclass(lookup("updates", keeping), Transfer)
    settings = SETTINGS | {"device": SOFT if transfers else "ideal-envm", "update": keeping, "cell": "single"}
    settings |= ONE_BY_ONE if transfers else {}
    found, control = (
        np.mean([trained(DATA[seed], seed=seed, rule=rule, **settings) for seed in SEEDS])
        for rule in ("backprop", "shallow")
    )
    tell(f"{keeping}: {found:.3f}, control {control:.3f}")
    assert found > control + MARGIN


@pytest.mark.slow
def test_every_rule_trains_with_every_update_and_cell_and_on_a_card_of_every_law(
    score: Callable[[Pair], float], trial: Callable[..., Runner], card_of_law: dict[str, str]
) -> None:
    closed = [card_of_law[law] for law in CLOSED]
    cells = [name for name in names("cells") if name != "half-reference"]  # whose range is not symmetric
    every = list(product(("backprop", "shallow"), closed, ("sign-pulse", "stochastic-pulse"), cells))
    every += [("backprop", name, "stochastic-pulse", None) for name in card_of_law.values()]
    check([Pair(*parts) for parts in every], score, trial)


def test_a_pair_that_learns_nothing_is_found(trial: Callable[..., Runner]) -> None:
    trained, refused, wrong = judge([Pair("backprop", "x")], lambda _: 0.5, trial)
    assert (trained, refused, len(wrong)) == (0, 0, 1)


def test_a_refusal_for_a_port_that_is_there_is_found(trial: Callable[..., Runner]) -> None:
    def refuse(_: Pair) -> float:
        raise IncompatibleRule("layer fc1.weight: it needs port read, which its substrate lacks (it has x)")

    trained, refused, wrong = judge([Pair("backprop", "float32")], refuse, trial)
    assert (trained, refused, len(wrong)) == (0, 0, 1)


def test_a_rule_is_refused_for_the_port_that_a_substrate_lacks(
    trial: Callable[..., Runner], score: Callable[[Pair], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hwtrain.substrates.crossbar import CrossbarArray

    monkeypatch.setattr(CrossbarArray, "ports", CrossbarArray.ports - {"read_t"})
    pairs = [Pair("backprop", "ideal-envm", "sign-pulse", "single")]
    assert judge(pairs, score.__wrapped__, trial) == (0, 1, [])  # type: ignore[attr-defined]
