"""Cards side by side: figures by hand, unknowns as unknown, and training with the same seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hwtrain
from hwtrain.analysis.compare import facts
from hwtrain.cli import main
from hwtrain.errors import ConfigError
from hwtrain.synapse.label import curvature_of_label
from tests.helpers import write_csv

HEAD = """schema = 1
kind = "synapse"
[device]
title = "t"
technology = "t"
[provenance]
kind = "synthetic"
citation = "c"
location = "l"
licence = "l"
verified = false
[range]
g_min_S = 1e-6
g_max_S = 5e-6
"""


def written(folder: Path, response: str, name: str = "card") -> str:
    file = folder / f"{name}.toml"
    file.write_text(HEAD + response)
    return str(file)


def test_the_figures_of_a_published_card() -> None:
    found = facts("pcmo")
    assert found.on_off == pytest.approx(6.84, rel=1e-3)
    assert (found.levels_up, found.levels_down) == (50, 50)
    assert (found.label_up, found.label_down) == (3.68, -6.76)
    assert found.asymmetry == pytest.approx(10.44)
    assert found.c2c == 0.01
    assert found.d2d is None
    assert found.energy_up_J == pytest.approx(4 * (6.3565e-9 + 4.3478e-8) / 2 * 1e-3)


def test_the_symmetry_point_is_where_steps_are_equal(tmp_path: Path) -> None:
    up, down = 0.04, 0.02
    response = f"""[response]
law = "affine"
step_up = {up}
step_down = {down}
curvature_up = 1.0
curvature_down = 1.0
"""
    found = facts(written(tmp_path, response))
    share = up / (up + down)  # up (1 - g) = down g
    assert found.symmetry_point == pytest.approx(2 * share - 1, abs=1e-6)
    assert found.levels_up is None
    assert found.label_up is None


def test_a_label_is_found_from_steps(tmp_path: Path) -> None:
    bends = [float(curvature_of_label(label)) for label in (2.4, 4.88)]
    response = f"""[response]
law = "affine"
step_up = 0.0236
step_down = 0.049
curvature_up = {bends[0]}
curvature_down = {bends[1]}
"""
    found = facts(written(tmp_path, response))
    assert found.label_up == pytest.approx(2.4, abs=1e-4)
    assert found.label_down == pytest.approx(-4.88, abs=1e-4)


def test_what_a_card_leaves_out_is_unknown() -> None:
    found = facts("ideal-envm")
    assert (found.label_up, found.label_down, found.symmetry_point) == (0, 0, None)
    assert (found.c2c, found.d2d) == (None, None)
    unknown = facts("taox-hfox")
    assert (unknown.energy_up_J, unknown.read_J, unknown.read_s, unknown.area_m2) == (None, None, None, None)


def test_the_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "pcmo", "ideal-envm", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [card["id"] for card in found["cards"]] == ["pcmo", "ideal-envm"]
    assert found["cards"][1]["c2c"] is None
    assert main(["compare", "pcmo", "ideal-envm", "--out", str(tmp_path / "out")]) == 0
    assert "not on the card" in " ".join(capsys.readouterr().out.split())
    made = {file.name for file in (tmp_path / "out").iterdir()}
    assert made == {"compare.json", "response.png", "response.svg", "response.csv"}


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["compare", "pcmoo"], "did you mean 'pcmo'?"),
        (["compare", "float32"], "choose a synapse"),
        (["compare", "pcmo", "pcmo"], "same name"),
        (["compare", "pcmo", "--epochs", "2"], "--epochs needs --train"),
        (["compare", "pcmo", "--train", "--update", "sign-puls"], "did you mean 'sign-pulse'?"),
        (["compare", "pcmo", "--train", "--update", "sign-pulse,sign-pulse"], "twice"),
    ],
)
def test_bad_words_are_one_line(argv: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert part in err
    assert len(err.splitlines()) == 1


def test_training_pairs_seeds_and_has_both_controls(tmp_path: Path) -> None:
    data = str(write_csv(tmp_path / "data.csv", 60))
    settings = {"data": data, "net": "4-3-3", "epochs": 1, "seeds": 2}
    updates = ("sign-pulse", "stochastic-pulse", "write-verify")
    found = hwtrain.compare("pcmo", "target-envm", train=True, updates=updates, **settings)
    rows = {(row.id, row.update): row for row in found.trained}
    assert len(rows) == 8
    engines = {update: rows["pcmo", update].engine for update in updates}
    assert engines == {"sign-pulse": "native", "stochastic-pulse": "native", "write-verify": "torch"}
    first, other = rows["pcmo", "stochastic-pulse"], rows["target-envm", "stochastic-pulse"]
    assert first.difference is None
    assert other.difference is not None
    expected = [a - b for a, b in zip(other.accuracies, first.accuracies, strict=True)]
    assert other.difference.mean == pytest.approx(sum(expected) / 2)
    assert rows["shallow", None].difference is not None
    alone = hwtrain.train(
        settings["net"], data=data, device="target-envm", update="stochastic-pulse", epochs=1, seeds=2
    )
    assert alone.accuracy == pytest.approx(other.accuracy.mean)
    assert alone.shallow_accuracy == pytest.approx(rows["shallow", None].accuracy.mean)
    json.dumps(found.as_dict())


def test_cards_are_asked_for() -> None:
    with pytest.raises(ConfigError, match="no card"):
        hwtrain.compare()


FITTED = (
    HEAD.replace('kind = "synthetic"', 'kind = "fit"')
    + """[response]
