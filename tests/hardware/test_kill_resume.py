"""Runs that are killed at any moment, and go on: the end has the bits of a run that nobody killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hwtrain.cards import card_files
from hwtrain.training.checkpoint import FILE, read_checkpoint
from hwtrain.training.lock import LOCK
from tests.helpers import assert_equal, listing, write_csv

pytestmark = pytest.mark.slow

KILLS, IN_TRAINING = 20, 10
EPOCHS, ROWS = 22, 400


def write_inputs(folder: Path) -> list[str]:
    """Data, a card that scatters in every way there is, and the settings that use them."""
    write_csv(folder / "data.csv", ROWS)
    text = card_files()["taox-tio2"].read_text(encoding="utf-8")
    for old, new in (
        ("c2c_rel_range = 0.01", "c2c_rel_range = 0.02\nstep_dtod = 0.2\nlabel_dtod = 0.2"),
        ("v_read_V = 0.5", "v_read_V = 0.5\nnoise_rel = 0.05"),
        ("[pulse]", "[faults]\nstuck_random = 0.01\n\n[pulse]"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "noisy.toml").write_text(text, encoding="utf-8")
    words = "--net 4-6-3 --seeds 1 --cell unidirectional-ltp --refresh periodic --refresh-every 50"
    words += f" --momentum 0.5 --lr 0.1 --lr-decay 1 --checkpoint-every-s 0.2 --epochs {EPOCHS}"
    return [*words.split(), "--data", str(folder / "data.csv"), "--device", str(folder / "noisy.toml")]


started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _leave_nothing_running() -> Iterator[None]:
    yield
    while started:
        child = started.pop()
        for pid in [*session(child.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.communicate()


def start(*argv: object) -> subprocess.Popen[str]:
    """A real command in a session of its own, by which its workers are found."""
    child = subprocess.Popen(
        [sys.executable, "-m", "hwtrain", "train", *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started.append(child)
    return child


def session(leader: int) -> dict[int, str]:
    """The living processes of a session with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has just ended
            continue
    return found


def wait_until_gone(leader: int) -> None:
    """The workers of a killed run end by themselves."""
    until = time.monotonic() + 60
    while left := session(leader):
        assert time.monotonic() < until, f"still there: {left}"
        time.sleep(0.02)


def assert_whole(out: Path) -> None:
    """Every file with a final name can be read to its end."""
    for file in out.rglob("*"):
        if file.is_dir() or ".tmp-" in file.name or file.name == LOCK:
            continue
        assert file.stat().st_size > 0 or file.suffix == ".jsonl", file  # no epoch has ended yet
        if file.name == FILE:
            read_checkpoint(file)
        elif file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".jsonl":
            assert file.read_text().endswith("\n") or file.stat().st_size == 0
            [json.loads(line) for line in file.read_text().splitlines()]
        elif file.name == "config.toml":
            assert file.read_text().rstrip().endswith("checkpoint_every_s = 0.2")


def assert_same_bits(out: Path, whole: Path) -> None:
    trials = sorted(folder.name for folder in (whole / "trials").iterdir())
    assert sorted(folder.name for folder in (out / "trials").iterdir()) == trials
    for name in trials:
        tensors, position, _ = read_checkpoint(out / "trials" / name / FILE)
        expected, end, _ = read_checkpoint(whole / "trials" / name / FILE)
        assert_equal(tensors, expected)
        assert {**position, "wall_s": 0} == {**end, "wall_s": 0}
        kept = [(folder / "trials" / name / "metrics.jsonl").read_bytes() for folder in (out, whole)]
        assert kept[0] == kept[1]
    assert not list(out.rglob("*.tmp-*")), "what a killed run left is cleared away"


