"""Energy, time and area, by hand."""

from __future__ import annotations

import pytest
import torch

from hwtrain.arith.threefry import Streams
from hwtrain.cards import SynapseCard
from hwtrain.direction import Dense
from hwtrain.ledger import Ledger
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
from hwtrain.training.array_cost import Layout, array_cost
from hwtrain.training.cost import pulse_cost
from tests.helpers import synapse_card

LINEAR = {"law": "linear", "levels_up": 100, "levels_down": 50}


def test_three_pulses_on_two_by_two_cells_cost_what_the_hand_calculates() -> None:
    pulse = {"v_up_V": 3.0, "t_up_s": 40e-3, "v_down_V": -2.0, "t_down_s": 10e-3}
    device = synapse_card(LINEAR, pulse=pulse, range={"g_min_S": 1e-7, "g_max_S": 2e-7})
    trial = Trial(Streams(0), Ledger())
    substrate = substrate_of(device, Options("sign-pulse", "single"))
    array = substrate.array(Geometry("w", 0, 1, 2, 2, 0.1), trial)
    array.load(torch.zeros(1, 2, 2))
    trial.ledger.clock.phase = "train"
    array.write(Dense(torch.tensor([[[1.0, 1.0], [-1.0, 0.0]]])))
    counts = trial.ledger.of("train", "w", "write")
    assert (counts["pulses_up"], counts["pulses_down"]) == (2, 1)
    # V^2 G t at the middle of 0.1 and 0.2 uS: twice 9 x 1.5e-7 x 0.04 J and once 4 x 1.5e-7 x 0.01 J.
    assert pulse_cost(trial.ledger, "w", device).energy_J == pytest.approx(
        2 * 5.4e-8 + 6e-9, rel=1e-12, abs=0
    )
    assert device.pulse_energy_J("down") == pytest.approx(6e-9, rel=1e-12, abs=0)


def test_what_the_card_does_not_say_is_not_known() -> None:
    device = synapse_card(LINEAR, pulse={"v_up_V": 3.0, "t_up_s": 40e-3})
    assert device.pulse_energy_J("down") is None
    ledger = Ledger()
    ledger.clock.phase = "train"
    ledger.add("w", "write", pulses_up=3)
    assert pulse_cost(ledger, "w", device).energy_J == pytest.approx(3 * 9 * 5.5e-7 * 0.04, rel=1e-12, abs=0)
    ledger.add("w", "write", pulses_down=1)
    assert pulse_cost(ledger, "w", device).energy_J is None


CIRCUITS = {
    "source": "by hand",
    "slots": 2,
    "dac_J": 3e-13,
    "dac_m2": 5e-12,
    "adc_J": 2e-12,
    "adc_s": 1e-9,
    "adc_m2": 1e-9,
    "adc_shared_by": 2,
    "line_F": 1e-16,
    "cell_m2": 1e-13,
}


def two_by_two(**tables: object) -> tuple[SynapseCard, Ledger]:
    """Three pulses, two reads forward and one back, one look at the one sample that judges."""
    pulse = {"v_up_V": 3.0, "t_up_s": 40e-3, "v_down_V": -2.0, "t_down_s": 10e-3}
    read = {"v_read_V": 0.5, "t_read_s": 5e-9}
    given = {"range": {"g_min_S": 1e-7, "g_max_S": 2e-7}, "pulse": pulse, "read": read, "periphery": CIRCUITS}
    device = synapse_card(LINEAR, **(given | tables))  # type: ignore[arg-type]
    trial = Trial(Streams(0), Ledger())
    array = substrate_of(device, Options("sign-pulse", "single")).array(Geometry("w", 0, 1, 2, 2, 0.1), trial)
    array.load(torch.zeros(1, 2, 2))
    trial.ledger.clock.phase = "train"
    array.read(torch.ones(2, 1, 2))
    array.read_t(torch.ones(1, 1, 2))
    array.write(Dense(torch.tensor([[[1.0, 1.0], [-1.0, 0.0]]])))
    trial.ledger.clock.phase = "eval"
    array.read(torch.ones(1, 1, 2))
    return device, trial.ledger


