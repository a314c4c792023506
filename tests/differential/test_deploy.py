"""Weights on a device that forgets, against a plain transcription of the published equations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwtrain
from hwtrain.analysis.deploy import Pair, deploy
from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import SynapseCard, card
from hwtrain.cli import main
from hwtrain.synapse.retention import Drifting, written
from tests.helpers import write_csv

YEAR = 31_536_000.0
MANY = 200_000


def pcm() -> SynapseCard:
    found = card("pcm-gst")
    assert isinstance(found, SynapseCard)
    return found


def by_hand(target_uS: float, time_s: float, xis: tuple[float, float, float]) -> float:
    """uS of one conductance that was written to a target, as it is read at a time."""
    g = target_uS / 25
    written = max(target_uS + (0.26348 + 1.9650 * g - 1.1731 * g * g) * xis[0], 0)
    mean = min(max(-0.0155 * math.log(g) + 0.0244, 0.049), 0.1)
    sd = min(max(-0.0125 * math.log(g) - 0.0059, 0.008), 0.045)
    drifted = written * ((time_s + 20) / 20) ** -abs(mean + sd * xis[1])
    quality = min(0.0088 / max((written / 25) ** 0.65, 1e-3), 0.2)
    noise = quality * math.sqrt(math.log((time_s + 20 + 250e-9) / (2 * 250e-9)))
    return max(drifted * (1 + noise * xis[2]), 0)


@pytest.mark.parametrize("time_s", [0.0, 3600.0, YEAR])
def test_weights_are_read_as_the_published_model_says(time_s: float) -> None:
    rng = np.random.default_rng(1)
    weights = rng.normal(0, 0.3, (1, 5, 7))
    weights[0, 0, 0] = 0
    found = Pair(pcm(), weights, Streams(4), 2).read(time_s, 3)
    draws = [
        Streams(4).stream(purpose, 2).at(0, 0, look).normal(70).astype(float)
        for purpose, look in ((Purpose.WRITE_NOISE, 0), (Purpose.WRITE_NOISE, 1), (Purpose.AGED_READ, 3))
    ]
    most = abs(weights).max()
    for at, weight in enumerate(weights.ravel()):
        sides = []
        for side, share in enumerate((max(weight, 0) / most, max(-weight, 0) / most)):
            xis = tuple(float(draw[35 * side + at]) for draw in draws)
            sides.append(by_hand(0.25 + share * 24.75, time_s, xis))  # type: ignore[arg-type]
        assert found.ravel()[at] == pytest.approx((sides[0] - sides[1]) / 24.75 * most, abs=1e-6)


def test_scatter_and_drift_have_the_moments_of_the_card() -> None:
    pair = Pair(pcm(), np.full((1, 1, MANY), 0.5) * np.sign(np.arange(MANY) % 2 - 0.5), Streams(0), 0)
    assert isinstance(pair.cells, Drifting)
    written = pair.cells.g[0][0, 0, 1::2]  # the sides that hold a weight, all at g_max
    spread = 0.0105392 + 0.0786 - 0.046924
    assert abs(written.mean() - 1) < 4 * spread / math.sqrt(MANY / 2)
    assert written.std() == pytest.approx(spread, rel=0.02)
    exponents = pair.cells.nu[0][0, 0, 1::2]
    assert exponents.mean() == pytest.approx(0.049, rel=0.01)
    assert exponents.std() == pytest.approx(0.008, rel=0.02)


def test_compensation_undoes_what_all_weights_lose() -> None:
    weights = np.random.default_rng(0).normal(0, 1, (1, 50, 60))
    pair = Pair(pcm(), weights, Streams(0), 0)
    old = pair.read(YEAR, 1)
    assert abs(old).mean() < 0.6 * abs(pair.read(0, 0)).mean()
    assert abs(old * pair.compensation(old)).mean() == pytest.approx(pair.first)


def test_deploy_prints_and_draws_accuracy_by_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_csv(tmp_path / "d.csv", 60)
    run, out = tmp_path / "run", tmp_path / "out"
    common = ["--data", str(data), "--net", "4-3", "--seeds", "1", "--epochs", "8", "--lr", "0.3"]
    assert main(["train", *common, "--device", "float32", "--out", str(run)]) == 0
    capsys.readouterr()
    asked = ["deploy", str(run), "--times", f"0,{YEAR:g}", "--writings", "2", "--out", str(out), "--json"]
    assert main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    first, last = found["ages"]
    assert last["left"] < 0.7 < first["left"]
    assert len(first["accuracies"]) == len(last["compensated"]) == 2
    assert found["software"] > 0.6
    assert sorted(file.name for file in out.iterdir()) == [
        "deploy.csv",
        "deploy.json",
        "deploy.png",
        "deploy.svg",
    ]
    assert main(["deploy", str(run), "--writings", "2"]) == 0
    assert "compensated" in capsys.readouterr().out
    assert main(["deploy", str(run), "--device", "taox-tio2"]) == 2
    assert "no effect: the card has no [retention]" in capsys.readouterr().err


NORMED = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
"""


