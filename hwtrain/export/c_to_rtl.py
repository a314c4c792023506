"""The C of an exported folder as a circuit: clang, CIRCT, Verilator; held to the same C after every step.

This answers whether a compiler from C to hardware that nobody here wrote takes the export as it is. Loops of
such a circuit do not overlap, so its cycles say nothing about what an FPGA engineer's tool reaches.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from hwtrain.errors import ProgramError, RunError
from hwtrain.export.hls_check import functions_of
from hwtrain.files import write_file
from hwtrain.program.ir import Entry
from hwtrain.shipped import shipped
from hwtrain.sim import verilator
from hwtrain.sim.circt import systemverilog
from hwtrain.sim.dataflow import Array, to_cf
from hwtrain.sim.llvm import compile_c, read_function

STALL_PERCENT = 40
TIMEOUT_S = 3600.0
_WHOLE = ("hwt_threefry", "hwt_requantize")
"""Stay functions: circuits that are used again and again. All else becomes part of the entry."""


@dataclass(frozen=True)
class Circuit:
    """A simulation that was built: of which entry, how many lines of SystemVerilog."""

    entry: Entry
    program: Path
    lines: int


@dataclass(frozen=True)
class Matched:
    """All arrays of circuit and C were equal after each of so many steps; cycles of all of them."""

    steps: int
    cycles: int
    compared: int


class Deadlock(ProgramError):
    """The circuit stands still."""


def circuit(folder: Path, entry: Entry = "step", optimize: str = "-O1") -> Circuit:
    """Compile an entry of a folder that ``--to hls`` wrote.

    Raises:
        RunError: there is no such folder.
        ProgramError: its C has what no circuit is known for.
        NativeError: a tool is missing, refuses it or takes too long.
    """
    functions = functions_of(folder)
    if f"hwt_net_{entry}" not in functions:
        raise RunError(f"{folder}: has no entry {entry}")
    inner, top = (_arguments(functions[f"{name}_{entry}"]) for name in ("hwt", "hwt_net"))
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        whole = [functions[name] for name in _WHOLE if name in functions]
        write_file(room / "top.c", _top(entry, inner, whole))
        text = compile_c(room / "top.c", folder, folder / "include")
        arrays = [Array(name, size, bits) for name, _, bits, size in inner if size]
        cf = to_cf(read_function(text, f"top_{entry}"), f"top_{entry}", arrays)
        for name in _WHOLE:
            if f"@{name}(" in cf:
                cf += to_cf(read_function(text, name), name, [])
        sv = systemverilog(cf)
        write_file(room / "circuit.sv", sv)
        write_file(room / "bench.cpp", _bench(folder, entry, inner, top, sv))
        include = (folder, folder / "include")
        program = verilator.build(
            [room / "circuit.sv"], f"top_{entry}", room / "bench.cpp", optimize, include, lint=False
        )
    return Circuit(entry, program, sv.count("\n"))


def matched(made: Circuit, folder: Path, steps: int, stall_percent: int = 0, seed: int = 1) -> Matched:
    """Run circuit and C side by side over the samples of the folder, again and again.

    Raises:
        Deadlock: the circuit stands still.
        ProgramError: an array differs; names it and the step.
    """
    given = [str(folder / "vectors"), str(steps), str(stall_percent), str(seed)]
    done = verilator.run(made.program, given, TIMEOUT_S)
    words = done.stdout.split()
    if done.returncode == 0 and words[:1] == ["equal"]:
        return Matched(*map(int, words[1:]))
    said = done.stdout.strip() or done.stderr.strip()[:200] or f"exit {done.returncode}"
    if done.returncode == 3:
        raise Deadlock(f"the circuit of hwt_{made.entry} stands still: {said}")
    raise ProgramError(f"the circuit of hwt_{made.entry} is not the C: {said}")


def _arguments(function: Any) -> list[tuple[str, str, int, int]]:
    """Name, type as written, bits and size (0 of a scalar) of each argument of a function."""
    found = []
    for argument in function.decl.type.args.params:
        kind, size = argument.type, 0
        if hasattr(kind, "dim"):
            kind, size = kind.type, int(kind.dim.value)
        name = kind.type.names[-1]
        bits = re.search(r"\d+", name)
        assert bits is not None, name
        found.append((argument.name, name, int(bits[0]), size))
    return found


def _top(entry: Entry, arguments: list[tuple[str, str, int, int]], whole: list[Any]) -> str:
    """C that clang sees: the export unedited, and a function whose temporaries are arguments."""
    said = ", ".join(f"{kind} *{name}" if size else f"{kind} {name}" for name, kind, _, size in arguments)
    names = ", ".join(name for name, *_ in arguments)
    kept = ""
    for function in whole:
        result = function.decl.type.type.type.names[-1]
        given = ", ".join(kind for _, kind, _, _ in _arguments(function))
        kept += f"static __attribute__((noinline)) {result} {function.decl.name}({given});\n"
    return (
        f"#include <stdint.h>\n{kept}"
        '#include "hwt_net.c"\n'
        f"void top_{entry}({said})\n{{\n    hwt_{entry}({names});\n}}\n"
    )


def _bench(
    folder: Path,
    entry: Entry,
    inner: list[tuple[str, str, int, int]],
    top: list[tuple[str, str, int, int]],
    sv: str,
) -> str:
    vectors = {file.stem: file for file in (folder / "vectors").glob("*.hex")}
    kept = {name for name, _, _, size in top if size}
    rows = {}
    for number, (name, kind, _, window) in enumerate(inner):
        if not window:
            continue
        given = vectors.get(name)
        file = given or vectors.get(f"last_{name}")
        size = len(file.read_text().split()) if file is not None and name in kept else window
        rows[name] = {
            "name": name,
            "type": kind,
            "window": window,
            "size": size,
            "moving": size != window,
            "given": given is not None,
            "first": f"first_{name}" in vectors,
            "number": number,
        }
    ports = []
    by_number = {row["number"]: row for row in rows.values()}
    for port in dict.fromkeys(re.findall(r"\bm\d+_(?:ld|st)\d+(?=_addr\b)", sv)):
        row = by_number[int(re.findall(r"\d+", port)[0])]
        ports.append(row | {"array": row["name"], "name": port, "kind": "Load" if "_ld" in port else "Store"})
    text = (shipped("fpga") / "templates" / "circt" / "bench.cpp.j2").read_text()
    return (
        jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        .from_string(text)
        .render(
            name=folder.name,
            entry=entry,
            kept=[row for name, row in rows.items() if name in kept],
            temporaries=[row for name, row in rows.items() if name not in kept],
            arguments=[rows[name] for name, _, _, size in top if size],
            scalars=[number for number, (*_, size) in enumerate(inner) if not size],
            ports=ports,
        )
    )
