"""Floats behind powers of two: each gradient by hand, and a net beside torch's autograd."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hwtrain.arith.pow2 import Pot, encode_one, lowest, shift_product
from hwtrain.arith.threefry import Streams
from hwtrain.cards import LatentCard, card, read_card
from hwtrain.convert import from_torch
from hwtrain.direction import Dense, Outer
from hwtrain.errors import CardError, HwtrainError, IncompatibleRule
from hwtrain.kernels.base import Rate
from hwtrain.losses.softmax_ce import SoftmaxCe
from hwtrain.qat.apot import additive_weights
from hwtrain.qat.layers import FixedPoint, shift_weights
from hwtrain.rules.backprop import Backprop
from hwtrain.shipped import shipped
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
from hwtrain.substrates.shift import LatentArray

HEAD = """
schema = 1
kind = "shift"
device = {title = "t", technology = "t"}
provenance = {kind = "synthetic", citation = "none", location = "here", licence = "none", verified = true}
"""


def card_of(tmp_path: Path, latent: str, pot: str, signal: str | None = None) -> Any:
    file = tmp_path / "mine.toml"
    tables = f"latent = {{{latent}}}\npot = {{{pot}}}\n" + (f"signal = {{{signal}}}\n" if signal else "")
    file.write_text(HEAD + tables)
    return read_card(file)


def array_of(its: Any, w: torch.Tensor, step: int = 0, phase: Any = "train") -> LatentArray:
    trial = Trial(Streams(0))
    trial.ledger.clock.step, trial.ledger.clock.phase = step, phase
    made = substrate_of(its, Options()).array(Geometry("a", 0, *w.shape, 1.0), trial)
    assert isinstance(made, LatentArray)
    made.load(w)
    return made


def levels_by_hand(w: torch.Tensor, pot: Pot) -> tuple[torch.Tensor, torch.Tensor]:
    """Every level in fractions, and the largest one beside each weight."""
    rows = w.flatten(0, 1).numpy()
    low = np.broadcast_to(lowest(rows, pot), (len(rows), 1))
    found = [
        [shift_product(encode_one(float(one), int(at[0]), pot), 1) * 2.0 ** int(at[0]) for one in row]
        for row, at in zip(rows, low, strict=True)
    ]
    largest = torch.from_numpy(np.exp2(low + float(pot.most))).float().expand(*rows.shape)
    return torch.tensor(found).reshape(w.shape), largest.reshape(w.shape)


W = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(4)) * torch.tensor([1.0, 0.3, 4.0])[:, None]
W[0, 0, :3] = torch.tensor([0.0, 0.75, -1.5])
CHANGE = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(5))
POTS = [
    ('bits = 3, scale = "channel"', Pot(3, scale="channel")),
    ("bits = 4", Pot(4)),
    ('bits = 2, zero = false, rounding = "log"', Pot(2, False, "log")),
]


@pytest.mark.parametrize(("text", "pot"), POTS)
@pytest.mark.parametrize("gradient", ["ste", "clipped-ste", "blend"])
def test_levels_and_gradients_are_those_written_by_hand(
    gradient: str, text: str, pot: Pot, tmp_path: Path
) -> None:
    q, largest = levels_by_hand(W, pot)
    latent = f'gradient = "{gradient}"' + (", blend_steps = 8" if gradient == "blend" else "")
    made = array_of(card_of(tmp_path, latent, text), W, step=2)
    assert torch.equal(made.peek(), q)
    x = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(6))
    d = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(7))
    share = {"ste": 1.0, "clipped-ste": 1.0, "blend": 0.75}[gradient]
    seen = 0.25 * q + 0.75 * W if gradient == "blend" else q
    torch.testing.assert_close(made.read(x), torch.einsum("goi,ngi->ngo", seen, x))
    torch.testing.assert_close(made.read_t(d), torch.einsum("goi,ngo->ngi", seen, d))
    passed = W.abs() <= largest if gradient == "clipped-ste" else torch.ones_like(W)
    assert gradient != "clipped-ste" or 0 < int(passed.sum()) < passed.numel()
    made.write(Dense(CHANGE))
    torch.testing.assert_close(made.state()["latent0"].reshape(W.shape), W + share * passed * CHANGE)
    made.load(W)
    made.write(Outer(x, d, -0.5))  # pairs add up
    expected = W - 0.5 * share * passed * torch.einsum("ngo,ngi->goi", d, x)
    torch.testing.assert_close(made.state()["latent0"].reshape(W.shape), expected)
    made.load(W)
    made.trial.ledger.clock.step = 8  # where a blend is over
    made.peek()  # looking at the levels changes no write
    made.write(Dense(CHANGE))
    torch.testing.assert_close(made.state()["latent0"].reshape(W.shape), W + passed * CHANGE)
    made.load(W)
    made.trial.ledger.clock.step = 2
    made.peek()
    made.write(Dense(CHANGE))
    torch.testing.assert_close(made.state()["latent0"].reshape(W.shape), W + share * passed * CHANGE)
    made.trial.ledger.clock.phase = "eval"
    made.load(W)
    torch.testing.assert_close(made.read(x), torch.einsum("goi,ngi->ngo", q, x))


@pytest.mark.parametrize("scale", ["tensor", "channel"])
def test_shifts_and_signs_learn_by_their_own_derivatives(scale: str, tmp_path: Path) -> None:
    its = card_of(tmp_path, 'gradient = "shift-and-sign"', f'bits = 4, scale = "{scale}"')
    made = array_of(its, W)
    before = made.state()
    p, s = before["latent0"], before["latent1"]
    top = before["top"]
    power = torch.minimum(torch.maximum(p.round(), top - 6), top)
    seen = s.clamp(-1, 1).round() * power.exp2()
    assert torch.equal(made.peek().flatten(0, 1), seen)
    assert len(top) == (6 if scale == "channel" else 1)
    made.write(Dense(CHANGE))
    change = CHANGE.flatten(0, 1)
    inside = (p.round() >= top - 6) & (p.round() <= top)
    torch.testing.assert_close(made.state()["latent1"], s + change * power.exp2())
    found, by_hand = made.state()["latent0"], p + change * seen * math.log(2)
    torch.testing.assert_close(
        found[inside & (power > top - 6) & (power < top)], by_hand[inside & (power > top - 6) & (power < top)]
    )
    made.restore(before)
    assert torch.equal(made.peek().flatten(0, 1), seen)


def test_the_point_of_a_signal_follows_its_gradient(tmp_path: Path) -> None:
    """By log2 of the range: ln 2 times (y - x) within the grid, y beyond it, along W^T d."""
    its = card_of(tmp_path, 'gradient = "ste"', "bits = 4", "bits = 4, frac = 2, learn = true")
    made = array_of(its, W)
    x = 2 * torch.randn(9, 2, 8, generator=torch.Generator().manual_seed(8))
    d = torch.randn(9, 2, 3, generator=torch.Generator().manual_seed(9))
    back = torch.einsum("goi,ngo->ngi", made.peek(), d)
    expected = moved = 0.0
    for value, way in zip(x.flatten().tolist(), back.flatten().tolist(), strict=True):
        y = min(max(round(value * 4), -8), 7) / 4
        inside = -2 < value < 1.75
        expected += math.log(2) * way * (y - value if inside else y)
        moved += not inside
    assert 0 < moved < x.numel()
    rounded = (x * 4).round().clamp(-8, 7) / 4
    torch.testing.assert_close(made.read(x), torch.einsum("goi,ngi->ngo", made.peek(), rounded))
    made.write(Outer(x, d, 0.01))
    assert float(made.state()["log2_range"]) == pytest.approx(1 + 0.01 * expected, rel=1e-4)
    torch.testing.assert_close(
        made.state()["latent0"].reshape(W.shape), W + 0.01 * torch.einsum("ngo,ngi->goi", d, rounded)
    )
    other = array_of(its, torch.zeros_like(W))
    other.restore(made.state())
    assert torch.equal(other.read(x), made.read(x))


LATENT = [
    file.stem
    for file in sorted((shipped("devices") / "shift").glob("*.toml"))
    if "[latent]" in file.read_text()
]


@pytest.mark.parametrize("name", [*LATENT, "shift-and-sign"])
def test_a_net_learns_as_torch_trains_the_same_modules(name: str, tmp_path: Path) -> None:
    """Convolution and dense layer; ten steps of SGD on modules of hwtrain.qat, by autograd."""
    if name in LATENT:
        its = card(name)
    else:
        its = card_of(tmp_path, f'gradient = "{name}"', "bits = 4", "bits = 8, frac = 4, learn = true")
    assert isinstance(its, LatentCard)
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    net = from_torch(plain, SoftmaxCe())
    trial = Trial(Streams(0))
    home = substrate_of(its, Options())
    net.place(trial, lambda _: home, substrate_of(card("float32"), Options()), list)
    bound = Backprop().bind(net)
    pot, gradient = its.pot, its.latent.gradient
    if pot.terms > 1:
        additive_weights(plain, pot.terms, pot.scale)
    else:
        shift_weights(plain, Pot(pot.bits, pot.zero, pot.rounding, pot.scale), gradient)
    assert its.signal is not None
    signals = [FixedPoint(its.signal.bits, frac=its.signal.frac, learn=its.signal.learn) for _ in range(2)]
    whole = nn.Sequential(signals[0], plain[0], nn.ReLU(), plain[2], signals[1], plain[3]).train()
    optimiser = torch.optim.SGD(whole.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(1)
    for step in range(10):
        x = torch.randn(6, 2, 6, 6, generator=generator).clamp(-4, 4)
        labels = torch.randint(0, 3, (6,), generator=generator)
        trial.ledger.clock.step, trial.ledger.clock.phase = step, "train"
        loss = bound.step(x, labels, Rate(0.05))
        if its.latent.blend_steps:
            plain[0].parametrizations["weight"][0].blend = step / its.latent.blend_steps  # type: ignore[index, union-attr]
            plain[3].parametrizations["weight"][0].blend = step / its.latent.blend_steps  # type: ignore[index, union-attr]
        theirs = nn.functional.cross_entropy(whole(x), labels)
        optimiser.zero_grad()
        theirs.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        assert float(loss.mean()) == pytest.approx(float(theirs.detach()), rel=1e-4)
    whole.eval()
    for layer, (_, array) in zip(
        (plain[0], plain[3]), [p for p in net.arrays() if "weight" in p[0]], strict=True
    ):
        torch.testing.assert_close(array.peek().flatten(), layer.weight.detach().flatten())  # type: ignore[operator, union-attr]


@pytest.mark.parametrize(
    ("latent", "pot", "signal", "said"),
    [
        ('gradient = "blend"', "bits = 4", None, "blend_steps belongs to"),
        ('gradient = "ste", blend_steps = 3', "bits = 4", None, "blend_steps belongs to"),
        ('gradient = "none"', "bits = 4", None, "gradient"),
        ("", "bits = 6", None, "one power of two has 2 to 5"),
        ("", "bits = 1", None, "bits"),
        ("", "bits = 4, terms = 2", None, "2 terms take 5"),
        ('gradient = "clipped-ste"', "bits = 5, terms = 2", None, "take ste"),
        ('gradient = "shift-and-sign"', 'bits = 4, rounding = "log"', None, "rounds exponents"),
        ("", "bits = 4", "bits = 17, frac = 3", "bits"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(
    latent: str, pot: str, signal: str | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(CardError, match=said):
        card_of(tmp_path, latent, pot, signal)


def test_no_program_is_made_of_floats_behind_levels() -> None:
    made = array_of(card("pot4"), W)
    with pytest.raises(IncompatibleRule, match="use --engine torch, or shift4"):
        made.live()
    assert issubclass(IncompatibleRule, HwtrainError)
