"""Steps that are drawn from a measured distribution, against a loop over plain numbers and the table."""

from __future__ import annotations

import bisect
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

import hwtrain
from hwtrain.analysis.compare import facts
from hwtrain.analysis.peers import export_card
from hwtrain.analysis.sensitivity import KNOBS, to_toml
from hwtrain.arith.threefry import Point, Purpose, Streams, threefry
from hwtrain.cards import SynapseCard
from hwtrain.cards import card as read_card
from hwtrain.cli import main
from hwtrain.synapse.conductances import Conductances
from tests.helpers import JUMPS, synapse_card, write_csv

MEANS = {"law": "cdf-table", "g": [0.0, 0.4, 1.0], "up": [0.04, 0.02, 0.01], "down": [0.01, 0.02, 0.03]}


def cells(card: SynapseCard, shape: tuple[int, ...] = (1, 1, 5, 8)) -> Conductances:
    return Conductances(card, shape, Streams(4), 0, torch.float64, torch.device("cpu"))


def line(x: float, at: list[float], y: list[float]) -> float:
    """Straight lines between points, flat outside."""
    if x <= at[0]:
        return y[0]
    if x >= at[-1]:
        return y[-1]
    k = bisect.bisect_left(at, x)
    return y[k - 1] + (x - at[k - 1]) / (at[k] - at[k - 1]) * (y[k] - y[k - 1])


