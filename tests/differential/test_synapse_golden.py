"""Noise-free traces of aihwkit (recorded, shared/golden) from cards with our laws.

aihwkit moves a weight w between w_min and w_max; here g = (w - w_min) / (w_max - w_min). An LTP pulse
of LinearStep adds dw (1 - gamma w / w_max): the first step, at w_min, is dw (1 - gamma w_min / w_max)
and the last dw (1 - gamma); LTD is the mirror. Soft bounds are gamma = 1, constant steps gamma = 0.
The laws without a closed form agree to 3e-8 in a single pulse, and over 600 pulses to 3.2e-7 (exp),
9e-8 (pow) and 1.8e-7 (piecewise): float32 rounding of the record.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.analysis.trace import trace
from hwtrain.cards import SynapseCard
from hwtrain.synapse.laws.base import Branch
from hwtrain.synapse.laws.linear import Linear
from tests.helpers import synapse_card

AFFINE = ("constant", "linear", "linear_mult", "soft_bounds")
FAMILIES = (*AFFINE, "exp", "pow", "piecewise")
GAMMAS = {"constant": (0.0, 0.0), "soft_bounds": (1.0, 1.0)}


def recorded(shared: Path, family: str) -> tuple[dict[str, Any], np.ndarray]:
    with np.load(shared / "golden" / "aihwkit_traces.npz") as file:
        return json.loads(str(file["meta"]))[family], file[family].astype(np.float64)


def steps(p: dict[str, Any]) -> tuple[float, float]:
    """dw_up and dw_down: the imbalance shrinks one side only."""
    beta = p["up_down"]
    return p["dw_min"] * (1 + min(beta, 0)), p["dw_min"] * (1 - max(beta, 0))


EXP_DEFAULTS = {
    "a": 0.244,
    "b": 0.2425,
    "gamma_up": 12.44625,
    "gamma_down": 12.78785,
    "amp_up": 0.00081,
    "amp_down": 0.36833,
}
"""Those of aihwkit's ExpStepDevice, whose trace was recorded with them."""


def stepwise(family: str, p: dict[str, Any]) -> dict[str, Any]:
    """The response of a family without a closed form."""
    if family == "exp":
        given = {name: p[name] for name in ("dw_min", "up_down", "w_min", "w_max")}
        return {"law": "exp-step", **given, **EXP_DEFAULTS}
    step = p["dw_min"] / (p["w_max"] - p["w_min"])
    both = {"step_up": step, "step_down": step}
    if family == "pow":
        return {"law": "pow-step", **both, "power_up": p["pow_gamma"], "power_down": p["pow_gamma"]}
    return {"law": "piecewise", **both, "up": p["piecewise_up"], "down": p["piecewise_down"]}


def card_of(family: str, p: dict[str, Any]) -> SynapseCard:
    if family not in AFFINE:
        return synapse_card(stepwise(family, p), range={"g_min_S": 1e-6, "g_max_S": 1e-5})
    low, high = p["w_min"], p["w_max"]
    gamma_up, gamma_down = GAMMAS.get(family) or (p["gamma_up"], p["gamma_down"])
    up, down = steps(p)
    first_up, first_down = up * (1 - gamma_up * low / high), down * (1 - gamma_down * high / low)
    return synapse_card(
        {
            "law": "affine",
            "step_up": first_up / (high - low),
            "step_down": first_down / (high - low),
            "curvature_up": 1 - up * (1 - gamma_up) / first_up,
            "curvature_down": 1 - down * (1 - gamma_down) / first_down,
        },
        range={"g_min_S": 1e-6, "g_max_S": 1e-5},
    )


def response(card: SynapseCard, p: dict[str, Any], w: float, up: int, down: int) -> np.ndarray:
    """Weights along our trace from weight w."""
    low, width = p["w_min"], p["w_max"] - p["w_min"]
    start = min(max(2 * (w - low) / width - 1, -1.0), 1.0)  # float32 ends stand a hair outside
    points = trace(card, up=up, down=down, start=start)
    return np.array([low + (point.weight + 1) / 2 * width for point in points])


@pytest.mark.parametrize("family", FAMILIES)
def test_trace_of_aihwkit_is_reproduced(shared: Path, family: str) -> None:
    p, expected = recorded(shared, family)
    weights = response(card_of(family, p), p, 0.0, 300, 300)
    assert np.ptp(expected) > 0.5  # the recorded device really moved
    # aihwkit adds in float32; constant steps never contract, so its rounding adds up to 1.87e-6.
    assert np.abs(weights - expected).max() < (2e-6 if family == "constant" else 1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_single_pulse_of_aihwkit_is_reproduced(shared: Path, family: str) -> None:
    p, expected = recorded(shared, family)
    card = card_of(family, p)
    for number in range(0, 600, 13):
        up = int(number < 300)
        after = response(card, p, float(expected[number]), up, 1 - up)[-1]
        assert abs(after - expected[number + 1]) < 1e-7


def test_recorded_constant_steps_are_float32_additions(shared: Path) -> None:
    p, expected = recorded(shared, "constant")
    w, again = np.float32(0), [0.0]
    for number in range(600):
        w += np.float32(steps(p)[0]) if number < 300 else -np.float32(steps(p)[1])
        w = min(max(w, np.float32(p["w_min"])), np.float32(p["w_max"]))
        again.append(float(w))
    assert again == expected.tolist()


def test_conductance_in_siemens_follows_the_weight(shared: Path) -> None:
    p, expected = recorded(shared, "soft_bounds")
    points = trace(card_of("soft_bounds", p), start=-2 * p["w_min"] / (p["w_max"] - p["w_min"]) - 1)
    share = (expected - p["w_min"]) / (p["w_max"] - p["w_min"])
    siemens = [point.conductance_S for point in points]
    np.testing.assert_allclose(siemens, 1e-6 + share * 9e-6, rtol=1e-6)


def test_constant_steps_are_reproduced_by_the_linear_law(shared: Path) -> None:
    p, expected = recorded(shared, "constant")
    width = p["w_max"] - p["w_min"]
    law = Linear(Linear.Params(levels_up=2, levels_down=2))
    one, straight = torch.ones(1, dtype=torch.long), torch.zeros((), dtype=torch.float64)
    for number in range(600):
        way = 0 if number < 300 else 1
        step = torch.tensor(steps(p)[way] / width, dtype=torch.float64)
        gone = (expected[number] - p["w_min"], p["w_max"] - expected[number])[way] / width
        travel = torch.tensor([gone], dtype=torch.float64)
        reached = min(float(law.advance(travel, one, Branch(step, straight))), 1.0) * width
        after = (p["w_min"] + reached, p["w_max"] - reached)[way]
        assert abs(after - expected[number + 1]) < 1e-7
