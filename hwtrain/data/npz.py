"""NumPy archives; pickled objects in them are refused."""

from __future__ import annotations

import io
import math
import reprlib
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hwtrain.data.bounded import MAX_BYTES, read_up_to, reason
from hwtrain.data.split import Part
from hwtrain.errors import DataError

_LAYOUTS = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("x", "y", "x_test", "y_test"),
)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

# What zipfile and numpy's header parser are known to raise on damaged bytes.
_BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
_BAD_HEADER = (ValueError, TypeError, LookupError, SyntaxError, tokenize.TokenError, RecursionError)


def read(path: Path) -> tuple[Part, Part | None]:
    """The training part, and the test part if its keys are there; arrays as they were stored.

    Raises DataError for a file that is not such an archive, lacks a key, or holds objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _parts(archive, path)
    except _BAD_ZIP as error:
        raise DataError(
            f"{path}: not a readable .npz archive ({reason(error)}): write it with numpy.savez"
        ) from error


def _parts(archive: zipfile.ZipFile, path: Path) -> tuple[Part, Part | None]:
    keys = {name.removesuffix(".npy") for name in archive.namelist()}
    for x, y, x_test, y_test in _LAYOUTS:
        if {x, y} <= keys:
            test = _part(archive, path, x_test, y_test) if keys & {x_test, y_test} else None
            return _part(archive, path, x, y), test
    choice = ", ".join(f"{x}/{y}" for x, y, *_ in _LAYOUTS)
    found = reprlib.repr(sorted(keys))
    raise DataError(f"{path}: has the keys {found}: name the arrays {choice}")


def _part(archive: zipfile.ZipFile, path: Path, x: str, y: str) -> Part:
    return Part(_array(archive, path, x), _array(archive, path, y), f"{path} ({x}, {y})")


def _array(archive: zipfile.ZipFile, path: Path, key: str) -> NDArray[Any]:
    where = f"{path}, key {key}"
    try:
        member = archive.getinfo(f"{key}.npy")
    except KeyError as error:
        raise DataError(f"{where}: missing: store x and y of a part together") from error
    if member.file_size > MAX_BYTES:
        raise DataError(f"{where}: {member.file_size} bytes are more than {MAX_BYTES}: store fewer")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{where}: compressed by method {member.compress_type}: write it with numpy.savez")
    with archive.open(member) as stream:
        data = read_up_to(stream, member.file_size)
    shape, fortran, dtype, start = _header(data, where)
    if dtype.hasobject:
        raise DataError(f"{where}: holds pickled objects, which are never read: store numbers")
    if dtype.kind not in "biuf":
        raise DataError(f"{where}: is of type {dtype}: store real numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise DataError(
            f"{where}: shape {shape} of {dtype} does not fit the {len(data) - start} bytes stored: "
            "write it with numpy.savez"
        )
    array = np.frombuffer(data, dtype=dtype, offset=start)
    return array.reshape(shape, order="F" if fortran else "C")


def _header(data: bytearray, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, type, and where the values start."""
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of headers written by Python 2
            shape, fortran, dtype = _HEADERS[npy.read_magic(stream)](stream)
    except _BAD_HEADER as error:
        raise DataError(
            f"{where}: damaged .npy header ({reason(error)}): write it with numpy.savez"
        ) from error
    return shape, fortran, dtype, stream.tell()
