"""CrossSim's lookup tables: the distribution of a pulse's step at every conductance.

A file has a comment line, a row of conductances, a row of points p of the distribution from 0 to 1, and a
matrix with a row for each p: the step that a share p of pulses does not exceed. LTP and LTD have a file each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwtrain.data.response import Response, Sweep, Values, decoded, siemens_of
from hwtrain.errors import DataError

_LONGEST = 5000
"""Pulses after which a mean response is cut off."""
_LEFT = 1e-4
"""Share of its largest step below which a mean response has arrived."""


@dataclass(frozen=True)
class StepTable:
    """Steps by p and conductance, their mean and variance at every conductance, in siemens."""

    g: Values
    p: Values
    steps: NDArray[np.float64]
    mean: Values
    variance: Values

    def walk(self, start: float) -> Values:
        """The mean response from ``start``."""
        path = [start]
        least = _LEFT * float(np.abs(self.mean).max())
        while len(path) <= _LONGEST:
            step = float(np.interp(path[-1], self.g, self.mean))
            after = path[-1] + step
            if abs(step) <= least or not self.g[0] <= after <= self.g[-1]:
                break
            path.append(after)
        return np.array(path)


def read_tables(up: Path, down: Path, unit: str | None) -> tuple[Response, Values]:
    """The mean responses of both tables, and the variances of their steps."""
    rising, falling = read_steps(up, down, unit)
    sweeps = (
        Sweep("1", 1, "up", rising.walk(float(rising.g[0]))),
        Sweep("1", 1, "down", falling.walk(float(falling.g[-1]))),
    )
    for sweep in sweeps:
        if len(sweep.g) < 3:
            raise DataError(f"{up}: {sweep.direction}: two pulses cross the range: nothing can be fitted")
    variances = np.concatenate([rising.variance, falling.variance])
    return Response(sweeps, 1, {}, "S", str(up)), variances


def read_steps(up: Path, down: Path, unit: str | None) -> tuple[StepTable, StepTable]:
    """Both tables as they stand."""
    factor = siemens_of(up, unit)
    rising, falling = (_table(path, factor) for path in (up, down))
    if rising.mean.mean() <= 0 or falling.mean.mean() >= 0:
        raise DataError(f"{up}: its steps must go up, and those of {down} down: exchange them")
    return rising, falling


def _table(path: Path, factor: float) -> StepTable:
    lines = [line for line in decoded(path).splitlines()[1:] if line.strip()]
    try:
        rows = [np.array([float(cell) for cell in line.replace(",", " ").split()]) for line in lines]
    except ValueError:
        raise DataError(
            f"{path}: not a table of numbers below a comment line: give CrossSim's format"
        ) from None
    if len(rows) < 4 or len(rows) != 2 + len(rows[1]) or any(len(row) != len(rows[0]) for row in rows[2:]):
        raise DataError(
            f"{path}: no row of conductances, row of p and matrix of steps (p by conductances): give these"
        )
    g, p, steps = rows[0] * factor, rows[1], np.stack(rows[2:]) * factor
    sound = all(np.isfinite(part).all() and np.abs(part).max() < 1e100 for part in (g, p, steps))
    if not sound or len(g) < 3 or (np.diff(g) <= 0).any() or (np.diff(p) < 0).any() or not p[-1] > p[0]:
        raise DataError(f"{path}: conductances and p must rise, and all be finite: mend the table")
    mean = np.trapezoid(steps, p, axis=0) / (p[-1] - p[0])
    variance = np.trapezoid((steps - mean) ** 2, p, axis=0) / (p[-1] - p[0])
    return StepTable(g, p, steps, mean, variance)
