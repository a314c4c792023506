"""What every test shares: strictness about skips, one torch thread, golden files, fixed examples.

jaxtyping and beartype check every call that takes tensors (``addopts`` in pyproject.toml).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")

torch.set_num_threads(1)  # as hwtrain itself runs; parallel tests are processes
settings.register_profile("local", deadline=None)  # a busy machine is no failure
settings.register_profile("ci", deadline=None, derandomize=True)  # same commit, same verdict
settings.load_profile("ci" if IN_CI else "local")

_refused_skips: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten; a test that keeps its own kind of golden asks."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def golden(update_golden: bool) -> Callable[[str, str], None]:
    """``golden(name, text)``: the text equals tests/golden/NAME, or becomes it."""

    def check(name: str, text: str) -> None:
        file = GOLDEN / name
        if update_golden:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.is_file(), f"tests/golden/{name} is missing: pytest --update-golden writes it"
        assert text == file.read_text(encoding="utf-8"), (
            f"tests/golden/{name} differs; if that is meant: pytest --update-golden, and review"
        )

    return check


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; most machines do not have it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("shared/ is not beside this checkout")
    return folder


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note_skip(report)


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (IN_CI and report.skipped) or hasattr(report, "wasxfail"):
        return
    # The long form of a skip is (file, line, "Skipped: reason").
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(_allowed_skips()):
        _refused_skips.append(f"{report.nodeid}: {reason}")


def _allowed_skips() -> tuple[str, ...]:
    lines = (ROOT / "tests" / "skips-allowed.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _refused_skips and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _refused_skips:
        terminalreporter.section("skips that tests/skips-allowed.txt does not list", red=True)
        for line in _refused_skips:
            terminalreporter.line(line)
