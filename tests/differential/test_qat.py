"""Quantisation-aware layers: their codes are those of the arithmetic, their gradients what they say."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hwtrain.arith import pow2
from hwtrain.arith.pow2 import Pot
from hwtrain.errors import ConfigError
from hwtrain.qat import apot
from hwtrain.qat import pot as levels
from hwtrain.qat.fitted import fitted, fitted_weights, hold
from hwtrain.qat.layers import GRADIENTS, FixedPoint, set_blend, shift_weights


def weights(seed: int, *shape: int) -> torch.Tensor:
    """Normal, with ties, zeros and channels of different size among them."""
    generator = torch.Generator().manual_seed(seed)
    w = (
        torch.randn(*shape, generator=generator)
        * torch.randn(shape[0], *[1] * (len(shape) - 1), generator=generator).exp2()
    )
    w.view(-1)[:6] = torch.tensor([0.0, -0.0, 0.75, -1.5, 3.0, 1.4142135])
    return w


@pytest.mark.parametrize("scale", ["tensor", "channel"])
@pytest.mark.parametrize("rounding", ["linear", "log"])
@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_levels_are_those_of_the_arithmetic(bits: int, zero: bool, rounding: Any, scale: Any) -> None:
    pot = Pot(bits, zero, rounding, scale)
    for seed in range(4):
        w = weights(seed, 9, 4, 3, 3)
        low = pow2.lowest(w.numpy(), pot)
        expected = pow2.decode(pow2.encode(w.numpy(), low, pot), low)
        highest = levels.top(w, pot)
        assert (highest.numpy() - 127 - pot.most == low).all()
        assert np.array_equal(levels.nearest(w, highest, pot).numpy(), expected)
    with pytest.raises(ConfigError, match="linear or log"):
        levels.nearest(w, highest, Pot(3, rounding="stochastic"))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_layer_sees_levels_and_its_float_weights_learn(gradient: Any) -> None:
    torch.manual_seed(0)
    pot = Pot(3)
    net = shift_weights(nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5)), pot, gradient)
    x, labels = torch.randn(200, 20), torch.randint(0, 5, (200,))
    if gradient == "shift-and-sign":  # by SGD hardly a shift moves
        optimiser: torch.optim.Optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    else:
        optimiser = torch.optim.SGD(net.parameters(), lr=0.3)
    losses = []
    for step in range(80):
        set_blend(net, min(1.0, step / 60))
        loss = nn.functional.cross_entropy(net(x), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]
    for layer in (net.eval()[0], net[2]):
        seen = layer.weight.detach()
        found = torch.unique(seen[seen != 0].abs())
        assert (found.log2() == found.log2().round()).all()
        assert len(found) <= pot.most + 1


def test_what_each_gradient_is() -> None:
    w = torch.tensor([[3.9, 2.1, -0.3, 0.05]])
    found = {}
    for gradient in ("ste", "clipped-ste", "blend"):
        layer = nn.Linear(4, 1, bias=False)
        layer.weight.data.copy_(w)
        shift_weights(layer, Pot(3), gradient)
        set_blend(layer, 0.75)
        x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
        y = layer(x)
        y.backward()  # type: ignore[no-untyped-call]
        found[gradient] = layer.parametrizations["weight"].original.grad[0].tolist(), float(y.detach())  # type: ignore[index, union-attr]
    assert found["ste"][0] == [1, 2, 3, 4]
    assert found["clipped-ste"][0] == [1, 2, 3, 4]  # 3.9 is below the largest level, 4
    assert found["blend"][0] == [0.25, 0.5, 0.75, 1]  # the true derivative of what is computed
    q = torch.tensor([[4.0, 2.0, 0.0, 0.0]])
    assert found["ste"][1] == float(q @ x.T)
    assert found["blend"][1] == pytest.approx(float((0.75 * q + 0.25 * w) @ x.T))
    beyond = torch.tensor([[5.0, 1.0]], requires_grad=True)  # the largest level is 4
    levels.Straight.apply(beyond, Pot(3), 1.0).sum().backward()  # type: ignore[no-untyped-call]
    assert beyond.grad is not None
    assert beyond.grad.tolist() == [[0, 1]]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("relu", [True, False])
def test_signals_are_rounded_codes_and_the_gradient_ends_at_the_ends(bits: int, relu: bool) -> None:
    layer = FixedPoint(bits, relu=relu, frac=4)
    x = torch.linspace(-(2.0 ** (bits - 4)), 2.0 ** (bits - 4), 4001, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    high = 2 ** (bits - 1) - 1
    low = 0 if relu else -high - 1
    expected = [min(max(round(value * 16), low), high) / 16 for value in x.tolist()]
    assert y.tolist() == expected
    assert x.grad is not None
    assert x.grad.tolist() == [float(low / 16 < value < high / 16) for value in x.tolist()]


def test_the_point_is_placed_by_what_was_seen() -> None:
    layer = FixedPoint(8, collect=2)
    layer.train()
    for largest in (0.9, 3.0, 100.0):
        layer(torch.tensor([largest, -0.1]))
    assert layer.frac == 7 - math.ceil(math.log2(3.0))
    layer.eval()
    assert layer(torch.tensor([3.0, 0.01])).tolist() == [3.0, 0.0]


def test_a_learnt_point_goes_where_the_error_is_smaller() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, generator=generator)
    layer = FixedPoint(4, frac=-2, learn=True)  # far too coarse
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.5)
    errors = []
    for _ in range(60):
        loss = ((layer(x) - x) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(float(loss.detach()))
    assert layer.frac in (1, 2)
    assert errors[-1] < errors[0] / 10


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: shift_weights(nn.Linear(2, 2), Pot(3), "none"), "gradient = 'none'"),  # type: ignore[arg-type]
        (lambda: FixedPoint(1), "bits = 1"),
        (lambda: FixedPoint(17), "bits = 17"),
        (lambda: set_blend(nn.Linear(2, 2), 1.5), "blend = 1.5"),
    ],
)
def test_what_makes_no_sense_is_refused(made: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made()


@pytest.mark.parametrize("scale", ["tensor", "channel"])
def test_one_additive_term_is_a_power_of_two_of_three_bits(scale: Any) -> None:
    for seed in range(4):
        w = weights(seed, 9, 4, 3, 3)
        pot = Pot(3, scale=scale)
        assert torch.equal(apot.AdditiveLevels(1, scale)(w), levels.nearest(w, levels.top(w, pot), pot))


@pytest.mark.parametrize("terms", [2, 3])
def test_a_sum_of_powers_of_two_is_the_nearest(terms: int) -> None:
    """By hand: of all sums, in units that put the largest one, by log, nearest to the largest weight."""
    choices = [[0] + [2 ** (terms * place + term) for place in range(3)] for term in range(terms)]
    sums = {sum(chosen) for chosen in itertools.product(*choices)}
    assert len(sums) == 4**terms
    assert apot.levels(terms) == sorted(sums)
    w = weights(3, 5, 8)
    found = apot.AdditiveLevels(terms, "channel")(w)
    for row, seen in zip(w.tolist(), found.tolist(), strict=True):
        unit = 2.0 ** round(math.log2(max(map(abs, row)) / max(sums)))
        for value, level in zip(row, seen, strict=True):
            best = min(sums, key=lambda level, value=value: (abs(abs(value) / unit - level), -level))  # type: ignore[misc]
            assert abs(level) == best * unit
            assert level * value >= 0
    with pytest.raises(ConfigError, match="terms = 4: a level is a sum of 1, 2 or 3"):
        apot.levels(4)


def test_a_net_learns_on_sums_of_powers_of_two() -> None:
    torch.manual_seed(0)
    net = apot.additive_weights(nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5)))
    x, labels = torch.randn(200, 20), torch.randint(0, 5, (200,))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.3)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(net(x), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]


def test_a_layer_keeps_its_order_of_memory() -> None:
    """Else torch turns channels-last images round at every layer."""
    for channels in (1, 3):
        net = nn.Conv2d(channels, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        stride = net.weight.stride()
        for zero in (True, False):
            pot = Pot(4, zero, scale="channel")
            assert levels.nearest(net.weight, levels.top(net.weight, pot), pot).stride() == stride
            assert fitted(net.weight, pot)[0].stride() == stride
        assert apot.AdditiveLevels(2)(net.weight).stride() == stride


@pytest.mark.parametrize("pot", [Pot(2), Pot(4), Pot(3, False, "log")], ids=str)
def test_fitted_levels_are_the_best_of_an_octave(pot: Pot) -> None:
    """By hand, number by number, for every place; and never worse than a power of two as the factor."""
    w = weights(5, 7, 4, 3)
    w[6] = 0
    found, factors = fitted(w, pot)
    plain = levels.nearest(w, levels.top(w, Pot(4, scale="channel")), pot)
    for row, q, factor, other in zip(w, found, factors.tolist(), plain, strict=True):
        size = np.float32(row.abs().max())
        errors = [float(row.double().square().sum())]
        for place in range(8) if size else ():
            by = np.float32(2 ** (place / 8 - 0.5)) * size
            codes = [pow2.encode_one(float(one / by), -pot.most, pot) for one in row.flatten().numpy()]
            seen = torch.tensor([pow2.shift_product(code, 1) for code in codes], dtype=torch.float64)
            flat = row.double().flatten()
            errors.append(float((flat - seen * (flat @ seen) / (seen @ seen)).square().sum()))
        error = float((row - factor * q).double().square().sum())
        assert error == pytest.approx(min(errors), rel=1e-5)
        if pot == Pot(4):
            assert error <= float((row - other).square().sum()) + 1e-9
        powers = q[q != 0].abs().log2()
        assert torch.equal(powers, powers.round())
        assert not len(powers) or -pot.most <= powers.min() <= powers.max() <= 0


def test_a_normalisation_takes_the_factor_and_what_is_held_stays() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5, eps=1e-12)
    fitted_weights([conv], Pot(4))
    net, x = nn.Sequential(conv, norm, nn.Flatten(), nn.Linear(80, 3)), torch.randn(40, 2, 6, 6)
    q, factors = fitted(conv.parametrizations["weight"].original, Pot(4))  # type: ignore[index, union-attr]
    assert torch.equal(conv.weight, q * factors[:, None, None, None])
    torch.testing.assert_close(norm(conv(x)), norm(nn.functional.conv2d(x, q)), rtol=1e-4, atol=1e-5)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    seen = [conv.weight.detach().clone()]
    for step in range(6):
        if step >= 3:
            hold(conv)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), torch.arange(40) % 3).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        seen.append(conv.weight.detach().clone())
    assert not torch.equal(seen[2], seen[3])
    assert torch.equal(seen[3], seen[6])
