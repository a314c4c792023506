"""A card that keeps the measured distribution of steps: the law cdf-table with quantiles.

From CrossSim's tables, or from a response that was read after every pulse: steps of each branch are sorted
into bins of conductance, and each bin gives a column of quantiles. Such steps hold the noise of two reads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwtrain.data.crosssim import StepTable
from hwtrain.data.response import Response, Values
from hwtrain.errors import DataError
from hwtrain.synapse.laws.cdf_table import means

Grid = NDArray[np.float64]
_NODES, _POINTS = 64, 65
"""Most conductances and points of the distribution that are kept as they stand."""
_BINS, _QUANTILES = 9, 17
"""Conductances and points of the distribution of a measured response."""
_LEAST = 20
"""Fewest pulses of a bin."""


@dataclass(frozen=True)
class Steps:
    """Steps in siemens by p and conductance, those of LTD counted downwards.

    Of a response, ``thin`` counts conductances that are left out for want of pulses.
    """

    g: Values
    p: Values
    up: Grid
    down: Grid
    source: str
    pulses: int | None = None
    thin: int = 0


def steps_of_tables(rising: StepTable, falling: StepTable, source: str) -> Steps:
    """Of CrossSim's tables, where they overlap; on a common grid if theirs differ or are fine."""
    turned = 1 - falling.p[::-1], -falling.steps[::-1]  # what falls furthest has the lowest p there
    low, high = max(rising.g[0], falling.g[0]), min(rising.g[-1], falling.g[-1])
    if not low < high:
        raise DataError(f"{source}: the two tables share no range of conductances: mend them")
    same_g = len(rising.g) <= _NODES and np.array_equal(rising.g, falling.g)
    same_p = len(rising.p) <= _POINTS and rising.p.shape == turned[0].shape
    same_p = same_p and np.allclose(rising.p, turned[0], atol=1e-12) and bool((np.diff(rising.p) > 0).all())
    g = rising.g if same_g else np.linspace(low, high, min(_NODES, len(rising.g)))
    p = rising.p if same_p else np.linspace(0, 1, _QUANTILES * 2 - 1)

    def on(at: Values, points: Values, steps: Grid) -> Grid:
        columns = np.stack([np.interp(g, at, row) for row in steps])
        return np.stack([np.interp(p, points, column) for column in columns.T]).T

    return Steps(g, p, on(rising.g, rising.p, rising.steps), on(falling.g, *turned), source)


def steps_of_response(response: Response, ends: tuple[float, float] | None) -> Steps:
    """Of a response that was read after every pulse; ``ends``: what arbitrary units stand for."""
    source = response.source
    if response.every != 1:
        raise DataError(f"{source}: read every {response.every} pulses: single steps are not known")
    everything = np.concatenate([sweep.g for sweep in response.sweeps])
    low, high = float(everything.min()), float(everything.max())
    if response.unit == "1" and ends is None:
        raise DataError(f"{source}: arbitrary units: say what the ends are: --g-min S --g-max S")
    if response.unit != "1" and low <= 0:
        raise DataError(f"{source}: a lowest conductance of {low:.3g} S is impossible: mend the data")
    first, last = ends if ends is not None and response.unit == "1" else (low, high)
    g, p = np.linspace(first, last, _BINS), np.linspace(0, 1, _QUANTILES)
    scale, counts, found = (last - first) / (high - low), {}, {}
    for way, sign in (("up", 1), ("down", -1)):
        sweeps = [first + (s.g - low) * scale for s in response.sweeps if s.direction == way]
        at = np.concatenate([sweep[:-1] for sweep in sweeps] or [np.zeros(0)])
        step = np.concatenate([sign * np.diff(sweep) for sweep in sweeps] or [np.zeros(0)])
        place = np.rint((at - first) / (last - first) * (_BINS - 1)).astype(int)
        columns = [step[place == k] for k in range(_BINS)]
        counts[way] = np.array([len(column) for column in columns])
        found[way] = np.stack([np.quantile(column, p) if len(column) else 0 * p for column in columns]).T
    kept = _longest(*(counts[way] >= _LEAST for way in counts))
    if kept.stop - kept.start < 2:
        way, k = min(((way, k) for way in counts for k in range(_BINS)), key=lambda at: counts[at[0]][at[1]])
        raise DataError(
            f"{source}: {counts[way][k]} pulses {way} near {g[k]:.3g} S, of the {_LEAST} that a distribution "
            "needs: measure more cycles, or fit a law without --table"
        )
    pulses, thin = int(sum(n[kept].sum() for n in counts.values())), _BINS - (kept.stop - kept.start)
    return Steps(g[kept], p, found["up"][:, kept], found["down"][:, kept], source, pulses, thin)


