"""Checks of C for high-level synthesis that no ordinary compiler makes.

Compilers ignore what is wrong in a pragma that they do not know: here its name, its options, its variable and
its factors are held to what the code says. And the code must stay in the C that synthesis takes: no division,
recursion, float, allocation, pointer to pointer, array of a run-time size, and no array inside of a function
but a top.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pycparser import c_ast, c_parser

from hwtrain.errors import NativeError, ProgramError, RunError
from hwtrain.files import write_file
from hwtrain.native import compiler

PRAGMAS: dict[str, set[str]] = {
    "PIPELINE": {"ii", "off", "rewind", "style"},
    "UNROLL": {"factor", "skip_exit_check", "off"},
    "INLINE": {"off", "recursive"},
    "DATAFLOW": {"disable_start_propagation"},
    "INTERFACE": {
        "port",
        "mode",
        "bundle",
        "depth",
        "offset",
        "register",
        "m_axi",
        "s_axilite",
        "axis",
        "name",
    },
    "ARRAY_PARTITION": {"variable", "dim", "factor", "cyclic", "block", "complete", "type"},
    "LOOP_TRIPCOUNT": {"min", "max", "avg"},
    "DEPENDENCE": {"variable", "inter", "intra", "false", "true", "raw", "war", "waw", "type", "direction"},
}
"""Pragmas and their options, in small letters; as recalled from the vendor's manual, not read again."""
MODES = {"m_axi", "s_axilite", "axis"}
_PLAIN = {
    **{"int8_t": "signed char", "int16_t": "short", "int32_t": "int", "int64_t": "long", "ptrdiff_t": "long"},
    **{"uint8_t": "unsigned char", "uint32_t": "unsigned", "uint64_t": "unsigned long"},
    "size_t": "unsigned long",
}
"""What the parser is told of the standard's types."""


def check_export(folder: Path) -> int:
    """Check the C of a folder that ``--to hls`` wrote; how many pragmas and functions were looked at.

    Raises:
        RunError: there is no such C.
        NativeError: no compiler to preprocess it with.
        ProgramError: names the function and what is wrong in it.
    """
    functions = functions_of(folder)
    tops = [name for name in functions if name.startswith("hwt_net_")]
    reached = _reached(functions, tops)
    pragmas = 0
    for name in reached:
        pragmas += _pragmas(functions[name])
        _subset(functions[name], top=name in tops)
    return pragmas + len(reached)


def functions_of(folder: Path) -> dict[str, Any]:
    """The functions of the C of a folder, as pycparser reads them, with every pragma.

    Raises:
        as check_export.
    """
    source = folder / "hwt_net.c"
    if not source.is_file():
        raise RunError(f"{source}: no such file: name a folder that hwtrain export --to hls made")
    tree = c_parser.CParser().parse(_expanded(folder, ("-D__VITIS_HLS__",)), str(source))
    functions = {node.decl.name: node for node in tree.ext if isinstance(node, c_ast.FuncDef)}
    if not any(name.startswith("hwt_net_") for name in functions):
        raise ProgramError(f"{source}: no function is called hwt_net_...: export it again")
    return functions


