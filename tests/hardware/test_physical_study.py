"""Every rule on every physics, with autograd poisoned at every door."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

import pytest
import torch

from hwtrain.analysis.physical_study import Budget, Contestant, bound, split_of, study
from hwtrain.cards import PhysicalCard, cards
from hwtrain.physical.twin import Linear
from hwtrain.registry import names
from hwtrain.substrates.physical import PhysicalArray

MARGIN = 0.05
ONLY = {"in-situ": {"mesh"}, "coupled-learning": {"resistor-network"}}
"""Rules that need a port which one kind of physics alone has."""


def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    def used(*_: Any, **__: Any) -> Any:
        raise AssertionError("autograd was used")

    for owner, name in (
        (torch.Tensor, "backward"),
        (torch.Tensor, "requires_grad_"),
        (torch.autograd, "grad"),
        (torch.autograd, "backward"),
        (torch.autograd.functional, "vjp"),
        (torch.autograd.functional, "jvp"),
        (torch.autograd.functional, "jacobian"),
        (torch.autograd.Function, "__init_subclass__"),
        (torch.autograd.Function, "apply"),
    ):
        monkeypatch.setattr(owner, name, used)


@pytest.mark.slow
def test_every_rule_on_every_physics_learns_or_is_refused_for_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)
    began = time.process_time()
    rows = study(budget=Budget(epochs=3, tuning=0, seeds=(0,)), controls=False)
    spent = time.process_time() - began
    physics = {name for name, its in cards() if isinstance(its, PhysicalCard)}
    assert {row.emulator for row in rows} == physics
    assert len({row.rule for row in rows}) >= len(names("rules")) - 2
    below = []
    above: dict[str, list[bool]] = {}
    for row in rows:
        if row.found is None:
            assert row.emulator not in ONLY.get(row.rule, set())
            if row.rule in ONLY and row.emulator != "saturable-absorber":  # which has other sizes anyway
                assert re.search(r"needs port (taps|clamp)", str(row.refused))
            continue
        above.setdefault(row.rule, []).append(row.difference("zero").mean >= MARGIN)
        if not above[row.rule][-1]:
            below.append(f"{row.rule} on {row.emulator}: {row.found.accuracies[0]:.1%}")
    sys.stdout.write(f"{len(rows)} cells, {spent:.0f} s of CPU, not above the control: {below}\n")
    assert len(below) < len(rows) / 5
    assert all(sum(found) > len(found) / 2 for found in above.values()), "a rule that does not learn"
    assert spent < 600  # 5 minutes of two cores


def test_the_linear_part_is_that_of_inputs_with_labels() -> None:
    """Digits leave the first pixel dark, where the first label is written: its slope is found anyway."""
    its = Contestant("phyll", "fibre", 1, change="linear", skip=False)
    budget = Budget(samples=600)
    split = split_of(budget, "test")
    assert not split.train_x[:, 0].any()
    rule, _ = bound(its, budget, 0, split)
    medium = dict(rule.net.arrays())["phi1.medium"]
    assert isinstance(medium, PhysicalArray)
    assert isinstance(medium.stand_in, Linear)
    slopes = medium.stand_in.A.norm(dim=0)
    assert slopes[0] > 0.3 * slopes.mean()


def test_a_row_stands_beside_all_its_controls() -> None:
    (row,) = study(["dfa"], ["mesh"], Budget(epochs=1, tuning=1, samples=200, seeds=(0, 1)))
    made = row.as_dict()
    for control in ("zero", "linear", "skip_off", "backprop", "ridge"):
        assert 0 <= made[control] <= 1
        assert made[f"minus_{control}"]["mean"] == pytest.approx(made["accuracy"] - made[control])
    assert made["passes"] == 2 * 200
    assert made["passes_per_prediction"] == 2
    assert made["digital_macs"] > 200 * 64 * 64
    assert made["physics_energy_J"] is None  # the card does not say
