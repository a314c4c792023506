"""A non-ideality that is switched on changes what a net computes, whatever the card and the rule."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hwtrain.cards import SynapseCard, learning_cards
from hwtrain.errors import IncompatibleRule
from hwtrain.nets.base import mlp
from hwtrain.registry import lookup
from tests.programs import bound_on

SWITCHES: dict[str, dict[str, dict[str, Any]]] = {
    "write noise": {"variation": {"c2c_rel_range": 0.3}},
    "stuck cells": {"faults": {"stuck_on": 0.0, "stuck_off": 0.0, "stuck_random": 0.5}},
    "converter": {"read": {"adc_bits": 3}},
    "drift": {"ageing": {"lifetime_steps": 2.0}},
}
CARDS = {name: found for name, found in learning_cards() if isinstance(found, SynapseCard)}


def switched(device: SynapseCard, tables: dict[str, dict[str, Any]]) -> SynapseCard:
    said = device.model_dump(exclude_none=True, exclude_defaults=True)
    changed = {name: said.get(name, {}) | keys for name, keys in tables.items()}
    return SynapseCard.model_validate(said | changed)


def scores(device: SynapseCard, rule: str) -> torch.Tensor:
    """Of a small net after three steps."""
    bound = bound_on(mlp("5-4-3", "tanh"), device, lookup("rules", rule)())
    draw = torch.Generator().manual_seed(0)
    _, array = next(bound.net.arrays())
    clock = array.trial.ledger.clock
    for step in range(3):
        clock.phase, clock.step = "train", step
        x, labels = torch.rand(2, 5, generator=draw), torch.randint(0, 3, (2,), generator=draw)
        bound.step(x, labels, 0.3)
    clock.step = 3
    bound.flush(0.3)
    clock.phase, clock.samples = "eval", 5
    return bound.predict(torch.rand(5, 5, generator=draw))


def felt(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Whether more has changed than a rounding."""
    return not torch.allclose(before, after, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("device", CARDS)
def test_every_switch_is_felt_on_every_card(device: str) -> None:
    plain = CARDS[device]
    before = scores(plain, "backprop")
    for what, tables in SWITCHES.items():
        after = scores(switched(plain, tables), "backprop")
        assert felt(before, after), f"{what} changes nothing"


def test_every_switch_is_felt_under_every_rule(rule: str) -> None:
    plain = CARDS["ag-si"]
    try:
        before = scores(plain, rule)
    except IncompatibleRule:
        return  # test_trains.py asks who may be refused
    for what, tables in SWITCHES.items():
        after = scores(switched(plain, tables), rule)
        # It loads what it has solved, to the nearest state; arrays age from one write to the next.
        exact = rule == "ridge" and what in ("write noise", "drift")
        assert felt(before, after) != exact, f"{what} changes {'something' if exact else 'nothing'}"
