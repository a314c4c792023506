"""Derived cards against the models' own equations, stepped through time in small steps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hwtrain.analysis.derive import MODELS, Pulse, derive
from hwtrain.analysis.expect import check_card
from hwtrain.cards import card, read_card
from hwtrain.cli import main


def rate(name: str, r: float, v: float) -> float:
    """dR/dt in ohm/s of a model, as published, from R itself."""
    if name == "vteam":
        speed = -10 * (v / -0.2 - 1) ** 3 if v < -0.2 else 5e-4 * (v / 0.02 - 1)
        return 950 * speed / 3e-9
    if name == "linear-ion-drift":
        x = (16e3 - r) / 15900
        return -15900 * 1e-14 * 100 / 1e-16 * v / r * (1 - (2 * x - 1) ** 2)
    if name == "data-driven":
        if v > 0:
            return 743.47 * math.expm1(6.51 * v) * math.expm1(5.11e-4 * (16719 - r))
        s = -68012.28374 * math.expm1(-0.31645 * v)
        return s * math.expm1(1.17e-3 * (r - (29304.82557 + 23692.77225 * v)))
    if name == "data-driven-2021":
        if v > 0:
            return 600.10075 * math.expm1(v / -0.0212028) * (2699.2336 - 672.930205 * v - r) ** 2
        return -34.5988399 * math.expm1(-v / -0.05343997) * (r - (649.413746 - 1474.32358 * v)) ** 2
    assert name == "stanford-pku"
    gap = 0.25e-9 * math.log(1e-3 * math.sinh(0.4) / 0.1 * r)
    kelvin = 298 + abs(v * 1e-3 * math.exp(-gap / 0.25e-9) * math.sinh(v / 0.25)) * 2.1e3
    gamma = 16 - 0.8 * (gap / 1e-9) ** 3
    gamma = 0 if gamma * abs(v) / 12e-9 < 1.4e9 else gamma
    thermal = 1.6e-19 / 1.3806503e-23 / kelvin
    moved = -10 * math.exp(-0.6 * thermal) * math.sinh(gamma * 0.25e-9 / 12e-9 * thermal * v)
    return r * moved / 0.25e-9


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_pulse_does_what_the_equations_do_in_small_steps(name: str) -> None:
    found = derive(name)
    low, high = found.ends_S
    for steps, pulse, sign in ((found.steps_up, found.up, 1.0), (found.steps_down, found.down, -1.0)):
        assert sign * rate(name, 2 / (low + high), pulse.v_V) < 0  # LTP lowers the resistance
        for at in (4, 10, 16, 22, 28):
            r = 1 / (low + float(found.g[at]) * (high - low))
            left, count = pulse.t_s, 0
            while left > 0 and count < 20_000:  # steps that never change R by more than 0.1 %
                dt = min(left, 1e-3 * r / max(abs(rate(name, r, pulse.v_V)), 1e-300), pulse.t_s / 200)
                middle = r + rate(name, r, pulse.v_V) * dt / 2
                r, left, count = r + rate(name, middle, pulse.v_V) * dt, left - dt, count + 1
            least, most = found.model.ends()
            reached = min(max(1 / r, least), most)
            step = sign * ((reached - low) / (high - low) - float(found.g[at]))
            assert float(steps[at]) == pytest.approx(step, rel=2e-3, abs=2e-6), at


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_shipped_card_is_what_the_command_writes(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "made.toml"
    assert main(["devices", "derive", name, "--out", str(file), "--json"]) == 0
    made, shipped = read_card(file), card(name)
    assert json.loads(capsys.readouterr().out)["g_max_S"] == pytest.approx(made.range.g_max_S, rel=1e-3)  # type: ignore[union-attr]
    assert made.response == shipped.response  # type: ignore[union-attr]
    assert made.range == shipped.range  # type: ignore[union-attr]
    assert made.pulse == shipped.pulse  # type: ignore[union-attr]
    check_card(name, made)


def test_parameters_and_pulses_can_be_set() -> None:
    slow, fast = derive("vteam"), derive("vteam", up=Pulse(-0.21, 4.8e-8))
    assert float(fast.steps_up[3]) > 1.9 * float(slow.steps_up[3])
    assert derive("vteam", r_on=100.0).ends_S[1] == pytest.approx(0.01, rel=0.01)
    assert np.all(derive("vteam", points=5).steps_up > 0)


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["vtean"], "did you mean 'vteam'"),
        (["vteam", "--set", "r_om=3"], "did you mean 'r_on'"),
        (["vteam", "--set", "r_on"], "NAME=VALUE"),
        (["vteam", "--v-up", "0.3"], "the wrong way"),
        (["vteam", "--v-up", "-0.1"], "nowhere"),
        (["vteam", "--t-up", "0"], "finite"),
        (["vteam", "--points", "2"], "3 to 257"),
        (["vteam", "--out", "card.txt"], "ends in .toml"),
        (["data-driven-2021", "--v-up", "0.2"], "no range"),
    ],
)
def test_bad_words_are_one_line_and_write_nothing(
    argv: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["devices", "derive", *argv]) == 2
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
