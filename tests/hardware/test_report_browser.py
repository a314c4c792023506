"""The report in a real browser: it opens offline, complains of nothing, and shows what the run found."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

import hwtrain
from hwtrain.report import write_report

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
SILENT = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
]

# What the page's own policy forbids: a script that says what the browser made of the page.
PROBE = """<script>
addEventListener("load", () => {
  const box = e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; };
  const all = (what, from = document) => [...from.querySelectorAll(what)];
  const found = {
    figures: all("figure svg").map(box),
    drawn: all("figure svg path").filter(p => p.getBoundingClientRect().width > 20).length,
    rows: all("table.results tbody tr").map(row => ({
      label: all("th", row)[0].firstChild.textContent,
      cells: all("td", row).map(cell => cell.innerText.trim()),
      exact: all("td", row).map(cell => all("data", cell).map(d => d.value)[0] ?? null),
      align: all("td", row).map(cell => getComputedStyle(cell).textAlign),
    })),
    requests: performance.getEntriesByType("resource").map(r => r.name),
    width: document.documentElement.clientWidth,
    scroll: document.documentElement.scrollWidth,
    ground: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.querySelector("figure svg text, figure svg use")).fill,
  };
  const note = document.createElement("pre");
  note.id = "probe";
  note.textContent = JSON.stringify(found);
  document.body.append(note);
  parent.postMessage(note.textContent, "*");
});
</script></body>"""
FRAME = """<!doctype html><meta charset="utf-8"><body><script>
addEventListener("message", event => {
  const note = document.createElement("pre");
  note.id = "probe";
  note.textContent = event.data;
  document.body.append(note);
});
</script><iframe src="probe.html" width="WIDTH" height="900" style="border:0"></iframe></body>"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a map of two cards with three seeds, and its report."""
    folder = tmp_path_factory.mktemp("browser") / "run"
    settings: dict[str, Any] = {"epochs": 3, "seeds": 3, "lr": 0.1}
    draw = np.random.default_rng(7)
    labels = draw.integers(0, 3, 90)
    x = (draw.normal(0, 0.4, (90, 6)) + np.eye(3, 6)[labels]).astype(np.float32)
    data = (x[:60], labels[:60], x[60:], labels[60:])
    hwtrain.train("6-5-3", data=data, device="fc1=ag-si,*=ideal-envm", out=folder, **settings)
    write_report(folder)
    return folder


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Open a page in a fresh browser: (standard output, what it logged)."""

    def opened(page: Path, *flags: str) -> tuple[str, str]:
        assert CHROMIUM is not None
        profile = tmp_path / "profile"
        shutil.rmtree(profile, ignore_errors=True)
        command = [CHROMIUM, *SILENT, f"--user-data-dir={profile}", *flags, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, done.stderr

    return opened


def probed(
    run: Path, tmp_path: Path, browse: Callable[..., tuple[str, str]], *flags: str, width: int = 0
) -> Any:
    """What the browser says of a copy of the page that may run one script; ``width`` in a frame."""
    text = (run / "report.html").read_text(encoding="utf-8")
    text, policies = re.subn(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", text)
    assert policies == 1
    page = tmp_path / "probe.html"
    page.write_text(text.replace("</body>", PROBE), encoding="utf-8")
    if width:  # a window cannot be narrower than 500 pixels, a frame can
        page = tmp_path / "frame.html"
        page.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    dom, _ = browse(page, "--dump-dom", "--virtual-time-budget=5000", *flags)
    notes = re.findall(r'<pre id="probe">(.*?)</pre>', dom, flags=re.DOTALL)
    assert len(notes) == 1
    return json.loads(unescape(notes[0]))


Browse = Callable[..., tuple[str, str]]


def test_the_page_opens_without_a_complaint(run: Path, browse: Browse) -> None:
    dom, log = browse(run / "report.html", "--dump-dom")
    assert dom.count("<svg") == 6
    assert "CONSOLE" not in log, log


def test_a_complaint_would_have_been_heard(run: Path, browse: Browse, tmp_path: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    (tmp_path / "bad.html").write_text(text.replace("</body>", "<img src='x.png'></body>"), encoding="utf-8")
    assert "CONSOLE" in browse(tmp_path / "bad.html", "--dump-dom")[1]


def test_the_page_asks_for_nothing(run: Path, browse: Browse, tmp_path: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", text) == []
    assert probed(run, tmp_path, browse)["requests"] == []


@pytest.mark.parametrize("width", [1200, 400])
def test_every_figure_has_its_place_and_nothing_sticks_out(
    run: Path, browse: Browse, tmp_path: Path, width: int
) -> None:
    found = probed(run, tmp_path, browse, "--window-size=1300,900", width=width)
    assert found["width"] == width
    assert found["scroll"] <= width
    assert len(found["figures"]) == 6
    for x, _, wide, high in found["figures"]:
        assert wide > 300
        assert 200 < high < wide
        assert x >= 0
        assert x + wide <= width
    places = {(x, y) for x, y, _, _ in found["figures"]}
    assert len({x for x, _ in places}) == (2 if width == 1200 else 1)
    assert len(places) == 6
    assert found["drawn"] > 6 * 5  # curves, axes and grid lines that have an extent


def test_the_results_table_is_result_json(run: Path, browse: Browse, tmp_path: Path) -> None:
    rows = probed(run, tmp_path, browse, "--window-size=1200,900")["rows"]
    result = json.loads((run / "result.json").read_text())
    assert [row["label"] for row in rows] == ["ag-si + ideal-envm", "software backprop", "shallow"]
    for row, key in zip(rows, ("", "baseline_", "shallow_"), strict=True):
        mean, sd = result[f"{key}accuracy"], result[f"{key}accuracy_sd"]
        assert row["cells"][0] == f"{100 * mean:.2f} ± {100 * sd:.2f}"
        assert float(row["exact"][0]) == pytest.approx(mean)
        assert set(row["align"]) == {"right"}
    cells, exact = rows[0]["cells"], rows[0]["exact"]
    assert float(exact[1]) == pytest.approx(result["accuracy"] - result["baseline_accuracy"])
    assert float(cells[2].replace("\N{NARROW NO-BREAK SPACE}", "")) == round(result["pulses"])
    assert float(exact[3]) == pytest.approx(result["clipped_share"])
    assert float(exact[4]) == pytest.approx(result["energy_J"])
    assert cells[6:7] == ["not on the card"]
    assert exact[6] is None


def test_light_and_dark_turn_ground_and_ink_round(run: Path, browse: Browse, tmp_path: Path) -> None:
    def brightness(colour: str) -> float:
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3

    light = probed(run, tmp_path, browse)
    dark = probed(run, tmp_path, browse, "--force-dark-mode")
    assert brightness(light["ground"]) > 240 > 60 > brightness(light["ink"])
    assert brightness(dark["ground"]) < 60 < 200 < brightness(dark["ink"])


def test_the_screenshot_shows_a_page(run: Path, browse: Browse, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    browse(run / "report.html", f"--screenshot={shot}", "--window-size=1200,1800")
    pixels = (imread(shot)[..., :3] * 255).round().astype(int)
    assert pixels.shape == (1800, 1200, 3)
    colours = pixels @ [1 << 16, 1 << 8, 1]
    found, counts = np.unique(colours, return_counts=True)
    assert 0.03 < 1 - counts.max() / counts.sum() < 0.5
    assert {0x0072B2, 0xD55E00} <= set(found.tolist())  # the curves' own colours
    assert all(len(np.unique(half)) > 50 for half in (colours[:900], colours[900:]))
