"""Tables of numbers as comma-separated text."""

from __future__ import annotations

import codecs
import csv
import io
import math
import reprlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwtrain.data.split import Part
from hwtrain.errors import DataError

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read(path: Path) -> Part:
    """x (n, features) and y (n,), both float64; y is the column ``label``, else the last one.

    The first line is a header if it names a column ``label`` or holds no number at all. Raises
    DataError with line and column for a cell that is no finite number, and for ragged rows.
    """
    rows = csv.reader(io.StringIO(_text(path), newline=""))
    values: list[NDArray[np.float64]] = []
    label, width = -1, 0
    try:
        for cells in rows:
            if not cells:
                continue
            if not width:
                width = len(cells)
                names = [cell.strip().lower() for cell in cells]
                if "label" in names:
                    label = names.index("label")
                    continue
                if all(_number(cell) is None for cell in cells):
                    continue
            values.append(np.array(_row(cells, width, f"{path}, line {rows.line_num}")))
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: {error}: write plain CSV") from error
    if not values or width < 2:
        raise DataError(
            f"{path}: {len(values)} rows of {width} column(s): give at least one row with a "
            "feature and a label, separated by commas"
        )
    table = np.array(values)
    return Part(np.delete(table, label, axis=1), table[:, label], str(path))


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith(_MARKS):
        raise DataError(
            f"{path}: byte 0 starts a byte-order mark (0x{data[:2].hex()}): save it as UTF-8 without one"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start} is 0x{data[error.start]:02x}, not UTF-8: save it as UTF-8"
        ) from error


def _row(cells: list[str], width: int, where: str) -> list[float]:
    if len(cells) != width:
        raise DataError(f"{where}: {len(cells)} cells, not {width}: give every row as many cells")
    values = []
    for column, cell in enumerate(cells, 1):
        value = _number(cell)
        if value is None or not math.isfinite(value):
            raise DataError(
                f"{where}, column {column}: {reprlib.repr(cell)} is not a finite number: mend it "
                "or drop the row"
            )
        values.append(value)
    return values


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
