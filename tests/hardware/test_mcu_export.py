"""Training steps as C for microcontrollers: the same bits on simulated cores, and through power cuts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hwtrain.analysis.code_size import code_size, data_bytes, guessed_size
from hwtrain.cli import main
from hwtrain.config import make_config
from hwtrain.errors import ProgramError, RunError
from hwtrain.export.mcu import run_mcu, write_mcu
from hwtrain.layers.relu import Relu
from hwtrain.native import compiler
from hwtrain.net import Net
from hwtrain.nets import ds_cnn, resnet8
from hwtrain.program.ir import Program, walk
from hwtrain.program.lean import lean
from hwtrain.program.lower import lower
from hwtrain.rules.base import Bound
from hwtrain.sim.base import mcu_folder
from hwtrain.sim.cores import CORES
from hwtrain.sim.elf import sizes
from hwtrain.training.trial import Spec, place
from tests.programs import bound_on, samples, small_mlp, small_program

HERE = Path(__file__).parent


def in_strips() -> tuple[Bound, Program]:
    """The last layer of a ResNet-8, an eighth as wide, learns behind images in strips."""
    config = make_config(rule="shallow", device="fp16", rule_options="still=true")
    net = resnet8.make((3, 32, 32), 4, Relu, 2)
    bound, _ = place(Spec("device", "shallow", "fp16", seed=0, lr=0.05), config, net)
    return bound, lower(bound, (3, 32, 32))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "device"),
    [("mlp", "fp16"), ("mlp", "fp16-compensated"), ("mlp", "fp16-stochastic"), ("cnn", "fp16")],
)
def test_every_core_learns_the_same_bits(kind: str, device: str, tmp_path: Path) -> None:
    bound, program = small_program(kind, device)
    folder = tmp_path / "net"
    write_mcu(program, samples(bound, program, 12), 0.05, folder, "a core")
    for name, core in CORES.items():
        found = run_mcu(folder, name, core())
        sys.stdout.write(f"{kind} {device} {name}: {found.steps} steps, {found.sha256}\n")
        assert found.ok
        assert found.steps >= 100
        assert found.changed > 0.9
        assert found.arena - 64 < found.high_water <= found.arena


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "shape", "core"), [(ds_cnn.make, (1, 16, 16), "v2f16"), (resnet8.make, (3, 32, 32), "m55")]
)
def test_whole_nets_learn_the_same_bits(
    make: Callable[..., Net], shape: tuple[int, ...], core: str, tmp_path: Path
) -> None:
    """An eighth as wide, for three steps; benchmarks/mcu_nets.py goes on for a hundred, on every core."""
    net = make(shape, 4, Relu, 32 // 8 if core == "v2f16" else 16 // 8)
    bound = bound_on(net, "fp16")
    program = lower(bound, shape)
    folder = tmp_path / "net"
    write_mcu(program, samples(bound, program, 3), 0.05, folder, "a core", steps=3)
    found = run_mcu(folder, core, CORES[core]())
    sys.stdout.write(f"{core}: arena {found.arena}, written up to {found.high_water}\n")
    assert found.ok
    assert found.changed > 0.8
    assert found.arena - 64 < found.high_water
    # On this machine, too, what is painted stays painted but for the arena.
    made, sim = tmp_path / "run", mcu_folder() / "sim"
    flags = ["-std=c11", "-O1", "-ffp-contract=off", f"-I{folder}", f"-I{folder / 'include'}", f"-I{sim}"]
    files = [folder / "hwt_net.c", folder / "hwt_run.c", sim / "host.c"]
    subprocess.run([compiler(), *flags, *files, "-o", made], check=True, timeout=100)
    ran = subprocess.run([made], capture_output=True, text=True, check=True, timeout=100)
    numbers = dict(line.split() for line in ran.stdout.partition("learned")[0].splitlines())
    assert (int(numbers["high"]), int(numbers["below"])) == (found.high_water, 0)


@pytest.mark.slow
def test_from_a_run_to_a_core_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "net"
    settings = ["--data", "digits", "--net", "64-12-10", "--device", "fp16", "--epochs", "1", "--seeds", "1"]
    assert main(["train", *settings, "--batch", "4", "--lr", "0.1", "--out", str(run)]) == 0
    assert main(["export", str(run), "--to", "mcu", "--target", "m55", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["mcu", "run", str(out), "--sim", "m55"]) == 0
    said = capsys.readouterr().out
    assert "100 training steps, the same bits as the host's interpreter" in said
    subprocess.run(["make", "-s", "test"], cwd=out, check=True, timeout=300)
    # A changed weight is noticed by the self test, and by the comparison.
    source = (out / "hwt_net.c").read_text()
    start = source.index("first_fc2_weight_master[")
    place = source.index("{", start) + 1
    (out / "hwt_net.c").write_text(source[:place] + "1.0f +" + source[place:])
    with pytest.raises(ProgramError, match="the self test fails on Cortex-M55"):
        run_mcu(out, "m55", CORES["m55"]())


def test_a_cut_at_any_write_point_boots_with_old_or_new_content(tmp_path: Path) -> None:
    made = tmp_path / "cuts"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{mcu_folder() / 'src'}"]
    subprocess.run([compiler(), *flags, HERE / "power_cuts.c", "-o", made], check=True, timeout=100)
    ran = subprocess.run([made], capture_output=True, text=True, check=True, timeout=100)
    cuts, old, new = map(int, ran.stdout.split())
    assert cuts > 1000
    assert old + new == cuts
    assert old > 0


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    bound, program = small_program("mlp", "float32")
    with pytest.raises(ProgramError, match="signals are no halves: export a run with --device fp16"):
        write_mcu(program, samples(bound, program, 2), 0.05, tmp_path / "a", "a core")
    bound = bound_on(small_mlp("fp16"), "fp16")
    program = lower(bound, (37,), 3)
    with pytest.raises(ProgramError, match="batch = 3: a core without doubles needs a power of two"):
        write_mcu(program, samples(bound, program, 2), 0.05, tmp_path / "b", "a core")
    with pytest.raises(RunError, match="no export for a microcontroller"):
        run_mcu(tmp_path, "m55", CORES["m55"]())
    shutil.rmtree(tmp_path / "b", ignore_errors=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
def test_a_net_in_strips_learns_the_same_bits(core: str, tmp_path: Path) -> None:
    bound, program = in_strips()
    assert any(call.kernel.startswith("strip.") for call in walk(lean(program).entries["step"]))
    write_mcu(program, samples(bound, program, 3), 0.05, tmp_path / "net", "a core", steps=3)
    assert run_mcu(tmp_path / "net", core, CORES[core]()).ok


@pytest.mark.parametrize(
    ("kind", "core"),
    [
        pytest.param(kind, core, marks=() if (kind, core) == ("mlp", "m55") else pytest.mark.slow)
        for kind in ("mlp", "cnn", "strips")
        for core in CORES
    ],
)
def test_planned_code_is_the_exported_folders(kind: str, core: str, tmp_path: Path) -> None:
    """Within 2 % of the object that the folder becomes, whose samples no plan knows."""
    bound, program = in_strips() if kind == "strips" else small_program(kind, "fp16")
    recorded = samples(bound, program, 3)
    write_mcu(program, recorded, 0.05, tmp_path / "net", "a core", steps=3)
    folder, made = tmp_path / "net", tmp_path / "net.o"
    CORES[core]().compile(folder / "hwt_net.c", made, [folder, folder / "include"])
    found, program = sizes(made), lean(program)
    more = sum(values.nbytes for values in recorded.values()) * 2 // 3  # beside the one of data_bytes
    planned = code_size(program, core)
    assert planned.says == f"as compiled for {CORES[core].title}"
    taken = found["text"] + found["rodata"] - more
    assert abs(planned.nbytes + data_bytes(program) - taken) <= 0.02 * taken
    assert abs(planned.nbytes - (taken - data_bytes(program))) <= 0.02 * found["text"]
    assert found["data"] == found["bss"] == 0
    assert 0.65 < guessed_size(program, core).nbytes / planned.nbytes < 2
