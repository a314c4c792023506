"""A program as a folder of C99 that stands by itself: source, kernels, a test with vectors, a Makefile.

The test is run before the folder is called done: what is written has been trained with, and compared
with the interpreter bit for bit.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from hwtrain.errors import NativeError, ProgramError, RunError
from hwtrain.export.host_c import TYPES, host_c, identifiers
from hwtrain.export.printers.base import Printer
from hwtrain.export.run import InterpretRunner, Memory
from hwtrain.files import cannot, write_file
from hwtrain.kernels.fixed import halvings
from hwtrain.native import compiler
from hwtrain.program.ir import Program, walk
from hwtrain.shipped import shipped

_MEANING = {"step": "learns from one window of samples", "predict": "the outputs, without learning"}
_ROLES = {
    "input": "samples",
    "label": "their classes",
    "weight": "weights: the caller's, changed by learning",
    "state": "what the rule keeps from step to step",
    "const": "a table",
    "output": "result",
}


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
    for nodes in program.entries.values():
        for call in walk(nodes):
            if call.meaning.host:
                raise ProgramError(
                    f"layer {call.where}: {call.kernel} is for the host alone: export a run on a device "
                    "of kind ideal, fixed or shift"
                )
    for name, values in program.contents.items():
        if not np.isfinite(values).all():
            raise ProgramError(f"{name}: holds numbers that are not finite: train with a smaller --lr")
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder}: already holds files: choose another --out DIR")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "export"
            made.mkdir()
            compared = _write(program, samples, lr, made)
            _run(made)
            if folder.exists():
                folder.rmdir()
            made.replace(folder)
    except subprocess.TimeoutExpired as problem:
        raise NativeError(f"{problem.cmd[0]} is not done after 300 s: try fewer --steps") from None
    except OSError as problem:
        raise cannot(folder, "write the export", problem) from None
    return compared


def _write(program: Program, samples: Memory, lr: float, folder: Path) -> int:
    printed = host_c(program, many=False)
    names = identifiers(iter(program.buffers))
    steps = len(samples["x"])
    before, after = _vectors(program, samples, lr)
    integer = program.listing.numbers is not None
    rows, judged = [], []
    vectors = [
        f"/* First and last values of {steps} steps, and the samples between. */",
        "#include <stdint.h>\n",
    ]
    for name in printed.order:
        buffer = program.buffers[name]
        given = buffer.role in ("input", "label", "const")
        size = buffer.size * (steps if buffer.windowed else 1)
        row: dict[str, Any] = {"name": names[name], "type": TYPES[buffer.format], "size": size}
        row |= {"shape": "x".join(map(str, buffer.shape)), "role": _ROLES[buffer.role], "given": given}
        row["first"] = not given and name in program.contents
        row["moving"] = names[name] + (f" + step * {buffer.size}" if buffer.windowed else "")
        rows.append(row)
        if given:
            vectors.append(_array("", row, before[name]))
        elif row["first"]:
            vectors.append(_array("first_", row, before[name]))
        if not given:
            vectors.append(_array("last_", row, after[name]))
            judged.append(row)
    compared = sum(int(row["size"]) for row in judged)
    given_names = {
        "name": program.listing.name,
        "steps": steps,
        "entries": list(program.entries),
        "meaning": _MEANING,
        "rows": rows,
        "arguments": rows,
        "kept": [row for row in rows if not row["given"]],
        "judged": judged,
        "arena": printed.arena,
        "lr": halvings(lr) if integer else float(lr).hex(),
        "lr_type": "int32_t" if integer else "double",
        "lr_meaning": "the learning rate as a shift: 2^-lr" if integer else "the learning rate",
        "formats": _formats(program),
        "compared": compared,
    }
    write_file(
        folder / "hwt_net.c",
        printed.source.replace('#include "hwt.h"', '#include "hwt.h"\n#include "hwt_net.h"'),
    )
    write_file(folder / "hwt_net.h", _header(printed.source))
    write_file(folder / "vectors.h", "\n".join(vectors) + "\n")
    loader = jinja2.FileSystemLoader(shipped("fpga") / "templates" / "c")
    room = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    for template in room.list_templates():
        write_file(folder / template.removesuffix(".j2"), room.get_template(template).render(given_names))
    (folder / "include").mkdir()
    for header in sorted((shipped("fpga") / "include").glob("*.h")):
        shutil.copyfile(header, folder / "include" / header.name)
    return compared


def _vectors(program: Program, samples: Memory, lr: float) -> tuple[Memory, Memory]:
    """All buffers before and after, by the interpreter: each step is followed by a prediction."""
    runner = InterpretRunner(program)
    memory = runner.memory(len(samples["x"]), samples)
    before = {name: values.copy() for name, values in memory.items()}
    windowed = {name for name, buffer in program.buffers.items() if buffer.windowed}
    for step in range(len(samples["x"])):
        part = {
            name: values[step : step + 1] if name in windowed else values for name, values in memory.items()
        }
        runner.run("step", 1, part, lr, step)
        runner.run("predict", 1, part, lr, step)
    return before, memory


def _run(folder: Path) -> None:
    """What ``make test`` does, without make."""
    flags = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffp-contract=off", "-Iinclude")
    test = folder / "run_test"
    command = [compiler(), *flags, "test.c", "hwt_net.c", "-o", test.name]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    if built.returncode:
        said = next((line for line in built.stderr.splitlines() if "error" in line), built.stderr[:200])
        raise NativeError(f"{command[0]} refuses the export: {said}: try another compiler with CC=...")
    ran = subprocess.run([test], capture_output=True, text=True, check=False, timeout=300)
    test.unlink()
    if ran.returncode:
        raise ProgramError(f"the exported C differs from the interpreter: {ran.stdout.splitlines()[0]}")


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


def _formats(program: Program) -> str:
    numbers = program.listing.numbers
    if numbers is None:
        return "All numbers are float32."
    return (
        f"A code c stands for c / 2^frac: samples and outputs have frac {numbers.signal_frac}, weights "
        f"{numbers.weight_frac}, the loss {numbers.signal_frac}."
    )
