"""Every rule on every physics, with autograd poisoned at every door."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hwtrain.analysis.physical_study import Budget, Contestant, bound, split_of, study, train
from hwtrain.cards import PhysicalCard, card, cards
from hwtrain.physical.twin import Linear
from hwtrain.registry import names
from hwtrain.substrates.physical import PhysicalArray

MARGIN = 0.05
EPOCHS = 4
"""Over 300 samples, through a pipe."""
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


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["phyll", "dfa", "physics-aware", "ridge"])
def test_rules_learn_on_physics_in_another_process(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a pipe the accuracies are about those of another specimen of the emulator in this process."""
    poison(monkeypatch)
    its = Contestant(rule, "fibre", 1, skip=False)
    budget = Budget(samples=300, width=64)
    here, _ = train(its, budget, 0, its.rates[1], EPOCHS, "test")
    command = [sys.executable, "-m", "hwtrain", "physical", "serve", "fibre", "--in", "64", "--out", "64"]
    command += ["--log", str(tmp_path / "{layer}.log")]
    values = card("fibre").model_dump(by_alias=True, exclude_unset=True, exclude={"physics"})
    lab = tmp_path / "lab.toml"
    lab.write_text(_toml(values | {"instrument": {"command": command, "timeout_s": 120.0}}))
    there, ledger = train(replace(its, card=str(lab)), budget, 0, its.rates[1], EPOCHS, "test")
    assert abs(there - here) < 0.15
    assert there > 0.3
    log = [json.loads(line) for line in (tmp_path / "phi1.medium.log").read_text().splitlines()]
    assert [entry["name"] for entry in log] == [f"{number}.0" for number in range(len(log))]
    passes = sum(int(line.get("passes", 0)) for line in ledger.rows())
    assert sum(len(entry["value"]["x"]) for entry in log) == passes


def _toml(values: dict[str, Any]) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict)]
    for table, keys in values.items():
        if isinstance(keys, dict):
            lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


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
