"""Bytes of code of an exported training step: compiled, where the core's compiler is there, or estimated."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hwtrain.errors import NativeError
from hwtrain.export.host_c import missing
from hwtrain.export.mcu import write_unchecked
from hwtrain.program.ir import Program, walk
from hwtrain.sim.cores import CORES
from hwtrain.sim.elf import sizes

ESTIMATE = {"m55": (2600, 28), "v2f16": (3300, 24), "rvv": (1430, 48), "float32": (2500, 0)}
"""Bytes for every kernel that is used, and for every call.

Beside what GCC 12.2 and clang make at -O3 of eight steps, from a small MLP to ResNet-8 in strips, 31 % too
low to 83 % too high; for float32 on a Cortex-M7 (MLP, DS-CNN, ResNet-8), 5 % too low to 8 % too high.
"""


@dataclass(frozen=True)
class CodeSize:
    """Bytes, and for which core they were compiled or why they were not."""

    nbytes: int
    says: str


def guessed_size(program: Program, back_end: str, why: str = "not asked for") -> CodeSize:
    """By the number of kernels and of calls."""
    calls = [call for nodes in program.entries.values() for call in walk(nodes)]
    a_kernel, a_call = ESTIMATE[back_end]
    nbytes = a_kernel * len({call.kernel for call in calls}) + a_call * len(calls)
    return CodeSize(nbytes, f"estimated, not compiled: {why}")


def code_size(program: Program, back_end: str) -> CodeSize:
    """Code and the constants that it brings along, without first weights, tables and recorded samples."""
    why = "kernels without C" if program.halves else "float32 has no export of its own"
    if program.halves and not missing(program):
        core = CORES[back_end]()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_unchecked(program, folder)
            try:
                core.compile(folder / "hwt_net.c", folder / "net.o", [folder, folder / "include"])
                found = sizes(folder / "net.o")
                nbytes = found["text"] + found["rodata"] - data_bytes(program)
                return CodeSize(nbytes, f"as compiled for {core.title}")
            except NativeError as problem:
                why = str(problem)
    return guessed_size(program, back_end, why)


def data_bytes(program: Program) -> int:
    """First weights and states, tables, and one sample: what the object holds beside code."""
    buffers = program.buffers
    held = [made for made in buffers.values() if made.role in ("weight", "state", "const")]
    return sum(made.nbytes * made.copies for made in [*held, buffers["x"], buffers["labels"]])
