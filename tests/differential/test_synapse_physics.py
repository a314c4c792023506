"""Lines, tiles, time, short branches, growing pulses and vectors, each against something plainer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import SynapseCard
from hwtrain.direction import Outer
from hwtrain.errors import IncompatibleRule
from hwtrain.ledger import Ledger
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
from hwtrain.substrates.crossbar import CrossbarArray
from hwtrain.synapse.conductances import Conductances
from hwtrain.synapse.lines import seeming
from tests.helpers import synapse_card

CPU = torch.device("cpu")
LINEAR = {"law": "linear", "levels_up": 100, "levels_down": 50}
BENT = {"law": "affine", "levels_up": 40, "levels_down": 20, "label_up": 2.0, "label_down": -3.0}


def cells(card: SynapseCard, count: int = 3) -> Conductances:
    return Conductances(card, (count,), Streams(1), 0, torch.float64, CPU)


def array(card: SynapseCard, out: int, in_: int, **options: object) -> CrossbarArray:
    trial = Trial(Streams(0), Ledger(), torch.float64)
    made = substrate_of(card, Options(**({"cell": "single"} | options))).array(  # type: ignore[arg-type]
        Geometry("w", 0, 1, out, in_, 0.2), trial
    )
    assert isinstance(made, CrossbarArray)
    return made


def currents(g: np.ndarray, volts: np.ndarray, ohm: float) -> np.ndarray:
    """Of the whole network, by Kirchhoff's law at every node; outputs are held at 0 V at input 0's end."""
    out, in_ = g.shape
    count = out * in_
    matrix, right = np.zeros((2 * count, 2 * count)), np.zeros(2 * count)

    def join(one: int, other: int | None, siemens: float, volt: float = 0.0) -> None:
        matrix[one, one] += siemens
        if other is None:
            right[one] += siemens * volt
        else:
            matrix[other, other] += siemens
            matrix[one, other] -= siemens
            matrix[other, one] -= siemens

    for i in range(out):
        for j in range(in_):
            here = i * in_ + j
            join(here, count + here, g[i, j])
            join(here, here - in_ if i else None, 1 / ohm, volts[j])
            join(count + here, count + here - 1 if j else None, 1 / ohm)
    nodes = np.linalg.solve(matrix, right)
    return nodes[count::in_][:out] / ohm


def test_resistive_lines_agree_with_the_whole_network_to_first_order() -> None:
    rng = np.random.default_rng(0)
    g, volts = rng.uniform(1e-6, 1e-5, (4, 6)), rng.uniform(-1, 1, 6)
    ideal, off = g @ volts, []
    for ohm in (20.0, 40.0):
        found = seeming(torch.from_numpy(g)[None], ohm, None)[0].numpy() @ volts
        exact = currents(g, volts, ohm)
        assert np.abs(exact - ideal).max() > 10 * np.abs(found - exact).max()
        off.append(np.abs(found - exact).max())
    assert off[1] / off[0] == pytest.approx(4, rel=0.05)  # what is left is of second order


def test_a_crossbar_reads_through_its_lines_both_ways_and_tile_by_tile() -> None:
    ends = {"g_min_S": 1e-6, "g_max_S": 1e-5}
    card = synapse_card(LINEAR, range=ends, read={"line_ohm": 30.0, "lines": 3})
    made = array(card, 4, 5)
    made.load(0.3 * torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    g = made.cells.siemens().view(4, 5).numpy()
    seen = np.zeros((4, 5))
    for rows in (slice(0, 3), slice(3, 4)):
        for columns in (slice(0, 3), slice(3, 5)):
            tile = g[rows, columns]
            seen[rows, columns] = seeming(torch.from_numpy(tile.copy())[None], 30.0, None)[0].numpy()
    wanted = (2 * (seen - 1e-6) / 9e-6 - 1) * made.w_max
    assert np.allclose(made.read(torch.eye(5, dtype=torch.float64)[:, None])[:, 0].T.numpy(), wanted)
    assert np.allclose(made.read_t(torch.eye(4, dtype=torch.float64)[:, None])[:, 0].numpy(), wanted)
    assert np.abs(wanted - made.peek()[0].numpy()).max() > 1e-4
    before = made.read(torch.ones(1, 1, 5, dtype=torch.float64))
    made.write(Outer(torch.ones(1, 1, 5).double(), torch.ones(1, 1, 4).double(), 1.0))
    assert not torch.equal(made.read(torch.ones(1, 1, 5, dtype=torch.float64)), before)
    with pytest.raises(ValueError, match="stand in"):
        synapse_card(LINEAR, range=ends | {"stand_in": "scale"}, read={"line_ohm": 1.0})


def test_every_tile_has_a_conversion_of_its_own() -> None:
    card = synapse_card(LINEAR, read={"adc_bits": 4, "adc_range_cells": 1.0, "lines": 2})
    made = array(card, 2, 5)
    made.load(torch.full((1, 2, 5), 0.25, dtype=torch.float64))
    found = made.read(torch.ones(1, 1, 5, dtype=torch.float64))[0, 0, 0]
    share, step = float(made._unit[0, 0, 0]), 2 / 7
    tiles = [min(round(n * share / step), 7) * step for n in (2, 2, 1)]
    assert float(found) == pytest.approx(sum(tiles) * made.w_max)
    assert made.trial.ledger.of("init", "w", "adc")["outputs"] == 6


@pytest.mark.parametrize("lines", [None, 2])
def test_a_full_scale_can_be_a_share_of_all_lines(lines: int | None) -> None:
    wires = {"adc_bits": 4, "adc_range_share": 0.75} | ({} if lines is None else {"lines": lines})
    made = array(synapse_card(LINEAR, read=wires), 2, 5)
    made.load(torch.full((1, 2, 5), 0.25, dtype=torch.float64))
    share = float(made._unit[0, 0, 0])

    def read(width: int) -> float:
        step = 0.75 * min(width, lines or width) / 7  # of the array in that direction, cut or not
        parts = [2, 2, 1] if lines and width == 5 else [width]
        return sum(min(round(n * share / step), 7) * step for n in parts) * made.w_max

    assert float(made.read(torch.ones(1, 1, 5).double())[0, 0, 0]) == pytest.approx(read(5))
    assert float(made.read_t(torch.ones(1, 1, 2).double())[0, 0, 0]) == pytest.approx(read(2))


def test_a_branch_that_is_shorter_begins_with_a_jump() -> None:
    card = synapse_card(BENT, range={"up_from": 0.1, "down_from": 0.75})
    it, draws = cells(card), Streams(0).stream(Purpose.PULSE)
    where = torch.arange(3)
    it.g = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    it.pulse(where, torch.tensor([1, 1, -1]), draws.at(0))
    whole = synapse_card(BENT)
    plain = cells(whole)
    plain.g = torch.tensor([0.0, (0.5 - 0.1) / 0.9, 1.0], dtype=torch.float64)
    plain.pulse(where, torch.tensor([1, 1, -1]), draws.at(0))
    wanted = [0.1 + 0.9 * float(plain.g[0]), 0.1 + 0.9 * float(plain.g[1]), 0.75 * float(plain.g[2])]
    assert it.g.tolist() == pytest.approx(wanted, abs=1e-12)
    it.pulse(where, torch.tensor([40, 40, -20]), draws.at(1))
    assert it.g.tolist() == pytest.approx([1, 1, 0], abs=1e-9)
    assert it.middle_step("down") == pytest.approx(0.75 * plain.middle_step("down"))
    # Write-verify starts where LTP starts, and can leave the cell at g_min.
    it.program(torch.tensor([0.02, 0.6, 0.97], dtype=torch.float64))
    assert float(it.g[0]) in (0.0, pytest.approx(0.1 + 0.9 * float(plain.g[0] * 0 + _first(whole))))
    assert it.g[1:].tolist() == pytest.approx([0.6, 0.97], abs=0.03)
    # An open-loop rewrite counts from the end that a reset leaves.
    n = it.pulses_to(torch.tensor([0.6], dtype=torch.float64), "up")
    it.g = torch.zeros(3, dtype=torch.float64)
    it.pulse(where[:1], n, draws.at(2))
    assert float(it.g[0]) == pytest.approx(0.6, abs=0.03)


def _first(card: SynapseCard) -> float:
    return float(card.law().nominal("up")[0])


def test_a_capacitor_leaks_as_the_formula_says() -> None:
    card = synapse_card(LINEAR, ageing={"lifetime_steps": 50.0, "rest": 0.25})
    it = cells(card)
    it.g = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    it.age(1)
    it.age(6)
    left = (1 - 1 / 50) ** 7
    assert it.g.tolist() == pytest.approx([0.25 * (1 - left), 0.25, 0.25 + 0.75 * left])
    varied = cells(synapse_card(LINEAR, ageing={"lifetime_steps": 50.0, "lifetime_dtod": 0.3}), 4000)
    varied.g = torch.ones(4000, dtype=torch.float64)
    varied.age(1)
    lives = 0.5 / (1 - varied.g)
    assert float(lives.std()) == pytest.approx(15, rel=0.1)
    assert float(lives.mean()) == pytest.approx(50, rel=0.05)


def test_conductances_drift_from_their_last_pulse_on() -> None:
    kept = {"write_sd": [0.0], "t0_s": 20.0, "drift": 0.06, "drift_ends": [0.0, 1.0]}
    ends = {"g_min_S": 1e-8, "g_max_S": 1e-6}
    card = synapse_card(LINEAR, range=ends, retention=kept, ageing={"step_s": 2.0})
    it = cells(card)
    it.g = torch.full((3,), 0.8, dtype=torch.float64)
    it.age(10)
    g = 1e-8 + 0.8 * 0.99e-6
    assert it.siemens().tolist() == pytest.approx([g * (40 / 20) ** -0.06] * 3, rel=1e-9)
    it.pulse(torch.tensor([1]), torch.tensor([1]), Streams(0).stream(Purpose.PULSE).at(0))
    pulsed = float(it.siemens()[1])
    it.age(5)
    assert float(it.siemens()[0]) == pytest.approx(g * (50 / 20) ** -0.06, rel=1e-9)
    assert float(it.siemens()[1]) == pytest.approx(pulsed * (30 / 20) ** -0.06, rel=1e-9)


def test_time_passes_once_a_training_step_and_survives_a_checkpoint() -> None:
    card = synapse_card(LINEAR, ageing={"lifetime_steps": 10.0})
    made, other = array(card, 2, 2), array(card, 2, 2)
    made.load(torch.full((1, 2, 2), 0.5, dtype=torch.float64))
    zero = Outer(torch.zeros(3, 1, 2).double(), torch.zeros(3, 1, 2).double(), 1.0)
    first = made.peek()
    for step in (1, 2, 3):
        made.trial.ledger.clock.step = step
        made.write(zero)
        if step == 2:
            other.restore(made.state())
    assert torch.allclose(made.peek(), first * 0.9**3)
    other.trial.ledger.clock.step = 3
    other.write(zero)
    assert torch.equal(other.peek(), made.peek())


def test_growing_pulses_are_chosen_by_what_is_read() -> None:
    pulse = {"v_up_V": 1.0, "v_up_step_V": 0.1}
    count = 20_000
    noisy = cells(synapse_card(BENT, pulse=pulse, read={"noise_rel": 0.1}), count)
    exact = cells(synapse_card(BENT, pulse=pulse), count)
    where, point = torch.arange(count), Streams(0).stream(Purpose.PULSE).at(0)
    for it in (noisy, exact):
        it.g = torch.full((count,), 0.5, dtype=torch.float64)
        landed = it.pulse(where, torch.ones(count, dtype=torch.long), point)
        assert landed.looks == count
    step = exact.g - 0.5
    # The step falls linearly with the state, so a misread state scatters it by slope times noise.
    card = exact.card
    s, bend = card.law().nominal("up")
    seen = 0.1 * (0.5 + 1e-7 / 9e-7)
    assert float((noisy.g - 0.5 - step).std()) == pytest.approx(s * bend * seen, rel=0.03)
    assert float((noisy.g - 0.5 - step).mean()) == pytest.approx(
        0, abs=4 * s * bend * seen / math.sqrt(count)
    )


def test_a_vector_takes_turns_and_averages() -> None:
    made = array(synapse_card(LINEAR), 2, 3, cell="vector", conductances=3)
    made.load(torch.zeros(1, 2, 3, dtype=torch.float64))
    assert made.cells.g.tolist() == pytest.approx([0.5] * 18)
    one = Outer(torch.ones(1, 1, 3).double(), torch.ones(1, 1, 2).double(), -1.0)
    for number in range(4):
        made.write(one)
        moved = (made.cells.g.view(3, 6) - 0.5).abs().sum(1)
        assert [bool(m > 0) for m in moved] == [number >= k for k in range(3)]
    fallen = made.cells.g.view(3, 6).mean(1)
    assert float(fallen[0]) == pytest.approx(0.5 - 2 / 50)
    assert torch.allclose(
        made.peek() / made.w_max, torch.full((1, 2, 3), -2 * 4 / 50 / 3, dtype=torch.float64)
    )
    other = array(synapse_card(LINEAR), 2, 3, cell="vector", conductances=3)
    other.restore(made.state())
    other.write(one)
    made.write(one)
    assert torch.equal(other.peek(), made.peek())


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"ageing": {"lifetime_steps": 9.0}}, "ageing of its card"),
        ({"range": {"down_from": 0.8}}, "shorter than the range"),
        ({"pulse": {"v_up_V": 1.0, "v_up_step_V": 0.1}}, "pulses that grow"),
        ({"read": {"line_ohm": 1.0}}, "resistive lines"),
    ],
)
def test_the_native_engine_refuses_by_name_what_it_lacks(tables: dict[str, object], said: str) -> None:
    made = array(synapse_card(LINEAR, **tables), 2, 2)  # type: ignore[arg-type]
    with pytest.raises(IncompatibleRule, match=f"{said}.*--engine torch"):
        made.live()