@pytest.mark.parametrize(("net", "rule"), [("16-8-3", "phyll"), ("normed:net", "backprop")])
def test_what_was_trained_is_judged_as_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, net: str, rule: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "normed.py").write_text(NORMED)
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = (rng.random((240, 1, 4, 4)) + np.eye(3)[labels].repeat(6, 1)[:, 1:17].reshape(-1, 1, 4, 4)) / 2
    split = {"x_train": images[:120], "y_train": labels[:120], "x_test": images[120:], "y_test": labels[120:]}
    np.savez("d.npz", **split)
    common: dict[str, Any] = {"data": "d.npz", "net": net, "rule": rule, "device": "float32", "lr": 0.1}
    result = hwtrain.train(**common, epochs=3, seeds=1, out="run")
    assert result.accuracy > 0.4
    assert deploy(Path("run"), "pcm-gst", [0.0], 1).software == pytest.approx(result.accuracy)


def moments(name: str, target: float, time_s: float) -> tuple[float, float]:
    """Mean and sd of conductances written to a share of g_max, as they are read."""
    found = card(name)
    assert isinstance(found, SynapseCard)
    seen = written(found, np.full(MANY, target), Streams(0), 0).read(time_s, 0)
    return float(seen.mean()), float(seen.std())


def test_hermes_devices_follow_their_published_branches() -> None:
    for name, g_max, write, sd_high, flicker_high, t0 in (
        (
            "pcm-hermes",
            10.35,
            (0.15781817, 2.32443916, -2.16310839, 0.68841818),
            (0.0104, 0.0116, -0.0165),
            (0.0088, 0.0768, -0.1352, 0.0664),
            200.0,
        ),
        (
            "pcm-hermes-pair",
            20.7,
            (0.16603222, 4.71806468, -8.48101252, 4.68961419),
            (0.0073, 0.0093, -0.0118),
            (0.0123, 0.0211, -0.0280, 0.0069),
            300.0,
        ),
    ):
        found = card(name)
        assert isinstance(found, SynapseCard)
        kept = found.retention
        assert kept is not None
        g = np.array([0.05, 0.6])
        mean, sd = kept.exponents(g)
        assert mean.tolist() == pytest.approx(
            [-0.0387 * math.log(0.05) - 0.0182, -0.0436 * 0.36 - 0.0126 * 0.6 + 0.0736]
        )
        low = -0.0120 * math.log(0.05) - 0.0023 if g_max < 11 else -0.0117 * math.log(0.05) - 0.0057
        assert sd.tolist() == pytest.approx([low, sum(c * 0.6**k for k, c in enumerate(sd_high))])
        low = -0.0078 * math.log(0.05) + 0.0038 if g_max < 11 else -0.0117 * math.log(0.05) - 0.0069
        wanted = [low, sum(c * 0.6**k for k, c in enumerate(flicker_high))]
        assert kept.flickers(g).tolist() == pytest.approx(wanted)
        spread = sum(c * 0.6**k for k, c in enumerate(write)) / g_max
        cells = written(found, np.full(MANY, 0.6), Streams(0), 0)
        assert isinstance(cells, Drifting)
        assert cells.g.std() == pytest.approx(spread, rel=0.01)
        assert np.median(cells.nu) == pytest.approx(mean[1], rel=0.01)
        drifted = cells.g * ((YEAR + t0) / t0) ** -cells.nu
        noise = cells.read(YEAR, 1) / drifted - 1
        long = math.sqrt(math.log((YEAR + t0 + 512e-9) / (2 * 512e-9)))
        assert noise.std() == pytest.approx(float((kept.flickers(cells.g) * long).mean()), rel=0.02)


