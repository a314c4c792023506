"""Weights on a device that forgets, against a plain transcription of the published equations."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hwtrain.analysis.deploy import Pair
from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import SynapseCard, card
from hwtrain.cli import main
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
    written = pair.g[0][0, 0, 1::2]  # the sides that hold a weight, all at g_max
    spread = 0.0105392 + 0.0786 - 0.046924
    assert abs(written.mean() - 1) < 4 * spread / math.sqrt(MANY / 2)
    assert written.std() == pytest.approx(spread, rel=0.02)
    exponents = pair.nu[0][0, 0, 1::2]
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
