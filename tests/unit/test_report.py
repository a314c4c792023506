"""The report: its tables are the run's numbers, its CSV files are what is drawn, its errors help."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from scipy import stats

import hwtrain
from hwtrain.analysis.estimate import t975
from hwtrain.cards import card
from hwtrain.errors import RunError
from hwtrain.report import figure, write_report
from hwtrain.report.plots import plots
from hwtrain.report.quantities import count, duration, quantity, share
from hwtrain.report.run_folder import read_run

EPOCHS = 3
CARD = """
schema = 1
kind = "synapse"
[device]
title = "A <b>bold</b> device"
technology = "test & try"
[provenance]
kind = "synthetic"
citation = "nobody"
location = "nowhere"
licence = "none needed"
verified = false
[range]
g_min_S = 1e-6
g_max_S = 2e-5
[response]
law = "affine"
step_up = 0.02
step_down = 0.02
curvature_up = 1.0
curvature_down = 1.0
[pulse]
v_up_V = 1.0
t_up_s = 1e-6
v_down_V = -1.0
t_down_s = 1e-6
endurance = 1e6
"""


def samples() -> tuple[np.ndarray, ...]:
    """Three classes that a small net learns in part."""
    draw = np.random.default_rng(7)
    labels = draw.integers(0, 3, 90)
    x = (draw.normal(0, 0.4, (90, 6)) + np.eye(3, 6)[labels]).astype(np.float32)
    return x[:60], labels[:60], x[60:], labels[60:]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A finished run with these settings, trained once a module."""
    made: dict[str, Path] = {}
    cards = tmp_path_factory.mktemp("cards")
    for name in ("worn", "ag-si"):
        (cards / f"{name}.toml").write_text(CARD, encoding="utf-8")

    def run(device: str | dict[str, str], seeds: int = 3, epochs: int = EPOCHS) -> Path:
        key = repr((device, seeds, epochs))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("run") / "r"
            named = device.replace("CARDS", str(cards)) if isinstance(device, str) else device
            settings = {"device": named, "seeds": seeds, "epochs": epochs, "lr": 0.5}
            hwtrain.train("6-5-3", data=samples(), out=made[key], **settings)
        return made[key]

    return run


