"""What holds for every conductance law, cell and pulse train."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from hwtrain.arith.threefry import Point, Purpose, Streams
from hwtrain.cards import SynapseCard
from hwtrain.direction import Outer
from hwtrain.registry import names
from hwtrain.substrates.base import Geometry, Options, Trial
from hwtrain.substrates.crossbar import Crossbar, CrossbarArray
from hwtrain.synapse.conductances import Conductances, Landed
from tests.helpers import synapse_card

SIZE = 5
LABEL = st.floats(-9, 10)
STEP, CURVATURE = st.floats(1e-4, 1), st.floats(-3, 1)
LEVELS = st.integers(2, 300)
RESPONSES = st.one_of(
    st.fixed_dictionaries({"law": st.just("linear"), "levels_up": LEVELS, "levels_down": LEVELS}),
    st.fixed_dictionaries(
        {
            "law": st.just("affine"),
            "levels_up": LEVELS,
            "levels_down": LEVELS,
            "label_up": LABEL,
            "label_down": LABEL.map(lambda label: -label),
        }
    ),
    st.fixed_dictionaries(
        {
            "law": st.just("affine"),
            "step_up": STEP,
            "step_down": STEP,
            "curvature_up": CURVATURE,
            "curvature_down": CURVATURE,
        }
    ),
)
VARIATIONS = st.fixed_dictionaries(
    {
        "c2c_rel_range": st.sampled_from([0.0, 0.02, 0.5]),
        "c2c_rel_step": st.sampled_from([0.0, 0.3, 5.0]),
        "c2c_kind": st.sampled_from(["add", "mult"]),
        "step_dtod": st.sampled_from([0.0, 0.4]),
        "step_dist": st.sampled_from(["normal", "lognormal"]),
        "bias_dtod": st.sampled_from([0.0, 0.3]),
    }
)
COUNTS = st.integers(-40, 40)
TRAINS = st.lists(st.lists(COUNTS, min_size=SIZE, max_size=SIZE), min_size=1, max_size=6)
STARTS = st.lists(st.floats(0, 1), min_size=SIZE, max_size=SIZE)
DTYPES = st.sampled_from([torch.float32, torch.float64])
DRAWS = Streams(3).stream(Purpose.PULSE)
MANY = settings(max_examples=40)


def cells_of(
    card: SynapseCard, starts: list[float] | None = None, dtype: torch.dtype = torch.float64
) -> Conductances:
    cells = Conductances(card, (SIZE,), Streams(1), 0, dtype, torch.device("cpu"))
    if starts is not None:
        cells.g = torch.tensor(starts, dtype=dtype)
    return cells


def land(cells: Conductances, counts: list[int], number: int = 0) -> Landed:
    n = torch.tensor(counts)
    on = n != 0
    return cells.pulse(torch.arange(SIZE)[on], n[on], DRAWS.at(number))


STEEP = {"law": "affine", "levels_up": 2, "levels_down": 2, "label_up": -9.0, "label_down": -10.0}
WILD = {"c2c_rel_step": 5.0, "c2c_kind": "mult"}
LONG = [[40] * SIZE, [-40] * SIZE, [40, -40, 1, -1, 0]]


@MANY
@given(RESPONSES, VARIATIONS, TRAINS, DTYPES, st.sampled_from([0.0, 0.3]))
@example(STEEP, WILD, LONG, torch.float32, 0.0)
@example(STEEP, WILD, [[-1] * SIZE, *LONG], torch.float64, 0.0)
@example({**STEEP, "label_up": 10.0, "label_down": 9.0}, WILD, LONG, torch.float32, 0.3)
def test_conductance_stays_within_its_ends(
    response: dict[str, Any],
    variation: dict[str, Any],
    trains: list[list[int]],
    dtype: torch.dtype,
    spread: float,
) -> None:
    ends = {"g_min_S": 1e-7, "g_max_S": 1e-6, "g_min_dtod": spread, "g_max_dtod": spread}
    cells = cells_of(synapse_card(response, variation=variation, range=ends), dtype=dtype)
    assert bool((cells.low < cells.high).all())
    for number, counts in enumerate(trains):
        land(cells, counts, number)
        assert bool((cells.low <= cells.g).all())
        assert bool((cells.g <= cells.high).all())


@MANY
@given(RESPONSES, STARTS, TRAINS)
def test_one_polarity_moves_one_way(
    response: dict[str, Any], starts: list[float], trains: list[list[int]]
) -> None:
    for sign in (1, -1):
        cells = cells_of(synapse_card(response), starts)
        for counts in trains:
            before = cells.g.clone()
            land(cells, [sign * abs(n) for n in counts])
            assert bool(((cells.g - before) * sign >= -1e-12).all())


@MANY
@given(RESPONSES, VARIATIONS, STARTS)
def test_no_pulse_changes_nothing(
    response: dict[str, Any], variation: dict[str, Any], starts: list[float]
) -> None:
    cells = cells_of(synapse_card(response, variation=variation), starts)
    assert land(cells, [0] * SIZE) == Landed()
    assert cells.g.tolist() == starts
    land(cells, [0, 0, 3, 0, 0])
    assert [cells.g[i].item() for i in (0, 1, 3, 4)] == [starts[i] for i in (0, 1, 3, 4)]


@MANY
@given(RESPONSES, STARTS, st.lists(COUNTS, min_size=SIZE, max_size=SIZE))
def test_n_pulses_at_once_are_n_single_pulses(
    response: dict[str, Any], starts: list[float], counts: list[int]
) -> None:
    # A branch with growing steps multiplies rounding, by at most its growth over the range.
    growth = max(1.0, *(1 - bend for bend in bends(response)))
    together, apart = cells_of(synapse_card(response), starts), cells_of(synapse_card(response), starts)
    landed, singles = land(together, counts), Landed()
    for number in range(max(map(abs, counts))):
        singles += land(apart, [(n > 0) - (n < 0) if abs(n) > number else 0 for n in counts])
    torch.testing.assert_close(together.g, apart.g, atol=1e-12 * growth, rtol=0)
    assert (landed.up, landed.down) == (singles.up, singles.down)
    assert together.wear.tolist() == apart.wear.tolist() == [abs(n) for n in counts]


def bends(response: dict[str, Any]) -> tuple[float, float]:
    law = synapse_card(response).law()
    return law.nominal("up")[1], law.nominal("down")[1]


@MANY
@given(RESPONSES, VARIATIONS, TRAINS, DTYPES)
def test_same_seed_gives_the_same_bits(
    response: dict[str, Any], variation: dict[str, Any], trains: list[list[int]], dtype: torch.dtype
) -> None:
    card = synapse_card(response, variation=variation, faults={"stuck_random": 0.2})
    one, two = cells_of(card, dtype=dtype), cells_of(card, dtype=dtype)
    for number, counts in enumerate(trains):
        assert land(one, counts, number) == land(two, counts, number)
    assert torch.equal(one.g, two.g)


@MANY
@given(RESPONSES, VARIATIONS, TRAINS, TRAINS)
def test_restored_state_goes_on_as_if_never_left(
    response: dict[str, Any],
    variation: dict[str, Any],
    before: list[list[int]],
    after: list[list[int]],
) -> None:
    card = synapse_card(response, variation=variation)
    one, two = cells_of(card), cells_of(card)
    for number, counts in enumerate(before):
        land(one, counts, number)
    saved = one.state()
    for cells in (one, two):
        if cells is two:
            two.restore(saved)
        for number, counts in enumerate(after):
            land(cells, counts, 100 + number)
    assert torch.equal(one.g, two.g)
    total = [sum(abs(counts[i]) for counts in before + after) for i in range(SIZE)]
    assert one.wear.tolist() == two.wear.tolist() == total


@MANY
@given(RESPONSES, STARTS, TRAINS)
def test_float32_stays_close_to_float64(
    response: dict[str, Any], starts: list[float], trains: list[list[int]]
) -> None:
    growth = max(1.0, *(1 - bend for bend in bends(response)))
    assume(growth < 20)  # a steeply growing branch multiplies any difference
    card = synapse_card(response)
    exact, rough = cells_of(card, starts), cells_of(card, starts, torch.float32)
    for counts in trains:
        rough.g = exact.g.float()
        exact.g = rough.g.double()
        land(exact, counts)
        land(rough, counts)
        ulps = (rough.g.double() - exact.g).abs().max().item() / 2**-24
        assert ulps <= 4 * growth * (1 + max(map(abs, counts)))


CELLS = st.sampled_from(names("cells"))
UPDATES = st.sampled_from(names("updates"))
SIGNALS = st.integers(0, 2**31)


def crossbar(response: dict[str, Any], scale: float, cell: str, update: str) -> CrossbarArray:
    card = synapse_card(
        response,
        range={"g_min_S": 0.1 * scale, "g_max_S": scale, "g_max_dtod": 0.1},
        variation={"c2c_rel_range": 0.01, "step_dtod": 0.2},
        read={"noise_rel": 0.05, "dac_bits": 7, "adc_bits": 9},
    )
    substrate = Crossbar(card, Options(update=update, cell=cell))
    return substrate.array(Geometry("fc.weight", 1, 1, 3, 4, 0.3), Trial(Streams(2)))


@settings(max_examples=10)
@given(RESPONSES, st.floats(-9, -2), CELLS, UPDATES, SIGNALS)
def test_absolute_conductance_changes_no_weight_and_no_read(
    response: dict[str, Any], exponent: float, cell: str, update: str, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    x, d = torch.randn(2, 1, 4, generator=rng), torch.randn(2, 1, 3, generator=rng)
    weights = 0.3 * torch.randn(1, 3, 4, generator=rng)
    arrays = [crossbar(response, scale, cell, update) for scale in (1e-5, 10**exponent)]
    for array in arrays:
        array.load(weights)
        for _ in range(3):
            array.write(Outer(x, d, 0.2))
    assert torch.equal(arrays[0].peek(), arrays[1].peek())
    # g_min/(g_max - g_min) is computed from siemens: read noise may differ in the last bits.
    torch.testing.assert_close(arrays[0].read(x), arrays[1].read(x), rtol=1e-5, atol=1e-2)


def test_wear_counts_pulses_whatever_they_move() -> None:
    cells = cells_of(synapse_card({"law": "linear", "levels_up": 4, "levels_down": 4}))
    land(cells, [9, -9, 1, 0, 40])
    assert cells.wear.tolist() == [9, 9, 1, 0, 40]
    cells.reset(torch.tensor([1, 3]), to="high")
    assert cells.wear.tolist() == [9, 13, 1, 4, 40]
    assert cells.g.tolist() == [1, 1, 0.25, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scatter_is_drawn_by_cell_and_not_by_place_in_the_burst(dtype: torch.dtype) -> None:
    card = synapse_card(
        {"law": "linear", "levels_up": 100, "levels_down": 100}, variation={"c2c_rel_range": 0.01}
    )
    point: Point = DRAWS.at(5)
    one, two = cells_of(card, [0.5] * SIZE, dtype), cells_of(card, [0.5] * SIZE, dtype)
    one.pulse(torch.tensor([0, 1, 2, 3, 4]), torch.tensor([1, 2, 3, -1, -2]), point)
    two.pulse(torch.tensor([3, 1, 4, 0, 2]), torch.tensor([-1, 2, -2, 1, 3]), point)
    assert torch.equal(one.g, two.g)
