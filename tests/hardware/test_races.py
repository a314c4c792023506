"""Threads of the native engine under ThreadSanitizer; with races put in on purpose.

They are POSIX threads and C11 atomics, which ThreadSanitizer sees as they are.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hwtrain.export.host_c import TYPES, HostC, host_c
from hwtrain.export.run import NativeRunner
from hwtrain.nets.base import mlp
from hwtrain.program.ir import Program
from hwtrain.program.lower import lower
from hwtrain.program.schedule import scheduled
from hwtrain.shipped import shipped
from tests.differential.test_speculative import MODES, made
from tests.helpers import synapse_card
from tests.programs import bound_on

STEPS, THREADS, LOOKS = 200, 4, 20


def main_of(program: Program, printed: HostC) -> str:
    """A main that trains on noise: races do not depend on values, but both branches must be taken."""
    lines = ["#include <stdio.h>", "#include <stdlib.h>", "int main(void) {", "void *buffers[64];"]
    for place, name in enumerate(printed.order):
        buffer = program.buffers[name]
        size = buffer.size * buffer.copies * (STEPS if buffer.windowed else 1)
        kind = TYPES[buffer.format]
        lines.append(f"{kind} *b{place} = calloc({size}, sizeof *b{place}); buffers[{place}] = b{place};")
        value = {"label": "rand() % 10", "input": "(float)rand() / 2147483648.0f"}.get(buffer.role)
        if buffer.role == "weight":
            value = "0.1f * ((float)rand() / 2147483648.0f - 0.5f)"
        if value is not None:
            lines.append(f"for (int i = 0; i < {size}; i++) b{place}[i] = {value};")
    lines += [
        f"buffers[{len(printed.order)}] = aligned_alloc(64, {-(-printed.arena // 64) * 64 + 64});",
        f"hwt_step_many({STEPS}, buffers, 0.01, 0);",
    ]
    if "taken0" in printed.order:
        place = printed.order.index("taken0")
        lines.append(f'printf("taken %ld %ld\\n", (long)b{place}[0], (long)b{place}[1]);')
    return "\n".join([*lines, "return 0; }"]) + "\n"


def watched(tmp_path: Path, cc: str, program: Program, source: str, printed: HostC, looks: int = 1) -> str:
    """What ThreadSanitizer says of a run, and what the run printed."""
    file = tmp_path / "watched.c"
    file.write_text(source + main_of(program, printed))
    kernels = shipped("fpga")
    flags = ["-std=c11", "-O1", "-g", "-ffp-contract=off", "-pthread", "-fsanitize=thread", "-w"]
    command = [
        cc,
        *flags,
        f"-I{kernels / 'include'}",
        f"-I{kernels / 'host'}",
        str(file),
        "-o",
        str(tmp_path / "watched"),
    ]
    subprocess.run(command, check=True, timeout=120)
    return run(tmp_path, looks)


def run(folder: Path, looks: int) -> str:
    """What the program in a folder and ThreadSanitizer say; up to so many runs, until a race is seen.

    A thread that wakes late goes through a meeting after the others have come to the next one. What they did
    between is then before what it does, and a race there is none in that run.
    """
    said = ""
    for _ in range(looks):
        done = subprocess.run(
            ["./watched"], cwd=folder, capture_output=True, text=True, check=False, timeout=300
        )
        said = done.stdout + done.stderr
        if "WARNING: ThreadSanitizer: data race" in said:
            break
    return said


@pytest.mark.slow
@pytest.mark.parametrize("cc", ["gcc", "clang"])
@pytest.mark.parametrize("name", ["shadow", "delayed", "delayed-reuse", "neuron", "lookahead"])
def test_no_mode_has_a_race(name: str, cc: str, tmp_path: Path) -> None:
    _, program = made(MODES[name] | {"threshold": 0.3}, "float32", "64-96-10")
    program = scheduled(program, THREADS)
    assert any(node.kind == "sections" for node in program.entries["step"])
    printed = host_c(program, THREADS)
    said = watched(tmp_path, cc, program, printed.source, printed)
    assert "ThreadSanitizer" not in said, said[:2000]
    if name == "shadow":
        hits, misses = map(int, said.split("taken ")[1].split())
        assert hits + misses == STEPS
        assert misses > 0


@pytest.mark.slow
@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_a_race_put_in_on_purpose_is_seen(cc: str, tmp_path: Path) -> None:
    """The speculative write goes to the weights that the other thread reads."""
    _, program = made(MODES["shadow"] | {"threshold": 0.3}, "float32", "64-96-10")
    printed = host_c(scheduled(program, THREADS), THREADS)
    source, found = re.subn(r"\(\*rule_turn \? 0 : (\d+)\)", r"(*rule_turn ? \1 : 0)", printed.source)
    assert found
    said = watched(tmp_path, cc, program, source, printed, LOOKS)
    assert "WARNING: ThreadSanitizer: data race" in said


def crossbar(folder: Path, line: str = "", fault: str = "") -> str:
    """What ThreadSanitizer says of a crossbar with its periphery that learns on four threads."""
    source = shipped("devices") / "synapse" / "src"
    shutil.copytree(source, folder / "src")
    header = folder / "src" / "hwt_synapse.h"
    assert line in header.read_text()
    header.write_text(header.read_text().replace(line, fault) if line else header.read_text())
    device = synapse_card(
        {"law": "linear", "levels_up": 50, "levels_down": 50},
        read={"noise_rel": 0.1, "adc_bits": 6, "lines": 20},
    )
    program = lower(bound_on(mlp("64-48-10", "tanh"), device), (64,), 2)
    printed = host_c(scheduled(program, THREADS), THREADS)
    rng = np.random.default_rng(0)
    given = {
        "x": rng.random((20, 2, 64), np.float32),
        "labels": rng.integers(0, 10, (20, 2)).astype(np.int32),
    }
    memory = NativeRunner(program).memory(20, given)
    lines = ["#include <stdio.h>", "#include <stdlib.h>", "int main(void) {", "void *buffers[256];"]
    lines.append('FILE *file = fopen("memory.bin", "rb");')
    with (folder / "memory.bin").open("wb") as file:
        for place, name in enumerate(printed.order):
            file.write(memory[name].tobytes())
            size = memory[name].nbytes
            lines.append(f"buffers[{place}] = aligned_alloc(64, {-(-size // 64) * 64 + 64});")
            lines.append(f"if (fread(buffers[{place}], 1, {size}, file) != {size}) return 2;")
    lines.append(f"buffers[{len(printed.order)}] = aligned_alloc(64, {-(-printed.arena // 64) * 64 + 64});")
    lines += ["hwt_step_many(20, buffers, 0.01, 0);", 'puts("learnt");', "return 0; }"]
    (folder / "watched.c").write_text(printed.source + "\n".join(lines) + "\n")
    kernels = shipped("fpga")
    flags = ["-std=c11", "-O1", "-g", "-ffp-contract=off", "-pthread", "-fsanitize=thread", "-w"]
    include = [folder / "src", kernels / "include", kernels / "host", shipped("devices") / "mcu" / "src"]
    command = ["clang", *flags, *(f"-I{place}" for place in include), "watched.c", "-o", "watched", "-lm"]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    said = run(folder, LOOKS if line else 1)
    assert "learnt" in said, said[:2000]
    return said


@pytest.mark.slow
def test_a_crossbar_has_no_race_and_one_put_in_is_seen(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    assert "data race" not in crossbar(tmp_path / "sound")
    (tmp_path / "faulty").mkdir()
    said = crossbar(tmp_path / "faulty", "HWT_MEET(); /* the pulses have landed */", "")
    assert "WARNING: ThreadSanitizer: data race" in said
