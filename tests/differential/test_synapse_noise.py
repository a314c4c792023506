"""Scatter from pulse to pulse and from device to device, against plain simulations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import SynapseCard
from hwtrain.synapse.conductances import Conductances, Landed
from hwtrain.synapse.laws.base import Branch
from tests.helpers import synapse_card

CELLS = 100_000
STREAM = Streams(77).stream(Purpose.PULSE)
Values = NDArray[np.float64]

LINEAR = {"law": "linear", "levels_up": 400, "levels_down": 500}
BENT = {
    "law": "affine",
    "step_up": 0.004,
    "step_down": 0.005,
    "curvature_up": 0.8,
    "curvature_down": 0.4,
}
SOFT = {**BENT, "curvature_up": 1.0, "curvature_down": 1.0}
RISING = {**BENT, "curvature_up": -1.5, "curvature_down": -0.5}
NEARLY_STRAIGHT = {**BENT, "curvature_up": 1e-4, "curvature_down": -1e-6}
LAWS = {
    "linear": LINEAR,
    "bent": BENT,
    "soft bounds": SOFT,
    "rising": RISING,
    "nearly straight": NEARLY_STRAIGHT,
}


def cells_of(
    device: SynapseCard, size: int = CELLS, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Conductances:
    return Conductances(device, (size,), Streams(seed), 1, dtype, torch.device("cpu"))


def land(cells: Conductances, n: int, number: int = 0) -> Landed:
    every = torch.arange(cells.g.numel())
    return cells.pulse(every, torch.full_like(every, n), STREAM.at(number))


def first_and_bend(response: dict[str, Any], way: str) -> tuple[float, float]:
    if response["law"] == "linear":
        return 1 / response[f"levels_{way}"], 0.0
    return response[f"step_{way}"], response[f"curvature_{way}"]


def pulse_by_pulse(
    response: dict[str, Any], way: str, start: float, n: int, sigma: float, kind: str
) -> Values:
    """Travel after n pulses of t += s (1 - kappa t), each scattered by its own normal."""
    rng = np.random.default_rng(9)
    step, bend = first_and_bend(response, way)
    middle = step * (1 - bend / 2)
    travel = np.full(CELLS, start)
    for _ in range(n):
        xi = rng.standard_normal(CELLS)
        taken = step * (1 - bend * travel)
        travel = travel + taken + sigma * xi * (middle if kind == "add" else taken)
    return travel


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 31])
@pytest.mark.parametrize("kind", ["add", "mult"])
@pytest.mark.parametrize("law", LAWS)
def test_closed_form_scatter_is_that_of_single_pulses(
    law: str, kind: str, n: int, dtype: torch.dtype
) -> None:
    way, start, sigma = ("up", 0.35, 0.3) if n % 2 else ("down", 0.5, 0.6)
    travel = pulse_by_pulse(LAWS[law], way, start, n, sigma, kind)
    device = synapse_card(LAWS[law])
    step, bend = (torch.tensor(v, dtype=dtype) for v in first_and_bend(LAWS[law], way))
    where, count = torch.full((1,), start, dtype=dtype), torch.tensor([n])
    variance = device.law().step_variance(where, count, Branch(step, bend), sigma, kind)
    assert float(variance) ** 0.5 == pytest.approx(travel.std(), rel=0.01)
    mean = float(device.law().advance(where, count, Branch(step, bend))) - start
    assert mean == pytest.approx(travel.mean() - start, rel=0.01)


@pytest.mark.parametrize("n", [1, -1, 7, -31])
@pytest.mark.parametrize("kind", ["add", "mult"])
@pytest.mark.parametrize("law", ["linear", "bent"])
def test_pulsed_cells_scatter_like_single_pulses(law: str, kind: str, n: int) -> None:
    device = synapse_card(LAWS[law], variation={"c2c_rel_step": 0.5, "c2c_kind": kind})
    cells = cells_of(device)
    cells.g.fill_(0.4)
    land(cells, n)
    way, start = ("up", 0.4) if n > 0 else ("down", 0.6)
    travel = pulse_by_pulse(LAWS[law], way, start, abs(n), 0.5, kind)
    ours = cells.g.numpy() if n > 0 else 1 - cells.g.numpy()
    assert ours.std() == pytest.approx(travel.std(), rel=0.01)
    assert ours.mean() - start == pytest.approx(travel.mean() - start, rel=0.01)
    if abs(n) == 1:
        assert stats.ks_2samp(ours, travel).pvalue > 0.01


@pytest.mark.parametrize("n", [1, -2, 7, -31])
@pytest.mark.parametrize("law", ["linear", "bent"])
def test_write_of_n_pulses_adds_root_n_of_the_range(law: str, n: int) -> None:
    cells = cells_of(synapse_card(LAWS[law], variation={"c2c_rel_range": 0.01}))
    cells.g.fill_(0.5)
    before = cells.siemens()[0].item()
    quiet = cells_of(synapse_card(LAWS[law]), 1)
    quiet.g.fill_(0.5)
    land(quiet, n)
    land(cells, n)
    noise = (cells.siemens() - quiet.siemens()).numpy()
    assert noise.std() == pytest.approx(0.01 * 9e-7 * math.sqrt(abs(n)), rel=0.01)
    assert abs(noise.mean()) < 4 * noise.std() / math.sqrt(CELLS)
    assert quiet.siemens()[0].item() != before
    if n == 1:
        assert stats.kstest(noise / (0.01 * 9e-7), "norm").pvalue > 0.01


def test_both_conventions_add_their_variances() -> None:
    variation = {"c2c_rel_range": 0.004, "c2c_rel_step": 2.0}
    cells = cells_of(synapse_card(LINEAR, variation=variation))
    cells.g.fill_(0.5)
    land(cells, 4)
    assert cells.g.std().item() == pytest.approx(2 * math.hypot(0.004, 2 / 400), rel=0.01)


def test_scatter_of_two_cells_and_two_pulses_is_uncorrelated() -> None:
    cells = cells_of(synapse_card(LINEAR, variation={"c2c_rel_range": 0.01}))
    noise = []
    for number in range(2):
        cells.g.fill_(0.5)
        land(cells, 1, number)
        noise.append(cells.g.numpy() - 0.5 - 1 / 400)
    assert abs(np.corrcoef(*noise)[0, 1]) < 4 / math.sqrt(CELLS)
    assert abs(np.corrcoef(noise[0][:-1], noise[0][1:])[0, 1]) < 4 / math.sqrt(CELLS)


def close(sample: Values, mean: float, sd: float) -> None:
    """Mean and sd of the sample within 4 standard errors of a normal's."""
    n = len(sample)
    assert abs(sample.mean() - mean) < 4 * sd / math.sqrt(n)
    assert abs(sample.std() - sd) < 4 * sd / math.sqrt(2 * n)