DAY = 86_400.0


@pytest.mark.parametrize(
    ("name", "target", "time_s", "mean", "sd"),
    [
        # sigma(uS) of the sources, over g_max
        ("pcm-joshi", 0.4, 0.0, 0.4, (-0.00178767 * 100 + 0.07585724 * 10 + 0.28638599) / 25),
        ("rram-milo", 0.6, 0.0, 0.6, (-0.009107 * 135 + 4.782321) / 225),
        ("rram-wan", 0.5, 1.0, 0.5, (-16.815 / 16 + 45.393 / 8 - 43.853 / 4 + 16.030 / 2 + 0.348) / 40),
        ("rram-wan", 0.5, 2 * DAY, 0.5, (-11.934 / 16 + 37.062 / 8 - 43.507 / 4 + 20.274 / 2 + 0.782) / 40),
        (
            "reram-cmo",
            0.6,
            1e4,
            0.6 - 0.08900206 * math.log(1e4) / 88.19,
            math.hypot(
                0.00081107 + 0.00106879 * 0.6 * 88.19,
                0.04201137 * math.log(1e4) + 0.41183342,
                0.0277316483 * math.log10(0.6 * 88.19) * math.sqrt(math.log((1 + 1e-6) / 2e-6)),
            )
            / 88.19,
        ),
        (
            "sonos",
            0.25,
            0.0,
            0.25,
            math.hypot(
                19.88665 * (1 - math.exp(-400 / 176.3115)), 12.58037 * (1 - math.exp(-400 / 215.36557))
            )
            / 1600,
        ),
    ],
)
def test_relaxing_devices_have_the_moments_of_their_sources(
    name: str, target: float, time_s: float, mean: float, sd: float
) -> None:
    found = moments(name, target, time_s)
    assert found[0] == pytest.approx(mean, abs=4 * sd / math.sqrt(MANY))
    assert found[1] == pytest.approx(sd, rel=0.012)


def test_sonos_shifts_by_its_polynomial_and_keeps_a_cells_own_deviation() -> None:
    day3 = (1.15821e00, 1.96116e-02, -4.70807e-04, 3.67510e-06, -2.08786e-08, 6.59752e-11,
            -1.19499e-13, 1.28435e-16, -8.11574e-20, 2.78802e-23, -4.02057e-27)  # fmt: skip
    for target in (0.0625, 0.5, 1.0):
        wanted = target + sum(c * (1600 * target) ** k for k, c in enumerate(day3)) / 1600
        assert moments("sonos", target, 3 * DAY)[0] == pytest.approx(wanted, abs=2e-4)
    found = card("sonos")
    assert isinstance(found, SynapseCard)
    cells = written(found, np.full(1000, 0.5), Streams(0), 0)
    early, late = cells.read(DAY, 0), cells.read(5 * DAY, 1)
    assert np.corrcoef(early, late)[0, 1] > 0.7
    between = moments("sonos", 0.5, 1.5 * DAY)[0]
    assert moments("sonos", 0.5, 2 * DAY)[0] < between < moments("sonos", 0.5, DAY)[0]


def test_nothing_is_said_of_times_that_nobody_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_csv(tmp_path / "d.csv", 24)
    run = tmp_path / "run"
    flags = ["--data", str(data), "--net", "4-3", "--epochs", "1", "--seeds", "1", "--device", "float32"]
    assert main(["train", *flags, "--out", str(run)]) == 0
    assert main(["deploy", str(run), "--device", "sonos", "--writings", "1", "--json"]) == 0
    text = capsys.readouterr().out
    ages = json.loads(text[text.index('{"trial"') :])["ages"]
    assert [age["time_s"] for age in ages] == [0.0, 60.0, 3600.0, DAY, 5 * DAY]
    assert main(["deploy", str(run), "--device", "sonos", "--times", "0,9e5"]) == 2
    assert "nothing is known of it later than 432000 s" in capsys.readouterr().err
    assert main(["train", *flags[:-1], "sonos", "--out", str(tmp_path / "no")]) == 2
    assert "writing and reading alone" in capsys.readouterr().err
    for argv in (["devices", "trace", "sonos"], ["compare", "sonos"], ["devices", "sensitivity", "sonos"]):
        assert main(argv) == 2
        err = capsys.readouterr().err
        assert "use it with hwtrain deploy" in err
        assert err.count("\n") == 1
