"""Cards as peers read them: the peers' equations in plain numbers against the card's own law."""

from __future__ import annotations

import math
import re
import runpy
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.analysis.compare import facts
from hwtrain.analysis.peers import PEERS, export_card
from hwtrain.cards import SynapseCard, card
from hwtrain.data.crosssim import read_tables
from hwtrain.errors import ConfigError
from tests.conformance.conftest import synapse_cards

EXACT = ("ideal-envm", "ecram-li", "gong-es", "gong-piecewise", "ag-si", "simbrain-cms")
"""A card for each device of the peer."""


def device_of(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    """The class and arguments that a written file asks aihwkit for."""
    asked: list[tuple[str, dict[str, Any]]] = []

    class Devices(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return lambda **values: asked.append((name, values))

    for module in ("aihwkit", "aihwkit.simulator", "aihwkit.simulator.configs"):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    name = "aihwkit.simulator.configs.devices"
    monkeypatch.setitem(sys.modules, name, Devices(name))
    file = tmp_path / "device.py"
    file.write_text(text, encoding="utf-8")
    runpy.run_path(str(file))
    return asked[0]


def pulse(kind: str, v: dict[str, Any], w: float, sign: int) -> float:
    """One noise-free pulse as aihwkit's device of this kind takes it."""
    up = sign > 0
    beta = v["up_down"]
    dw = v["dw_min"] * (1 + min(beta, 0.0) if up else 1 - max(beta, 0.0))
    low, high = v["w_min"], v["w_max"]
    if kind == "ConstantStepDevice":
        step = dw
    elif kind == "LinearStepDevice":
        bound, gamma = (high, v["gamma_up"]) if up else (low, v["gamma_down"])
        step = dw * (1 - gamma * w / bound)
    elif kind == "ExpStepDevice":
        z = 2 * v["a"] * w / (high - low) + v["b"]
        amp, rate = (v["A_up"], v["gamma_up"]) if up else (v["A_down"], -v["gamma_down"])
        step = dw * max(1 - amp * math.exp(rate * z), 0.0)
    else:
        nodes = v["piecewise_up"] if up else v["piecewise_down"]
        step = dw * float(np.interp((w - low) / (high - low), np.linspace(0, 1, len(nodes)), nodes))
    return min(max(w + sign * step, low), high)


@pytest.mark.parametrize("name", EXACT)
def test_a_device_of_aihwkit_walks_as_the_card_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = card(name)
    assert isinstance(found, SynapseCard)
    made = export_card(name, "aihwkit")
    kind, values = device_of(next(iter(made.files.values())), tmp_path, monkeypatch)
    law = found.law()
    rough = any("lines between" in line for line in made.missing)
    for way, sign in (("up", 1), ("down", -1)):
        w = values["w_min"] if sign > 0 else values["w_max"]
        span = values["w_max"] - values["w_min"]
        branch = law.typical(way)  # type: ignore[arg-type]
        for n in range(1, 40):
            w = pulse(kind, values, w, sign)
            travel = (w - values["w_min"]) / span if sign > 0 else (values["w_max"] - w) / span
            expected = float(
                law.advance(torch.zeros(1, dtype=torch.float64), torch.tensor([n]), branch).clamp(max=1)[0]
            )
            assert travel == pytest.approx(expected, abs=0.02 if rough else 1e-5), (way, n)
    kinds = {export_card(one, "aihwkit").files.popitem()[1].split(" import ")[1].split()[0] for one in EXACT}
    assert kinds == {"ConstantStepDevice", "LinearStepDevice", "ExpStepDevice", "PiecewiseStepDevice"}


@pytest.mark.parametrize("name", ["ag-si", "taox-tio2-iedm", "ideal-envm", "fefet-hzo"])
def test_neurosim_s_lines_hold_the_card(name: str) -> None:
    found = card(name)
    assert isinstance(found, SynapseCard)
    (text,) = export_card(name, "neurosim").files.values()
    lines = dict(line.rstrip(";").split(" = ") for line in text.splitlines() if " = " in line)
    response = found.response
    assert float(lines["NL_LTP"]) == response.get("label_up", 0)
    assert float(lines["NL_LTD"]) == response.get("label_down", 0)
    assert int(lines["maxNumLevelLTP"]) == response["levels_up"]
    assert float(lines["maxConductance"]) / float(lines["minConductance"]) == pytest.approx(
        found.range.on_off
    )
    assert float(lines["sigmaCtoC"].split(" *")[0]) == found.variation.c2c_rel_range


def test_crosssim_s_tables_come_back_with_the_card_s_steps_and_scatter(tmp_path: Path) -> None:
    found = card("ag-si")
    assert isinstance(found, SynapseCard)
    for name, text in export_card("ag-si", "crosssim").files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    response, variances = read_tables(tmp_path / "dG_increasing.txt", tmp_path / "dG_decreasing.txt", "S")
    span = found.range.g_max_S - found.range.g_min_S
    rising = (response.sweeps[0].g - found.range.g_min_S) / span
    n = torch.arange(1, len(rising))
    law = found.law()
    expected = law.advance(torch.zeros(len(n), dtype=torch.float64), n, law.typical("up"))
    assert np.abs(rising[1:] - expected.numpy()).max() < 2e-3
    assert np.sqrt(variances) / span == pytest.approx(0.035, rel=1e-3)


@pytest.mark.parametrize("peer", PEERS)
def test_every_card_is_written_or_refused_and_something_is_always_said(peer: str) -> None:
    refused = 0
    for name, _ in synapse_cards():
        if peer == "neurosim" and None in (facts(name).levels_up, facts(name).levels_down):
            with pytest.raises(ConfigError, match="never crosses the whole range"):
                export_card(name, peer)
            refused += 1
            continue
        made = export_card(name, peer)
        assert made.files
        assert any("unit cell" in line for line in made.missing)
        assert not any(re.search(r"\b(nan|inf)\b", text) for text in made.files.values()), name
    assert (refused > 0) == (peer == "neurosim")


def test_what_a_peer_cannot_say_is_said() -> None:
    for name, words in (
        ("capacitor-cmos", ["ageing"]),
        ("fefet-hzo-growing", ["pulses that grow"]),
        ("pcm-gst", ["retention"]),
        ("ag-si", ["read.lines"]),
    ):
        for peer in ("aihwkit", "crosssim"):
            missing = export_card(name, peer).missing
            assert all(any(line.startswith(word) for line in missing) for word in words), (
                name,
                peer,
                missing,
            )
    missing = export_card("ag-si", "aihwkit").missing
    assert any(line.startswith("pulse") for line in missing)
    assert any("g_min_S" in line for line in missing)
    assert any("stand in" in line for line in export_card("epiram", "neurosim").missing)
    assert any("one table is one device" in line for line in export_card("ecram-li", "crosssim").missing)
    with pytest.raises(ConfigError, match="--to aihwkitt: "):
        export_card("ag-si", "aihwkitt")