def steps(cells: Conductances) -> tuple[Values, Values]:
    """Size of one LTP and one LTD pulse of every cell about the middle."""
    cells.g.fill_(0.5)
    land(cells, 1)
    up = cells.g.numpy() - 0.5
    cells.g.fill_(0.5)
    land(cells, -1)
    return up, 0.5 - cells.g.numpy()


def test_steps_vary_normally_from_cell_to_cell() -> None:
    up, down = steps(cells_of(synapse_card(LINEAR, variation={"step_dtod": 0.2})))
    close(up * 400, 1, 0.2)
    np.testing.assert_allclose(up * 400, down * 500, rtol=1e-9)  # one factor a cell
    assert stats.kstest((up * 400 - 1) / 0.2, "norm").pvalue > 0.01


def test_steps_vary_lognormally_from_cell_to_cell() -> None:
    variation = {"step_dtod": 0.6, "step_dist": "lognormal"}
    up, _ = steps(cells_of(synapse_card(BENT, variation=variation)))
    factor = np.log(up / (0.004 * (1 - 0.8 * 0.5)))
    close(factor, 0, 0.6)
    assert stats.kstest(factor / 0.6, "norm").pvalue > 0.01


def test_imbalance_shrinks_one_side_of_each_cell_only() -> None:
    up, down = steps(cells_of(synapse_card(LINEAR, variation={"bias_dtod": 0.1})))
    up, down = up * 400, down * 500
    full = np.isclose(np.maximum(up, down), 1, rtol=1e-9)
    assert full.all()
    imbalance = up - down
    close(imbalance, 0, 0.1)
    assert abs((up < down).mean() - 0.5) < 4 * 0.5 / math.sqrt(CELLS)