def _expanded(folder: Path, defines: tuple[str, ...]) -> str:
    """The C with every macro expanded, on plain integer types; pragmas stay, one in a line."""
    with tempfile.TemporaryDirectory() as scratch:
        plain = "".join(f"typedef {kind} {name};\n" for name, kind in _PLAIN.items())
        write_file(Path(scratch) / "stdint.h", f"#ifndef PLAIN\n#define PLAIN\n{plain}#endif\n")
        write_file(Path(scratch) / "stddef.h", '#include "stdint.h"\n')
        command = [compiler(), "-E", "-P", "-std=c99", "-nostdinc", *defines, f"-I{scratch}"]
        command += [f"-I{folder / 'include'}", str(folder / "hwt_net.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise NativeError(f"{command[0]} cannot preprocess {folder / 'hwt_net.c'}: {said}")
    return re.sub(r"\bstatic inline\b|\binline\b", "static", done.stdout).replace("restrict", "")


def _reached(functions: dict[str, Any], tops: list[str]) -> list[str]:
    """The tops and all that they call; a function that calls itself is refused."""
    found: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ProgramError(f"{name}: calls itself by way of {' and '.join(path[1:]) or 'itself'}")
        if name not in functions:
            raise ProgramError(f"{path[-1]}: calls {name}, which is not in the export")
        if name not in found:
            found.append(name)
        for called in _all(functions[name], c_ast.FuncCall):
            if not isinstance(called.name, c_ast.ID):
                raise ProgramError(f"{name}: calls a function through a pointer")
            visit(called.name.name, (*path, name))

    for top in tops:
        visit(top, ())
    return found


def _all(node: Any, kind: Any) -> Iterator[Any]:
    if isinstance(node, kind):
        yield node
    for _, child in node.children():
        yield from _all(child, kind)


def _subset(function: Any, *, top: bool) -> None:
    """Refuse what synthesis does not take."""
    name = function.decl.name

    def refuse(what: str) -> ProgramError:
        return ProgramError(f"{name}: {what}")

    for node in _all(function, (c_ast.BinaryOp, c_ast.Assignment)):
        if node.op in ("/", "%", "/=", "%="):
            raise refuse(f"divides ({node.op}): use a shift")
    for node in _all(function, c_ast.IdentifierType):
        if {"float", "double"} & set(node.names):
            raise refuse("computes in floats: train on a device of whole numbers")
    for node in _all(function, c_ast.PtrDecl):
        if isinstance(node.type, c_ast.PtrDecl):
            raise refuse("has a pointer to a pointer")
    for node in _all(function, (c_ast.Goto, c_ast.Struct, c_ast.Union)):
        raise refuse(f"has a {type(node).__name__.lower()}")
    for node in _all(function.body, c_ast.Decl):
        if isinstance(node.type, c_ast.ArrayDecl):
            if not isinstance(node.type.dim, c_ast.Constant):
                raise refuse(f"has an array {node.name} of a size that is known only when it runs")
            if not top:
                raise refuse(f"has an array {node.name} of its own: make it an argument")
        elif "static" in (node.storage or []):
            raise refuse(f"keeps {node.name} from call to call: make it an argument")


def _sizes(function: Any) -> dict[str, int | None]:
    """The variables of a function; of arrays their size."""
    found: dict[str, int | None] = {}
    for node in _all(function, c_ast.Decl):
        array = isinstance(node.type, c_ast.ArrayDecl) and isinstance(node.type.dim, c_ast.Constant)
        found[node.name] = int(node.type.dim.value) if array else None
    return found


def _pragmas(function: Any) -> int:
    """Hold every pragma of a function to its names and to the code; how many there are."""
    variables, seen = _sizes(function), 0
    for node in _all(function, c_ast.Pragma):
        words = re.sub(r"\s*=\s*", "=", node.string).split()
        where = f"{function.decl.name}: #pragma {node.string.strip()}"
        if not words or words[0].upper() != "HLS":
            raise ProgramError(f"{where}: no pragma of HLS")
        kind = words[1].upper() if len(words) > 1 else ""
        if kind not in PRAGMAS:
            raise ProgramError(f"{where}: no pragma is called {kind or 'nothing'}")
        options = dict(word.partition("=")[::2] for word in words[2:])
        for option in options:
            if option.lower() not in PRAGMAS[kind]:
                raise ProgramError(f"{where}: {kind} has no option {option}")
        named = options.get("variable") or (options.get("port") if kind == "INTERFACE" else None)
        if kind in ("ARRAY_PARTITION", "DEPENDENCE", "INTERFACE") and named is None:
            raise ProgramError(f"{where}: names no {'port' if kind == 'INTERFACE' else 'variable'}")
        if named not in (None, "return") and named not in variables:
            raise ProgramError(f"{where}: {named} is no variable of this function")
        if kind == "INTERFACE" and not (MODES & set(options) or options.get("mode") in MODES):
            raise ProgramError(f"{where}: names no mode")
        if "depth" in options and int(options["depth"]) != variables.get(str(named)):
            raise ProgramError(f"{where}: {named} has {variables.get(str(named))} values")
        if kind == "ARRAY_PARTITION" and "factor" in options:
            size = variables.get(str(named))
            if size is None or size % int(options["factor"]):
                raise ProgramError(f"{where}: {options['factor']} does not divide {size}")
        seen += 1
    return seen