def remaining(out: Path) -> float:
    """Share of the training that lies ahead, by the slowest trial."""
    files = list(out.glob(f"trials/*/{FILE}"))
    if len(list(out.glob("trials/*"))) != len(files) or not files:
        return 1.0
    return max(1 - read_checkpoint(file)[1]["step"] / (EPOCHS * ROWS * 4 // 5) for file in files)


@dataclass(frozen=True)
class Whole:
    """The undisturbed run: its folder, and how long its start-up and the rest of it took."""

    settings: list[str]
    out: Path
    start_s: float
    rest_s: float


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    settings, out = write_inputs(folder), folder / "run"
    began = time.monotonic()
    child = start(*settings, "--workers", "2", "--out", out)
    while not any(out.rglob(FILE)):
        assert child.poll() is None, child.communicate()[1]
        time.sleep(0.02)
    started = time.monotonic() - began
    _, told = child.communicate(timeout=600)
    assert child.returncode == 0, told
    rows = (out / "trials" / "backprop-noisy-s0" / "metrics.jsonl").read_text().splitlines()
    layers = json.loads(rows[-1])["layers"].values()
    assert all(layer["pulses"] > 100 for layer in layers), "it was to train"
    assert any(layer["resets"] > 0 for layer in layers), "it was to refresh"
    return Whole(settings, out, started, time.monotonic() - began - started)


def test_a_run_killed_at_any_moment_goes_on_to_the_same_bits(whole: Whole, tmp_path: Path) -> None:
    pick = random.Random(2024)
    moments = [(place + pick.random()) / KILLS * 1.05 for place in range(KILLS)]
    pick.shuffle(moments)
    out = tmp_path / "run"
    hit: Counter[str] = Counter()
    finished = orphans = left = 0
    while True:
        if not moments and KILLS <= hit.total() < 2 * KILLS and hit["training"] < IN_TRAINING:
            moments.append(pick.uniform(0.3, 1))  # the machine was faster or slower than it had been
        if not moments and not out.exists():
            break
        begun = (out / "config.toml").exists()
        ahead = remaining(out) if begun else 1.0
        # Killed before there was a run to go on with, it is begun anew in the same folder.
        where = ["--resume", out] if begun else [*whole.settings, "--out", out]
        before = time.time_ns()
        child = start(*where, "--workers", pick.choice((1, 2, 2)))
        aimed = bool(moments) and ahead > 0.3
        if aimed:
            share = moments.pop()
            try:
                child.wait(share * (whole.start_s + whole.rest_s * ahead))
            except subprocess.TimeoutExpired:
                orphans += sum("spawn_main" in line for line in session(child.pid).values())
                child.kill()
        told = "" if child.wait(600) == -signal.SIGKILL else child.communicate()[1]
        if child.returncode == -signal.SIGKILL:
            wait_until_gone(child.pid)
            found = listing(out)
            assert_whole(out)
            trained = any(file.stat().st_mtime_ns > before for file in out.rglob(FILE))
            hit["training" if trained else "start-up"] += 1
            left += any(".tmp-" in name for name in found)
            time.sleep(0.3)
            assert listing(out) == found, "somebody writes after the end"
            continue
        assert child.returncode == 0, told
        hit["after the end"] += aimed
        assert_same_bits(out, whole.out)
        finished += 1
        shutil.rmtree(out)
    sys.stdout.write(
        f"start-up {whole.start_s:.1f} s, training {whole.rest_s:.1f} s; kills {dict(hit)}, "
        f"{orphans} workers orphaned, {left} times a temporary file was left; {finished} runs ended alike\n"
    )
    assert hit["training"] >= IN_TRAINING
    assert finished >= 2
    assert orphans >= 10


def test_a_worker_that_is_killed_ends_the_run_with_one_line_and_it_goes_on(
    whole: Whole, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    child = start(*whole.settings, "--workers", "2", "--out", out)
    while not any(out.rglob(FILE)):
        assert child.poll() is None
        time.sleep(0.02)
    workers = [pid for pid, line in session(child.pid).items() if "spawn_main" in line]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    printed, told = child.communicate(timeout=120)
    assert (child.returncode, printed) == (2, "")
    assert told.startswith("hwtrain: a worker process ended")
    assert len(told.splitlines()) == 1
    wait_until_gone(child.pid)
    again = start("--resume", out, "--workers", "2")
    assert again.wait(600) == 0, again.communicate()
    again.communicate()
    assert_same_bits(out, whole.out)


def test_sigterm_to_every_process_of_a_run_stops_it(whole: Whole, tmp_path: Path) -> None:
    """As `timeout` and batch systems send it: the workers end at once, their checkpoints stand."""
    out = tmp_path / "run"
    child = start(*whole.settings, "--workers", "2", "--out", out)
    while not any(out.rglob(FILE)):
        assert child.poll() is None
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGTERM)
    _, told = child.communicate(timeout=120)
    assert child.returncode == 130, told
    assert told == f"stopped: go on with: hwtrain train --resume {out}\n"
    wait_until_gone(child.pid)
    again = start("--resume", out, "--workers", "1")
    again.communicate(timeout=600)
    assert again.returncode == 0
    assert_same_bits(out, whole.out)
