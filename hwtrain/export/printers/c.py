"""A program as a folder of C99 that stands by itself: source, kernels, a test with vectors, a Makefile.

The test is run before the folder is called done: what is written has been trained with, and compared
with the interpreter bit for bit.
"""

from __future__ import annotations

from pathlib import Path

from hwtrain.export.folder import (
    MEANING,
    array_c,
    formats,
    include,
    refuse_host,
    render,
    row_of,
    run_test,
    vectors,
    whole_folder,
)
from hwtrain.export.host_c import host_c, identifiers, in_comment
from hwtrain.export.printers.base import Printer
from hwtrain.export.run import Memory
from hwtrain.files import write_file
from hwtrain.kernels.fixed import halvings
from hwtrain.program.ir import Program
from hwtrain.shipped import shipped

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
        told = row_of(program, name, names[name], steps)
        rows.append(told)
        if told["given"]:
            lists.append(array_c(told["name"], told["type"], before[name]))
        elif told["first"]:
            lists.append(array_c(f"first_{told['name']}", told["type"], before[name]))
        if not told["given"]:
            lists.append(array_c(f"last_{told['name']}", told["type"], after[name]))
            judged.append(told)
    compared = sum(int(told["size"]) for told in judged)
    given_names = {
        "name": in_comment(program.listing.name),
        "steps": steps,
        "entries": list(program.entries),
        "meaning": MEANING,
        "rows": rows,
        "arguments": rows,
        "kept": [told for told in rows if not told["given"]],
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
    render(shipped("fpga") / "templates" / "c", folder, given_names)
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
