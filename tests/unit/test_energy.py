"""The energy of pulses, by hand."""

from __future__ import annotations

import pytest
import torch

from hwtrain.arith.threefry import Streams
from hwtrain.direction import Dense
from hwtrain.ledger import Ledger
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
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
    assert pulse_cost(trial.ledger, "w", device).energy_J == pytest.approx(2 * 5.4e-8 + 6e-9, rel=1e-12)
    assert device.pulse_energy_J("down") == pytest.approx(6e-9, rel=1e-12)


def test_what_the_card_does_not_say_is_not_known() -> None:
    device = synapse_card(LINEAR, pulse={"v_up_V": 3.0, "t_up_s": 40e-3})
    assert device.pulse_energy_J("down") is None
    ledger = Ledger()
    ledger.clock.phase = "train"
    ledger.add("w", "write", pulses_up=3)
    assert pulse_cost(ledger, "w", device).energy_J == pytest.approx(3 * 9 * 5.5e-7 * 0.04)
    ledger.add("w", "write", pulses_down=1)
    assert pulse_cost(ledger, "w", device).energy_J is None