def table_text(steps: Steps, title: str | None) -> tuple[str, list[tuple[str, str]]]:
    """TOML of the card, and what the command prints; ends where pulses stop going their way are left out."""
    kept = _longest(_mean(steps, steps.up) > 0, _mean(steps, steps.down) > 0)
    if kept.stop - kept.start < max(2, len(steps.g) / 2):
        raise DataError(
            f"{steps.source}: pulses of both branches go their way on average at {kept.stop - kept.start} of "
            f"{len(steps.g)} conductances: single steps drown in read noise, or the branches do not share a "
            "range: fit a law without --table"
        )
    g, name = steps.g[kept], Path(steps.source).name
    span = float(g[-1] - g[0])
    share = [0.0, *((g[1:-1] - g[0]) / span).tolist(), 1.0]
    left_out = len(steps.g) - len(g)
    said = [("conductances, p", f"{len(g)}, {len(steps.p)}")]
    if steps.thin:
        said.append(("left out", f"{steps.thin} conductances with fewer than {_LEAST} pulses a branch"))
    if left_out:
        said.append(("left out", f"{left_out} conductances, where pulses do not go their way on average"))
    if steps.pulses is not None:
        said.append(("pulses", f"{steps.pulses}; each step holds the noise of two reads"))
    said.append(("g_min_S, g_max_S", f"{g[0]:.5g}, {g[-1]:.5g}"))
    lines = [
        "# hwtrain devices fit --table",
        *(f"# {what}: {value}." for what, value in said),
        "schema = 1",
        'kind = "synapse"',
        "\n[device]",
        f"title = {json.dumps(title or name)}",
        'technology = "not stated"',
        "\n[provenance]",
        'kind = "measured-table"',
        f"citation = {json.dumps(f'measurement in {name}')}",
        f"location = {json.dumps(name)}",
        'licence = "not stated"',
        "verified = true",
        "\n[range]",
        f"g_min_S = {float(g[0])!r}",
        f"g_max_S = {float(g[-1])!r}",
        "\n[response]",
        'law = "cdf-table"',
        f"g = {json.dumps(share)}",
        f"p = {json.dumps([min(max(float(value), 0.0), 1.0) for value in steps.p])}",
    ]
    for way, rows in (("up", steps.up), ("down", steps.down)):
        shares = np.maximum.accumulate(rows[:, kept] / span, axis=0).clip(-1, 1).tolist()
        shown = (", ".join(f"{float(f'{step:.10g}')!r}" for step in row) for row in shares)
        lines += [f"{way}_quantiles = [", *(f"    [{row}]," for row in shown), "]"]
    return "\n".join(lines) + "\n", said


def _mean(steps: Steps, rows: Grid) -> Values:
    return np.array(means(steps.p.tolist(), rows.tolist()))


def _longest(*goes: NDArray[np.bool_]) -> slice:
    """The longest run of conductances where all hold."""
    runs, start = [slice(0, 0)], None
    for at, yes in enumerate([*np.logical_and.reduce(goes).tolist(), False]):
        if yes and start is None:
            start = at
        elif not yes and start is not None:
            runs.append(slice(start, at))
            start = None
    return max(runs, key=lambda run: run.stop - run.start)
