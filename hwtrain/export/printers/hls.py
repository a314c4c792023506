"""A program as C99 for high-level synthesis: functions of arrays, tops with their ports, a bench, scripts.

The kernels are those of every other C (fpga/include); what a vendor's compiler is told stands in one header
of macros. The bench is run before the folder is called done.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwtrain.errors import ProgramError
from hwtrain.export.folder import (
    MEANING,
    formats,
    include,
    refuse_host,
    render,
    row_of,
    run_test,
    vectors,
    whole_folder,
)
from hwtrain.export.hls_check import check_export
from hwtrain.export.host_c import TYPES, arrays_c, identifiers, in_comment, macros
from hwtrain.export.printers.base import Printer
from hwtrain.export.run import Memory
from hwtrain.files import make_folder, write_file
from hwtrain.kernels.fixed import halvings
from hwtrain.program.bounds import bounds
from hwtrain.program.ir import Entry, Program, refs
from hwtrain.shipped import shipped

FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
ENTRIES: tuple[Entry, ...] = ("step", "predict", "flush")
"""In the order in which the bench calls them."""
BUNDLES = {"input": 0, "label": 0, "output": 0, "weight": 1, "state": 2, "const": 2, "counter": 2}
"""Which AXI master a buffer hangs on, by its role."""


class Hls(Printer):
    """``hwtrain export --to hls``."""

    about = "C99 for high-level synthesis, with bench, scripts and a Makefile"
    then = "try it with make test, synthesise it with the script for your tools"

    def write(self, program: Program, samples: Memory, lr: float, out: Path) -> int:
        """A folder, checked and its bench run; how many values that compares.

        Raises:
            ProgramError: the program computes in floats, or has a kernel for the host alone.
            HwtrainError: as every export to a folder.
        """
        refuse_host(program)
        if program.listing.numbers is None:
            raise ProgramError("--to hls writes whole numbers: train on --device fixed16, fixed8 or shift4")
        if program.buffers["x"].shape[0] != 1:
            raise ProgramError("--to hls writes one sample a step: train with --batch 1")

        def write(made: Path) -> int:
            compared = _write(program, samples, lr, made)
            run_test(made, ["tb_net.c", "hwt_net.c"], FLAGS, "vectors")
            check_export(made)
            return compared

        return whole_folder(out, write)


def _write(program: Program, samples: Memory, lr: float, folder: Path) -> int:
    steps = len(samples["x"])
    before, after = vectors(program, samples, lr)
    names = identifiers(iter(program.buffers))
    sums = bounds(program)
    rows = {name: _row(program, name, names[name], steps) for name in program.buffers}
    for name in sums:
        rows[name]["ap"] = "hwt_acc"
    kept = {name: row for name, row in rows.items() if program.buffers[name].role != "temp"}
    judged = [row for row in kept.values() if not row["given"]]
    make_folder(folder / "vectors")
    for name, row in kept.items():
        if row["given"] or row["first"]:
            _hex(folder, ("" if row["given"] else "first_") + row["name"], before[name])
        if not row["given"]:
            _hex(folder, f"last_{row['name']}", after[name])
    sources = arrays_c(program)
    tops = [_top(program, entry, rows, sources[entry]) for entry in ENTRIES if entry in program.entries]
    compared = sum(int(row["size"]) for row in judged)
    main = tops[0]
    given = {
        "name": in_comment(program.listing.name),
        "steps": steps,
        "rows": list(kept.values()),
        "judged": judged,
        "compared": compared,
        "tops": tops,
        "main": "step",
        "main_arguments": main["arguments"],
        "memory": [row for row in main["arguments"] if row["bundle"] > 0 or row["role_name"] == "counter"],
        "input": rows["x"],
        "label": rows["labels"],
        "answer_buffer": rows["loss"],
        "answer": "the loss",
        "inputs": program.buffers["x"].size,
        "outputs": program.buffers["loss"].size,
        "classes": program.buffers["z"].size,
        "acc_width": max(sums.values(), default=1).bit_length() + 1,
        "macros": "\n".join(macros(program)),
        "formats": formats(program),
        "lr": halvings(lr),
    }
    render(shipped("fpga") / "templates" / "hls", folder, given)
    include(folder)
    return compared


def _row(program: Program, name: str, c_name: str, steps: int) -> dict[str, Any]:
    """What the templates say of a buffer."""
    buffer = program.buffers[name]
    ap = {"i8": "ap_int<8>", "i16": "ap_int<16>"}.get(buffer.format, TYPES[buffer.format])
    return row_of(program, name, c_name, steps) | {"ap": ap, "bundle": BUNDLES.get(buffer.role, 0)}


def _top(program: Program, entry: Entry, rows: dict[str, Any], source: list[str]) -> dict[str, Any]:
    used = {ref.buffer for ref in refs(program.entries[entry])}
    order = [name for name in program.buffers if name in used]
    return {
        "entry": entry,
        "meaning": MEANING[entry],
        "arguments": [rows[name] for name in order if program.buffers[name].role != "temp"],
        "temporaries": [rows[name] for name in order if program.buffers[name].role == "temp"],
        "call": [rows[name]["name"] for name in order],
        "source": "\n".join(source),
        "ap_source": _in_ap(source, {rows[name]["name"]: rows[name]["ap"] for name in order}),
    }


def _in_ap(source: list[str], types: dict[str, str]) -> str:
    """A printed entry with its arguments in ap_int."""
    argument = re.compile(r"    (const )?\w+ (\w+)\[")
    text = "\n".join(source)
    return argument.sub(lambda said: f"    {said[1] or ''}{types[said[2]]} {said[2]}[", text)


def _hex(folder: Path, name: str, values: NDArray[Any]) -> None:
    """One value a line, two's complement in as many digits as its bytes have."""
    flat = np.ascontiguousarray(values).reshape(-1)
    digits = 2 * flat.itemsize
    mask = (1 << (8 * flat.itemsize)) - 1
    lines = "".join(f"{int(value) & mask:0{digits}x}\n" for value in flat)
    write_file(folder / "vectors" / f"{name}.hex", lines)