def test_an_array_costs_what_the_hand_calculates() -> None:
    device, ledger = two_by_two()
    found = array_cost(ledger, "w", Layout(device, (1, 2, 2), 1), 1, 1)
    # Two slots: four cells 0.25 V^2 x 1.5e-7 S x 5 ns, two lines of two cells 0.25 x 1e-16 F each, two
    # drivers, two conversions.
    read = 2 * (4 * 0.25 * 1.5e-7 * 5e-9 + 4 * 0.25 * 1e-16 + 2 * 3e-13 + 2 * 2e-12)
    pulses = 2 * 9 * 1.5e-7 * 0.04 + 4 * 1.5e-7 * 0.01
    charge = 2e-16 * (2 * 9 + 4)
    assert found.inference_J == pytest.approx(read, rel=1e-12, abs=0)
    assert found.inference_s == pytest.approx(2 * (5e-9 + 2 * 1e-9), rel=1e-12, abs=0)
    assert found.step_J == pytest.approx(pulses + charge + 3 * read, rel=1e-12, abs=0)
    # Pulses in three slots (of the ledger), two of them up: their widths in that proportion.
    slots = ledger.of("train", "w", "write")["slots"]
    assert found.step_s == pytest.approx(slots * (2 * 40e-3 + 10e-3) / 3 + 3 * 14e-9, rel=1e-12, abs=0)
    # Four cells, a driver on each of four lines, two lines to a converter.
    assert found.area_m2 == pytest.approx(4 * 1e-13 + 4 * 5e-12 + 1e-9, rel=1e-12, abs=0)


def test_tiles_have_lines_drivers_and_converters_of_their_own() -> None:
    circuits = CIRCUITS | {"adc_shared_by": 1, "slots": 1}
    read = {"v_read_V": 1.0, "t_read_s": 1e-9, "lines": 4}
    device = synapse_card(LINEAR, read=read, periphery=circuits)
    cost = Layout(device, (1, 6, 10), 2)  # 2 x 3 tiles
    assert cost.read().converters_J == pytest.approx(2 * 6 * 3 * 2e-12, rel=1e-12, abs=0)
    assert cost.read().drivers_J == pytest.approx(2 * 10 * 2 * 3e-13, rel=1e-12, abs=0)
    assert cost.read(transposed=True).converters_J == pytest.approx(2 * 10 * 2 * 2e-12, rel=1e-12, abs=0)
    assert cost.area_m2 == pytest.approx(
        2 * (60 * 1e-13 + (10 * 2 + 6 * 3) * 5e-12 + 6 * 4 * 1e-9), rel=1e-12, abs=0
    )


@pytest.mark.parametrize("key", ["dac_J", "adc_J", "adc_s", "adc_m2", "line_F", "cell_m2"])
def test_a_constant_that_is_missing_is_never_made_up(key: str) -> None:
    device, ledger = two_by_two(periphery={k: v for k, v in CIRCUITS.items() if k != key})
    found = array_cost(ledger, "w", Layout(device, (1, 2, 2), 1), 1, 1)
    lost = {"adc_s": ("inference_s", "step_s"), "adc_m2": ("area_m2",), "cell_m2": ("area_m2",)}
    for name in lost.get(key, ("inference_J", "step_J")):
        assert getattr(found, name) is None


def test_pulses_that_grow_cost_their_mean_and_a_look_each() -> None:
    response = {"law": "linear", "levels_up": 3, "levels_down": 2}
    pulse = {"v_up_V": 1.0, "v_up_step_V": 0.5, "t_up_s": 1e-3, "v_down_V": 2.0, "t_down_s": 1e-3}
    device = synapse_card(response, pulse=pulse, range={"g_min_S": 1e-7, "g_max_S": 3e-7})
    assert device.pulse_energy_J("up") == pytest.approx((1 + 2.25 + 4) / 3 * 2e-7 * 1e-3, rel=1e-12, abs=0)
    assert device.pulse_energy_J("down") == pytest.approx(4 * 2e-7 * 1e-3, rel=1e-12, abs=0)
    gate = synapse_card(response, pulse=pulse | {"gate_F": 1e-15})
    assert gate.pulse_energy_J("up") == pytest.approx((1 + 2.25 + 4) / 3 * 1e-15, rel=1e-12, abs=0)
    _, ledger = two_by_two(pulse=pulse | {"v_up_step_V": 0.01})
    assert ledger.of("train", "w", "write")["looks"] == 3
    _, plain = two_by_two()
    assert plain.of("train", "w", "write")["looks"] == 0
