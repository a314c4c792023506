"""A program as a folder of C99 that stands by itself: source, kernels, a test with vectors, a Makefile.

The test is run before the folder is called done: what is written has been trained with, and compared
with the interpreter bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwtrain.export.folder import (
    MEANING,
    ROLES,
    formats,
    include,
    refuse_host,
    render,
    run_test,
    vectors,
    whole_folder,
)
from hwtrain.export.host_c import TYPES, host_c, identifiers, in_comment
from hwtrain.export.printers.base import Printer
from hwtrain.export.run import Memory
from hwtrain.files import write_file
from hwtrain.kernels.fixed import halvings
from hwtrain.program.ir import Program

FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffp-contract=off")


class C(Printer):
    """``hwtrain export --to c``."""

    about = "C99 with the kernels, vectors and a Makefile"
    then = "build it with make"

    def write(self, program: Program, samples: Memory, lr: float, out: Path) -> int:
        """A folder, its test run; how many values that compares."""
        return export_c(program, samples, lr, out)


def export_c(program: Program, samples: Memory, lr: float, folder: Path) -> int:
    """Write the folder and run its test; how many values the test compares.

    ``samples`` holds the windowed inputs of as many steps as the test shall take.

    Raises:
        ProgramError: a kernel of the program is for the host alone, or the test found a difference.
        NativeError: no compiler, or it refuses the code.
        RunError: the folder holds files, or cannot be written.
    """
    refuse_host(program)

    def write(made: Path) -> int:
        compared = _write(program, samples, lr, made)
        run_test(made, ["test.c", "hwt_net.c"], FLAGS)
        return compared

    return whole_folder(folder, write)


def _write(program: Program, samples: Memory, lr: float, folder: Path) -> int:
    printed = host_c(program, many=False)
    names = identifiers(iter(program.buffers))
    steps = len(samples["x"])
    before, after = vectors(program, samples, lr)
    integer = program.listing.numbers is not None
    rows, judged = [], []
    lists = [
        f"/* First and last values of {steps} steps, and the samples between. */",
        "#include <stdint.h>\n",
    ]
    for name in printed.order:
        buffer = program.buffers[name]
        given = buffer.role in ("input", "label", "const")
        size = buffer.size * (steps if buffer.windowed else buffer.copies)
        row: dict[str, Any] = {"name": names[name], "type": TYPES[buffer.format], "size": size}
        row |= {"shape": "x".join(map(str, buffer.whole)), "role": ROLES[buffer.role], "given": given}
        row["first"] = not given and name in program.contents
        row["moving"] = names[name] + (f" + step * {buffer.size}" if buffer.windowed else "")
        rows.append(row)
        if given:
            lists.append(_array("", row, before[name]))
        elif row["first"]:
            lists.append(_array("first_", row, before[name]))
        if not given:
            lists.append(_array("last_", row, after[name]))
            judged.append(row)
    compared = sum(int(row["size"]) for row in judged)
    given_names = {
        "name": in_comment(program.listing.name),
        "steps": steps,
        "entries": list(program.entries),
        "meaning": MEANING,
        "rows": rows,
        "arguments": rows,
        "kept": [row for row in rows if not row["given"]],
        "judged": judged,
        "arena": printed.arena,
        "lr": halvings(lr) if integer else float(lr).hex(),
        "lr_type": "int32_t" if integer else "double",
        "lr_meaning": "the learning rate as a shift: 2^-lr" if integer else "the learning rate",
        "formats": formats(program),
        "compared": compared,
    }
    write_file(
        folder / "hwt_net.c",
        printed.source.replace('#include "hwt.h"', '#include "hwt.h"\n#include "hwt_net.h"'),
    )
    write_file(folder / "hwt_net.h", _header(printed.source))
    write_file(folder / "vectors.h", "\n".join(lists) + "\n")
    render("c", folder, given_names)
    include(folder)
    return compared


def _header(source: str) -> str:
    """The prototypes of the entries."""
    lines, inside = ["#ifndef HWT_NET_H", "#define HWT_NET_H", "", "#include <stdint.h>", ""], False
    for line in source.splitlines():
        if line.startswith("void hwt_"):
            inside = True
        if line == "{":
            if inside:
                lines[-1] += ";"
                lines.append("")
            inside = False
        if inside:
            lines.append(line)
    return "\n".join([*lines, "#endif", ""])


def _array(prefix: str, row: dict[str, Any], values: NDArray[Any]) -> str:
    flat = values.reshape(-1)
    if flat.dtype == np.float32:
        texts = [f"{value.hex()}f" for value in flat.astype(np.float64).tolist()]
    else:
        texts = [str(value) for value in flat.tolist()]
    lines = [", ".join(texts[start : start + 8]) for start in range(0, len(texts), 8)]
    return (
        f"static const {row['type']} {prefix}{row['name']}[{row['size']}] = {{\n" + ",\n".join(lines) + "\n};"
    )
