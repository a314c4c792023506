"""Writes that are whole or not there, and errors of the file system as one line."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from hwtrain.errors import RunError


def write_file(path: Path, content: bytes | str) -> None:
    """Write under a temporary name, sync, rename: no half-written file ever has the final name."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as problem:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise cannot(path, "write", problem) from None


def is_temporary(path: Path) -> bool:
    """Whether it is what a killed ``write_file`` leaves."""
    return re.search(r"\.tmp-\d+$", path.name) is not None


def make_folder(path: Path) -> None:
    """Make a folder and its parents."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise cannot(path, "make the folder", problem) from None


def cannot(path: Path, what: str, problem: OSError) -> RunError:
    """The error for something that the file system refused."""
    said = problem.strerror or str(problem)
    return RunError(f"{path}: cannot {what}: {said}: free space, or choose another --out DIR")
