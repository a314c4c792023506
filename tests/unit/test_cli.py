"""The command line: one line for whatever is wrong, JSON for programs, tables for people."""

from __future__ import annotations

import errno
import json
import os
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import hwtrain
from hwtrain import files
from hwtrain.cards import SynapseCard, card, card_files
from hwtrain.cli import main
from hwtrain.config import read_config
from hwtrain.substrates.crossbar import CrossbarArray
from hwtrain.substrates.ideal import IdealArray
from hwtrain.training import loop
from hwtrain.training.checkpoint import FILE, read_checkpoint
from tests.helpers import assert_equal, listing, write_csv

TINY = ["--net", "4-3-3", "--epochs", "1", "--seeds", "1", "--workers", "1"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "data.csv", 60)


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """``refused(argv, *parts)``: the command ends with 2 and one line that holds the parts; nothing
    below tmp_path changes, nor does the present folder, which is an empty one there."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(argv: Sequence[object], *parts: str) -> str:
        before = listing(tmp_path)
        capsys.readouterr()
        code = main([str(word) for word in argv])
        out, err = capsys.readouterr()
        assert_one_line(code, out, err)
        for part in parts:
            assert part in err
        assert listing(tmp_path) == before
        return err

    return run


def assert_one_line(code: int, out: str, err: str) -> None:
    assert code == 2, err
    assert out == ""
    assert err.startswith("hwtrain: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1, err
    assert "Traceback" not in err


# --- Bad words on the command line


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["trian"], ["unknown verb 'trian': did you mean 'train'?"]),
        (["quantum"], ["unknown verb 'quantum': known: compare, "]),
        (["devices", "lst"], ["unknown verb 'lst': did you mean 'list'?"]),
        ([], ["VERB"]),
        (["devices"], ["VERB"]),
        (["train", "--epochz", "3"], ["--epochz", "did you mean '--epochs'?"]),
        (["train", "--epochz=3"], ["did you mean '--epochs'?"]),
        (["train", "--epoch", "3"], ["did you mean '--epochs'?"]),  # no abbreviations
        (["devices", "list", "--jsn"], ["did you mean '--json'?"]),
        (["devices", "trace", "taox-tio2", "--noisefree"], ["did you mean '--noise-free'?"]),
        (["train", "--epochs"], ["--epochs", "expected one argument"]),
        (["train", "--workers", "two"], ["--workers", "two"]),
        (["train", "--workers", "0"], ["workers = 0", "at least 1"]),
        (["train", "--workers", "-3"], ["workers = -3"]),
        (["train", "--seeds", "0"], ["seeds", "'0'"]),
        (["train", "--epochs", "0"], ["epochs"]),
        (["train", "--epochs", "1.5"], ["epochs", "1.5"]),
        (["train", "--lr", "0"], ["lr"]),
        (["train", "--lr", "nan"], ["lr", "finite"]),
        (["train", "--lr", "inf"], ["lr", "finite"]),
        (["train", "--lr", "-1"], ["lr"]),
        (["train", "--momentum", "1"], ["momentum"]),
        (["train", "--rule", "backprob"], ["did you mean 'backprop'?"]),
        (["train", "--update", "sign-puls"], ["did you mean 'sign-pulse'?"]),
        (["train", "--cell", "singel"], ["did you mean 'single'?"]),
        (["train", "--loss", "mes"], ["no loss is called", "did you mean 'mse'?"]),
        (["train", "--refresh", "never"], ["refresh"]),
        (["train", "--engine", "fpga"], ["engine"]),
        (["train", "--device", "taox-tio3"], ["did you mean 'taox-tio2'?"]),
        (["train", "--device", "fc9=float32"], ["no pattern fits layer fc1"]),
        (["train", "--device", "fc1=float32"], ["no pattern fits layer fc2"]),
        (["train", "--device", "=float32"], ["pattern=card"]),
        (["train", "--device", "*=flaot32"], ["did you mean 'float32'?"]),
        (["train", "--device", "nowhere/card.toml"], ["nowhere/card.toml", "No such file"]),
        (["train", "--net", "64-0-10"], ["64-0-10"]),
        (["train", "--net", "64"], ["'64'"]),
        (["train", "--net", "a-b"], ["a-b"]),
        (["train", "--net", "64--10"], ["64--10"]),
        (["train", "--net", "64-" + "9" * 5000 + "-10"], ["64-99", "...'", "too wide"]),
        (["train", "--net", "64-900000-900000-10"], ["3,240 GB", "narrower"]),
        (["train", "--net", "64-10-11"], ["11", "10 classes"]),
        (["train", "--net", "63-10"], ["fc1", "63"]),
        (["train", "--torch-device", "quantum"], ["torch_device", "choose cpu"]),
        (["train", "--torch-device", "cuda:99"], ["torch_device", "choose cpu"]),
        (["train", "--torch-device", "meta"], ["torch_device", "choose cpu"]),
        (["train", "--torch-device", ""], ["torch_device", "choose cpu"]),
        (["train", "--data", "digitz"], ["digitz", "did you mean 'digits'?"]),
        (["train", "--data", "nowhere.csv"], ["nowhere.csv: no such file"]),
        (["train", "nowhere.toml"], ["nowhere.toml: No such file"]),
        (["train", "--resume", "nowhere"], ["nowhere", "No such file"]),
        (["train", "--resume", ".", "--lr", "1"], ["--resume", "leave the others out"]),
        (["train", "--resume", ".", "--out", "x"], ["leave the others out"]),
        (["train", "--out", "/proc/nowhere/run"], ["/proc/nowhere", "cannot"]),
        (["train", "--out", "x" * 300], ["File name too long"]),
        (["devices", "show", "pcmoo"], ["did you mean 'pcmo'?"]),
        (["devices", "check", "nowhere.toml"], ["nowhere.toml: No such file"]),
        (["devices", "trace", "float32"], ["float32", "no pulse response"]),
        (["devices", "trace", "taox-tio2", "--start", "2"], ["start = 2"]),
        (["devices", "trace", "taox-tio2", "--start", "nan"], ["start = nan"]),
        (["devices", "trace", "taox-tio2", "--up", "-1"], ["up = -1"]),
        (["devices", "trace", "taox-tio2", "--seed", "x"], ["--seed", "'x'"]),
        (["compare", "pcmo", "--cell", "single"], ["--cell needs --train"]),
        (["compare", "pcmo", "--lr-decay", "1"], ["--lr-decay needs --train"]),
        (["compare", "pcmo", "--workers", "2"], ["--workers needs --train"]),
        (["compare", "pcmo", "--train", "--workers", "0"], ["workers = 0", "at least 1"]),
        (["physical", "study", "--workers", "0"], ["workers = 0"]),
        (["physical", "twin", "/dev/null", "/dev/null"], ["0 pairs are too few"]),
        (["physical", "twin", "nowhere", "x"], ["nowhere: No such file"]),
        (["physical", "serve", "fibre", "--in", "0", "--out", "3", "--log", "x"], ["at least one input"]),
        (["sweep", "x.toml", "--out", "x", "--workers", "0"], ["workers = 0"]),
        (["devices", "sensitivity", "pcmo", "--workers", "0"], ["workers = 0"]),
        (["devices", "fit", "x.csv", "--unit", "1", "--g-min", "1e-9"], ["--g-max is missing"]),
        (["devices", "fit", "x.csv", "--g-min", "1e-9"], ["add --unit 1"]),
        (["export", "run", "--check", "x"], ["leave out RUN and --out"]),
        (["export", "--check", "x", "--out", "y"], ["leave out RUN and --out"]),
        (["export", "--check", "x"], ["x"]),
        (["report", "nowhere"], ["nowhere"]),
        (["report", "."], ["."]),
    ],
    ids=lambda value: " ".join(word[:20] for word in value) if isinstance(value, list) else "",
)
def test_a_bad_word_is_one_line_and_writes_nothing(
    refused: Callable[..., str], argv: list[str], parts: list[str]
) -> None:
    refused(argv, *parts)


# --- Bad files


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"epochs = 2\nlearnrate = 1\n", ["settings.toml:2", "learnrate"]),
        (b"epochs = 2\n\nmomentom = 1\n", ["settings.toml:3", "did you mean 'momentum'?"]),
        (b"[train]\nepochs = 2\n", ["settings.toml:1", "unknown key train"]),
        (b"lr = -0.5\n", ["settings.toml:1", "lr = -0.5"]),
        (b"epochs = [\n", ["settings.toml", "not TOML"]),
        (b"epochs = 1\nepochs = 2\n", ["settings.toml", "not TOML"]),
        (b"# \xff\nepochs = 1\n", ["byte 2 is not UTF-8"]),
        (b"a = " + b"[" * 50_000, ["not TOML"]),
        (b"seed = " + b"1" * 5000, ["not TOML"]),
        (b"#" * (1 << 21), ["larger than"]),
        (b'"a\\nb" = 1\n', ["unknown key a b"]),
        (b"device = 3\n", ["settings.toml:1: device = 3"]),
        (b'device = "a\\u0000/b"\n', ["null"]),
        (b'data = "a\\nb"\n', ["no such file"]),
        (b'[device]\n"fc*" = 7\n', ["device = 7"]),
    ],
    ids=range(15),
)
def test_a_bad_configuration_file_is_one_line(
    refused: Callable[..., str], tmp_path: Path, content: bytes, parts: list[str]
) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(content)
    refused(["train", file], str(file) if "null" not in parts and "no such file" not in parts else "", *parts)


def test_what_is_no_file_of_settings_is_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    refused(["train", tmp_path], "Is a directory")
    refused(["train", "/dev/zero"], "/dev/zero: larger than")  # it says that its size is 0


CARD = {
    "a missing key": ("g_max_S = 2e-7\n", "", ["range.g_max_S is missing"]),
    "a missing table": ("[range]\ng_min_S = 1e-7\ng_max_S = 2e-7\n", "", ["key range is missing"]),
    "a negative value": ("g_min_S = 1e-7", "g_min_S = -1e-7", [":16: range.g_min_S = -1e-07"]),
    "exchanged ends": ("g_min_S = 1e-7", "g_min_S = 3e-7", ["g_min_S = 3e-07 is not below g_max_S"]),
    "equal ends": ("g_min_S = 1e-7", "g_min_S = 2e-7", ["is not below"]),
    "one level": ("levels_up = 102", "levels_up = 1", [":21: ", "levels_up = 1", "2"]),
    "percent": ("c2c_rel_range = 0.01", "c2c_rel_range = 5", ["c2c_rel_range = 5", "write 0.05 for 5 %"]),
    "a newer schema": ("schema = 1", "schema = 2", ["schema = 2 is newer", "update hwtrain"]),
    "an older schema": ("schema = 1", "schema = 0", ["schema = 0"]),
    "an unknown kind": ('kind = "synapse"', 'kind = "synaps"', ["did you mean 'synapse'?"]),
    "a list as kind": ('kind = "synapse"', 'kind = ["synapse"]', ["is no kind of card"]),
    "an unknown key": ("g_min_S = 1e-7", "g_min_S = 1e-7\ng_mx_S = 1", [":17: ", "'g_max_S'?"]),
    "an unknown key of the law": ("label_up = 1.85", "labl_up = 1.85", [":23: ", "did you mean 'label_up'?"]),
    "an unknown law": ('law = "affine"', 'law = "afine"', ["did you mean 'affine'?"]),
    "no law": ('law = "affine"\n', "", ["response.law is missing"]),
    "a label out of range": ("label_up = 1.85", "label_up = 1e9", [":23: ", "label_up"]),
    "half a law": ("label_up = 1.85\n", "", ["levels_up", "give one set whole"]),
    "NaN": ("g_max_S = 2e-7", "g_max_S = nan", [":17: range.g_max_S"]),
    "an unknown cell": ("[expect]", '[cell]\nkind = "pare"\n\n[expect]', ["no cell is called 'pare'"]),
    "an unknown refresh": ("[expect]", '[cell]\nrefresh = "often"\n\n[expect]', ["cell.refresh = 'often'"]),
    "too many stuck cells": (
        "[expect]",
        "[faults]\nstuck_on = 0.6\nstuck_off = 0.6\n\n[expect]",
        ["1.2", "more than all cells"],
    ),
    "a published figure missed": ("on_off = 2", "on_off = 3", ["on_off", "mistyped"]),
}


@pytest.mark.parametrize("case", CARD)
def test_a_bad_card_is_one_line(refused: Callable[..., str], tmp_path: Path, case: str) -> None:
    old, new, parts = CARD[case]
    text = card_files()["taox-tio2"].read_text(encoding="utf-8")
    assert text.count(old) == 1
    file = tmp_path / "mine.toml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    refused(["devices", "check", file], str(file), *parts)
    if case != "a published figure missed":
        for argv in (["devices", "show"], ["devices", "trace"], ["train", "--device"]):
            refused([*argv, file], str(file), *parts)


def idx(shape: tuple[int, ...], data: bytes) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape) + data


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("x.csv", b"1,2,0\n1,two,1\n", ["line 2, column 2", "'two'"]),
        ("x.csv", b"1,2,0\n1,nan,1\n", ["line 2, column 2", "'nan'"]),
        ("x.csv", b"1,2,0\n1,1\n", ["line 2", "2 cells, not 3"]),
        ("x.csv", b"1,2,0\n1,1,0.5\n", ["label 0.5"]),
        ("x.csv", b"", ["0 rows"]),
        ("x.csv", b"1,\xff,0\n", ["UTF-8"]),
        ("x.npz", b"no archive", ["x.npz", "not a readable .npz"]),
        ("x.dat", b"1", ["unknown kind of file"]),
        ("train-images-idx3-ubyte", idx((2, 2, 2), b"\0" * 7), ["need 8 bytes", "only 7"]),
        ("train-images-idx3-ubyte", idx((2, 2, 2), b"\0" * 8)[:9], ["ends at byte 9"]),
    ],
    ids=range(10),
)
def test_bad_data_is_one_line(
    refused: Callable[..., str], tmp_path: Path, name: str, content: bytes, parts: list[str]
) -> None:
    file = tmp_path / "given" / name
    file.parent.mkdir()
    file.write_bytes(content)
    source = file.parent if "idx" in name else file
    if "idx" in name:
        (source / "train-labels-idx1-ubyte").write_bytes(idx((2,), b"\0\1"))
    out = tmp_path / "run"
    refused(["train", "--data", source, "--out", out], name, *parts)
    assert not out.exists()


def test_a_folder_that_cannot_be_the_runs_is_left_alone(
    refused: Callable[..., str], tmp_path: Path, data: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("years of work")
    base = ["train", "--data", data, *TINY, "--out"]
    refused([*base, full], "already holds files", "--resume")
    refused([*base, full / "thesis.tex"], "thesis.tex", "Not a directory")
    refused([*base, full / "thesis.tex" / "run"], "Not a directory")
    refused(["train", "--resume", full], "config.toml", "No such file")
    refused(["train", "--resume", full / "thesis.tex"], "Not a directory")
    for name in ("cards/mine.toml", "env.json", "notes.tmp-old"):  # like ours, and not
        (tmp_path / "close" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "close" / name).write_text("{}")
        refused([*base, tmp_path / "close"], "already holds files")
    (full / "config.toml").write_text(f"data = {json.dumps(str(data))}\n# my own notes\n")
    refused(["train", "--resume", full], "not the folder of a run")


@pytest.mark.parametrize(
    ("array", "device", "argv", "port"),
    [
        (CrossbarArray, "taox-tio2", [], "read_t"),
        (CrossbarArray, "taox-tio2", ["--update", "stochastic-pulse"], "write"),
        (CrossbarArray, "taox-tio2", ["--rule", "shallow"], "write"),
        (IdealArray, "float32", [], "read_t"),
    ],
)
def test_a_port_that_the_substrate_lacks_is_named_before_the_first_step(
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    data: Path,
    tmp_path: Path,
    array: type,
    device: str,
    argv: list[str],
    port: str,
) -> None:
    monkeypatch.setattr(array, "ports", array.ports - {port})
    line = refused(
        ["train", "--data", data, *TINY, *argv, "--device", device, "--out", tmp_path / "run"],
        f"needs port {port}",
        "choose another rule",
    )
    layer = "fc2" if port == "read_t" or "shallow" in argv else "fc1"
    assert f"layer {layer}.weight" in line


# --- File systems that fail


@pytest.mark.parametrize("limit", [0, 300, 1500])
def test_a_disk_that_is_full_leaves_no_half_written_file(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], limit: int
) -> None:
    out = tmp_path / "run"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        code = main(["train", "--data", str(data), *TINY, "--out", str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    captured = capsys.readouterr()
    assert_one_line(code, captured.out, captured.err)
    assert "File too large: free space" in captured.err
    assert_whole(out)


def test_no_space_in_a_real_child_process_is_one_line(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "run"
    child = subprocess.run(
        [sys.executable, "-m", "hwtrain", "train", "--data", data, *TINY, "--json", "--out", out],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500)),
    )
    assert_one_line(child.returncode, child.stdout, child.stderr)
    assert "cannot write: File too large: free space" in child.stderr
    assert_whole(out)


def assert_whole(out: Path) -> None:
    """Whatever has its final name can be read whole; nothing else is there."""
    for file in out.rglob("*"):
        if file.is_dir():
            continue
        assert "tmp" not in file.name
        if file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".jsonl":
            [json.loads(line) for line in file.read_text().splitlines()]
        elif file.name == FILE:
            read_checkpoint(file)
        else:
            assert file.name == "config.toml"
            assert file.read_text().endswith("checkpoint_every_s = 60.0\n")


@pytest.mark.parametrize("call", ["fsync", "open", "replace"])
@pytest.mark.parametrize("nth", [1, 2, 3, 5])
def test_a_write_that_fails_at_any_point_is_one_line(
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    nth: int,
) -> None:
    calls = 0
    owner: Any = os if call == "fsync" else Path
    real = getattr(owner, call)

    def fail(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        counted = call != "open" or arguments[1:] == ("wb",)
        calls += counted
        if counted and calls == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    monkeypatch.setattr(owner, call, fail)
    out = tmp_path / "run"
    code = main(["train", "--data", str(data), *TINY, "--out", str(out)])
    captured = capsys.readouterr()
    assert_one_line(code, captured.out, captured.err)
    assert "No space left on device: free space" in captured.err
    assert_whole(out)
    monkeypatch.undo()
    assert (out / "config.toml").exists() == (nth > 2)
    if nth > 2:  # the space is back: the run goes on
        loop.run(read_config(out / "config.toml"), out=out, resume=True)
        for trial in (out / "trials").iterdir():
            rows = [json.loads(line) for line in (trial / "metrics.jsonl").read_text().splitlines()]
            state = json.loads((trial / "state.json").read_text())
            assert state == read_checkpoint(trial / FILE)[1]
            assert state["rows"] == rows


@pytest.mark.parametrize("argv", [["devices", "list"], ["devices", "trace", "pcmo"], ["--help"]])
def test_an_output_that_takes_nothing_is_one_line(argv: list[str]) -> None:
    command = [sys.executable, "-m", "hwtrain", *argv]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        child = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=buffered)
    assert_one_line(child.returncode, "", child.stderr)
    assert child.stderr == "hwtrain: cannot write the output: No space left on device\n"


def test_a_closed_output_is_no_error() -> None:
    command = f"{shlex.quote(sys.executable)} -m hwtrain devices list >&-"
    child = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (child.returncode, child.stderr) == (0, "")


@pytest.mark.parametrize(
    "problem", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_memory_that_runs_out_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: Exception
) -> None:
    def fail() -> None:
        raise problem

    monkeypatch.setattr("hwtrain.cards.cards", fail)
    code = main(["devices", "list"])
    captured = capsys.readouterr()
    assert_one_line(code, captured.out, captured.err)
    assert "out of memory" in captured.err


def test_a_fault_of_ours_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for problem in (RuntimeError("shapes differ"), FileNotFoundError(2, "No such file", "x")):

        def fail(problem: Exception = problem) -> None:
            raise problem

        monkeypatch.setattr("hwtrain.cards.cards", fail)
        with pytest.raises(type(problem)):
            main(["devices", "list"])


def test_a_file_that_cannot_even_be_cleared_away_is_still_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(hwtrain.HwtrainError, match="Read-only file system: free space, or choose"):
        files.write_file(tmp_path / "x", "text")


def test_an_interrupt_outside_training_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hwtrain.cards.cards", interrupt)
    assert main(["devices", "list"]) == 130
    assert capsys.readouterr().err == "hwtrain: interrupted\n"


# --- What it prints


KEYS = {"event", "accuracy", "accuracy_sd", "baseline_accuracy", "shallow_accuracy", "pulses"}
KEYS |= {"clipped_share", "energy_J", "pulse_time_s", "wall_s", "engine", "run"}


@pytest.mark.parametrize("device", ["taox-tio2", "capacitor-3t1c"])
def test_train_json_prints_objects_alone_and_the_result_last(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    out = tmp_path / "run"
    argv = ["train", "--data", str(data), *TINY, "--device", device, "--json", "--out", str(out)]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    found = [json.loads(line, parse_constant=lambda _: pytest.fail("NaN is no JSON")) for line in lines]
    assert all(isinstance(one, dict) and one["event"] in ("warning", "result") for one in found)
    result = found[-1]
    assert [one["event"] for one in found].count("result") == 1
    assert result.keys() >= KEYS
    assert result["run"] == str(out)
    assert result["engine"] == "torch"
    assert result["accuracy_sd"] is None  # one seed
    assert result["pulses"] > 0
    assert (result["energy_J"] is None) == (device == "capacitor-3t1c")
    assert (result["pulse_time_s"] is None) == (device == "capacitor-3t1c")
    kept = json.loads((out / "result.json").read_text())
    assert kept == {key: value for key, value in result.items() if key != "event"}
    assert (out / "report.html").is_file()


def test_train_json_of_a_real_command_is_clean_and_that_of_a_diverged_run_is_json(
    tmp_path: Path, data: Path
) -> None:
    argv = [*TINY, "--device", "float32", "--activation", "relu", "--lr", "1e38", "--json"]
    child = subprocess.run(
        [sys.executable, "-m", "hwtrain", "train", "--data", data, *argv, "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    lines = [json.loads(line, parse_constant=pytest.fail) for line in child.stdout.splitlines()]
    assert lines[-1]["event"] == "result"
    assert lines[-1]["trials"][0]["loss"] is None
    assert child.stderr == ""
    for file in (tmp_path / "run").rglob("*.json*"):
        for line in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            json.loads(line, parse_constant=pytest.fail)


def test_train_prints_a_table_for_people(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["train", "--data", str(data), *TINY, "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    for part in ("backprop on taox-tio2", "software backprop", "shallow: hidden layers frozen", "report: "):
        assert part in out


def test_devices_list_has_every_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "list", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == list(card_files())
    assert all(row["citation"] for row in rows)
    assert main(["devices", "list"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in card_files())


@pytest.mark.parametrize("name", sorted(card_files()))
def test_devices_show_prints_every_key_of_the_card(capsys: pytest.CaptureFixture[str], name: str) -> None:
    import tomllib

    assert main(["devices", "show", name]) == 0
    shown = capsys.readouterr().out
    for key, value in tomllib.loads(card_files()[name].read_text(encoding="utf-8")).items():
        table = isinstance(value, dict) and "status" not in value  # a constant with its source is one row
        for inner in value if table else [None]:
            name_of = f" {key}.{inner}" if inner else f" {key}"
            assert f"{name_of} " in shown or f"{name_of}." in shown, name_of
    if isinstance(card(name), SynapseCard):
        for key in ("read.adc_bits", "faults.stuck_on", "pulse.endurance", "variation.step_dtod"):
            assert f" {key} " in shown  # what the card leaves out is there too
        assert "not given" in shown


def test_devices_check_passes_every_shipped_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "check", *card_files()]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{name}: ok" for name in card_files()]


def test_devices_trace_is_a_table_that_noise_free_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    def rows(*argv: str) -> list[str]:
        assert main(["devices", "trace", "taox-tio2", "--up", "7", "--down", "5", *argv]) == 0
        return capsys.readouterr().out.splitlines()

    typical = rows("--noise-free")
    assert typical[0] == "pulse,direction,weight,conductance_S"
    assert len(typical) == 1 + 1 + 7 + 5
    assert [line.split(",")[1] for line in typical[1:]] == ["", *["up"] * 7, *["down"] * 5]
    weights = [float(line.split(",")[2]) for line in typical[1:]]
    assert weights[:8] == sorted(set(weights[:8]))
    assert weights[7:] == sorted(set(weights[7:]), reverse=True)
    assert rows("--noise-free") == typical == rows("--noise-free", "--seed", "3")
    assert rows("--seed", "3") == rows("--seed", "3") != rows("--seed", "4")
    assert rows("--start", "1", "--noise-free")[1].split(",")[2] == "1.0"


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["rules", "list"], ["backprop", "shallow", "error goes back"]),
        pytest.param(
            ["rules", "matrix"],
            ["runs", "taox-tio2", "float32", "in-situ", "(taps)"],
            marks=pytest.mark.slow,  # it places a net on every card
        ),
        (["doctor"], ["torch", "processors", "data digits", "1437 training samples"]),
        (["devices", "show", "pcmo"], ["response.law", "synapse"]),
        (["devices", "check", "float32", "shift4"], ["float32", "shift4", "ok"]),
    ],
)
def test_what_tells_about_the_house_runs(
    capsys: pytest.CaptureFixture[str], argv: list[str], parts: list[str]
) -> None:
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in parts)
    assert main([*argv, "--json"]) == 0
    lines = [json.loads(line, parse_constant=pytest.fail) for line in capsys.readouterr().out.splitlines()]
    assert lines
    assert all(isinstance(line, dict) for line in lines)


def test_devices_export_writes_over_nothing_that_was_not_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["devices", "export", "pcmo", "--to", "neurosim", "--json"]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["missing"]
    (file,) = map(Path, found["files"])
    file.write_text("mine")
    assert main(argv) == 2
    assert "is there already: name a folder with --out" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main([*argv, "--out", "."]) == 0
    assert file.read_text() != "mine"


def test_report_writes_the_same_page_anew(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", "--data", str(data), *TINY, "--out", str(out)]) == 0
    before = listing(out)
    (out / "report.html").unlink()
    shutil.rmtree(out / "figures")
    capsys.readouterr()
    assert main(["report", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "report.html")
    assert listing(out) == before


# --- Python and the command


BOTH = """
import sys
import hwtrain, torch
from hwtrain.cli import main
from hwtrain.training.checkpoint import save_checkpoint
from pathlib import Path

