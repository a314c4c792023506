"""The laws without a closed form against slow scalar loops, for parameters that no one has chosen."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.analysis.trace import trace
from hwtrain.cards import SynapseCard, card
from hwtrain.synapse.laws.base import Branch, Law
from tests.helpers import synapse_card

Step = Callable[[float], float]
LAWS = ("exp-step", "pow-step", "piecewise", "cdf-table")


def some_exp(draw: random.Random) -> dict[str, Any]:
    low, high = -draw.uniform(0.3, 2), draw.uniform(0.3, 2)
    return {
        "law": "exp-step",
        "dw_min": draw.uniform(0.001, 0.02),
        "up_down": draw.uniform(-0.5, 0.5),
        "w_min": low,
        "w_max": high,
        "a": draw.uniform(-0.5, 0.5),
        "b": draw.uniform(-0.3, 0.3),
        "gamma_up": draw.uniform(0.5, 4),
        "gamma_down": draw.uniform(0.5, 4),
        "amp_up": draw.uniform(-2, 0.1),
        "amp_down": draw.uniform(-2, 0.1),
    }


def some_pow(draw: random.Random) -> dict[str, Any]:
    steps = {f"step_{way}": draw.uniform(0.001, 0.05) for way in ("up", "down")}
    return {"law": "pow-step", **steps, "power_up": draw.uniform(1, 4), "power_down": draw.uniform(0, 2)}


def some_piecewise(draw: random.Random) -> dict[str, Any]:
    nodes = {way: [draw.uniform(0.2, 2) for _ in range(draw.randint(2, 9))] for way in ("up", "down")}
    return {"law": "piecewise", "step_up": 0.01, "step_down": 0.02, **nodes}


def some_table(draw: random.Random) -> dict[str, Any]:
    g = [0.0, *sorted(draw.uniform(0.01, 0.99) for _ in range(draw.randint(1, 20))), 1.0]
    steps = {way: [draw.uniform(0.002, 0.02) for _ in g] for way in ("up", "down")}
    return {"law": "cdf-table", "g": g, **steps}


SOME = {"exp-step": some_exp, "pow-step": some_pow, "piecewise": some_piecewise, "cdf-table": some_table}


def scalar(p: dict[str, Any], way: str) -> Step:
    """The step at share g of the range, as the law's source writes it."""

    def exp(g: float) -> float:
        width = p["w_max"] - p["w_min"]
        z = 2 * p["a"] * (p["w_min"] + g * width) / width + p["b"]
        if way == "up":
            dw = p["dw_min"] * (1 + min(p["up_down"], 0))
            return dw * max(1 - p["amp_up"] * math.exp(p["gamma_up"] * z), 0) / width
        dw = p["dw_min"] * (1 - max(p["up_down"], 0))
        return dw * max(1 - p["amp_down"] * math.exp(-p["gamma_down"] * z), 0) / width

    def power(g: float) -> float:
        left = 1 - g if way == "up" else g
        return p[f"step_{way}"] * left ** p[f"power_{way}"]

    def piecewise(g: float) -> float:
        nodes = p[way]
        return float(p[f"step_{way}"] * np.interp(g, np.linspace(0, 1, len(nodes)), nodes))

    def table(g: float) -> float:
        return float(np.interp(g, p["g"], p[way]))

    return {"exp-step": exp, "pow-step": power, "piecewise": piecewise, "cdf-table": table}[p["law"]]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("seed", range(5))
def test_a_trace_is_that_of_a_scalar_loop(law: str, seed: int) -> None:
    p = SOME[law](random.Random(f"{law} {seed}"))
    up, down = scalar(p, "up"), scalar(p, "down")
    g, expected = 0.3, [0.3]
    for number in range(160):
        g = min(max(g + up(g) if number < 80 else g - down(g), 0), 1)
        expected.append(g)
    points = trace(synapse_card(p), up=80, down=80, start=-0.4)
    found = [(point.weight + 1) / 2 for point in points]
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def branches(law: Law, way: Any, cells: int, spread: float) -> Branch:
    """Cells whose steps differ."""
    step, bend = law.nominal(way)
    scale = torch.linspace(1 - spread, 1 + spread, cells, dtype=torch.float64)
    return Branch(step * scale, torch.full((cells,), bend, dtype=torch.float64))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("seed", range(3))
