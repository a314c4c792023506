"""The contract of every update."""

from __future__ import annotations

import pytest
import torch

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.registry import lookup
from hwtrain.synapse.updates.base import Pulses, Update

DRAWS = Streams(21).stream(Purpose.UPDATE, 2)
X = torch.tensor([0.8, -0.3, 0.0, 0.5, 0.02])
D = torch.tensor([0.5, 0.0, -0.7])
STEP, SCALE = 0.01, 0.012
"""The largest wanted change is 0.67 steps: no update clips it."""


def made(update: str, form: str, step: int = 0, scale: float = SCALE, x: torch.Tensor = X) -> Pulses:
    found: Update = lookup("updates", update)()
    if form == "outer":
        return found.outer(x, D, scale, STEP, DRAWS, (step, 0))
    return found.dense(scale * torch.outer(D, x), STEP, DRAWS, (step, 0))


@pytest.fixture(params=["outer", "dense"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("scale", [SCALE, -SCALE, 1.0])
def test_counts_are_not_zero_and_each_weight_stands_once(update: str, form: str, scale: float) -> None:
    total = 0
    for step in range(50):
        pulses = made(update, form, step, scale)
        assert (pulses.n != 0).all()
        assert pulses.index.unique().numel() == pulses.index.numel() == pulses.n.numel()
        assert ((pulses.index >= 0) & (pulses.index < 15)).all()
        assert pulses.slots >= 0
        assert pulses.randoms >= 0
        total += pulses.n.numel()
    assert total > 50


def test_no_signal_gives_no_pulse(update: str, form: str) -> None:
    wanted = torch.outer(D, X).flatten()
    for step in range(50):
        pulses = made(update, form, step, scale=5.0)
        assert (wanted[pulses.index] != 0).all()
    assert made(update, form, x=torch.zeros(5)).n.numel() == 0


def test_the_same_address_gives_the_same_bits(update: str, form: str) -> None:
    one, two = made(update, form, 4, 0.02), made(update, form, 4, 0.02)
    assert torch.equal(one.index, two.index)
    assert torch.equal(one.n, two.n)
    others = [made(update, form, step, 0.02).index.tolist() for step in range(5, 15)]
    assert any(other != one.index.tolist() for other in others)


def test_signs_are_those_of_the_wanted_change(update: str, form: str) -> None:
    for scale in (0.5, -0.5):
        wanted = scale * torch.outer(D, X).flatten()
        pulses = made(update, form, 0, scale)
        assert pulses.n.numel() > 0
        assert torch.equal(pulses.n.sign(), wanted[pulses.index].sign().long())


def test_mean_pulses_are_the_wanted_change_over_the_step(update: str, form: str) -> None:
    trials = 1000
    n = torch.zeros(trials, 15, dtype=torch.float64)
    for step in range(trials):
        pulses = made(update, form, step)
        n[step, pulses.index] = pulses.n.double()
    wanted = (SCALE / STEP * torch.outer(D, X)).flatten().double()
    error = n.std(0) / trials**0.5
    assert ((n.mean(0) - wanted).abs() <= 5 * error + 1e-12).all()
    assert float(error.max()) < 0.05