def uniform(point: Point, element: int, pulse: int) -> float:
    return (threefry(point.key, (element, 1 + pulse // 2), 13)[pulse % 2] >> 8) * 2.0**-24


def test_a_thousand_pulses_are_those_of_a_loop_over_plain_numbers() -> None:
    found, stream = cells(synapse_card(JUMPS)), Streams(4).stream(Purpose.PULSE, 0)
    out, in_ = 5, 8
    g, rng, sent, step = [c / (out * in_ - 1) for c in range(out * in_)], np.random.default_rng(1), 0, 0
    found.g[:] = torch.tensor(g, dtype=torch.float64)
    while sent < 1000:
        n = rng.integers(-4, 5, out * in_)
        index = torch.from_numpy(n.nonzero()[0])
        point = stream.at(step)
        found.pulse(index, torch.from_numpy(n)[index], point)
        for c in index.tolist():
            element = c % in_ * out + c // in_  # as the kernel in C counts them
            for k in range(abs(int(n[c]))):
                way, sign = ("up", 1) if n[c] > 0 else ("down", -1)
                columns = [line(g[c], JUMPS["g"], row) for row in JUMPS[f"{way}_quantiles"]]
                g[c] = min(1.0, max(0.0, g[c] + sign * line(uniform(point, element, k), JUMPS["p"], columns)))
                sent += 1
        step += 1
    np.testing.assert_allclose(found.g.numpy(), g, atol=1e-9)  # shares of a pulse's first step round
    assert step > 10


@pytest.mark.parametrize("way", ["up", "down"])
def test_single_pulses_have_the_distribution_of_the_table(way: str) -> None:
    found = cells(synapse_card(JUMPS), (1, 1, 100, 200))
    before, sign = 0.65, 1 if way == "up" else -1
    found.g.fill_(before)
    every = torch.arange(20000)
    found.pulse(every, torch.full_like(every, sign), Streams(4).stream(Purpose.PULSE, 0).at(3))
    steps = sign * (found.g.numpy() - before)
    column = [line(before, JUMPS["g"], row) for row in JUMPS[f"{way}_quantiles"]]
    table = np.array(column)
    assert steps.min() == pytest.approx(table[0], abs=1e-12)
    assert (steps <= column[0] + 1e-12).mean() == pytest.approx(
        JUMPS["p"][0], abs=0.01
    )  # flat below the first p
    above = steps[steps > column[0] + 1e-12]
    share = (np.interp(above, table, JUMPS["p"]) - JUMPS["p"][0]) / (1 - JUMPS["p"][0])
    assert stats.kstest(share, "uniform").pvalue > 1e-3
    law = synapse_card(JUMPS).law()
    assert steps.mean() == pytest.approx(float(np.interp(before, JUMPS["g"], mean_of(law, way))), abs=4e-4)


def mean_of(law: Any, way: str) -> list[float]:
    """By many quantiles, as no closed form would have it."""
    u = (np.arange(200000) + 0.5) / 200000
    rows = np.array(getattr(law.params, f"{way}_quantiles"))
    return [float(np.interp(u, law.params.p, column).mean()) for column in rows.T]


def test_mean_and_scatter_of_a_table_are_those_of_many_draws() -> None:
    law = synapse_card(JUMPS).law()
    for way, branch in (("up", law._rows[0][1]), ("down", law._rows[1][1][::-1])):
        assert branch == pytest.approx(mean_of(law, way), abs=1e-7)
    u = (np.arange(200000) + 0.5) / 200000
    total = 0.0
    for way in ("up", "down"):
        rows = np.array(JUMPS[f"{way}_quantiles"])
        total += np.trapezoid([np.interp(u, JUMPS["p"], column).var() for column in rows.T], JUMPS["g"])
    assert law.spread == pytest.approx(math.sqrt(total / 2), rel=1e-5)
    assert synapse_card(MEANS).law().spread == 0


def test_a_distribution_without_width_is_the_mean_law() -> None:
    same = {"law": "cdf-table", "g": MEANS["g"], "p": [0.2, 0.8]}
    same |= {f"{way}_quantiles": [MEANS[way]] * 2 for way in ("up", "down")}
    rough = {"variation": {"step_dtod": 0.3, "bias_dtod": 0.2, "c2c_rel_range": 0.01}}
    drawn, plain = (cells(synapse_card(response, **rough)) for response in (same, MEANS))
    rng = np.random.default_rng(2)
    drawn.g[:] = plain.g[:] = 0.5
    for step in range(6):  # away from the ends, at which a drawn step stops before other scatter is added
        n = torch.from_numpy(rng.choice([-1, 1], 40))
        point = Streams(4).stream(Purpose.PULSE, 0).at(step)
        for one in (drawn, plain):
            one.pulse(torch.arange(40), n, point)
    torch.testing.assert_close(drawn.g, plain.g, atol=1e-12, rtol=0)
    assert torch.equal(drawn.wear, plain.wear)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"up": [0.1] * 3}, "follow from the quantiles"),
        ({"p": []}, "have no p"),
        ({"p": [0.1, 0.5, 0.5, 1.0]}, "p must rise"),
        ({"p": [0.5, 1.0]}, "a row for each of 2 p"),
        ({"up_quantiles": [[0.1, 0.1]] * 4}, "in it a step for each of 3 g"),
        ({"up_quantiles": [[0.1] * 3, [0.2] * 3, [0.1] * 3, [0.2] * 3]}, "fall with p at g = 0: sort"),
        ({"down_quantiles": [[-0.2] * 3, [0.0] * 3, [0.0] * 3, [0.1] * 3]}, "mean of .* narrow the range"),
        ({"down_quantiles": [[-2.0] * 3, [0.0] * 3, [0.0] * 3, [1.0] * 3]}, "greater than or equal to -1"),
    ],
)
def test_a_bad_table_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=said):
        synapse_card(JUMPS | change)


def test_a_second_scatter_of_steps_is_refused() -> None:
    with pytest.raises(ValidationError, match="draw already: leave it out"):
        synapse_card(JUMPS, variation={"c2c_rel_step": 0.1})
    synapse_card(JUMPS, variation={"c2c_rel_range": 0.1})


def write(path: Path, card: SynapseCard) -> str:
    path.write_text(to_toml(card), encoding="utf-8")
    return str(path)


def test_what_crosssim_reads_comes_back_as_the_same_card(tmp_path: Path) -> None:
    card = synapse_card(JUMPS | {"p": [0.0, 0.25, 0.5, 1.0]})
    made = export_card(write(tmp_path / "jumps.toml", card), "crosssim")
    for name, text in made.files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    tables = [str(tmp_path / f"dG_{way}.txt") for way in ("increasing", "decreasing")]
    again = str(tmp_path / "again.toml")
    given = [tables[0], "--down", tables[1], "--unit", "S", "--table", "--out", again]
    assert main(["devices", "fit", *given]) == 0
    found = read_card(again)
    for name in ("g", "p", "up_quantiles", "down_quantiles"):
        np.testing.assert_allclose(found.response[name], card.response[name], atol=1e-9)
    assert (found.range.g_min_S, found.range.g_max_S) == (card.range.g_min_S, card.range.g_max_S)