law = "affine"
levels_up = 60
levels_down = 60
label_up = 2.0
label_down = -3.0
[variation]
c2c_rel_range = 0.01
[uncertainty]
"range.g_max_S" = 4e-7
"response.label_up" = 0.2
"variation.c2c_rel_range" = 0.002
"""
)


@pytest.mark.slow
def test_fit_samples_carry_the_intervals_of_a_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fitted.toml"
    file.write_text(FITTED)
    found = facts(str(file), 400)
    low, high = found.intervals["label_up"]
    assert (low, high) == (pytest.approx(1.8, abs=0.03), pytest.approx(2.2, abs=0.03))
    assert found.intervals["on_off"] == (pytest.approx(4.6, abs=0.06), pytest.approx(5.4, abs=0.06))
    assert found.intervals["c2c"] == (pytest.approx(0.008, abs=4e-4), pytest.approx(0.012, abs=4e-4))
    assert found.intervals["label_down"] == (-3.0, -3.0)
    assert found.label_up == 2.0
    assert facts(str(file), 400).intervals == found.intervals
    assert facts("pcmo", 9).intervals == {}
    assert main(["compare", str(file), "pcmo", "--fit-samples", "50"]) == 0
    assert "2 [1.8" in " ".join(capsys.readouterr().out.split())
    data = write_csv(tmp_path / "d.csv", 24)
    flags = ["--train", "--data", str(data), "--net", "4-3", "--epochs", "1", "--seeds", "2", "--json"]
    assert main(["compare", str(file), "--fit-samples", "2", "--workers", "1", *flags]) == 0
    made = json.loads(capsys.readouterr().out)["trained"]
    assert [len(row["accuracies"]) for row in made] == [2, 2, 2]
    assert [row["update"] for row in made] == ["sign-pulse", None, None]


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["pcmo", "--fit-samples", "9"], "no effect"),
        (["FITTED", "--fit-samples", "1"], "at least 2"),
        (["FITTED", "--fit-samples", "-1"], "at least 2"),
        (["WRONG"], "names no number of this card"),
        (["NEGATIVE"], "0 or more"),
    ],
)
def test_bad_samples_are_one_line(
    argv: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cards = {
        "FITTED": FITTED,
        "WRONG": FITTED.replace('"response.label_up" =', '"response.labl_up" ='),
        "NEGATIVE": FITTED.replace("= 0.2", "= -0.2"),
    }
    for name, text in cards.items():
        (tmp_path / f"{name}.toml").write_text(text)
    assert main(["compare", *(f"{tmp_path / word}.toml" if word in cards else word for word in argv)]) == 2
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1
