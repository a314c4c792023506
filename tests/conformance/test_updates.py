"""The contract of every update: on an array, and for those without memory by themselves."""

from __future__ import annotations

import pytest
import torch

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.direction import Dense, Direction, Outer
from hwtrain.registry import lookup, names
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
from hwtrain.substrates.crossbar import CrossbarArray
from hwtrain.synapse.updates.base import Pulses, Update, Write
from tests.helpers import assert_equal, synapse_card

DRAWS = Streams(21).stream(Purpose.UPDATE, 2)
X = torch.tensor([0.8, -0.3, 0.0, 0.5, 0.02])
D = torch.tensor([0.5, 0.0, -0.7])
STEP, SCALE = 0.05, 0.06
"""The largest wanted change is 0.67 steps: no update clips it."""
ALONE = {
    found.outer: name
    for name, found in ((name, lookup("updates", name)) for name in reversed(names("updates")))
    if found.place is Update.place
}.values()
"""Those that need no array to work on; of those that send the same pulses, one."""


@pytest.fixture(params=["outer", "dense"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def array(update: str) -> CrossbarArray:
    """Three rows of five cells with 40 steps of 0.05; the range is from -1 to 1."""
    card = synapse_card({"law": "linear", "levels_up": 40, "levels_down": 40})
    options = Options(update, "single", weight_range=1.0)
    made = substrate_of(card, options).array(Geometry("w", 2, 1, 3, 5, 1.0), Trial(Streams(21)))
    assert isinstance(made, CrossbarArray)
    made.load(torch.zeros(1, 3, 5))
    made.trial.ledger.clock.phase = "train"
    return made


def wanted(form: str, scale: float = SCALE, x: torch.Tensor = X) -> Direction:
    outer = Outer(x[None, None], D[None, None], scale)
    return outer if form == "outer" else Dense(scale * torch.outer(D, x)[None])


def write(it: CrossbarArray, direction: Direction, first: int, last: int) -> CrossbarArray:
    for step in range(first, last):
        it.trial.ledger.clock.step = step
        it.write(direction)
    return it


def everything(it: CrossbarArray) -> dict[str, torch.Tensor]:
    """The state of an array and of those that it brings along."""
    parts = {"": it, **it.parts()}
    return {f"{name}/{key}": v for name, part in parts.items() for key, v in part.state().items()}


def test_weights_go_where_they_are_wanted_and_no_signal_moves_nothing(update: str, form: str) -> None:
    it = array(update)
    before = it.peek().clone()
    moved = (write(it, wanted(form), 0, 80).peek() - before)[0]
    change = SCALE * torch.outer(D, X)
    assert (moved[change == 0] == 0).all()
    large = change.abs() > STEP / 2
    assert large.any()
    assert (moved * change.sign())[large].min() > STEP
    assert torch.equal(it.peek(), it._weight_of_cells() * it.w_max)  # what is kept along agrees


def test_nothing_wanted_sends_nothing(update: str, form: str) -> None:
    it = array(update)
    write(it, wanted(form, x=torch.zeros(5)), 0, 6)
    assert [row for row in it.trial.ledger.rows() if row.get("pulses_up") and row["phase"] == "train"] == []


def test_a_fresh_array_goes_on_from_a_checkpoint_with_the_same_bits(update: str) -> None:
    whole = write(array(update), wanted("outer"), 0, 7)
    kept = {name: part.state() for name, part in {"": whole, **whole.parts()}.items()}
    write(whole, wanted("outer", -2 * SCALE), 7, 14)
    again = array(update)
    for name, part in {"": again, **again.parts()}.items():
        part.restore(kept[name])
    write(again, wanted("outer", -2 * SCALE), 7, 14)
    assert_equal(everything(again), everything(whole))


def test_every_pulse_is_counted_and_worn(update: str) -> None:
    it = write(array(update), wanted("outer"), 0, 30)
    for part in (it, *it.parts().values()):
        assert isinstance(part, CrossbarArray)
        counts = [row for row in it.trial.ledger.rows() if row["layer"] == part.geometry.path]
        pulses = sum(int(row.get("pulses_up", 0)) + int(row.get("pulses_down", 0)) for row in counts)
        assert pulses == int(part.cells.wear.sum()) > 0


def made(update: str, form: str, step: int = 0, scale: float = SCALE, x: torch.Tensor = X) -> Pulses:
    found: Update = lookup("updates", update)()
    if form == "outer":
        return found.outer(x, D, scale, Write(STEP, DRAWS, (step, 0)))
    return found.dense(scale * torch.outer(D, x), Write(STEP, DRAWS, (step, 0)))


@pytest.mark.parametrize("alone", ALONE)
@pytest.mark.parametrize("scale", [SCALE, -SCALE, 1.0])
def test_counts_are_not_zero_and_each_weight_stands_once(alone: str, form: str, scale: float) -> None:
    total = 0
    for step in range(50):
        pulses = made(alone, form, step, scale)
        assert (pulses.n != 0).all()
        assert pulses.index.unique().numel() == pulses.index.numel() == pulses.n.numel()
        assert ((pulses.index >= 0) & (pulses.index < 15)).all()
        assert pulses.slots >= 0
        assert pulses.randoms >= 0
        total += pulses.n.numel()
    assert total >= 50


@pytest.mark.parametrize("alone", ALONE)
def test_signs_are_those_of_the_wanted_change(alone: str, form: str) -> None:
    for scale in (0.5, -0.5):
        change = scale * torch.outer(D, X).flatten()
        pulses = made(alone, form, 0, scale)
        assert pulses.n.numel() > 0
        assert torch.equal(pulses.n.sign(), change[pulses.index].sign().long())


@pytest.mark.parametrize("alone", ALONE)
def test_what_is_drawn_differs_from_step_to_step_and_is_right_in_the_mean(alone: str, form: str) -> None:
    if made(alone, form, scale=5.0).randoms == 0:
        return  # rounds, as it says
    trials = 1000
    n = torch.zeros(trials, 15, dtype=torch.float64)
    for step in range(trials):
        pulses = made(alone, form, step)
        n[step, pulses.index] = pulses.n.double()
    change = (SCALE / STEP * torch.outer(D, X)).flatten().double()
    error = n.std(0) / trials**0.5
    assert ((n.mean(0) - change).abs() <= 5 * error + 1e-12).all()
    assert 0.01 < float(error.max()) < 0.05