@pytest.mark.parametrize("peer", ["aihwkit", "neurosim"])
def test_other_peers_say_that_the_distribution_is_lost(peer: str, tmp_path: Path) -> None:
    card = synapse_card(JUMPS)
    assert any(
        "the distribution of steps" in said
        for said in export_card(write(tmp_path / "j.toml", card), peer).missing
    )


def measured(folder: Path, cycles: int) -> Path:
    """What a device of JUMPS reads, pulse after pulse; every cycle is a cell of its own."""
    found, step = cells(synapse_card(JUMPS), (1, 1, 1, cycles)), 0
    every, read = torch.arange(cycles), []
    for way, sign in (("up", 1), ("down", -1)):
        for pulse in range(80):
            read.append((pulse, way, (found.siemens() * 1e6).tolist()))
            point = Streams(4).stream(Purpose.PULSE, 0).at(step)
            found.pulse(every, torch.full_like(every, sign), point)
            step += 1
    rows = [f"{k},{pulse},{way},{g[k]!r}" for k in range(cycles) for pulse, way, g in read]
    file = folder / "measured.csv"
    file.write_text("\n".join(["cycle,pulse,direction,G_uS", *rows, ""]), encoding="utf-8")
    return file


def test_a_measured_response_gives_back_its_distribution(tmp_path: Path) -> None:
    out = str(tmp_path / "mine.toml")
    assert main(["devices", "fit", str(measured(tmp_path, 60)), "--table", "--out", out]) == 0
    law, true = read_card(out).law(), synapse_card(JUMPS).law()
    for way in ("up", "down"):
        for share in (0.25, 0.5, 0.75):  # the middle of the range, where every bin is full
            low, high = (float(np.interp(share, one.params.g, mean_of(one, way))) for one in (law, true))
            assert low == pytest.approx(high, rel=0.15)
    assert law.spread == pytest.approx(true.spread, rel=0.15)
    assert (tmp_path / "mine.png").stat().st_size > 5000


def test_too_few_pulses_for_a_distribution_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["devices", "fit", str(measured(tmp_path, 1)), "--table", "--out", str(tmp_path / "m.toml")])
        == 2
    )
    assert "of the 20 that a distribution needs" in capsys.readouterr().err


def test_steps_that_drown_in_read_noise_make_no_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = measured(tmp_path, 60)
    head, *rows = file.read_text(encoding="utf-8").split()
    noise = np.random.default_rng(3).normal(0, 0.3, len(rows))
    noisy = [
        f"{row.rpartition(',')[0]},{float(row.rpartition(',')[2]) + n + 2}"
        for row, n in zip(rows, noise, strict=True)
    ]
    file.write_text("\n".join([head, *noisy, ""]), encoding="utf-8")
    assert main(["devices", "fit", str(file), "--table", "--out", str(tmp_path / "m.toml")]) == 2
    assert "drown in read noise" in capsys.readouterr().err


def test_what_limits_a_card_of_jumps_takes_its_scatter_away() -> None:
    values = json.loads(json.dumps({"response": JUMPS, "variation": {}}))
    said = KNOBS["cycle-to-cycle"](values, 1.0)
    assert said == "0 of the steps' scatter"
    quiet = synapse_card(values["response"]).law()
    assert quiet.spread == pytest.approx(0, abs=1e-9)
    assert mean_of(quiet, "up") == pytest.approx(mean_of(synapse_card(JUMPS).law(), "up"), abs=1e-6)


def test_facts_and_training_know_that_jumps_scatter(tmp_path: Path) -> None:
    card = write(tmp_path / "jumps.toml", synapse_card(JUMPS))
    assert facts(card).c2c == pytest.approx(synapse_card(JUMPS).law().spread)
    data = str(write_csv(tmp_path / "data.csv", 60))
    found = hwtrain.train("4-3-3", data=data, device=card, cell="single", epochs=1, seeds=1)
    assert found.pulses > 0
