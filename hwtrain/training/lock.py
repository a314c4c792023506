"""One process at a time in a run folder: a lock of the operating system, which ends with its process."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwtrain.errors import RunError
from hwtrain.files import cannot, make_folder

LOCK = "lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder and hold it; RunError if another does. After a kill the file is left, and is free."""
    make_folder(folder)
    file = folder / LOCK
    opened = _locked(file)
    while not _is(file, opened):  # its owner has removed it since we opened it
        os.close(opened)
        opened = _locked(file)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()  # before others can lock it; Windows removes no open file, there it stays
        os.close(opened)


def _locked(file: Path) -> int:
    try:
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as problem:
        raise cannot(file, "open", problem) from None
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(opened, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            os.close(opened)
            raise RunError(
                f"{file.parent}: another process trains in this folder: wait until it has ended, "
                "or choose another --out DIR"
            ) from None
        # Any other: a file system without locks, on which we go on without.
    return opened


def _is(file: Path, opened: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False
