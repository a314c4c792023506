"""MNIST-style folders: four IDX files of unsigned bytes, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwtrain.data.bounded import MAX_BYTES, read_up_to, reason
from hwtrain.data.split import Part
from hwtrain.errors import DataError

_UBYTE = 0x0800  # the magic number is this type code plus the number of dimensions


def read(folder: Path) -> tuple[Part, Part]:
    """The training and test parts: x (n, height, width) and y (n,), both uint8.

    Raises DataError for a missing or damaged file.
    """
    return _part(folder, "train"), _part(folder, "t10k")


def _part(folder: Path, stem: str) -> Part:
    images = _find(folder, f"{stem}-images", 3)
    labels = _find(folder, f"{stem}-labels", 1)
    return Part(_array(images, 3), _array(labels, 1), f"{images} and {labels.name}")


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    for joint in "-.":
        for ending in ("", ".gz"):
            path = folder / f"{stem}{joint}idx{dimensions}-ubyte{ending}"
            if path.is_file():
                return path
    raise DataError(
        f"{folder}: no file {stem}-idx{dimensions}-ubyte or .gz: put the four MNIST-style IDX "
        "files (train and t10k, images and labels) there"
    )


def _array(path: Path, dimensions: int) -> NDArray[np.uint8]:
    zipped = path.suffix == ".gz"
    try:
        with gzip.open(path) if zipped else path.open("rb") as stream:
            return _parse(stream, dimensions, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip data ({reason(error)}): fetch the file again") from error


def _parse(stream: gzip.GzipFile | BufferedReader, dimensions: int, path: Path) -> NDArray[np.uint8]:
    header = stream.read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path}: ends at byte {len(header)}, inside its header: fetch the file again")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
    if magic != _UBYTE + dimensions:
        raise DataError(
            f"{path}: magic number 0x{magic:08x} at byte 0, not 0x{_UBYTE + dimensions:08x}: give "
            f"an IDX file of unsigned bytes with {dimensions} dimension(s)"
        )
    size = math.prod(shape)
    if not 0 < size <= MAX_BYTES:
        raise DataError(
            f"{path}: dimensions {shape} at byte 4 make {size} bytes, not 1 to {MAX_BYTES}: fetch "
            "the file again"
        )
    data = read_up_to(stream, size)
    if len(data) < size or stream.read(1):
        found = f"only {len(data)}" if len(data) < size else "more"
        raise DataError(
            f"{path}: dimensions {shape} need {size} bytes after byte {len(header)}, but {found} "
            "are there: fetch the file again"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