def test_imbalance_and_step_are_drawn_apart() -> None:
    up, down = steps(cells_of(synapse_card(LINEAR, variation={"bias_dtod": 0.1, "step_dtod": 0.2})))
    size = np.maximum(up * 400, down * 500)
    imbalance = (up * 400 - down * 500) / size
    close(size, 1, 0.2)
    assert abs(np.corrcoef(size, imbalance)[0, 1]) < 4 / math.sqrt(CELLS)


def test_ends_of_the_range_vary_apart_and_stop_the_cells() -> None:
    device = synapse_card(LINEAR, range={"g_max_dtod": 0.1, "g_min_dtod": 0.05})
    cells = cells_of(device)
    land(cells, 5000)
    high = cells.siemens().numpy()
    land(cells, -5000)
    low = cells.siemens().numpy()
    close((high - 1e-7) / 9e-7, 1, 0.1)
    close((low - 1e-7) / 9e-7, 0, 0.05)
    assert abs(np.corrcoef(low, high)[0, 1]) < 4 / math.sqrt(CELLS)


def test_cell_with_a_wider_range_takes_the_same_absolute_steps() -> None:
    cells = cells_of(synapse_card(LINEAR, range={"g_max_dtod": 0.2}), 1000)
    land(cells, 40)
    np.testing.assert_allclose(cells.g.numpy(), 0.1, rtol=1e-12)


def label_of(rate: Values) -> Values:
    """Deviation from the diagonal in units of 0.07, of curves 1 - e^(-rate x) scaled to 1."""
    c = -np.expm1(-rate)
    return (1 / c - 1 / rate + np.log(c / rate) / rate) / (0.07 * math.sqrt(2))


def test_labels_vary_normally_and_the_range_is_still_crossed() -> None:
    bent = {"law": "affine", "levels_up": 50, "levels_down": 60, "label_up": 3.0, "label_down": -4.0}
    cells = cells_of(synapse_card(bent, variation={"label_dtod": 0.4}), 20_000)
    ups = [np.zeros(20_000)]
    for number in range(2):
        land(cells, 1, number)
        ups.append(cells.g.numpy().copy())
    rho = (ups[2] - ups[1]) / ups[1]
    close(label_of(-50 * np.log(rho)), 3.0, 0.4)
    land(cells, 48, 2)
    np.testing.assert_allclose(cells.g.numpy(), 1, rtol=1e-9)
    downs = [np.ones(20_000)]
    for number in range(2):
        land(cells, -1, 3 + number)
        downs.append(cells.g.numpy().copy())
    rho_down = (downs[1] - downs[2]) / (1 - downs[1])
    close(label_of(-60 * np.log(rho_down)), 4.0, 0.4)
    assert abs(np.corrcoef(rho, rho_down)[0, 1]) < 4 / math.sqrt(20_000)


def test_linear_law_has_no_label_to_vary() -> None:
    with pytest.raises(ValueError, match="label"):
        cells_of(synapse_card(LINEAR, variation={"label_dtod": 0.4}), 1)


