"""The contract of every rule: it trains through its declared ports alone, without autograd."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.cards import cards
from hwtrain.errors import IncompatibleRule
from hwtrain.registry import lookup
from hwtrain.training.trial import Runner

Make = Callable[..., Runner]


def toy(seed: int, n: int) -> tuple[Any, Any]:
    """Two classes that differ in the larger of two sums."""
    x = np.random.default_rng(seed).random((n, 8))
    return x, (x[:, :4].sum(1) > x[:, 4:].sum(1)).astype(int)


DATA = (*toy(1, 200), *toy(2, 400))
SETTINGS: dict[str, Any] = {
    "net": "8-6-2", "epochs": 4, "lr": 0.8, "batch": 5, "summed": True, "device": "float32",
}  # fmt: skip
LONGER: dict[str, dict[str, Any]] = {
    "spsa": {"epochs": 30, "lr": 0.1, "batch": 20, "summed": False, "lr_decay": 0.9},
    "node-perturbation": {"epochs": 10, "lr": 0.2, "lr_decay": 0.8},
    "forward-gradient": {"epochs": 10, "lr": 0.2, "lr_decay": 0.8},
    "forward-forward": {"epochs": 20, "net": "8-32-2", "activation": "relu", "lr_decay": 1.0},
    "phyll": {"epochs": 10, "net": "8-32-2", "lr_decay": 0.8},
    "phyll-unsupervised": {"epochs": 10, "net": "8-32-2", "lr": 0.1, "lr_decay": 0.8},
}
"""What rules need that six units and a few hundred steps are too little for."""
PORTS = ("read", "read_t", "write", "perturb")


def run(made: Runner) -> Runner:
    made.run(None, "", lambda _: None, lambda: False)
    return made


DEVICES = [next(name for name, its in cards() if its.kind == kind) for kind in ("ideal", "synapse")]


def fitted(rule: str, trial: Make, **settings: Any) -> Runner | None:
    """The trial; None where the device is rightly refused for a port."""
    plain = {"summed": False, "momentum": 0.0} if rule == "spsa" else {}
    given = SETTINGS | settings | plain
    if rule == "spsa" and settings["device"] != "float32":
        with pytest.raises(IncompatibleRule, match="needs port perturb, which its substrate lacks"):
            trial(DATA, rule=rule, **given)
        return None
    return trial(DATA, rule=rule, **given)


def tensors_alive() -> list[torch.Tensor]:
    return [found for found in gc.get_objects() if type(found) is torch.Tensor]


def test_rule_trains_on_exact_weights(rule: str, trial: Make) -> None:
    made = trial(DATA, rule=rule, **SETTINGS | LONGER.get(rule, {}))
    first = made.engine.evaluate(*made.eval, 0).correct / 400
    run(made)
    assert made.position.rows[-1]["accuracy"] > max(0.7, first + 0.15)


@pytest.mark.parametrize("device", DEVICES)
def test_no_tensor_asks_for_gradients(rule: str, device: str, trial: Make) -> None:
    before = tensors_alive()  # held, or a new tensor could get the place of an old one
    known = {id(found) for found in before}
    made = fitted(rule, trial, device=device, epochs=1)
    if made is None:
        return
    run(made)
    new = [found for found in tensors_alive() if id(found) not in known]
    assert len(new) > 4
    assert not any(found.requires_grad or found.grad_fn for found in new)
    assert not any(found.requires_grad for found in made._tensors().values())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_state_goes_round_in_mid_training(rule: str, device: str, momentum: float, trial: Make) -> None:
    one, other = (fitted(rule, trial, device=device, momentum=momentum) for _ in range(2))
    if one is None or other is None:
        return
    x, labels = one.train
    one.engine.run(x[:60], labels[:60], 0, 0.5)
    kept = {name: value.clone() for name, value in one._tensors().items()}
    held = one._tensors()
    one.engine.run(x[60:150], labels[60:150], 12, 0.5)
    assert all(torch.equal(held[name], kept[name]) for name in kept), "what was kept moved along"
    other.bound.net.restore(held)
    other.bound.restore({n.removeprefix("rule/"): v for n, v in held.items() if n.startswith("rule/")})
    other.engine.run(x[60:150], labels[60:150], 12, 0.5)
    assert all(torch.equal(held[name], kept[name]) for name in kept), "what was restored moved along"
    for name, value in one._tensors().items():
        assert torch.equal(value, other._tensors()[name]), name
    moved = [name for name, value in one._tensors().items() if not torch.equal(value, kept[name])]
    assert moved


@pytest.mark.parametrize("device", DEVICES)
def test_ledger_counts_the_declared_ports_and_no_others(rule: str, device: str, trial: Make) -> None:
    made = fitted(rule, trial, device=device, epochs=1, net="8-6-5-2")
    if made is None:
        return
    run(made)
    needs = lookup("rules", rule)().needs(made.bound.net)
    assert needs
    for path, declared in needs.items():
        for port in PORTS:
            counts = made.ledger.of("train", path, port)
            used = counts["reads"] + counts["writes"] + counts["perturbs"]
            assert (used > 0) == (port in declared), f"{path} {port}: {used}"
            assert port in ("write", "perturb") or used % 200 == 0  # whole passes over the samples


@pytest.mark.parametrize("device", DEVICES)
def test_rule_trains_where_autograd_is_poisoned(
    rule: str, device: str, trial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(*_: Any, **__: Any) -> Any:
        raise AssertionError("autograd was used")

    for owner, name in (
        (torch.Tensor, "backward"),
        (torch.Tensor, "requires_grad_"),
        (torch.autograd, "grad"),
        (torch.autograd, "backward"),
        (torch.autograd.Function, "__init_subclass__"),
        (torch.autograd.Function, "apply"),
    ):
        monkeypatch.setattr(owner, name, poison)
    made = fitted(rule, trial, device=device, epochs=1)
    if made is not None:
        assert run(made).position.rows[-1]["accuracy"] > 0.4
    with pytest.raises(AssertionError, match="autograd was used"):
        torch.zeros(1, requires_grad=True).sum().backward()