result = hwtrain.train(
    "64-32-10", rule="backprop", device="taox-tio2", data="digits", seeds=1, epochs=1
)
for name, tensors in result.tensors.items():
    folder = Path("python") / name
    folder.mkdir(parents=True)
    save_checkpoint(folder, tensors, {"accuracy": result.accuracy, "pulses": result.pulses}, "")
sys.exit(main(sys.argv[1:]))
"""


def test_python_and_the_command_train_the_same_bits(tmp_path: Path) -> None:
    # In a process of its own: here, the checks of every call would take ten times as long.
    argv = "train --net 64-32-10 --rule backprop --device taox-tio2 --data digits --seeds 1 --epochs 1"
    child = subprocess.run(
        [sys.executable, "-c", BOTH, *argv.split(), "--workers", "1", "--out", "run", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert child.returncode == 0, child.stderr
    printed = json.loads(child.stdout.splitlines()[-1])
    trials = sorted(trial.name for trial in (tmp_path / "run" / "trials").iterdir())
    assert len(trials) == 3
    assert sorted(folder.name for folder in (tmp_path / "python").iterdir()) == trials
    for name in trials:
        by_command = read_checkpoint(tmp_path / "run" / "trials" / name / FILE)[0]
        by_python, found, _ = read_checkpoint(tmp_path / "python" / name / FILE)
        assert_equal(by_command, by_python)
        assert {key: printed[key] for key in found} == found
    assert printed["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("net", "options", "part"),
    [
        (5, {}, "net = 5"),
        ("64-4-10", {"workers": 0}, "workers = 0"),
        ("64-4-10", {"epoch": 3}, "did you mean 'epochs'?"),
        ("64-4-10", {"data": None}, "NoneType"),
        (torch.nn.Softplus(), {}, "no counterpart of"),
    ],
)
def test_python_gets_the_same_errors(net: Any, options: dict[str, Any], part: str) -> None:
    with pytest.raises(hwtrain.HwtrainError, match=part) as caught:
        hwtrain.train(net, **{"seeds": 1, "epochs": 1, **options})
    assert len(str(caught.value).splitlines()) == 1


# --- Signals


STOP = ["--net", "4-6-3", "--seeds", "1", "--device", "target-envm", "--checkpoint-every-s", "0.2"]


def train(*argv: object) -> None:
    """A real command, which runs without the checks of every call that pytest adds here."""
    child = subprocess.run(
        [sys.executable, "-m", "hwtrain", "train", *map(str, argv)], capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], Path]:
    """Data, settings, and the folder of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("stop")
    data = write_csv(folder / "data.csv", 400)
    settings = [*STOP, "--data", str(data), "--epochs", "2"]
    train(*settings, "--workers", "1", "--out", folder / "whole")
    return data, settings, folder / "whole"


