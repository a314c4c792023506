"""What the conformance suite shares: everything below comes from the registry and the cards' folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from hwtrain.arith.threefry import Streams
from hwtrain.cards import SynapseCard, card, card_files
from hwtrain.config import make_config
from hwtrain.synapse.conductances import Conductances
from hwtrain.training.loop import prepare
from hwtrain.training.trial import Runner, Spec

CPU = torch.device("cpu")
QUICK_RULES = {"backprop", "shallow", "mono-forward", "phyll", "spsa"}
"""Rules of different kinds; the others are as slow as they are many."""


def synapse_cards() -> Iterator[tuple[str, SynapseCard]]:
    """Every card of a synapse that learns by pulses."""
    for name in card_files():
        found = card(name)
        if isinstance(found, SynapseCard) and found.response:
            yield name, found


def law_cards() -> dict[str, str]:
    """Law to the first card that follows it, by scanning the cards."""
    found: dict[str, str] = {}
    for name, its in synapse_cards():
        found.setdefault(its.response["law"], name)
    return found


def conductances(name: str, shape: tuple[int, ...] = (200,)) -> Conductances:
    """Cells of a card in float64."""
    found = card(name)
    assert isinstance(found, SynapseCard)
    return Conductances(found, shape, Streams(3), 1, torch.float64, CPU)


def runner(data: Any, **settings: Any) -> Runner:
    """The device's trial of a run, not yet trained."""
    config = make_config(**({"seeds": 1} | settings))
    job = prepare(config, None, data, None, False)
    assert isinstance(config.device, str)
    spec = Spec("device", config.rule, config.device, config.seed, config.lr)
    return Runner(spec, config, job.net, job.data)


def accuracy(data: Any, **settings: Any) -> float:
    """Final accuracy of the device's trial on the held-out part."""
    outcome = runner(data, **settings).run(None, "", lambda _: None, lambda: False)
    return float(outcome.position.rows[-1]["accuracy"])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``law``, ``cell`` ...: one test a registered name; ``card_name``: one a card."""
    from hwtrain.registry import names

    kinds = {"law": "laws", "cell": "cells", "update": "updates", "layer": "layers", "rule": "rules"}
    for argument, kind in kinds.items():
        if argument in metafunc.fixturenames:
            quick = QUICK_RULES if argument == "rule" else set(names(kind))
            metafunc.parametrize(
                argument,
                [
                    pytest.param(name, marks=() if name in quick else pytest.mark.slow)
                    for name in names(kind)
                    if name != "coupled-learning"  # no weights learn: tests/unit/test_rules_local.py
                ],
            )
    if "card_name" in metafunc.fixturenames:
        metafunc.parametrize("card_name", list(card_files()))
    if "synapse" in metafunc.fixturenames:
        quick = set(law_cards().values())  # one card a law; the others are as slow as they are many
        metafunc.parametrize(
            "synapse",
            [
                pytest.param(name, marks=() if name in quick else pytest.mark.slow)
                for name, _ in synapse_cards()
            ],
        )


@pytest.fixture(scope="session")
def card_of_law() -> dict[str, str]:
    return law_cards()


@pytest.fixture(scope="session")
def cells_of() -> Callable[..., Conductances]:
    return conductances


@pytest.fixture(scope="session")
def trial() -> Callable[..., Runner]:
    return runner


@pytest.fixture(scope="session")
def trained() -> Callable[..., float]:
    return accuracy
