"""Simulated cores compute what hwtrain's own arithmetic says, to the bit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hwtrain.errors import NativeError
from hwtrain.sim import base
from hwtrain.sim.base import Core, mcu_folder
from hwtrain.sim.qemu import M55
from hwtrain.sim.spike import Rvv, V2f16
from tests.fp16_blocks import blocks

CORES = {"m55": M55(), "rvv": Rvv(), "rvv512": Rvv(512), "v2f16": V2f16()}
REPEATS = 20


@pytest.mark.slow
@pytest.mark.parametrize("name", CORES)
def test_a_core_makes_the_same_blocks(name: str, tmp_path: Path) -> None:
    """All 65,536 patterns of each operand against 16 pairs of partners, and products of every form."""
    core = CORES[name]
    elf = tmp_path / "check.elf"
    core.build([mcu_folder() / "sim" / "check16.c"], elf, [f"CHECK_REPEATS={REPEATS}"])
    ran = core.run(elf)
    lines = ran.text.splitlines()
    assert ran.status == 0
    assert lines == blocks(repeats=REPEATS)
    outputs = sum(int(line.split()[2]) for line in lines)
    sys.stdout.write(f"{core.title}: {len(lines)} blocks, {outputs:,} outputs, 0 differ\n")
    assert outputs > 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", CORES)
def test_what_never_ends_is_stopped(name: str, tmp_path: Path) -> None:
    source = tmp_path / "loop.c"
    source.write_text("int main(void) { for (volatile int i = 0;; i++) { } }\n")
    CORES[name].build([source], tmp_path / "loop.elf")
    with pytest.raises(NativeError, match="not done after 2 s"):
        CORES[name].run(tmp_path / "loop.elf", limit_s=2)


def test_a_memory_that_is_too_small_is_named(tmp_path: Path) -> None:
    source = tmp_path / "large.c"
    source.write_text("char large[1 << 20] = {1};\nint main(void) { return large[0]; }\n")
    with pytest.raises(NativeError, match="region `DTCM' overflowed"):
        CORES["m55"].build([source], tmp_path / "elf")


@pytest.mark.parametrize("core", [M55(), V2f16()])
def test_a_missing_tool_is_named_with_its_package(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base.shutil, "which", lambda _: None)
    with pytest.raises(NativeError, match=r"^no \S+: install it \(Debian: apt install \S+\)$"):
        core.build([], tmp_path / "x.elf")
    with pytest.raises(NativeError, match=r"^no \S+: install it \(Debian: apt install \S+\)$"):
        core.command(tmp_path / "x.elf")