def test_long_trains_flow_along_the_staircase(law: str, way: str, seed: int) -> None:
    p = SOME[law](random.Random(f"{law} {seed}"))
    if law == "cdf-table":  # steps below the distance of nodes: what leaps over nodes follows no curve
        p |= {"g": np.linspace(0, 1, len(p["g"])).tolist()} | {
            side: [step / 4 for step in p[side]] for side in ("up", "down")
        }
    elif law == "piecewise":
        p |= {"step_up": 0.003, "step_down": 0.003}
    made: Law = synapse_card(p).law()
    branch = branches(made, way, 9, 0.3)
    off = 2e-4 if law in ("exp-step", "pow-step") else 2e-3
    walked = torch.linspace(0, 0.5, 9, dtype=torch.float64)
    start, one = walked, torch.ones(9, dtype=torch.long)
    for number in range(1, 301):
        walked = made.advance(walked, one, branch)
        if number in (65, 100, 300):
            flown = made.advance(start, number * one, branch)
            torch.testing.assert_close(flown.clamp(max=1), walked.clamp(max=1), rtol=0, atol=off)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", ["add", "mult"])
def test_variance_is_that_of_drawn_pulses(law: str, kind: Any) -> None:
    made: Law = synapse_card(SOME[law](random.Random(f"{law} 1"))).law()
    step, bend = (torch.tensor(value, dtype=torch.float64) for value in made.nominal("up"))
    cells, sigma = 40_000, 0.3
    branch, one = Branch(step.expand(cells), bend.expand(cells)), torch.ones(cells, dtype=torch.long)
    travel = torch.full((cells,), 0.3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    middle = made.middle_step(branch)
    for number in (1, 2, 3, 4):
        moved = made.advance(travel, one, branch) - travel
        noise = torch.randn(cells, generator=generator, dtype=torch.float64)
        travel = travel + moved + sigma * noise * (middle if kind == "add" else moved)
        where, count = torch.full((1,), 0.3, dtype=torch.float64), torch.full((1,), number)
        said = made.step_variance(where, count, Branch(step, bend), sigma, kind)
        assert float(travel.var()) == pytest.approx(float(said), rel=0.05)


BAD = {
    "crossed": ({**some_exp(random.Random(0)), "w_min": 3.0}, "is not below w_max"),
    "half a branch": ({**some_exp(random.Random(0)), "amp_down": None}, "go together"),
    "too steep": ({**some_exp(random.Random(0)), "dw_min": 5.0}, "both must lie between 0 and 1"),
    "unsorted": ({"law": "cdf-table", "g": [0, 2, 1], "up": [0.1] * 3, "down": [0.1] * 3}, "must rise"),
    "short": ({"law": "cdf-table", "g": [0, 1], "up": [0.1] * 3, "down": [0.1] * 2}, "up 3 steps"),
    "wide": (
        {"law": "piecewise", "step_up": 1, "step_down": 1, "up": [2, 1], "down": [1, 1]},
        "at most the range",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_parameters_that_make_no_law_are_refused(case: str) -> None:
    response, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        synapse_card(response)


def test_a_branch_without_gradual_ltd_resets_in_one_pulse() -> None:
    pcm = card("pcm-gst")
    assert isinstance(pcm, SynapseCard)
    points = trace(pcm, up=20, down=1, start=-1.0, noise_free=True)
    assert points[-2].weight > -0.5
    assert points[-1].weight == -1.0


@pytest.mark.parametrize(
    "name",
    ["gong-affine", *(pytest.param(n, marks=pytest.mark.slow) for n in ("gong-piecewise", "gong-pow"))],
)
def test_cards_of_gong_follow_the_measured_trace(shared: Any, name: str) -> None:
    measured = np.loadtxt(shared / "data" / "synapse" / "gong_et_al.csv", delimiter=",")
    ends = (measured[-20:, 1].mean(), measured[-20:, 0].mean())
    found = card(name)
    assert isinstance(found, SynapseCard)
    for column, limit in ((0, 0.91), (1, 0.88)):
        up = 0 if column else 999
        starts = np.linspace(-1, -0.7, 13) if up else np.linspace(0.7, 1, 13)
        best = 0.0
        for start in starts:  # the first state is not known: one reading is noise
            points = trace(found, up=up, down=999 - up, start=float(start), noise_free=True)
            w = np.array([ends[0] + (point.weight + 1) / 2 * (ends[1] - ends[0]) for point in points])
            lost = ((w - measured[:, column]) ** 2).sum()
            best = max(best, 1 - lost / ((measured[:, column] - measured[:, column].mean()) ** 2).sum())
        assert best > limit