@pytest.mark.parametrize(
    ("number", "workers", "threads", "when"),
    [
        pytest.param(  # other threads, same bits
            *(signal.SIGTERM, "1", "2", "**/checkpoint.safetensors"), id="SIGTERM", marks=pytest.mark.slow
        ),
        pytest.param(signal.SIGINT, "2", "1", "**/checkpoint.safetensors", id="Ctrl-C"),
        pytest.param(  # while the workers still import
            *(signal.SIGINT, "2", "1", "config.toml"), id="early Ctrl-C", marks=pytest.mark.slow
        ),
    ],
)
def test_a_signal_stops_and_resume_ends_with_the_same_bits(
    undisturbed: tuple[Path, list[str], Path],
    tmp_path: Path,
    number: signal.Signals,
    workers: str,
    threads: str,
    when: str,
) -> None:
    _, settings, whole = undisturbed
    out = tmp_path / "run"
    child = subprocess.Popen(
        [sys.executable, "-m", "hwtrain", "train", *settings, "--workers", workers, "--out", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": threads},
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not any(out.glob(when)):
        assert child.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    if number == signal.SIGINT:
        os.killpg(child.pid, number)  # as a terminal does: to the workers, too
    else:
        child.send_signal(number)
    printed, told = child.communicate(timeout=120)
    assert child.returncode == 130, told
    assert printed == ""
    assert told == f"stopped: go on with: hwtrain train --resume {out}\n"
    assert not (out / "result.json").exists()
    assert_same(out, whole, finished=False)
    train("--resume", out, "--workers", "2" if workers == "1" else "1")  # the same bits
    assert_same(out, whole, finished=True)


def assert_same(out: Path, whole: Path, *, finished: bool) -> None:
    """Finished trials have the bits of the other run's; unfinished ones are behind."""
    done = 0
    for trial in (whole / "trials").iterdir():
        mine = out / "trials" / trial.name
        if not (mine / FILE).exists():
            continue
        tensors, position, _ = read_checkpoint(mine / FILE)
        expected, end, _ = read_checkpoint(trial / FILE)
        rows = (mine / "metrics.jsonl").read_text()
        assert (trial / "metrics.jsonl").read_text().startswith(rows)
        done += position["done"]
        if position["done"]:
            assert_equal(tensors, expected)
            assert {**position, "wall_s": 0} == {**end, "wall_s": 0}
            assert rows == (trial / "metrics.jsonl").read_text()
    assert (done == 3) == finished
