"""The folder of C that an export writes: it tests itself, takes any C99 compiler, and notices a change."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from hwtrain.cli import main
from hwtrain.errors import ProgramError, RunError
from hwtrain.export.printers.c import export_c
from hwtrain.program.ir import Program
from hwtrain.program.lower import lower
from tests.programs import CARDS, bound_on, small_cnn, small_mlp

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-ffp-contract=off")
STEPS = 6


def exported(device: str, folder: Path, kind: str = "mlp") -> Program:
    """A small net's program, exported with samples of its own."""
    net, shape = (small_mlp(device), (37,)) if kind == "mlp" else (small_cnn(device), (2, 8, 8))
    bound = bound_on(net, device)
    program = lower(bound, shape)
    rng = np.random.default_rng(0)
    x = bound.net.encode(torch.from_numpy(rng.random((STEPS, *shape))).float()).numpy()
    labels = rng.integers(0, 4, (STEPS, 1)).astype(np.int32)
    assert export_c(program, {"x": x.reshape(STEPS, 1, *shape), "labels": labels}, 0.05, folder) > 300
    return program


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize("device", CARDS)
def test_export_compiles_strictly_and_its_test_passes(device: str, kind: str, tmp_path: Path) -> None:
    exported(device, tmp_path / "c", kind)
    for cc in ("gcc", "clang"):
        command = [cc, *STRICT, "-Iinclude", "-c", "hwt_net.c", "-o", "strict.o"]
        subprocess.run(command, cwd=tmp_path / "c", check=True)
    done = subprocess.run(["make", "test"], cwd=tmp_path / "c", capture_output=True, text=True, check=True)
    assert f"{STEPS} steps" in done.stdout
    assert "0 differ" in done.stdout


def test_one_wrong_value_fails_its_test(tmp_path: Path) -> None:
    exported("fixed16", tmp_path / "c")
    vectors = tmp_path / "c" / "vectors.h"
    head, mark, rest = vectors.read_text().partition("last_fc1_weight[")
    start, brace, values = rest.partition("{\n")
    first, comma, others = values.partition(",")
    vectors.write_text(f"{head}{mark}{start}{brace}{int(first) + 1}{comma}{others}")
    done = subprocess.run(["make", "test"], cwd=tmp_path / "c", capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "fc1_weight: 1 of" in done.stdout


def test_same_program_same_bytes(tmp_path: Path) -> None:
    exported("shift4", tmp_path / "one")
    exported("shift4", tmp_path / "other")
    files = sorted(file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*.*"))
    assert len(files) > 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes(), file


def test_what_only_this_machine_can_run_is_refused(tmp_path: Path) -> None:
    program = lower(bound_on(small_mlp("float32"), "ideal-envm"), (37,))
    with pytest.raises(ProgramError, match=r"is for the host alone"):
        export_c(program, {"x": np.zeros((1, 1, 37), np.float32)}, 0.1, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_folder_that_holds_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(RunError, match="already holds files"):
        exported("fixed8", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_unknown_target_and_missing_run_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (["export", str(tmp_path), "--to", "pascal", "--out", str(tmp_path / "c")], "no printer is called"),
        (["export", str(tmp_path / "none"), "--out", str(tmp_path / "c")], "no such run folder"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
