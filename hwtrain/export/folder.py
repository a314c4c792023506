"""What exports that are folders share: all or nothing, vectors by the interpreter, a test that is run."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from hwtrain.errors import NativeError, ProgramError, RunError
from hwtrain.export.host_c import TYPES
from hwtrain.export.run import InterpretRunner, Memory
from hwtrain.files import cannot, write_file
from hwtrain.native import compiler
from hwtrain.program.ir import Program, walk
from hwtrain.shipped import shipped

MEANING = {
    "step": "learns from one window of samples",
    "flush": "learns what the steps have put off",
    "predict": "the outputs, without learning",
}
ROLES = {
    "input": "samples",
    "label": "their classes",
    "weight": "weights: the caller's, changed by learning",
    "state": "what the rule keeps from step to step",
    "const": "a table",
    "output": "result",
    "counter": "how often each way of a branch went",
}


def refuse_host(program: Program) -> None:
    """Refuse what only this machine can run, and numbers that no literal can write.

    Raises:
        ProgramError: names layer or buffer.
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


def whole_folder(folder: Path, write: Callable[[Path], int]) -> int:
    """``write`` into a folder elsewhere, which is put at its place once all went well; what it returned.

    Raises:
        RunError: the folder holds files, or cannot be written.
        NativeError: a tool took too long.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder}: already holds files: choose another --out DIR")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "export"
            made.mkdir()
            compared = write(made)
            if folder.exists():
                folder.rmdir()
            made.replace(folder)
    except subprocess.TimeoutExpired as problem:
        raise NativeError(
            f"{problem.cmd[0]} is not done after 300 s: try fewer --steps or a smaller net"
        ) from None
    except OSError as problem:
        raise cannot(folder, "write the export", problem) from None
    return compared


def vectors(program: Program, samples: Memory, lr: float) -> tuple[Memory, Memory]:
    """All buffers before and after, by the interpreter: a prediction follows each step, a flush the last."""
    runner = InterpretRunner(program)
    steps = len(samples["x"])
    memory = runner.memory(steps, samples)
    before = {name: values.copy() for name, values in memory.items()}
    windowed = {name for name, buffer in program.buffers.items() if buffer.windowed}
    for step in range(steps):
        part = {
            name: values[step : step + 1] if name in windowed else values for name, values in memory.items()
        }
        runner.run("step", 1, part, lr, step)
        runner.run("predict", 1, part, lr, step)
        if "flush" in program.entries and step == steps - 1:
            runner.run("flush", 1, part, lr, steps)
    return before, memory


def render(source: Path, folder: Path, values: dict[str, Any]) -> None:
    """Every template below a folder; a file that is no ``.j2`` goes as it is."""
    loader = jinja2.FileSystemLoader(source)
    room = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    for name in room.list_templates():
        (folder / name).parent.mkdir(exist_ok=True)
        text = room.get_template(name).render(values) if name.endswith(".j2") else (source / name).read_text()
        write_file(folder / name.removesuffix(".j2"), text)


def include(folder: Path) -> None:
    """The kernels' headers."""
    (folder / "include").mkdir()
    for header in sorted((shipped("fpga") / "include").glob("*.h")):
        write_file(folder / "include" / header.name, header.read_bytes())


def run_test(folder: Path, sources: list[str], flags: tuple[str, ...], *arguments: str) -> None:
    """What ``make test`` does, without make.

    Raises:
        NativeError: no compiler, or it refuses the code.
        ProgramError: the test found a difference.
    """
    test = folder.absolute() / "run_test"  # it runs in the folder, which may have been named from elsewhere
    command = [compiler(), *flags, "-Iinclude", *sources, "-o", test.name]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    if built.returncode:
        said = next((line for line in built.stderr.splitlines() if "error" in line), built.stderr[:200])
        raise NativeError(f"{command[0]} refuses the export: {said}: try another compiler with CC=...")
    ran = subprocess.run(
        [test, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    test.unlink()
    if ran.returncode:
        said = next(iter(ran.stdout.splitlines()), f"exit status {ran.returncode}")
        raise ProgramError(f"the exported C differs from the interpreter: {said}")


def array_c(name: str, kind: str, values: NDArray[Any]) -> str:
    """A table; floats are written to the bit, halves as their bits."""
    flat = values.reshape(-1)
    if kind == "hwt_half":
        texts = [f"0x{bits:04X}" for bits in flat.view(np.uint16).tolist()]
    elif kind == "float":
        texts = [f"{value.hex()}f" for value in flat.astype(np.float64).tolist()]
    else:
        texts = [str(value) for value in flat.tolist()]
    lines = [", ".join(texts[start : start + 8]) for start in range(0, len(texts), 8)]
    return f"static const {kind} {name}[{len(texts)}] = {{\n    " + ",\n    ".join(lines) + "\n};"


def row_of(program: Program, name: str, c_name: str, steps: int) -> dict[str, Any]:
    """What templates say of a buffer; ``moving`` is its window in step k, ``size`` all that a bench holds."""
    buffer = program.buffers[name]
    given = buffer.role in ("input", "label", "const")
    window = buffer.size * buffer.copies
    return {
        "name": c_name,
        "type": TYPES[buffer.format],
        "const": "const " if given else "",
        "shape": "x".join(map(str, buffer.whole)),
        "role_name": buffer.role,
        "role": ROLES.get(buffer.role, ""),
        "given": given,
        "first": not given and name in program.contents,
        "window": window,
        "size": window * (steps if buffer.windowed else 1),
        "moving": c_name + (f" + k * {window}" if buffer.windowed else ""),
    }


def formats(program: Program) -> str:
    """Where the points of codes lie."""
    numbers = program.listing.numbers
    if numbers is None:
        return "All numbers are float32."
    return (
        f"A code c stands for c / 2^frac: samples and outputs have frac {numbers.signal_frac}, weights "
        f"{numbers.weight_frac}, the loss {numbers.signal_frac}."
    )
