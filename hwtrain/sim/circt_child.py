"""The process in which CIRCT works: text of functions in, SystemVerilog out. It may crash.

Called by path with the file to read and the file to write; needs nothing but pycde.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pycde import circt
from pycde.circt import ir
from pycde.circt.passmanager import PassManager

LOADING = ("flatten-memref", "func.func(convert-affine-to-loopschedule)")
"""Passes that bring along dialects which no call registers."""
ELASTIC = "lower-cf-to-handshake{disable-task-pipelining=true source-constants=true}"
"""One block at a time: the order of loads and stores is then that of the C."""
HARDWARE = (
    "canonicalize",
    "handshake.func(handshake-insert-buffers{strategy=cycles buffer-size=2})",
    "canonicalize",
    "handshake.func(handshake-materialize-forks-sinks)",
    *("lower-handshake-to-hw", "canonicalize"),
    *("lower-esi-types", "lower-esi-ports", "lower-esi-to-hw", "map-arith-to-comb"),
    *("hw.module(lower-seq-hlmem)", "hw.module(lower-seq-fifo)", "lower-seq-to-sv", "canonicalize"),
    *("hw.module(hw-cleanup)", "hw.module(prettify-verilog)"),
)


def ports(text: str) -> str:
    """Elastic functions whose memories are outside: channels for addresses and values instead of a memory.

    CIRCT's own pass for this aborts when a memory but the last has more than one port. A load site j of
    argument k is the output ``m<k>_ld<j>_addr`` and the input ``m<k>_ld<j>_data``; a store site has the
    outputs ``m<k>_st<j>_addr`` and ``_data``, and the input ``_done``.
    """
    return re.sub(r"  handshake\.func @.*?\n  }\n", lambda found: _function(found[0]), text, flags=re.S)


def _function(text: str) -> str:
    lines = text.splitlines()
    head = re.fullmatch(r"  handshake\.func @(\w+)\((.*), \.\.\.\) -> none attributes .* \{", lines[0])
    if "memref" not in lines[0]:
        return text
    if head is None:
        raise SystemExit(f"not understood: {lines[0][:200]}")
    arguments, results, body = [], [], []
    renamed: dict[str, str] = {}
    for argument in head[2].split(", "):
        name, kind = argument.split(": ")
        if "memref" not in kind:
            arguments.append((name, kind, "start" if kind == "none" else f"a{name[4:]}"))
    for line in lines[1:-2]:
        found = re.fullmatch(
            r"    (%\d+)(?::\d+)? = extmemory\[ld = (\d+), st = (\d+)\] "
            r"\(%arg(\d+) : memref<\d+xi(\d+)>\) \((.*)\) \{id = \d+ : i32\} : .*",
            line,
        )
        if found is None:
            body.append(line)
            continue
        made, loads, stores, memory, bits = found[1], int(found[2]), int(found[3]), found[4], found[5]
        given = found[6].split(", ")
        several = loads * 2 + stores > 1
        part = {at: f"{made}#{at}" if several else made for at in range(loads * 2 + stores)}
        for j in range(stores):
            port = f"m{memory}_st{j}"
            results += [
                (given[2 * j + 1], "index", f"{port}_addr"),
                (given[2 * j], f"i{bits}", f"{port}_data"),
            ]
            arguments.append((f"%{port}_done", "none", f"{port}_done"))
            renamed[part[loads + j]] = f"%{port}_done"
        for j in range(loads):
            port = f"m{memory}_ld{j}"
            results.append((given[2 * stores + j], "index", f"{port}_addr"))
            arguments.append((f"%{port}_data", f"i{bits}", f"{port}_data"))
            renamed[part[j]] = f"%{port}_data"
            renamed[part[loads + stores + j]] = f"%{port}_read"
            body.append(f"    %{port}_read = join %{port}_data : i{bits}")
    last = re.fullmatch(r"    return (%[\w#]+) : none", lines[-2])
    if last is None:
        raise SystemExit(f"not understood: {lines[-2][:200]}")
    results.insert(0, (last[1], "none", "done"))
    said = ", ".join(f"{name}: {kind}" for name, kind, _ in arguments)
    kinds = ", ".join(kind for _, kind, _ in results)
    names = ", ".join(f'"{name}"' for _, _, name in arguments)
    out = ", ".join(f'"{name}"' for _, _, name in results)
    inside = re.sub(r"%\d+(?:#\d+)?", lambda name: renamed.get(name[0], name[0]), "\n".join(body))
    returned = ", ".join(value for value, _, _ in results)
    return (
        f"  handshake.func @{head[1]}({said}, ...) -> ({kinds}) attributes {{argNames = [{names}], "
        f"resNames = [{out}]}} {{\n{inside}\n    return {returned} : {kinds}\n  }}\n"
    )


def main(source: Path, made: Path) -> None:
    """From blocks of cf to SystemVerilog."""
    context = ir.Context()
    circt.register_dialects(context)
    with context:
        empty = ir.Module.parse("module {}")
        for name in LOADING:
            PassManager.parse(f"builtin.module({name})").run(empty.operation)
        module = ir.Module.parse(source.read_text())
        PassManager.parse(f"builtin.module({ELASTIC})").run(module.operation)
        module = ir.Module.parse(ports(str(module)))
        for name in HARDWARE:
            PassManager.parse(f"builtin.module({name})").run(module.operation)
        with made.open("w") as file:
            circt.export_verilog(module, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
