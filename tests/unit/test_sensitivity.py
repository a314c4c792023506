"""Sensitivity: an accuracy that is known in closed form, then a real and tiny net."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from hwtrain.analysis.sensitivity import KNOBS, sensitivity, to_toml
from hwtrain.cards import SynapseCard, read_card
from hwtrain.cli import main
from hwtrain.errors import ConfigError
from tests.conformance.conftest import synapse_cards
from tests.helpers import synapse_card, write_csv

ROUGH = synapse_card(
    {"law": "affine", "levels_up": 40, "levels_down": 40, "label_up": 2.0, "label_down": -4.0},
    variation={"c2c_rel_range": 0.04, "step_dtod": 0.2},
    faults={"stuck_on": 0.01},
)


def scored(_: str, found: SynapseCard) -> list[float]:
    """Two seeds, 2 points apart; each property costs in proportion."""
    response, spread = found.response, found.variation
    cost = 0.05 * abs(response["label_down"]) + 2 * spread.c2c_rel_range + 0.1 * spread.step_dtod
    cost += found.faults.stuck_on + 0.4 / response["levels_up"]
    return [0.96 - cost, 0.98 - cost]


def test_properties_are_ranked_by_what_their_ideal_gains() -> None:
    found = sensitivity(ROUGH, 0.85, scored)
    assert found.accuracy.mean == pytest.approx(0.65)
    gains = {row.name: row.difference.mean for row in found.properties}
    assert list(gains) == [
        "nonlinearity", "cycle-to-cycle", "device-to-device, steps", "stuck cells", "levels",
    ]  # fmt: skip
    expected = [0.2, 0.08, 0.02, 0.01, 0.01 - 0.4 / 320]
    assert sorted(gains.values(), reverse=True) == pytest.approx(sorted(expected, reverse=True))
    worse = {row.name: row.accuracy_worse for row in found.properties}
    assert worse["nonlinearity"] == pytest.approx(0.45)
    assert worse["levels"] == pytest.approx(0.64)


def test_the_smallest_move_that_reaches_the_target_is_said() -> None:
    needed = {row.name: row.needed for row in sensitivity(ROUGH, 0.79, scored).properties}
    assert needed.pop("nonlinearity") == "labels 0.5/-1"  # three quarters of the way
    assert set(needed.values()) == {None}
    reached = sensitivity(ROUGH, 0.60, scored)
    assert reached.reached
    assert {row.needed for row in reached.properties} == {None}
    with pytest.raises(ConfigError, match="--target 120"):
        sensitivity(ROUGH, 1.2, scored)


def test_every_card_is_written_as_it_is_and_every_property_moves_it(tmp_path: Path) -> None:
    seen = set()
    for name, found in synapse_cards():
        file = tmp_path / f"{name}.toml"
        file.write_text(to_toml(found), encoding="utf-8")
        assert read_card(file) == found, name

        plain = found.model_copy(update={"expect": type(found.expect)()})

        def count(what: str, moved: SynapseCard, plain: SynapseCard = plain) -> list[float]:
            assert what == "as it is" or moved != plain, what
            return [0.5, 0.6]

        seen |= {row.name for row in sensitivity(found, 0.9, count).properties}
    assert seen <= set(KNOBS)
    assert {"nonlinearity", "levels", "cycle-to-cycle", "device-to-device, ends"} <= seen


@pytest.mark.slow
def test_the_command_writes_plot_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_csv(tmp_path / "d.csv", 24)
    out = tmp_path / "out"
    flags = [
        "--data",
        str(data),
        "--net",
        "4-3",
        "--epochs",
        "1",
        "--seeds",
        "2",
        "--workers",
        "1",
        "--out",
        str(out),
    ]
    assert main(["devices", "sensitivity", "target-envm", "--target", "99", *flags]) == 0
    assert "nonlinearity" in capsys.readouterr().out
    assert {file.name for file in out.iterdir()} == {
        "sensitivity.png", "sensitivity.svg", "sensitivity.csv", "sensitivity.json",
    }  # fmt: skip
    rows = list(csv.DictReader((out / "sensitivity.csv").read_text(encoding="utf-8").splitlines()))
    made = json.loads((out / "sensitivity.json").read_text(encoding="utf-8"))
    assert [row["property"] for row in rows] == [row["name"] for row in made["properties"]]
    assert main(["devices", "sensitivity", "float32"]) == 2