@pytest.fixture(scope="module")
def report(make: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Such a run with its report, for tests that only read."""
    written: dict[Path, Path] = {}

    def run(*args: Any, **settings: Any) -> Path:
        made = make(*args, **settings)
        if made not in written:
            # The fixture ``copy`` hands out runs without a report: this one is written elsewhere.
            written[made] = Path(shutil.copytree(made, tmp_path_factory.mktemp("report") / "r"))
            write_report(written[made])
        return written[made]

    return run


@pytest.fixture
def copy(make: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of such a run, for a test that writes into it."""

    def copied(*args: Any, **settings: Any) -> Path:
        return Path(shutil.copytree(make(*args, **settings), tmp_path / "copy"))

    return copied


class Page(HTMLParser):
    """Rows of a page's tables as (label, {column: (text, exact value)}), its links and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, dict[str, dict[str, tuple[str, str | None]]]] = {}
        self.links: list[str] = []
        self.tags: list[str] = []
        self._table = self._row = self._column = ""
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(tag)
        self._open.append(tag)
        self.links += [value for key, value in attributes if key in ("href", "src") and value]
        if tag == "table":
            self._table = given.get("class") or ""
            self.tables[self._table] = {}
        elif tag == "td":
            self._column = given.get("data-label") or ""
        elif tag == "data" and self._row:
            self._cells[self._column] = ("", given["value"])

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, text: str) -> None:
        if not text.strip() or "table" not in self._open or "tbody" not in self._open:
            return
        if self._open[-1] == "th":
            self._row = text
            self.tables[self._table][text] = {}
        elif "td" in self._open:
            before, value = self._cells.get(self._column, ("", None))
            self._cells[self._column] = (before + text, value)

    @property
    def _cells(self) -> dict[str, tuple[str, str | None]]:
        return self.tables[self._table][self._row]


def page_of(run: Path) -> Page:
    return Page(text_of(run))


def text_of(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def csv_of(run: Path, name: str) -> dict[str, list[str]]:
    rows = list(csv.reader((run / "figures" / f"{name}.csv").read_text().splitlines()))
    return dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))  # type: ignore[arg-type]


def result_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text()))


def metrics_of(run: Path, role: str) -> list[list[dict[str, Any]]]:
    names = [trial["name"] for trial in result_of(run)["trials"] if trial["role"] == role]
    texts = [(run / "trials" / name / "metrics.jsonl").read_text() for name in names]
    return [[json.loads(line) for line in text.splitlines()] for text in texts]


class TestResultsTable:
    def test_it_holds_the_numbers_of_result_json(self, report: Callable[..., Path]) -> None:
        run = report("ag-si")
        result, table = result_of(run), page_of(run).tables["numbers results"]
        for label, key in (("ag-si", ""), ("software backprop", "baseline_"), ("shallow", "shallow_")):
            text, exact = table[label]["Accuracy, %"]
            mean, sd = result[f"{key}accuracy"], result[f"{key}accuracy_sd"]
            assert float(exact or "nan") == pytest.approx(mean, rel=1e-12)
            assert text == f"{100 * mean:.2f} ± {100 * sd:.2f}"
        for column, key in (
            ("Pulses", "pulses"),
            ("Clipped share", "clipped_share"),
            ("Pulse energy", "energy_J"),
            ("Pulse time", "pulse_time_s"),
        ):
            exact = table["ag-si"][column][1]
            assert float(exact or "nan") == pytest.approx(result[key], rel=1e-12), column
            assert result[key] > 0, column
        assert table["ag-si"]["Endurance used"] == ("not on the card", None)

    def test_the_difference_is_paired_over_seeds(self, report: Callable[..., Path]) -> None:
        run = report("ag-si")
        by_role: dict[str, dict[int, float]] = {"device": {}, "baseline": {}, "shallow": {}}
        for trial in result_of(run)["trials"]:
            by_role[trial["role"]][trial["seed"]] = trial["accuracy"]
        table = page_of(run).tables["numbers results"]
        for label, role in (("ag-si", "device"), ("shallow", "shallow")):
            paired = [100 * (by_role[role][s] - by_role["baseline"][s]) for s in range(3)]
            half = stats.sem(paired) * stats.t.ppf(0.975, 2)
            mean = statistics.fmean(paired)
            wanted = f"{mean:+.2f}[{mean - half:+.2f}, {mean + half:+.2f}]".replace("-", "−")
            text, exact = table[label]["Difference to software backprop, points"]
            assert text == wanted
            assert 100 * float(exact or "nan") == pytest.approx(mean)

    def test_one_seed_has_neither_deviation_nor_interval(self, report: Callable[..., Path]) -> None:
        table = page_of(report("ag-si", seeds=1)).tables["numbers results"]
        assert re.fullmatch(r"\d+\.\d\d", table["ag-si"]["Accuracy, %"][0])
        difference = table["ag-si"]["Difference to software backprop, points"][0]
        assert re.fullmatch(r"[+−]\d+\.\d\d", difference)

    def test_a_card_with_endurance_shows_the_share_used(self, report: Callable[..., Path]) -> None:
        run = report("CARDS/worn.toml", seeds=1, epochs=1)
        text, exact = page_of(run).tables["numbers results"]["worn"]["Endurance used"]
        assert float(exact or "nan") == pytest.approx(result_of(run)["endurance_used"])
        assert text.endswith("%")

    def test_the_layers_add_up_to_the_device(self, report: Callable[..., Path]) -> None:
        run = report("ag-si")
        table = page_of(run).tables["numbers layers"]
        assert list(table) == ["fc1.weight", "fc2.weight"]
        total = sum(float(row["Pulses"][1] or "nan") for row in table.values())
        assert total == pytest.approx(result_of(run)["pulses"])
        worst = max(rows[-1]["layers"]["fc1.weight"]["wear"] for rows in metrics_of(run, "device"))
        assert float(table["fc1.weight"]["Most pulses on one cell"][1] or "nan") == worst


class TestFigures:
    def test_what_is_drawn_is_what_the_csv_says(self, report: Callable[..., Path]) -> None:
        run = report("ag-si")
        drawn = {plot.name: plot for plot in plots(read_run(run))}
        kinds = ["accuracy", "response-ag-si", "conductances-fc1.weight", "conductances-fc2.weight"]
        assert list(drawn) == [*kinds, "clipped"]
        lines = 0
        for name in ("accuracy", "response-ag-si", "clipped"):
            told, axes = csv_of(run, name), drawn[name].figure.axes[0]
            columns = [key for key in told if key.endswith(("_mean", "_share", "_S"))]
            curves = [line for line in axes.lines if len(np.asarray(line.get_xdata())) > 2]
            for key, line in zip(columns, curves, strict=True):
                assert [float(v) for v in told[key]] == list(line.get_ydata()), key
                assert [float(v) for v in next(iter(told.values()))] == list(line.get_xdata()), key
                lines += 1
        assert lines == 3 + 3 + 2
        told = csv_of(run, "conductances-fc1.weight")
        for key, stairs in zip(
            ("before", "after"), drawn["conductances-fc1.weight"].figure.axes[0].patches, strict=True
        ):
            assert [float(v) for v in told[f"{key}_share"]] == list(stairs.get_data().values)
            assert [float(v) for v in told["low_S"]] == list(stairs.get_data().edges[:-1])

    def test_the_curves_are_means_over_seeds_and_bands_one_deviation(
        self, report: Callable[..., Path]
    ) -> None:
        run = report("ag-si")
        told = csv_of(run, "accuracy")
        band = plots(read_run(run))[0].figure.axes[0].collections
        for place, role in enumerate(("device", "baseline", "shallow")):
            seeds = [[row["accuracy"] for row in rows] for rows in metrics_of(run, role)]
            mean, sd = np.mean(seeds, axis=0), np.std(seeds, axis=0, ddof=1)
            np.testing.assert_allclose([float(v) for v in told[f"{role}_mean"]], mean)
            np.testing.assert_allclose([float(v) for v in told[f"{role}_sd"]], sd, atol=1e-12)
            corners = {(round(float(x)), round(float(y), 9)) for x, y in band[place].get_paths()[0].vertices}
            for epoch, (m, s) in enumerate(zip(mean, sd, strict=True), start=1):
                assert (epoch, round(m + s, 9)) in corners
                assert (epoch, round(m - s, 9)) in corners

    def test_the_clipped_share_is_that_of_each_epoch(self, report: Callable[..., Path]) -> None:
        run = report("ag-si")
        told = csv_of(run, "clipped")
        for layer in ("fc1.weight", "fc2.weight"):
            for what in ("pulses", "clipped"):
                ends = [[row["layers"][layer][what] for row in rows] for rows in metrics_of(run, "device")]
                found = [int(n) for n in told[f"{layer}_{what}"]]
                assert list(np.cumsum(found)) == list(np.sum(ends, axis=0))

    def test_an_epoch_without_pulses_is_a_gap(self, copy: Callable[..., Path]) -> None:
        run = copy("ag-si", seeds=1)
        file = run / "trials" / "backprop-ag-si-s0" / "metrics.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        rows[1]["layers"]["fc1.weight"] = rows[0]["layers"]["fc1.weight"]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        write_report(run)
        assert csv_of(run, "clipped")["fc1.weight_share"][1] == ""

    def test_the_histograms_are_those_of_every_seed(self, report: Callable[..., Path]) -> None:
        run = report("ag-si")
        told = csv_of(run, "conductances-fc2.weight")
        states = [json.loads((run / f"trials/backprop-ag-si-s{s}/state.json").read_text()) for s in range(3)]
        for when in ("before", "after"):
            found = np.sum([state["histograms"]["fc2.weight"][when] for state in states], axis=0)
            assert [int(n) for n in told[f"{when}_cells"]] == list(found)
            assert sum(float(v) for v in told[f"{when}_share"]) == pytest.approx(1)

    def test_the_typical_response_runs_from_end_to_end_and_back(self, report: Callable[..., Path]) -> None:
        run = report("ag-si")
        told, ends = csv_of(run, "response-ag-si"), card("ag-si").range  # type: ignore[union-attr]
        typical = [float(v) for v in told["typical_S"]]
        assert len(typical) == 1 + 97 + 100
        assert typical[0] == pytest.approx(ends.g_min_S)
        assert typical[97] == max(typical) == pytest.approx(ends.g_max_S)
        assert typical[-1] == pytest.approx(ends.g_min_S)
        assert told["with_variation_0_S"] != told["with_variation_1_S"]

    def test_a_law_without_levels_is_traced_until_it_has_about_arrived(
        self, report: Callable[..., Path]
    ) -> None:
        run = report("CARDS/worn.toml", seeds=1, epochs=1)
        told = csv_of(run, "response-worn")
        # Soft bounds with first step s: 1 - (1 - s)^n >= 0.99.
        assert told["direction"].count("up") == math.ceil(math.log(0.01) / math.log(0.98))
        assert "with_variation_0_S" not in told

    def test_a_map_of_devices_shows_every_card(self, report: Callable[..., Path]) -> None:
        run = report("fc1=ag-si,*=epiram", seeds=1, epochs=1)
        text = text_of(run)
        names = {file.stem for file in (run / "figures").glob("*.csv")}
        assert {"response-ag-si", "response-epiram"} <= names
        assert "Ag:a-Si + EpiRAM" in text
        assert text.count("<dt>citation</dt>") == 2
        table = Page(text).tables["numbers results"]
        assert table["ag-si + epiram"]["Pulse energy"] == ("not on the card", None)

    def test_two_cards_of_one_name_have_a_figure_each(self, report: Callable[..., Path]) -> None:
        run = report("fc1=CARDS/ag-si.toml,*=ag-si", seeds=1, epochs=1)
        own, shipped = csv_of(run, "response-ag-si"), csv_of(run, "response-ag-si-2")
        assert float(own["typical_S"][0]) == pytest.approx(1e-6)
        assert float(shipped["typical_S"][0]) == pytest.approx(3.0769e-9)

    def test_software_weights_have_accuracy_alone(self, report: Callable[..., Path]) -> None:
        run = report("float32")
        text = text_of(run)
        assert {file.name for file in (run / "figures").iterdir()} == {
            f"accuracy.{e}" for e in ("svg", "pdf", "csv")
        }
        assert "there is no conductance response" in text
        assert "it is its own control" in text
        table = Page(text).tables["numbers results"]
        assert list(table) == ["float32", "shallow"]
        assert table["shallow"]["Difference to software backprop, points"][1] is not None
        assert table["float32"]["Pulse energy"] == ("–", None)

    def test_a_run_that_speculates_shows_its_hits(self, tmp_path: Path) -> None:
        options = {"shadow": "true", "hit_share": 0.5, "prototypes": 2}
        settings: dict[str, Any] = {
            "device": "float32",
            "activation": "relu",
            "batch": 4,
            "epochs": 3,
            "lr": 0.1,
        }
        run = tmp_path / "r"
        hwtrain.train(
            "6-5-3", data=samples(), out=run, rule="speculative", rule_options=options, seeds=1, **settings
        )
        write_report(run)
        hits, counted = csv_of(run, "speculation-hits"), metrics_of(run, "device")[0][-1]["speculation"]
        for place, name in enumerate(("hits", "misses", "cold", "right")):
            by_label = [
                sum(int(n) for n, label in zip(hits[name], hits["label"], strict=True) if int(label) == c)
                for c in range(3)
            ]
            assert by_label == [row[place] for row in counted["counts"]]
        assert sum(map(int, hits["hits"] + hits["misses"] + hits["cold"])) == 3 * 60
        assert int(hits["hits"][-1]) > 0
        missed = sum(row[1] + row[2] for row in counted["counts"])
        assert counted["wasted_macs"] == missed * (6 * 5 + 2 * 5 * 3)
        speedups = csv_of(run, "speculation-speedup")
        last = [sum(int(n) for n in hits[name][-3:]) for name in ("hits", "misses", "cold")]
        assert float(speedups["hits"][-1]) == last[0] / 60
        bars = csv_of(run, "speculation-timeline")
        plain = sum(float(n) for n, row in zip(bars["cycles"], bars["row"], strict=True) if row == "plain")
        assert plain == (45 / 16 + 40) + 15 / 16 + 45 / 16
        found = csv_of(run, "speculation-threshold")
        assert float(found["threshold"][-1]) == counted["threshold"] != 0.25
        assert "<image" not in (run / "report.html").read_text()  # the page's policy would not show it

    def test_layers_of_software_beside_a_device_are_said_to_have_no_conductances(
        self, report: Callable[..., Path]
    ) -> None:
        run = report({"fc1": "ag-si", "*": "float32"}, seeds=1, epochs=1)
        text = text_of(run)
        assert "Layers on float32 hold plain numbers" in text
        assert not (run / "figures" / "conductances-fc2.weight.svg").exists()

    def test_colours_stand_out_on_light_and_on_dark(self) -> None:
        def light(colour: str) -> float:
            parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
            red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
            return 0.2126 * red + 0.7152 * green + 0.0722 * blue

        for colour in (figure.BLUE, figure.ORANGE, figure.GREEN, figure.PURPLE, figure.GREY):
            for ground in ("#ffffff", "#15181c"):
                dim, bright = sorted((light(colour), light(ground)))
                assert (bright + 0.05) / (dim + 0.05) >= 3, (colour, ground)


class TestPage:
    def test_it_asks_the_network_for_nothing_and_its_links_lead_somewhere(
        self, report: Callable[..., Path]
    ) -> None:
        run = report("ag-si")
        page = page_of(run)
        assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
        files = [link for link in page.links if not link.startswith("#")]
        assert len(files) == 2 * 3 * 5 + 3
        assert all((run / link).is_file() for link in files)
        assert "default-src 'none'" in (run / "report.html").read_text(encoding="utf-8")

    def test_every_figure_is_in_the_page_with_words_for_it_and_ids_of_its_own(
        self, report: Callable[..., Path]
    ) -> None:
        run = report("ag-si")
        text = text_of(run)
        assert text.count("<svg") == text.count('<svg role="img" aria-label="') == 5
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(ids)

    def test_warnings_stand_before_the_results(
        self, report: Callable[..., Path], copy: Callable[..., Path]
    ) -> None:
        assert 'class="warnings"' not in text_of(report("ag-si"))
        run = copy("ag-si")
        result = result_of(run) | {"warnings": ["layer fc1: look <here>"]}
        (run / "result.json").write_text(json.dumps(result))
        write_report(run)
        text = text_of(run)
        assert text.index("layer fc1: look &lt;here&gt;") < text.index("<h2>Results</h2>")

    def test_what_a_card_says_is_text_and_not_markup(self, report: Callable[..., Path]) -> None:
        text = text_of(report("CARDS/worn.toml", seeds=1, epochs=1))
        assert "<b>bold</b>" not in text
        assert "A &lt;b&gt;bold&lt;/b&gt; device" in text
        assert "test &amp; try" in text
        assert "no, not read in the source itself" in text

    def test_the_same_run_makes_the_same_bytes(self, copy: Callable[..., Path], tmp_path: Path) -> None:
        run = copy("CARDS/worn.toml", seeds=1, epochs=1)
        other = Path(shutil.copytree(run, tmp_path / "elsewhere"))
        write_report(run)
        told = "import pathlib, sys, hwtrain.report as r; r.write_report(pathlib.Path(sys.argv[1]))"
        style = tmp_path / "matplotlibrc"
        style.write_text("lines.linewidth: 7\nsavefig.transparent: True\npdf.fonttype: 42\n")
        env = {**os.environ, "PYTHONHASHSEED": "5", "MATPLOTLIBRC": str(style), "TZ": "Asia/Tokyo"}
        subprocess.run([sys.executable, "-c", told, str(other)], env=env, check=True)
        files = sorted(file.relative_to(run) for file in [run / "report.html", *(run / "figures").iterdir()])
        assert len(files) == 1 + 3 * 5
        for file in files:
            assert (run / file).read_bytes() == (other / file).read_bytes(), file

    def test_drawing_leaves_the_users_style_alone(self, copy: Callable[..., Path]) -> None:
        with mpl.rc_context({"lines.linewidth": 7.0}):
            write_report(copy("float32"))
            assert mpl.rcParams["lines.linewidth"] == 7.0


TRIAL = "trials/backprop-ag-si-s1"


class TestErrors:
    def refused(self, run: Path) -> str:
        with pytest.raises(RunError) as problem:
            write_report(run)
        assert "\n" not in str(problem.value)
        assert not (run / "report.html").exists()
        assert not (run / "figures").exists()
        return str(problem.value)

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        assert "no such run folder" in self.refused(tmp_path / "nowhere")

    def test_a_folder_that_is_no_run(self, tmp_path: Path) -> None:
        assert "config.toml is missing" in self.refused(tmp_path)

    def test_an_unfinished_run_tells_how_to_go_on(self, copy: Callable[..., Path]) -> None:
        run = copy("ag-si")
        (run / "result.json").unlink()
        said = self.refused(run)
        assert "not finished" in said
        assert f"hwtrain train --resume {run}" in said

    @pytest.mark.parametrize("name", ["env.json", f"{TRIAL}/metrics.jsonl", f"{TRIAL}/state.json"])
    def test_a_missing_file_is_named(self, copy: Callable[..., Path], name: str) -> None:
        run = copy("ag-si")
        (run / name).unlink()
        said = self.refused(run)
        assert said.startswith(str(run / name))
        assert "restore the file, or train the run anew" in said

    @pytest.mark.parametrize(
        ("name", "old", "new", "said"),
        [
            ("result.json", '"format": 1', '"format": 1,,', "line 2 is not JSON"),
            ("result.json", '"format": 1', '"format": 2', "format: input should be 1"),
            ("result.json", '"role": "device"', '"role": "x"', "role"),
            ("result.json", '"role": "device"', '"role": "shallow"', "no trial has the role device"),
            ("result.json", '"backprop-ag-si-s1"', '"../../elsewhere"', "name"),
            ("result.json", '"accuracy": 0', '"accuracy": 7', "accuracy: input should be less"),
            ("env.json", "{", "[{", "not JSON"),
            ("config.toml", "epochs = 3", "epochs = 0", "epochs = 0"),
            ("config.toml", "epochs = 3", "epochs = 4", "3 epochs where config.toml says 4"),
            (f"{TRIAL}/metrics.jsonl", '{"epoch": 2', '{"epoch": 2,', "line 2 is not JSON"),
            (f"{TRIAL}/metrics.jsonl", '"fc2.weight"', '"fc9.weight"', "other layers than"),
            (f"{TRIAL}/metrics.jsonl", '"pulses": ', '"pulses": -', "pulses"),
            (f"{TRIAL}/state.json", '"histograms"', '"histogram"', "histograms: field required"),
            (f"{TRIAL}/state.json", '"after": [', '"after": [1,', "one count a bin"),
            (f"{TRIAL}/state.json", '"edges_S": [', '"edges_S": [1e-12,', "one count a bin"),
        ],
    )
    def test_a_damaged_file_is_named_with_what_is_wrong(
        self, copy: Callable[..., Path], name: str, old: str, new: str, said: str
    ) -> None:
        run = copy("ag-si")
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))
        assert said in (told := self.refused(run))
        assert str(run) in told

    def test_bytes_that_are_no_text(self, copy: Callable[..., Path]) -> None:
        run = copy("ag-si")
        (run / "env.json").write_bytes(b'{"a": "\xff"}')
        assert "is not UTF-8" in self.refused(run)


class TestQuantities:
    def test_t_quantiles_are_those_of_scipy(self) -> None:
        for freedom in range(1, 1000):
            assert t975(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-6), freedom

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            (3.4513e-05, "34.5 µJ"),
            (9.999e-4, "1.00 mJ"),
            (0.9996, "1.00 J"),
            (1.0, "1.00 J"),
            (123456.0, "123 kJ"),
            (2e-20, "0.0000200 fJ"),
            (0.0, "0 J"),
            (None, "not on the card"),
        ],
    )
    def test_quantities_have_three_digits_and_a_prefix(self, value: float | None, said: str) -> None:
        assert quantity(value, "J").replace("\N{NARROW NO-BREAK SPACE}", " ") == said

    def test_times_counts_and_shares(self) -> None:
        said = [
            duration(61.3),
            duration(600.0),
            duration(86400.0),
            count(1234567.4),
            share(0.00208),
            share(0),
        ]
        wanted = ["61.3 s", "10.0 min", "24.0 h", "1 234 567", "0.208 %", "0 %"]
        assert [text.replace("\N{NARROW NO-BREAK SPACE}", " ") for text in said] == wanted
