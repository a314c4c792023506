"""A program as C11 for a microcontroller: one block of memory, a few functions, a self test; and its runs.

What is written is compiled and run before it is called done: on the host, and on request on a simulated core,
where the weights after many steps must be those of the interpreter, bit for bit.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from hwtrain.errors import ProgramError, RunError
from hwtrain.export.folder import array_c, render, run_test, whole_folder
from hwtrain.export.host_c import NO_END, TYPES, HostC, host_c, identifiers, in_comment, refuse_missing
from hwtrain.export.run import InterpretRunner, Memory
from hwtrain.files import write_file
from hwtrain.program.cycles import part_cycles
from hwtrain.program.ir import Program
from hwtrain.program.lean import lean
from hwtrain.shipped import shipped
from hwtrain.sim.base import LIMIT_S, Core

CHECKED = 3
"""Steps of the self test on the board."""
STACK = 12_000
"""Bytes of stack, at least, that the products' panels and a gradient's strip need on any core."""
HEAD = 16
FLAGS = (
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffp-contract=off",
    "-ffreestanding",
    "-Iinclude",
    "-I.",
)
HEADERS = ("hwt_math.h", "hwt_threefry.h")


@dataclass(frozen=True)
class Proof:
    """A run of an exported folder on a simulated core beside the host's interpreter.

    ``instructions`` is of one training step; ``high_water`` is where the last byte lies that was written, and
    ``below`` counts bytes from the first one written in front of the arena on.
    """

    core: str
    steps: int
    sha256: str
    expected: str
    changed: float
    instructions: int
    arena: int
    high_water: int
    below: int

    @property
    def ok(self) -> bool:
        """Whether every bit is equal and nothing outside of the arena was written."""
        return self.sha256 == self.expected and self.high_water <= self.arena and not self.below


def write_mcu(
    program: Program, samples: Memory, lr: float, folder: Path, title: str, steps: int | None = None
) -> int:
    """Write the folder and run its self test; how many values that compares.

    ``steps`` is how many a run on a core takes: by default one a sample, and 100 at least.

    Raises:
        ProgramError: signals that are no halves, a kernel without a form in C, or a difference.
        NativeError: no compiler, or it refuses the code.
        RunError: the folder holds files, or cannot be written.
    """
    if not program.halves:
        raise ProgramError("signals are no halves: export a run with --device fp16, or --to c")
    refuse_missing(program)
    batch = program.buffers["x"].shape[0]
    if batch & (batch - 1):
        raise ProgramError(
            f"batch = {batch}: a core without doubles needs a power of two: train with --batch 4"
        )

    program = lean(program)

    def write(made: Path) -> int:
        compared = _write(program, samples, float(np.float32(lr)), made, title, steps)
        run_test(made, ["test.c", "hwt_net.c"], FLAGS)
        return compared

    return whole_folder(folder, write)


def run_mcu(folder: Path, name: str, core: Core, limit_s: float = LIMIT_S) -> Proof:
    """Train on a simulated core as the folder's host has trained, within a time limit.

    Raises:
        RunError: no such folder, or one that no ``export --to mcu`` wrote.
        NativeError: a tool is missing, or the core does not come to an end.
        ProgramError: the self test fails there, or the run does.
    """
    try:
        expected = json.loads((folder / "expected.json").read_text())
    except (OSError, ValueError):
        raise RunError(
            f"{folder}: no export for a microcontroller: name what export --to mcu wrote"
        ) from None
    with tempfile.TemporaryDirectory() as scratch:
        elf = Path(scratch) / "run.elf"
        core.build([folder / "hwt_net.c", folder / "hwt_run.c"], elf, include=[folder, folder / "include"])
        ran = core.run(elf, limit_s)
    if ran.status or "learned\n" not in ran.text:
        raise ProgramError(f"{folder}: the run on {core.title} fails with status {ran.status}")
    head, _, dump = ran.text.partition("learned\n")
    if "differs" in head:
        raise ProgramError(f"{folder}: the self test fails on {core.title}")
    numbers = dict(line.split() for line in head.splitlines())
    learned = bytes.fromhex(dump)
    first = bytes.fromhex(expected["first"])
    changed = np.frombuffer(learned, np.uint16) != np.frombuffer(first, np.uint16)
    places = np.zeros(len(changed), bool)
    for start, end in expected["weights"]:
        places[start // 2 : end // 2] = True
    return Proof(
        core=name,
        steps=expected["steps"],
        sha256=sha256(learned).hexdigest(),
        expected=expected["sha256"],
        changed=float(changed[places].mean()),
        instructions=round(int(numbers["count"]) / core.per_instruction),
        arena=expected["arena"],
        high_water=int(numbers["high"]),
        below=int(numbers["below"]),
    )


class _Layout:
    """Where everything lies in the arena."""

    def __init__(self, program: Program, temporaries: int) -> None:
        self.program = program
        self.names = identifiers(iter(program.buffers))
        self.offsets: dict[str, int] = {}
        at = HEAD
        for name, buffer in program.buffers.items():
            if buffer.role in ("weight", "state"):
                self.offsets[name] = at
                at += -(-buffer.nbytes // 8) * 8
        self.learned = at
        self.temporaries = -(-at // 64) * 64
        self.arena = self.temporaries + temporaries

    def content(self, memory: Memory, step: int) -> bytes:
        """What the learned part of the arena holds; little-endian, as every core is."""
        room = bytearray(self.learned)
        room[:HEAD] = np.array([0x68777431, step, 0, 0], "<u4").tobytes()
        for name, at in self.offsets.items():
            values = memory[name].tobytes()
            room[at : at + len(values)] = values
        return bytes(room)


def _write(program: Program, samples: Memory, lr: float, folder: Path, title: str, asked: int | None) -> int:
    parts = part_cycles(program, "step")
    printed = host_c(program, many=False, rate="float", slices=parts)
    layout = _Layout(program, printed.arena)
    n = len(samples["x"])
    steps = asked or max(100, n)
    check = min(CHECKED, steps)
    runner = InterpretRunner(program)
    memory = runner.memory(1, {name: values[:1].copy() for name, values in samples.items()})
    outputs = b""
    checked = b""
    for step in range(steps):
        for name, values in samples.items():
            memory[name] = values[step % n : step % n + 1].copy()
        runner.run("step", 1, memory, lr, step)
        if step + 1 == check:
            memory["x"] = samples["x"][:1].copy()
            runner.run("predict", 1, memory)
            checked, outputs = layout.content(memory, check), memory["z"].tobytes()
    if not all(np.isfinite(memory[name]).all() for name in layout.offsets):
        raise ProgramError(
            f"training leaves numbers that are not finite within {steps} steps: use a smaller --lr"
        )
    learned = layout.content(memory, steps)
    crcs = {"learned_crc": zlib.crc32(checked), "outputs_crc": zlib.crc32(outputs)}
    counts = {"steps": steps, "samples": n, "checked": check, "rate": f"{lr.hex()}f"}
    _sources(program, printed, parts, layout, samples, folder, crcs | counts | {"title": title})
    weights = [
        [at, at + program.buffers[name].nbytes]
        for name, at in layout.offsets.items()
        if name.endswith("/weights")
    ]
    proof = {
        "steps": steps,
        "sha256": sha256(learned).hexdigest(),
        "first": layout.content(program.contents, 0).hex(),
        "weights": weights,
        "arena": layout.arena,
    }
    write_file(folder / "expected.json", json.dumps(proof) + "\n")
    return sum(program.buffers[name].size for name in layout.offsets) + program.buffers["z"].size


def write_unchecked(program: Program, folder: Path) -> None:
    """What ``write_mcu`` writes, but with one sample of zeros and sums that nobody worked out; not run."""
    parts = part_cycles(program, "step")
    printed = host_c(program, many=False, rate="float", slices=parts)
    samples = InterpretRunner(program).memory(1, {})
    one = {"title": "", "rate": "0x1p-4f", "steps": 1, "samples": 1, "checked": 1}
    crcs = {"learned_crc": 1, "outputs_crc": 1}
    _sources(program, printed, parts, _Layout(program, printed.arena), samples, folder, one | crcs)


def _sources(
    program: Program,
    printed: HostC,
    parts: list[int],
    layout: _Layout,
    samples: Memory,
    folder: Path,
    expected: dict[str, Any],
) -> None:
    rows = [
        {"name": layout.names[name], "offset": at, "type": TYPES[program.buffers[name].format]}
        for name, at in layout.offsets.items()
    ]
    contents = [
        array_c(f"first_{layout.names[name]}", TYPES[program.buffers[name].format], program.contents[name])
        for name in layout.offsets
    ]
    for name, buffer in program.buffers.items():
        if buffer.role == "const":
            contents.append(array_c(layout.names[name], TYPES[buffer.format], program.contents[name]))
    given: dict[str, Any] = {
        "name": in_comment(program.listing.name),
        "printed": printed.source.replace("uint32_t hwt_step(", "static uint32_t net_step(").replace(
            "void hwt_predict(", "static void net_predict("
        ),
        "contents": "\n\n".join(contents),
        "arguments": ", ".join(_argument(layout, name) for name in printed.order),
        "learned_rows": rows,
        "learned": layout.learned,
        "temporaries": layout.temporaries,
        "arena": layout.arena,
        "stack": STACK,
        "batch": program.buffers["x"].shape[0],
        "inputs": math.prod(program.buffers["x"].shape[1:]),
        "classes": program.buffers["z"].shape[-1],
        "model": zlib.crc32(program.listing.model_dump_json().encode()),
        "step_cycles": min(sum(parts), NO_END - 1),
        "part_cycles": min(max(parts), NO_END - 1),
    }
    render(shipped("devices") / "mcu" / "templates", folder, given | expected)
    write_file(folder / "hwt_samples.h", _samples(samples))
    (folder / "include").mkdir()
    for header in sorted((shipped("devices") / "mcu" / "src").glob("*.h")):
        shutil.copyfile(header, folder / "include" / header.name)
    for name in HEADERS:
        shutil.copyfile(shipped("fpga") / "include" / name, folder / "include" / name)


def _argument(layout: _Layout, name: str) -> str:
    buffer = layout.program.buffers[name]
    if name in layout.offsets:
        return f"AT({TYPES[buffer.format]}, {layout.offsets[name]})"
    return layout.names[name]


def _samples(samples: Memory) -> str:
    """The recorded samples, one row a step."""
    x = samples["x"].reshape(len(samples["x"]), -1)
    labels = samples["labels"].reshape(len(x), -1)
    rows = ["{" + ", ".join(f"0x{bits:04X}" for bits in row) + "}" for row in x.view(np.uint16).tolist()]
    classes = ["{" + ", ".join(map(str, row)) + "}" for row in labels.tolist()]
    unused = "__attribute__((unused)) "
    return (
        "/* Samples as they were recorded: inputs as bits of 16-bit floats, and classes. */\n"
        "#include <stdint.h>\n\n"
        f"{unused}static const uint16_t hwt_sample_x[{len(x)}][{x.shape[1]}] = {{\n    "
        + ",\n    ".join(rows)
        + f"\n}};\n\n{unused}static const int32_t hwt_sample_labels[{len(x)}][{labels.shape[1]}] = {{\n    "
        + ",\n    ".join(classes)
        + "\n};\n"
    )
