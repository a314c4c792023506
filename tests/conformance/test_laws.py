"""The contract of every conductance law, on every card that follows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import SynapseCard, card
from hwtrain.synapse.conductances import Conductances
from hwtrain.synapse.laws.base import Branch, Law

CellsOf = Callable[..., Conductances]
DRAWS = Streams(8).stream(Purpose.PULSE, 1)


def law_and_branch(name: str, way: str) -> tuple[Law, Branch]:
    found = card(name)
    assert isinstance(found, SynapseCard)
    law: Law = found.law()
    step, bend = law.nominal(way)  # type: ignore[arg-type]
    return law, Branch(torch.tensor(step, dtype=torch.float64), torch.tensor(bend, dtype=torch.float64))


def some_pulses(size: int = 200) -> torch.Tensor:
    n = torch.randint(-20, 21, (size,), generator=torch.Generator().manual_seed(1))
    return torch.where(n == 0, 1, n)


def test_every_law_has_a_card(law: str, card_of_law: dict[str, str]) -> None:
    assert law in card_of_law, f"no card follows the law {law}: add one below devices/synapse"


@pytest.mark.parametrize("way", ["up", "down"])
def test_steps_are_positive(synapse: str, way: str) -> None:
    law, branch = law_and_branch(synapse, way)
    assert branch.step > 0
    assert law.middle_step(branch) > 0


@pytest.mark.parametrize("way", ["up", "down"])
def test_travel_rises_with_pulses_and_keeps_the_order_of_cells(synapse: str, way: str) -> None:
    law, branch = law_and_branch(synapse, way)
    travel = torch.linspace(0, 0.98, 50, dtype=torch.float64)
    rows = torch.stack([law.advance(travel, torch.full((50,), n), branch) for n in range(1, 40)])
    assert (rows[0] > travel).all()
    assert ((rows.diff(dim=0) > 0) | (rows[1:] >= 1)).all()  # what has arrived stays
    assert ((rows.diff(dim=1) > 0) | (rows[:, 1:] >= 1)).all()


@pytest.mark.parametrize("way", ["up", "down"])
def test_n_pulses_are_n_times_one_pulse(synapse: str, way: str) -> None:
    law, branch = law_and_branch(synapse, way)
    start = torch.linspace(0, 0.98, 50, dtype=torch.float64)
    one = torch.ones(50, dtype=torch.long)
    at_once, in_turn = start, start
    for n in range(60):
        at_once = law.advance(start, n * one, branch)
        torch.testing.assert_close(at_once, in_turn, rtol=1e-12, atol=1e-13)
        in_turn = law.advance(in_turn, one, branch)
    assert not torch.equal(at_once, start)


def test_conductances_stay_in_bounds(synapse: str, cells_of: CellsOf) -> None:
    cells, index = cells_of(synapse), torch.arange(200)
    whole = torch.ones(1, dtype=torch.float64)
    longest = max(int(cells.pulses_to(whole, way)) for way in ("up", "down"))
    burst = some_pulses().abs() * max(1, longest // 100)  # 10 bursts cross the range several times
    ends: set[str] = set()
    for turn in range(60):
        sign = 1 if turn % 20 < 10 else -1
        cells.pulse(index, sign * burst, DRAWS.at(turn))
        assert (cells.g >= cells.low).all()
        assert (cells.g <= cells.high).all()
        ends |= {"low"} if (cells.g <= cells.low + 1e-3).any() else set()
        ends |= {"high"} if (cells.g >= cells.high - 1e-3).any() else set()
    assert ends == {"low", "high"}  # both bounds were really met, or nearly: soft bounds have no end


def test_no_pulses_change_nothing(synapse: str, cells_of: CellsOf) -> None:
    cells, none = cells_of(synapse), torch.zeros(0, dtype=torch.long)
    before = cells.state()
    assert cells.pulse(none, none, DRAWS.at(0)).up == 0
    assert all(torch.equal(before[name], value) for name, value in cells.state().items())


def test_cells_one_by_one_are_the_cells_together(synapse: str, cells_of: CellsOf) -> None:
    together, alone = cells_of(synapse), cells_of(synapse)
    n = some_pulses()
    for turn in range(3):
        n, index = -n, torch.arange(200)
        together.pulse(index, n, DRAWS.at(turn))
        for cell in range(200):
            alone.pulse(index[cell : cell + 1], n[cell : cell + 1], DRAWS.at(turn))
    torch.testing.assert_close(alone.g, together.g, rtol=0, atol=1e-15)
    assert torch.equal(alone.wear, together.wear)
    assert together.g.unique().numel() > 10


def test_state_goes_round(synapse: str, cells_of: CellsOf) -> None:
    cells, other, index = cells_of(synapse), cells_of(synapse), torch.arange(200)
    cells.pulse(index, some_pulses().abs(), DRAWS.at(0))
    kept = cells.state()
    other.restore(kept)
    for one in (cells, other):
        one.pulse(index, -some_pulses().abs(), DRAWS.at(1))
    assert torch.equal(cells.g, other.g)
    assert torch.equal(cells.wear, other.wear)
    assert not torch.equal(kept["g"], cells.g)  # what was kept did not move along
