"""Training steps in slices: whatever the budgets, the same bits; on the host and on a simulated core."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hwtrain.cards import McuCard, card
from hwtrain.export import mcu as mcu_module
from hwtrain.export.mcu import write_mcu
from hwtrain.native import compiler
from hwtrain.nets.base import mlp
from hwtrain.program.cycles import costs, machine, part_cycles
from hwtrain.program.ir import Entry, Program
from hwtrain.program.lower import lower
from hwtrain.rules.base import Bound
from hwtrain.sim.base import mcu_folder
from hwtrain.sim.cores import CORES
from tests.programs import NETS, bound_on, samples, small_program

DRIVER = Path(__file__).parent / "mcu_slices.c"
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")


def tiny_program(net: str, device: str) -> tuple[Bound, Program]:
    bound = bound_on(mlp(net, "relu"), device)
    return bound, lower(bound, (int(net.split("-")[0]),), 2)


def exported(kind: str, device: str, folder: Path) -> Path:
    bound, program = small_program(kind, device) if kind in NETS else tiny_program(kind, device)
    write_mcu(program, samples(bound, program, 6), 0.05, folder, "a core")
    return folder


def rows(text: str) -> list[tuple[int, int, int]]:
    found = [tuple(map(int, line.split())) for line in text.splitlines()]
    assert len(found) == 9
    return found  # type: ignore[return-value]


def check(found: list[tuple[int, int, int]]) -> None:
    """One content in the end, and the smaller the budget, the more calls."""
    assert len({content for _, _, content in found}) == 1
    whole, one, thousand, part, third, all_, most, mixed, again = [calls for _, calls, _ in found]
    assert whole == all_ == most == again == 10
    assert one > thousand > part > whole
    assert one > mixed > third > whole


def on_host(folder: Path, scratch: Path) -> list[tuple[int, int, int]]:
    made = scratch / "slices"
    sim = mcu_folder() / "sim"
    files = [DRIVER, folder / "hwt_net.c", sim / "host.c"]
    include = [f"-I{each}" for each in (folder, folder / "include", sim)]
    subprocess.run([compiler(), *FLAGS, *include, *files, "-o", made], check=True, timeout=100)
    return rows(subprocess.run([made], capture_output=True, text=True, check=True, timeout=100).stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "device"), [("9-6-4", "fp16-stochastic"), ("cnn", "fp16")])
def test_any_budgets_make_the_same_bits(kind: str, device: str, tmp_path: Path) -> None:
    check(on_host(exported(kind, device, tmp_path / "net"), tmp_path))


@pytest.mark.slow
def test_a_whole_step_has_no_budget_however_long_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def long_parts(program: Program, entry: Entry) -> list[int]:
        return [3_000_000_000] * len(program.entries[entry])

    monkeypatch.setattr(mcu_module, "part_cycles", long_parts)
    found = on_host(exported("9-6-4", "fp16", tmp_path / "net"), tmp_path)
    assert len({content for _, _, content in found}) == 1
    assert found[0][1] == found[6][1] == 10  # hwt_train_step, and a slice of UINT32_MAX


@pytest.mark.slow
def test_a_core_makes_the_bits_of_the_host_in_slices(tmp_path: Path) -> None:
    folder = exported("mlp", "fp16-compensated", tmp_path / "net")
    made = tmp_path / "slices"
    sim = mcu_folder() / "sim"
    include = [folder, folder / "include", sim]
    files = [DRIVER, folder / "hwt_net.c"]
    flags = [*FLAGS, *(f"-I{each}" for each in include)]
    subprocess.run([compiler(), *flags, *files, sim / "host.c", "-o", made], check=True, timeout=100)
    host = subprocess.run([made], capture_output=True, text=True, check=True, timeout=100).stdout
    core = CORES["m55"]()
    core.build(files, tmp_path / "slices.elf", include=include)
    ran = core.run(tmp_path / "slices.elf")
    assert ran.status == 0
    assert rows(ran.text) == rows(host)


def test_the_parts_of_a_step_are_its_modelled_cycles() -> None:
    _, program = small_program("cnn", "fp16")
    parts = part_cycles(program, "step")
    assert len(parts) == len(program.entries["step"])
    core = card("cortex-m55")
    assert isinstance(core, McuCard)
    whole = sum(cost.cycles for cost in costs(program, "step", machine(core, moves=False)))
    assert whole <= sum(parts) <= whole + len(parts)
