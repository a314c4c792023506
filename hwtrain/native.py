"""Finds a C compiler, builds a shared library once, keeps it by the hash of all that went into it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from hwtrain.errors import NativeError

FLAGS = (
    *("-std=c99", "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared"),
    "-Werror=incompatible-pointer-types",
)
"""Without contraction, for the order of every operation in float32 is part of a kernel's meaning; a buffer
of another format than a kernel's is an error, never a warning.
"""


def compiler() -> str:
    """The C compiler: ``CC``, else the first of cc, gcc and clang.

    Raises:
        NativeError: there is none.
    """
    asked = os.environ.get("CC")
    found = next(filter(None, map(shutil.which, [asked] if asked else ["cc", "gcc", "clang"])), None)
    if found is None:
        raise NativeError(
            f"no C compiler {asked or 'cc, gcc or clang'}: install one (Debian: apt install gcc), "
            "name one with CC=..., or use --engine torch"
        )
    return found


def build(
    source: str, include: tuple[Path, ...], flags: tuple[str, ...] = FLAGS, cc: str | None = None
) -> ctypes.CDLL:
    """The library of a C source; compiled only if nobody did before.

    Raises:
        NativeError: no compiler, or it refuses the source.
    """
    cc = cc or compiler()
    headers = "".join(file.read_text() for folder in include for file in sorted(folder.glob("*.h")))
    known = "\0".join([_version(cc), _machine(), *flags, headers, source])
    name = hashlib.sha256(known.encode()).hexdigest()[:32]
    folder = cache_folder()
    library = folder / f"{name}.so"
    if not library.exists():
        _compile(source, include, flags, cc, library)
    try:
        return ctypes.CDLL(str(library))
    except OSError as problem:
        raise NativeError(f"{library}: cannot be loaded: {problem}: delete it and try again") from None


def cache_folder() -> Path:
    """Where libraries are kept: HWTRAIN_CACHE, else hwtrain in the user's cache folder."""
    named = os.environ.get("HWTRAIN_CACHE")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "hwtrain"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwtrain"


def _compile(source: str, include: tuple[Path, ...], flags: tuple[str, ...], cc: str, library: Path) -> None:
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
            file, made = Path(scratch) / "program.c", Path(scratch) / "program.so"
            file.write_text(source)
            command = [cc, *flags, *(f"-I{folder}" for folder in include), str(file), "-o", str(made), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            if done.returncode:
                said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
                said = said or f"it ended with exit code {done.returncode} and said nothing"
                raise NativeError(f"{cc} refuses the program: {said}: try another compiler with CC=...")
            made.replace(library)  # in one move: another process may be building the same
    except subprocess.TimeoutExpired:
        raise NativeError(f"{cc} is not done after 300 s: try another compiler with CC=...") from None
    except OSError as problem:
        raise NativeError(
            f"{library.parent}: cannot build there: {problem.strerror}: name a folder with HWTRAIN_CACHE=..."
        ) from None


@cache
def _version(cc: str) -> str:
    return subprocess.run([cc, "--version"], capture_output=True, text=True, check=False).stdout


@cache
def _machine() -> str:
    """What ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        import platform

        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