def test_stuck_cells_are_as_many_as_the_card_says_and_never_move() -> None:
    shares = {"stuck_on": 0.03, "stuck_off": 0.05, "stuck_random": 0.1}
    cells = cells_of(synapse_card(LINEAR, faults=shares, variation={"c2c_rel_range": 0.01}))
    start = cells.g.numpy().copy()
    moved = np.zeros(CELLS, dtype=bool)
    for number, n in enumerate((30, -3, 100, -40)):
        land(cells, n, number)
        moved |= cells.g.numpy() != start
    cells.program(torch.full((CELLS,), 0.37, dtype=torch.float64))
    moved |= cells.g.numpy() != start
    cells.reset(torch.arange(CELLS), to="high")
    moved |= cells.g.numpy() != start
    kinds = {
        "stuck_on": ~moved & (start == 1),
        "stuck_off": ~moved & (start == 0),
        "stuck_random": ~moved & (start > 0) & (start < 1),
    }
    for kind, found in kinds.items():
        p = shares[kind]
        assert abs(found.mean() - p) < 4 * math.sqrt(p * (1 - p) / CELLS)
    assert abs(moved.mean() - 0.82) < 4 * math.sqrt(0.82 * 0.18 / CELLS)
    assert stats.kstest(start[kinds["stuck_random"]], "uniform").pvalue > 0.01


def test_pulses_at_an_end_and_on_stuck_cells_count_as_clipped() -> None:
    cells = cells_of(synapse_card(LINEAR), 10)
    assert land(cells, -3) == Landed(up=0, down=30, clipped=30)
    assert land(cells, 2) == Landed(up=20, down=0, clipped=0)
    stuck = cells_of(synapse_card(LINEAR, faults={"stuck_off": 1.0}), 10)
    assert land(stuck, 2) == Landed(up=20, down=0, clipped=20)


@pytest.mark.parametrize("law", ["linear", "bent", "soft bounds", "rising"])
def test_program_ends_on_the_nearest_stair_and_counts_its_pulses(law: str) -> None:
    step, bend = first_and_bend(LAWS[law], "up")
    stairs = [0.0]
    while stairs[-1] < 1 - 1e-6 and len(stairs) < 4000:
        stairs.append(min(stairs[-1] + step * (1 - bend * stairs[-1]), 1.0))
    wanted = np.random.default_rng(1).uniform(0, 0.98, 2000)
    cells = cells_of(synapse_card(LAWS[law]), 2000)
    pulses = cells.program(torch.from_numpy(wanted))
    reached = np.array(stairs)[pulses.numpy()]
    np.testing.assert_allclose(cells.g.numpy(), reached, atol=1e-12)
    nearest = np.array([min(abs(s - w) for s in stairs) for w in wanted])
    np.testing.assert_allclose(abs(reached - wanted), nearest, atol=1e-12)
    assert (cells.wear.numpy() == pulses.numpy()).all()


@pytest.mark.parametrize("beyond", [-0.2, 1.3])
def test_program_beyond_the_range_ends_at_its_end(beyond: float) -> None:
    cells = cells_of(synapse_card(LINEAR), 3)
    cells.program(torch.full((3,), beyond, dtype=torch.float64))
    assert cells.g.tolist() == pytest.approx([float(beyond > 0)] * 3)


def test_a_cell_that_has_taken_its_pulses_stays_where_it_is() -> None:
    cells = cells_of(synapse_card(LINEAR, pulse={"endurance": 7}), 3)
    every = torch.arange(3)
    where, taken, clipped = [0.0, 0.0, 0.0], [0, 0, 0], 0
    for number, trains in enumerate([(3, 1, 6), (4, -1, 1), (1, 5, 9), (-9, 2, 1)]):
        landed = cells.pulse(every, torch.tensor(trains), STREAM.at(number))
        expected = 0
        for cell, n in enumerate(trains):
            if taken[cell] >= 7:
                expected += abs(n)
            else:
                low, high = where[cell], where[cell] + n * (1 / 400 if n > 0 else 1 / 500)
                where[cell] = min(max(high, 0.0), 1.0)
                expected += abs(n) if low == where[cell] else 0
            taken[cell] += abs(n)
        clipped += expected
        assert landed.clipped == expected
        assert cells.g.tolist() == pytest.approx(where, abs=1e-12)
        assert cells.wear.tolist() == taken
    assert clipped > 9
