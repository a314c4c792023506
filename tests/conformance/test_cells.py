"""The contract of every cell, on a card of every law."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.registry import lookup
from hwtrain.synapse.cells.base import Cell
from hwtrain.synapse.conductances import Conductances

SIZE = 42
INDEX = torch.arange(SIZE)
Make = Callable[[str, str], Cell]


@pytest.fixture
def make(cells_of: Callable[..., Conductances]) -> Make:
    def build(cell: str, name: str) -> Cell:
        kind = lookup("cells", cell)
        made: Cell = kind(cells_of(name, (kind.branches, 1, 6, 7)), "threshold", 3)
        made.cells.program(made.place(torch.linspace(-0.9, 0.9, SIZE, dtype=torch.float64)).flatten())
        return made

    return build


def pulses(turn: int) -> torch.Tensor:
    n = torch.randint(-5, 6, (SIZE,), generator=torch.Generator().manual_seed(turn))
    return torch.where(n == 0, 2, n)


def land(cell: Cell, turn: int, n: torch.Tensor | None = None) -> None:
    passes = iter(range(256))
    stream = Streams(5).stream(Purpose.PULSE, 1)
    cell.land(INDEX, pulses(turn) if n is None else n, lambda: stream.at(turn, 0, next(passes)))


def weight(cell: Cell) -> torch.Tensor:
    return cell.weight(cell.cells.g.view(cell.branches, SIZE))


def test_a_placed_weight_is_the_weight(cell: str, make: Make, card_of_law: dict[str, str]) -> None:
    made = make(cell, card_of_law["linear"])
    wanted = torch.linspace(-1, 1, 81, dtype=torch.float64).view(1, 9, 9)
    g = made.place(wanted)
    assert g.shape == (made.branches, 1, 9, 9)
    assert ((g >= 0) & (g <= 1)).all()
    torch.testing.assert_close(made.weight(g), wanted, rtol=0, atol=1e-15)


def test_slope_is_the_change_of_the_weight_with_each_conductance(
    cell: str, make: Make, card_of_law: dict[str, str]
) -> None:
    made = make(cell, card_of_law["linear"])
    g = torch.full((made.branches, 1), 0.5, dtype=torch.float64)
    for branch in range(made.branches):
        more = g.clone()
        more[branch] += 0.25
        assert float((made.weight(more) - made.weight(g)).abs()) == 0.25 * made.slope


def test_pulses_have_the_cells_polarities_only(cell: str, make: Make, card_of_law: dict[str, str]) -> None:
    made = make(cell, card_of_law["linear"])
    used = set()
    for turn in range(4):
        index, n = made.spread(INDEX, pulses(turn))
        assert (n != 0).all()
        assert index.unique().numel() == index.numel()
        assert int(index.max()) < made.cells.g.numel()
        used |= {"up" if count > 0 else "down" for count in n.tolist()}
    assert used == set(made.polarities)


def test_a_weight_pulse_moves_the_weight_its_own_way(
    cell: str, make: Make, card_of_law: dict[str, str]
) -> None:
    made = make(cell, card_of_law["linear"])
    middle = torch.zeros(SIZE, dtype=torch.float64)
    made.cells.g = made.place(middle).flatten()
    n = torch.where(INDEX % 2 == 0, 2, -2)
    land(made, 0, n)
    torch.testing.assert_close(weight(made), n.double() * made.step(), rtol=1e-9, atol=1e-12)


def test_landing_keeps_conductances_in_bounds(cell: str, make: Make, card_of_law: dict[str, str]) -> None:
    for name in card_of_law.values():
        made = make(cell, name)
        for turn in range(12):
            land(made, turn, 4 * pulses(turn))
            assert (made.cells.g >= made.cells.low).all()
            assert (made.cells.g <= made.cells.high).all()
            if float(made.cells.low.min()) == 0 and float(made.cells.high.max()) == 1:
                assert (weight(made).abs() <= 1 + 1e-12).all()


def test_state_goes_round_with_every_refresh(cell: str, make: Make, card_of_law: dict[str, str]) -> None:
    for law, name in card_of_law.items():
        closed = law in ("linear", "affine")  # the others walk pulse by pulse: one refresh is enough of them
        for refresh in ("threshold", "periodic", "full-init", "none") if closed else ("threshold",):
            one, other = make(cell, name), make(cell, name)
            one.refresh = other.refresh = refresh  # type: ignore[assignment]
            kept = 4 if closed else 2
            for turn in range(kept):
                land(one, turn)
            other.cells.restore(one.cells.state())
            other.restore(one.state())
            for turn in range(kept, 2 * kept + 1):
                land(one, turn)
                land(other, turn)
            assert torch.equal(one.cells.g, other.cells.g)
            assert torch.equal(one.cells.wear, other.cells.wear)
