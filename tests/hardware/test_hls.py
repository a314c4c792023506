"""The folder that ``--to hls`` writes: bench, streams, checks, scripts, and faults in its C."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.cli import main
from hwtrain.errors import ProgramError, RunError
from hwtrain.export.hls_check import check_export
from hwtrain.export.printers.hls import Hls
from hwtrain.nets.base import mlp
from hwtrain.program.lower import lower
from hwtrain.rules.speculative import Speculative
from hwtrain.shipped import shipped
from tests.helpers import place_of
from tests.programs import bound_on, loss_of

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
STEPS = 25
MODES: dict[str, dict[str, Any]] = {
    "sequential": {"mode": "sequential"},
    "speculative": {"shadow": True, "threshold": 0.3},
    "lookahead": {"mode": "lookahead"},
    "prototypes": {
        "shadow": True,
        "threshold": 0.3,
        "prototypes": 2,
        "hit_share": 0.5,
        "miss": "correct",
        "warm_up": 2,
    },
}


def export(
    folder: Path, mode: str, device: str, spec: str = "8-6-4", steps: int = STEPS, loss: str | None = None
) -> int:
    """A net with a centre for each class, exported with samples about it."""
    net = mlp(spec, "relu")
    if loss is not None:
        net.with_loss(loss_of(loss))
    bound = bound_on(net, device, Speculative(**MODES[mode]))
    inputs, classes = int(spec.split("-")[0]), int(spec.split("-")[-1])
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes, (steps, 1)).astype(np.int32)
    x = np.clip(rng.random((classes, inputs))[labels[:, 0]] + 0.4 * rng.normal(size=(steps, inputs)), 0, 1)
    codes = bound.net.encode(torch.from_numpy(x).float()).numpy().reshape(steps, 1, inputs)
    program = lower(bound, (inputs,))
    return Hls(Hls.Options()).write(program, {"x": codes, "labels": labels}, 0.125, folder)


@cache
def _made(mode: str, device: str, base: Path) -> Path:
    folder = base / f"{mode}-{device}"
    assert export(folder, mode, device) > 150
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hls")


def run(folder: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    told = os.environ | env
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120, env=told
    )


@pytest.mark.parametrize(
    ("mode", "device"),
    [
        ("speculative", "fixed16"),
        pytest.param("lookahead", "fixed16", marks=pytest.mark.slow),
        pytest.param("sequential", "shift4", marks=pytest.mark.slow),
        pytest.param("speculative", "shift4", marks=pytest.mark.slow),
        pytest.param("lookahead", "fixed8", marks=pytest.mark.slow),
        pytest.param("prototypes", "fixed16", marks=pytest.mark.slow),
        pytest.param("prototypes", "shift4", marks=pytest.mark.slow),
    ],
)
def test_folder_tests_itself_and_takes_strict_compilers(mode: str, device: str, base: Path) -> None:
    folder = _made(mode, device, base)
    found = run(folder, "make", "test", "test-stream")
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{STEPS} steps" in found.stdout
    assert "0 differ" in found.stdout
    assert f"0 wrong; {STEPS} frames answered" in found.stdout
    for cc in ("gcc", "clang"):
        done = run(folder, cc, *STRICT, "-Iinclude", "-c", "hwt_net.c", "-o", "strict.o")
        assert done.returncode == 0, done.stderr
    run(folder, "make", "clean")
    assert check_export(folder) > 20


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_analyser_and_sanitisers_find_nothing(mode: str, base: Path) -> None:
    folder = _made(mode, "fixed16", base)
    done = run(folder, "gcc", *STRICT, "-fanalyzer", "-Iinclude", "-c", "hwt_net.c", "-o", "strict.o")
    assert done.returncode == 0, done.stderr
    for cc in ("gcc", "clang"):
        flags = ("-std=c99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
        built = run(folder, cc, *flags, "-Iinclude", "tb_net.c", "hwt_net.c", "-o", "sane")
        assert built.returncode == 0, built.stderr
        ran = run(folder, "./sane", "vectors")
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_same_program_same_bytes_and_other_values_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export(Path("one"), "speculative", "fixed8", steps=3)
    export(tmp_path / "other", "speculative", "fixed8", steps=3)
    files = sorted(
        file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*") if file.is_file()
    )
    assert len(files) > 30
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes(), file
    last = tmp_path / "one" / "vectors" / "last_loss.hex"
    lines = last.read_text().split("\n")
    last.write_text("\n".join([f"{int(lines[0], 16) ^ 1:08x}", *lines[1:]]))
    found = run(tmp_path / "one", "make", "test")
    assert found.returncode != 0
    assert "loss: 1 of 3 values differ" in found.stdout
    last.unlink()
    found = run(tmp_path / "one", "make", "test")
    assert "FAILED: vectors/last_loss.hex has 0 of 3 values" in found.stdout
    assert found.returncode != 0


def test_what_cannot_be_synthesised_is_refused_with_a_repair(tmp_path: Path) -> None:
    bound = bound_on(mlp("8-6-4", "relu"), "float32", Speculative())
    given = {"x": np.zeros((1, 1, 8), np.float32), "labels": np.zeros((1, 1), np.int32)}
    with pytest.raises(ProgramError, match="train on --device fixed16, fixed8 or shift4"):
        Hls(Hls.Options()).write(lower(bound, (8,)), given, 0.1, tmp_path / "hls")
    wide = bound_on(mlp("8-6-4", "relu"), "fixed16")
    with pytest.raises(ProgramError, match="train with --batch 1"):
        Hls(Hls.Options()).write(lower(wide, (8,), 2), given, 0.1, tmp_path / "hls")
    assert not (tmp_path / "hls").exists()


FAULTS = {
    "depth = 24 )": ("depth = 25 )", "has 24 values"),
    "II = 1": ("IJ = 1", "PIPELINE has no option IJ"),
    "PIPELINE II": ("PIPELINED II", "no pragma is called PIPELINED"),
    "m_axi port = name": ("m_axi port = nam", "nam is no variable of this function"),
    "total = 0;": ("total = 0; total /= 3;", "divides (/=): use a shift"),
    "int64_t largest": ("float half = 0.5f; int64_t largest", "computes in floats"),
    "int64_t inverse": ("int32_t own[4]; own[0] = 0; const int64_t inverse", "has an array own of its own"),
}


@pytest.mark.parametrize("text", FAULTS)
def test_check_finds_what_compilers_let_pass(text: str, tmp_path: Path, base: Path) -> None:
    folder = tmp_path / "hls"
    shutil.copytree(_made("speculative", "fixed16", base), folder)
    other, said = FAULTS[text]
    if text.startswith("depth"):
        file = folder / "hwt_net.c"
        file.write_text(re.sub(r"(HWT_PORT\(fc2_bias, gmem1, )\d+", r"\g<1>7", file.read_text(), count=1))
        said = "fc2_bias has 8 values"
    else:
        changed = 0
        for file in [folder / "hwt_net.c", *(folder / "include").glob("*.h")]:
            content = file.read_text()
            if text in content and "float32" not in file.name:
                file.write_text(content.replace(text, other, 1))
                changed += 1
        assert changed
    with pytest.raises(ProgramError, match=re.escape(said)):
        check_export(folder)
    with pytest.raises(RunError, match="name a folder that hwtrain export --to hls made"):
        check_export(tmp_path / "none")


MUTANTS = [
    ("fixed", "hwt_dense_read(", "i < in_; i++", "i < in_ - 1; i++"),
    ("fixed", "hwt_dense_read(", "x[sample * in_ + i]", "x[sample * in_]"),
    ("fixed", "hwt_dense_read_t", "* d[sample * out + o]", "* d[sample * out]"),
    ("fixed", "hwt_dense_read_t", "y[sample * in_ + i] +=", "y[sample * in_ + i] ="),
    ("fixed", "hwt_fixed_propose_outer", "sign < 0 ? -total", "sign > 0 ? -total"),
    (
        "fixed",
        "hwt_fixed_propose_outer",
        "shift + rate < 62 ? shift + rate",
        "shift + rate < 62 ? shift + rate - 1",
    ),
    ("fixed", "hwt_fixed_propose_outer", "w[element] + change", "w[element] - change"),
    ("fixed", "hwt_fixed_propose_outer", "(uint32_t)element, 0)", "(uint32_t)i, 0)"),
    ("fixed", "hwt_fixed_propose_outer", "total != 0)", "total == 0)"),
    ("fixed", "hwt_requantize(", "(int64_t)1 << (shift - 1);", "((int64_t)1 << (shift - 1)) - 1;"),
    ("fixed", "hwt_shift_right", "-1 - ((-1 - value) >> shift)", "-(-value >> shift)"),
    ("fixed", "hwt_bias_add", "*y++ + (hwt_acc)", "*y++ - (hwt_acc)"),
    ("fixed", "hwt_softmax2_forward", "saturate(-rest", "saturate(rest"),
    ("fixed", "hwt_softmax2_forward", "place - 15", "place - 14"),
    ("fixed", "hwt_softmax2_power", "fraction * 32", "fraction * 31"),
    (
        "threefry",
        "hwt_threefry_words(",
        "13, 15, 26, 6) HWT_ADD_KEY(k0, k1, 3u)",
        "13, 15, 26, 7) HWT_ADD_KEY(k0, k1, 3u)",
    ),
    ("vector", "hwt_relu_forward", "x[i] > 0 ? x[i] : (hwt_signal)0", "x[i]"),
    ("vector", "hwt_relu_input_gradient", "y[i] > 0 ? d[i]", "y[i] >= 0 ? d[i]"),
    ("slots", "hwt_slots_gap", "gap < 0 ? -gap : gap", "gap"),
    ("slots", "hwt_slots_near", "total < limit", "total > limit"),
    ("slots", "hwt_slots_gap", "gap = a - b", "gap = a + b"),
    ("slots", "hwt_slots_put", "sticky == 0 ||", "sticky != 0 ||"),
    ("slots", "hwt_slots_take", "table[places[b] * n + i]", "table[i]"),
    ("slots", "hwt_slots_tally", "hits[b] != 0 ? 0", "hits[b] == 0 ? 0"),
    ("slots", "hwt_slots_tally", "best == labels[b]", "best != labels[b]"),
    ("slots", "hwt_slots_flip", "^= 1", "^= 0"),
    ("slots", "hwt_slots_pick", "total < least", "total > least"),
    ("slots", "hwt_slots_pick", "slot += classes", "slot += slots"),
    ("slots", "hwt_slots_pick", "total = -1", "total = 1 << 30"),
    ("slots", "hwt_slots_apart", "gap < 0 ? -gap : gap", "gap"),
    ("slots", "hwt_slots_follow", "? -down : up", "? down : up"),
    ("slots", "hwt_slots_follow", "? -down : up", "? -down : down + 1"),
    ("slots", "hwt_slots_follow", "total <<= shift", "total <<= shift - 1"),
    ("slots", "hwt_slots_warm", "*left -= *left > 0", "*left -= *left > 1"),
]
PROTOTYPES_ALONE = {"hwt_slots_pick", "hwt_slots_apart", "hwt_slots_follow", "hwt_slots_warm"}
"""Functions that only the mode ``prototypes`` has; the others are caught in ``speculative``."""


def test_faults_stand_where_they_are_put() -> None:
    for file, function, line, _ in MUTANTS:
        place_of((shipped("fpga") / "include" / f"hwt_{file}.h").read_text(), function, line)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "function", "line", "fault"), MUTANTS)
def test_bench_catches_a_fault_of_one_line(
    file: str, function: str, line: str, fault: str, tmp_path: Path, base: Path
) -> None:
    folder = tmp_path / "hls"
    shutil.copytree(
        _made("prototypes" if function in PROTOTYPES_ALONE else "speculative", "fixed16", base), folder
    )
    header = folder / "include" / f"hwt_{file}.h"
    text = header.read_text()
    place = place_of(text, function, line)
    header.write_text(text[:place] + fault + text[place + len(line) :])
    found = run(folder, "make", "test", CFLAGS="-std=c99 -O1 -w")
    assert found.returncode != 0
    assert "values differ" in found.stdout, found.stderr  # a difference of values, and no failure to compile


@pytest.mark.parametrize(
    ("target", "tool", "said"),
    [
        ("vitis", "vitis-run", "--mode hls --tcl build_prj.tcl"),
        ("vitis_hls", "vitis_hls", "-f build_prj.tcl"),
        ("vpp", "v++", "-c --mode hls --config hls_config.cfg --work_dir build_net"),
    ],
)
def test_stub_of_each_tool_receives_its_command(
    target: str, tool: str, said: str, tmp_path: Path, base: Path
) -> None:
    stub = tmp_path / tool
    stub.write_text('#!/bin/sh\necho "$@" > "$0.said"\n')
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    found = run(
        _made("speculative", "fixed16", base), "make", target, PATH=f"{tmp_path}:{os.environ['PATH']}"
    )
    assert found.returncode == 0, found.stderr
    assert (tmp_path / f"{tool}.said").read_text().strip() == said


def test_tools_that_are_missing_and_arguments_that_are_wrong_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (["export"], "export needs RUN and --out, or --check DIR"),
        (
            ["export", "--check", str(tmp_path)],
            "no such file: name a folder that hwtrain export --to hls made",
        ),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
