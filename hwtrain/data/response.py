"""Measured pulse responses: conductance against pulse number, from text as instruments write it.

Accepted are two columns (up and down, or pulse and G) and long tables with any of device, cycle, pulse,
direction, G, amplitude and width. Encoding, separator, decimal mark, preamble and units are found in the
file; what cannot be found is asked for, never guessed.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwtrain.data.bounded import read_up_to
from hwtrain.errors import DataError

Way = Literal["up", "down"]
Values = NDArray[np.float64]

_MOST_BYTES = 1 << 26
_PREFIX = {"": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
_BASE = {"s": "S", "siemens": "S", "ohm": "ohm", "ohms": "ohm", "a": "A", "amp": "A"}
_UNITS = "S, mS, uS, nS, ohm or A"
_FORMATS: tuple[tuple[str | None, str], ...] = (
    ("\t", "."),
    ("\t", ","),
    (";", "."),
    (";", ","),
    (",", "."),
    (None, "."),  # any white space
    (None, ","),
    (",", ","),  # decimal commas in quotes
)
"""(separator, decimal mark), the likelier first."""
_NAMES = {
    "device": "device dev deviceid devicename cell cellid sample dut",
    "cycle": "cycle cycles cyc loop run repeat repetition sweep",
    "pulse": "pulse pulses pulseno pulsenumber pulsenum pulseindex pulsecount n no number index step",
    "direction": "direction dir polarity branch type operation op mode",
    "up": "up ltp potentiation pot set increase gup gltp gpot",
    "down": "down ltd depression dep reset decrease gdown gltd gdep",
    "g": "g conductance cond gread gs",
    "r": "r resistance res rread",
    "i": "i current cur iread",
    "amplitude": "amplitude amp v voltage pulsevoltage vpulse pulseamplitude vprog",
    "width": "width pulsewidth t time duration tpulse pulsetime pw",
}
_ROLE = {name: role for role, all_names in _NAMES.items() for name in all_names.split()}
_QUANTITY = {"g": "S", "r": "ohm", "i": "A"}
_TURNS: dict[str, Way] = {
    **dict.fromkeys(("up", "u", "ltp", "set", "potentiation", "pot", "increase", "+", "+1", "1"), "up"),
    **dict.fromkeys(("down", "d", "ltd", "reset", "depression", "dep", "decrease", "-", "-1", "0"), "down"),
}


@dataclass(frozen=True)
class Sweep:
    """Identical pulses in one direction; ``g[0]`` is the state before the first of them."""

    device: str
    cycle: int
    direction: Way
    g: Values


@dataclass(frozen=True)
class Response:
    """A measurement: conductances in siemens, or as they stand in the file where ``unit`` is "1".

    ``every``: pulses from one row to the next; ``pulse``: keys of a card's [pulse] that the file tells.
    """

    sweeps: tuple[Sweep, ...]
    every: int
    pulse: dict[str, float]
    unit: str
    source: str


@dataclass(frozen=True)
class _Column:
    role: str
    unit: str | None


def read_response(path: Path, *, unit: str | None = None, v_read: float | None = None) -> Response:
    """The sweeps of a file.

    Args:
        path: text in UTF-8, UTF-16 or Latin-1.
        unit: what the values are in: S, ohm or A, with a prefix such as u; "1" for arbitrary units.
            None: the heading says it.
        v_read: read voltage, for currents.

    Raises DataError.
    """
    if v_read is not None and not (math.isfinite(v_read) and v_read != 0):
        raise DataError(f"v_read = {v_read:g}: give the read voltage in volts")
    rows, first, columns = _table(path, decoded(path))
    asked = None if unit is None else _asked(unit)
    data = [column for column in columns if column.role in ("g", "r", "i", "up", "down")]
    pulse = [column.role for column in columns]
    if len(set(pulse) - {""}) < len([role for role in pulse if role]):
        twice = next(role for role, number in Counter(pulse).items() if role and number > 1)
        raise DataError(f"{path}: two columns could be {twice!r}: keep one, or head them apart")
    scale = {column.role: _scale(path, column, asked, v_read) for column in data}
    index = {column.role: at for at, column in enumerate(columns) if column.role}
    read = _Rows(path, rows, first, index, scale)
    sweeps, every = read.two_columns() if "up" in index else read.long()
    if {sweep.direction for sweep in sweeps} != {"up", "down"}:
        raise DataError(
            f"{path}: all pulses go {sweeps[0].direction}: a card needs LTP and LTD, put both in one file"
        )
    return Response(tuple(sweeps), every, read.pulse(columns), "1" if asked == (1.0, "1") else "S", str(path))


# Text


def decoded(path: Path) -> str:
    """The text of a file, whatever its encoding."""
    try:
        with path.open("rb") as file:
            data = bytes(read_up_to(file, _MOST_BYTES + 1))
    except OSError as problem:
        raise DataError(f"{path}: {problem.strerror or problem}: name the file of the measurement") from None
    if len(data) > _MOST_BYTES:
        raise DataError(f"{path}: more than {_MOST_BYTES >> 20} MiB: keep fewer cycles or devices")
    return _decoded(data).removeprefix("\ufeff")


def _decoded(data: bytes) -> str:
    """UTF-16 by its mark or its zeros, then UTF-8, else Latin-1, which takes anything."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if data[1::2].count(0) > len(data) // 4:
        return data.decode("utf-16-le", errors="replace")
    if data[::2].count(0) > len(data) // 4:
        return data.decode("utf-16-be", errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


# Table


def _table(path: Path, text: str) -> tuple[list[list[str]], int, list[_Column]]:
    """(rows of cells with "." as the decimal mark, line of the first, columns) of the block of data."""
    lines = [line.strip("\r\n\x00\ufeff ").lstrip("#%") for line in text.splitlines()]
    best: tuple[int, int, list[list[str]], list[list[str]]] | None = None
    most = -1
    for separator, mark in _FORMATS:
        split = [_split(line, separator, mark) for line in lines]
        start, end = _block(split)
        numbers = sum(_number(cell) is not None for cells in split[start:end] for cell in cells)
        if numbers > most:
            most, best = numbers, (start, end, split[start:end], split)
    assert best is not None
    start, _, block, split = best
    if len(block) < 4:
        raise DataError(
            f"{path}: no table of at least 4 rows with 2 columns of numbers: give up,down or pulse,G or "
            "device,cycle,pulse,direction,G"
        )
    rows = [cells for cells in block if cells]
    width = len(rows[0])
    return rows, start + 1, _columns(path, _heading(split[:start], width), rows)


def _split(line: str, separator: str | None, mark: str) -> list[str]:
    if separator is None:
        cells = line.split()
    else:
        try:
            cells = next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            return []
    cells = [cell.strip() for cell in cells]
    while len(cells) > 2 and not cells[-1]:
        cells.pop()  # a separator at the end of every line
    if mark == ",":
        # A point would then be a separator of thousands, which no instrument writes: not this format.
        cells = [cell.replace(",", ".") if "." not in cell else f"?{cell}" for cell in cells]
    return cells


def _block(split: list[list[str]]) -> tuple[int, int]:
    """The longest run of lines that are all equally wide and hold numbers; blank lines may stand in it."""
    best = (0, 0)
    start, width = 0, 0
    longest = 0
    held = 0
    for at, cells in enumerate(split):
        if not any(cells):
            continue
        if _is_data(cells) and (len(cells) == width or not held):
            start = at if not held else start
            width, held = len(cells), held + 1
        else:
            start, width, held = (at, len(cells), 1) if _is_data(cells) else (at, 0, 0)
        if held > longest:
            longest, best = held, (start, at + 1)
    return best


def _is_data(cells: list[str]) -> bool:
    """At least a number, and no more than two names beside the numbers."""
    if len(cells) < 2:
        return False
    numbers = sum(_number(cell) is not None for cell in cells)
    words = sum(bool(cell) for cell in cells) - numbers
    return numbers >= 1 and words <= 2 and numbers >= words


def _number(cell: str) -> float | None:
    if "_" in cell:  # Python's own grouping of digits
        return None
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _heading(before: list[list[str]], width: int) -> list[str]:
    """The names above the data; a row of units below the names is joined to them."""
    full = [cells for cells in before if len(cells) == width and any(cells)]
    if not full:
        return [""] * width
    last = full[-1]
    if len(full) > 1 and all(_unit(cell.strip("()[]")) or not cell for cell in last):
        return [f"{name} [{unit.strip('()[]')}]" for name, unit in zip(full[-2], last, strict=True)]
    return last


def _columns(path: Path, heading: list[str], rows: list[list[str]]) -> list[_Column]:
    columns = [_column(name) for name in heading]
    roles = {column.role for column in columns}
    if roles & {"g", "r", "i"} or {"up", "down"} <= roles:
        if {"up", "down"} <= roles:
            columns = [c if c.role not in ("g", "r", "i") else _Column("", None) for c in columns]
        return columns
    if len(columns) == 2:
        numbered = _evenly([_number(row[0]) for row in rows])
        names = ("pulse", "g") if numbered else ("up", "down")
        return [_Column(role, column.unit) for role, column in zip(names, columns, strict=True)]
    said = ", ".join(reprlib.repr(name) for name in heading[:6] if name) or "none"
    raise DataError(
        f"{path}: {len(columns)} columns headed {said}: head them device, cycle, pulse, direction, "
        "G (or R, or I), amplitude, width; or up and down"
    )


def _column(name: str) -> _Column:
    """What a heading such as ``G (µS)``, ``r_kohm`` or ``Current [nA]`` says."""
    name = name.strip().strip("\"'")
    parts = re.split(r"[\s_()\[\]/,:]+", name)
    parts = [part for part in parts if part]
    unit = None
    if len(parts) > 1 and (_unit(parts[-1]) or parts[-1] in ("V", "mV", "s", "ms", "us", "µs", "ns")):
        unit = parts.pop()
    plain = "".join(parts).lower()
    role = _ROLE.get(plain) or next((_ROLE[p.lower()] for p in parts if p.lower() in _ROLE), "")
    return _Column(role, unit)


def _evenly(values: Sequence[float | None]) -> bool:
    """Whether these are pulse numbers: whole, and rising but where a count begins anew."""
    if any(value is None or value != int(value) for value in values):
        return False
    steps = [b - a for a, b in pairwise([v for v in values if v is not None])]
    rising = [step for step in steps if step > 0]
    return len(rising) >= 0.8 * len(steps) and len(set(rising)) == 1


# Units


def _unit(text: str) -> tuple[float, str] | None:
    """(factor, base) of a unit such as uS, kOhm or nA."""
    plain = text.strip().replace("µ", "u").replace("μ", "u").replace("Ω", "ohm").replace("\u2126", "ohm")
    for prefix, factor in _PREFIX.items():
        rest = plain[len(prefix) :].lower()
        if plain.startswith(prefix) and rest in _BASE:
            return factor, _BASE[rest]
    return None


def _asked(unit: str) -> tuple[float, str]:
    if unit == "1":
        return 1.0, "1"
    found = _unit(unit)
    if found is None:
        raise DataError(f"unit = {unit[:20]!r}: write {_UNITS}; 1 for arbitrary units")
    return found


def siemens_of(path: Path, unit: str | None) -> float:
    """Factor from a unit of conductance to siemens; DataError if it is not said."""
    if unit is None:
        raise DataError(f"{path}: the unit is not said: add --unit with one of S, mS, uS or nS")
    factor, base = _asked(unit)
    if base != "S":
        raise DataError(f"{path}: a table of steps is in siemens, not in {base}: mend --unit")
    return factor


def _scale(
    path: Path, column: _Column, asked: tuple[float, str] | None, v_read: float | None
) -> tuple[float, bool]:
    """(factor, whether the value is inverted first) that makes siemens."""
    told = _unit(column.unit) if column.unit else None
    kind = _QUANTITY.get(column.role)
    if asked and told and not math.isclose(asked[0], told[0]) | (asked[1] == "1"):
        raise DataError(f"{path}: the heading says {column.unit} and --unit something else: keep one of them")
    found = asked or told
    if found is None:
        raise DataError(
            f"{path}: the unit of column {column.role!r} is not said: add --unit with one of {_UNITS}"
        )
    factor, base = found
    for other in (kind if column.role in ("r", "i") else None, told[1] if told else None):
        if base != "1" and other and other != base:
            raise DataError(f"{path}: column {column.role!r} is in {other}, not in {base}: mend --unit")
    if base == "A":
        if v_read is None:
            raise DataError(f"{path}: currents need the read voltage: add --v-read V")
        return factor / abs(v_read), False
    if base == "ohm":
        return factor, True
    return factor, False


# Rows


@dataclass
class _Rows:
    path: Path
    rows: list[list[str]]
    first: int
    index: dict[str, int]
    scale: dict[str, tuple[float, bool]]

    def two_columns(self) -> tuple[list[Sweep], int]:
        """One curve a column; a pulse column beside them tells the spacing alone."""
        sweeps = []
        ways: tuple[Way, Way] = ("up", "down")
        for way in ways:
            cells = [row[self.index[way]] for row in self.rows]
            while cells and not cells[-1]:  # the shorter of two columns
                cells.pop()
            values = np.array([self._siemens(cell, way, at) for at, cell in enumerate(cells)])
            self._enough(values, way)
            sweeps.append(Sweep("1", 1, way, values))
        every = 1
        if "pulse" in self.index:
            every = self._spacing([self._value(row, "pulse", at) for at, row in enumerate(self.rows)])
        return sweeps, every

    def long(self) -> tuple[list[Sweep], int]:
        """One row a read."""
        role = next(role for role in ("g", "r", "i") if role in self.index)
        g = np.array([self._siemens(row[self.index[role]], role, at) for at, row in enumerate(self.rows)])
        count = len(g)
        device = self._words("device") or ["1"] * count
        cycle = self._words("cycle") or [""] * count
        pulse = (
            np.array([self._value(row, "pulse", at) for at, row in enumerate(self.rows)])
            if "pulse" in self.index
            else np.arange(count, dtype=float)
        )
        way = self._ways(g, pulse)
        sweeps: list[Sweep] = []
        steps: list[float] = []
        for name in dict.fromkeys(device):
            mine = np.array([at for at, other in enumerate(device) if other == name])
            if "pulse" not in self.index:  # devices may take turns
                pulse[mine] = np.arange(len(mine))
            ways = [way[at] for at in mine] if way else _turns(g[mine], np.abs(pulse[mine]))
            groups = _groups([cycle[at] for at in mine], ways, np.abs(pulse[mine]))
            number: Counter[str] = Counter()
            for start, end, direction in groups:
                rows = mine[start:end]
                steps += np.diff(np.abs(pulse[rows])).tolist()
                if not direction:
                    direction = "up" if g[rows[-1]] > g[rows[0]] else "down"
                if len(rows) > 2:
                    number[direction] += 1
                    way_: Way = "up" if direction == "up" else "down"
                    sweeps.append(Sweep(name, number[direction], way_, g[rows]))
        if not sweeps:
            raise DataError(f"{self.path}: no direction has three rows: give more pulses")
        return sweeps, self._even(steps)

    def pulse(self, columns: list[_Column]) -> dict[str, float]:
        """Amplitude and width where the file tells one value a direction, with its unit."""
        found: dict[str, float] = {}
        way = self._words("direction")
        if not way or "up" in self.index:
            return found
        units = {column.role: column.unit for column in columns}
        factors = {"V": 1.0, "mV": 1e-3, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
        for role, letter, base in (("amplitude", "v", "V"), ("width", "t", "s")):
            if role not in self.index or units[role] not in factors or not str(units[role]).endswith(base):
                continue
            for side in ("up", "down"):
                cells = {
                    _number(row[self.index[role]])
                    for row, said in zip(self.rows, way, strict=True)
                    if _TURNS.get(_plain(said)) == side
                }
                value = next(iter(cells)) if len(cells) == 1 else None
                if value and (letter == "v" or value > 0):
                    found[f"{letter}_{side}_{base}"] = value * factors[str(units[role])]
        return found

    def _words(self, role: str) -> list[str]:
        return [row[self.index[role]] for row in self.rows] if role in self.index else []

    def _ways(self, g: Values, pulse: Values) -> list[str]:
        """Direction of each row as the file says it, by word or by the sign of pulse or amplitude."""
        if words := self._words("direction"):
            found = [_TURNS.get(_plain(word), "") for word in words]
            for at, (word, way) in enumerate(zip(words, found, strict=True)):
                if word and not way:
                    raise DataError(f"{self.path}: table row {at + 1}: {reprlib.repr(word)} is no direction")
            for at in range(len(found) - 2, -1, -1):  # the state before the first pulse goes with it
                found[at] = found[at] or found[at + 1]
            return list(found)
        signs = np.sign(pulse)
        if not ((signs > 0).any() and (signs < 0).any()):
            if "amplitude" not in self.index:
                return []
            signs = np.sign([self._value(row, "amplitude", at) for at, row in enumerate(self.rows)])
            if not ((signs > 0).any() and (signs < 0).any()):
                return []
        change = np.diff(g, prepend=g[0])
        rise = 1.0 if float((change * signs).sum()) >= 0 else -1.0
        return ["up" if sign * rise > 0 else "down" if sign * rise < 0 else "" for sign in signs]

    def _value(self, row: list[str], role: str, at: int) -> float:
        value = _number(row[self.index[role]])
        if value is None:
            cell = reprlib.repr(row[self.index[role]])
            raise DataError(f"{self.path}: row {at + 1} of the table: {role} {cell} is no number: mend it")
        return value

    def _siemens(self, cell: str, role: str, at: int) -> float:
        value = _number(cell)
        if value is None:
            raise DataError(
                f"{self.path}: row {at + 1} of the table: {reprlib.repr(cell)} is no finite number: mend it "
                "or drop the row"
            )
        factor, inverted = self.scale[role]
        if inverted:
            value = 1 / (value * factor) if value * factor > 1e-300 else -1.0
        else:
            value *= factor
        if not (abs(value) < 1e100 and (value == 0 or abs(value) > 1e-100)):
            raise DataError(
                f"{self.path}: row {at + 1} of the table: {cell[:20]} is beyond reason: check the unit"
            )
        return value

    def _enough(self, values: Values, way: str) -> None:
        if len(values) < 3:
            raise DataError(f"{self.path}: column {way!r} has {len(values)} rows: give at least 3")

    def _spacing(self, pulse: list[float]) -> int:
        return self._even([b - a for a, b in pairwise(pulse)])

    def _even(self, steps: list[float]) -> int:
        known = sorted({abs(step) for step in steps})
        if len(known) != 1 or known[0] < 1 or known[0] != int(known[0]) or known[0] > 1e6:
            shown = ", ".join(f"{step:g}" for step in known[:3])
            raise DataError(
                f"{self.path}: pulse numbers step by {shown}: give evenly spaced rows, each sweep in order"
            )
        return int(known[0])


def _plain(word: str) -> str:
    number = _number(word)
    if number in (1.0, -1.0, 0.0):
        return str(int(number))
    return word.lower()


def _groups(cycle: list[str], way: list[str], pulse: Values) -> list[tuple[int, int, str]]:
    """(first, past the last, direction) of each sweep.

    A count that runs on over a turn has the state before it in the row above, which then begins the
    sweep too; one that begins anew has it in its own first row.
    """
    found = []
    start = 0
    for at in range(1, len(way) + 1):
        if (
            at < len(way)
            and way[at] == way[at - 1]
            and cycle[at] == cycle[at - 1]
            and pulse[at] > pulse[at - 1]
        ):
            continue
        begin = start
        if start and pulse[start] > pulse[start - 1] and way[start] != way[start - 1]:
            begin = start - 1
        found.append((begin, at, way[start]))
        start = at
    return found


def _turns(g: Values, pulse: Values) -> list[str]:
    """Directions of a trace that does not say them: it turns where it has gone half its range back."""
    if np.any(np.diff(pulse) <= 0):  # the count begins anew at a turn
        return [""] * len(g)
    width = max(1, len(g) // 40)
    padded = np.pad(g, (width // 2, width - 1 - width // 2), mode="edge")
    smooth = np.convolve(padded, np.ones(width) / width, "valid")
    back = 0.5 * (smooth.max() - smooth.min())
    turns: list[int] = []
    low = high = 0
    heading = ""
    first = ""
    for at, value in enumerate(smooth):
        low = at if value < smooth[low] else low
        high = at if value > smooth[high] else high
        if heading != "up" and value - smooth[low] > back:
            turns += [low] if heading or low > width else []
            first = first or ("down" if turns else "up")
            heading, high = "up", at
        elif heading != "down" and smooth[high] - value > back:
            turns += [high] if heading or high > width else []
            first = first or ("up" if turns else "down")
            heading, low = "down", at
    ways: list[str] = []
    way = first or "up"
    for turn in turns:
        ways += [way] * (_sharp(g, turn, width) + 1 - len(ways))
        way = "down" if way == "up" else "up"
    return ways + [way] * (len(g) - len(ways))


def _sharp(g: Values, turn: int, width: int) -> int:
    """The row near ``turn`` where two parabolas that meet there fit best."""
    reach = width + 3
    first, last = max(turn - reach - 8, 0), min(turn + reach + 9, len(g))
    k = np.arange(first, last, dtype=float)
    best, found = math.inf, turn
    for at in range(max(turn - reach, first + 1), min(turn + reach, last - 2) + 1):
        before, after = np.minimum(k - at, 0), np.maximum(k - at, 0)
        design = np.stack([np.ones_like(k), before, before**2, after, after**2], axis=1)
        off = g[first:last] - design @ np.linalg.lstsq(design, g[first:last], rcond=None)[0]
        if float(off @ off) < best * (1 - 1e-9):
            best, found = float(off @ off), at
    return found
