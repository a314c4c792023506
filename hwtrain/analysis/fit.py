"""Fits a conductance law to a measured response.

Both laws move the conductance by an affine map, G' = rho G + c (rho = 1: linear). Scatter from pulse to
pulse, of variance Q, stays in the state; the noise of a read, R, does not. The innovations of such a process
under its stationary Kalman gain K are

    e_k = y_k - p_k,    p_{k+1} = c + rho (p_k + K e_k),    S = var e,    Q = K S (1 - rho^2 (1 - K)),
    R = (1 - K) S.

K = 0 is the least-squares curve, K = 1 the regression of one state on the one before. One cycle does not
tell them apart from a law that fits badly, and gets K = 0. Likelihood is N log S, so that c, rho, the first
state and K are found together by least squares (Levenberg and Marquardt), and the Jacobian gives their
intervals. Where states repeat exactly at an end of the range they are clipped there: nothing is read with
noise then (K = 1), and the regression is a censored one (Tobit, by EM).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hwtrain.analysis.estimate import estimate, t975
from hwtrain.analysis.fit_numerics import (
    FLOOR,
    highest,
    inflation,
    least_squares,
    mean_square,
    powers,
    remembered,
    rho_of,
    tobit,
)
from hwtrain.data.response import Response, Sweep
from hwtrain.errors import DataError
from hwtrain.synapse.label import LARGEST, label_of_rate

Values = NDArray[np.float64]

_WAYS = ("up", "down")
_Z = 1.959964
_PARAMETERS = {"linear": 4, "linear (closed)": 2, "affine": 6, "affine (closed)": 4, "soft-bounds": 4}
"""Candidates. A closed loop starts one branch where the other ends; soft bounds start where it saturates."""


@dataclass(frozen=True)
class Value:
    """A fitted figure with the half width of its 95 % interval, None where there is none."""

    value: float
    half: float | None = None


@dataclass(frozen=True)
class Curve:
    """One direction of one device: G' = rho G + c, from ``start``, in shares of the data's span."""

    rho: float
    c: float
    start: float
    end: float
    gain: float
    variance: float

    def walk(self, count: int) -> Values:
        """The states before the first and after each pulse, without scatter."""
        power, pulses = powers(self.rho, count)
        found: Values = power * self.start + pulses * self.c
        return found

    def step(self, g: float) -> float:
        """Size of the step that is taken at g."""
        return self.c - (1 - self.rho) * g


@dataclass(frozen=True)
class Shape:
    """What a card says of one direction between two ends."""

    label: float
    levels: float
    step: float
    curvature: float


@dataclass(frozen=True)
class Fit:
    """A fitted device; ``figures`` in siemens, shares of the range, labels and pulses.

    ``c2c_is_bound``: the scatter holds read noise too, for one cycle cannot tell them apart.
    ``unknown``: what the data do not identify, and why. ``aic``: by candidate. ``r2``: of the curve without
    scatter, by direction.
    """

    law: str
    figures: dict[str, Value]
    c2c_is_bound: bool
    unknown: dict[str, str]
    aic: dict[str, float]
    r2: dict[str, float]
    devices: int
    cycles: int
    response: Response = field(repr=False)
    curves: list[tuple[Sweep, Values]] = field(repr=False)

    def value(self, name: str) -> float:
        """One figure."""
        return self.figures[name].value


def fit(response: Response, *, g_range: tuple[float, float] | None = None) -> Fit:
    """Fit the laws, choose by AIC, and turn the choice into the figures of a card.

    Args:
        response: the measurement.
        g_range: conductances in siemens that the ends of a measurement in arbitrary units stand for.

    Raises DataError where a card cannot be made.
    """
    everything = np.concatenate([sweep.g for sweep in response.sweeps])
    low, span = float(everything.min()), float(np.ptp(everything))
    if not span > 1e-9 * float(np.abs(everything).max()):
        raise DataError(f"{response.source}: the response never changes: nothing can be fitted")
    devices = [
        _Device([sweep for sweep in response.sweeps if sweep.device == name], low, span)
        for name in dict.fromkeys(sweep.device for sweep in response.sweeps)
    ]
    for device in devices:
        if missing := {"up", "down"} - {sweep.direction for sweep in device.sweeps}:
            name = device.sweeps[0].device[:20]
            raise DataError(
                f"{response.source}: device {name!r} has no {missing.pop()} pulses: add or drop it"
            )
    solved = {model: [device.solve(model) for device in devices] for model in _PARAMETERS}
    aic = {model: sum(one.aic for one in found) for model, found in solved.items()}
    chosen = min(aic, key=lambda model: (round(aic[model], 6), _PARAMETERS[model]))
    return _Report(response, devices, solved[chosen], aic, chosen, low, span).made(g_range)


def fit_tables(response: Response, variances: Values) -> Fit:
    """The same from CrossSim's tables: the mean responses give the law, the variances of the steps c2c."""
    found = fit(response)
    wide = found.value("g_max_S") - found.value("g_min_S")
    c2c = Value(math.sqrt(float(variances.mean())) / wide)
    unknown = {"device-to-device": "one pair of tables", "read noise": "tables of steps"}
    return replace(found, figures=found.figures | {"c2c": c2c}, c2c_is_bound=False, unknown=unknown)


# One device


@dataclass(frozen=True)
class _Solution:
    """A candidate fitted to one device: what it says, and how theta maps to it."""

    theta: Values
    covariance: Values
    model: str
    aic: float
    variances: tuple[float, float]
    clipped: bool


class _Device:
    """The sweeps of one device, scaled to the span of the data and padded to equal lengths."""

    def __init__(self, sweeps: list[Sweep], low: float, span: float) -> None:
        self.sweeps = sweeps
        self.y: list[Values] = []
        self.held: list[NDArray[np.bool_]] = []
        for way in _WAYS:
            mine = [((sweep.g - low) / span).round(10) for sweep in sweeps if sweep.direction == way]
            y = np.zeros((len(mine), max((len(g) for g in mine), default=0)))
            held = np.zeros(y.shape, dtype=bool)
            for row, g in enumerate(mine):
                y[row, : len(g)], held[row, : len(g)] = g, True
            self.y.append(y)
            self.held.append(held)
        self.stop = _stops(self.y, self.held)
        self.once = max(len(y) for y in self.y) < 2
        self._free: Values | None = None

    def count(self, way: int) -> int:
        """Rows of the longest sweep after its first."""
        return int(self.y[way].shape[1]) - 1

    def solve(self, model: str) -> _Solution:
        """Fit one candidate."""
        if self.stop != (None, None):
            return self._censored(model)
        theta, e, jacobian = least_squares(
            lambda t: self._residuals(model, t), self._start(model), gains=not self.once
        )
        number = len(e)
        s2 = float(e @ e) / max(number - len(theta), 1) * inflation(e)
        covariance = np.asarray(s2 * np.linalg.pinv(jacobian.T @ jacobian), dtype=np.float64)
        moved = [
            self._innovations(way, *branch)[:, 1:] for way, branch in enumerate(self._branches(model, theta))
        ]
        up, down = (mean_square(part[held[:, 1:]]) for part, held in zip(moved, self.held, strict=True))
        variances = (up, down)
        aic = number * math.log(max(float(e @ e) / number, FLOOR**2)) + 2 * len(theta)
        return _Solution(theta, covariance, model, aic, variances, False)

    def curves(self, solution: _Solution, theta: Values | None = None) -> tuple[Curve, Curve]:
        """Up and down of a candidate."""
        theta = solution.theta if theta is None else theta
        found = []
        for way, (rho, c, g0, gain) in enumerate(self._branches(solution.model, theta)):
            state = g0 + gain * (self.y[way][:, 0] - g0)
            e = self._innovations(way, rho, c, g0, gain)
            ends = []
            for row in range(len(e)):
                last = int(self.held[way][row].sum()) - 1
                ends.append(self.y[way][row, last] - (1 - gain) * e[row, last])
            start, end = float(state.mean()), float(np.mean(ends))
            found.append(Curve(rho, c, start, end, gain, solution.variances[way]))
        return found[0], found[1]

    def ends(self, solution: _Solution, theta: Values | None = None) -> tuple[float, float]:
        """Lowest and highest conductance: where it is clipped, else the hull of the branches' ends."""
        theta = solution.theta if theta is None else theta
        low, high = self.stop
        if solution.model in ("linear (closed)", "affine (closed)", "soft-bounds"):
            return float(theta[0]), float(theta[1])
        up, down = self.curves(solution, theta)
        return (
            min(up.start, down.end) if low is None else low,
            max(up.end, down.start) if high is None else high,
        )

    def _branches(self, model: str, theta: Values) -> list[tuple[float, float, float, float]]:
        """(rho, c, first state, gain) of both directions."""
        gains = np.clip(theta[-2:], 0.0, 1.0)
        found = []
        for way in range(2):
            count = max(self.count(way), 1)
            if model in ("linear", "affine"):
                rho = rho_of(theta[4 + way], count) if model == "affine" else 1.0
                found.append((rho, float(theta[2 * way]), float(theta[2 * way + 1]), float(gains[way])))
                continue
            ends = (theta[0], theta[1]) if way == 0 else (theta[1], theta[0])
            rho = 1.0 if model == "linear (closed)" else rho_of(theta[2 + way], count)
            if model == "soft-bounds":
                c = (1 - rho) * ends[1]
            else:
                power, pulses = powers(rho, count + 1)
                c = (ends[1] - power[-1] * ends[0]) / pulses[-1]
            found.append((rho, float(c), float(ends[0]), float(gains[way])))
        return found

    def _innovations(self, way: int, rho: float, c: float, g0: float, gain: float) -> Values:
        y = self.y[way]
        keep = rho * (1 - gain)
        power, pulses = powers(keep, y.shape[1])
        found: Values = y - power * g0 - pulses * c
        if gain > 0:
            found = found - rho * gain * remembered(y, keep)
        return found

    def _residuals(self, model: str, theta: Values) -> Values:
        parts = [
            self._innovations(way, *branch)[self.held[way]]
            for way, branch in enumerate(self._branches(model, theta))
        ]
        return np.concatenate(parts)

    def _start(self, model: str) -> Values:
        """The best of a grid for the open affine law, translated for the other candidates."""
        if self._free is None:
            found = [self._grid(way) for way in range(2)]
            (cu, gu, ru, ku), (cd, gd, rd, kd) = found
            self._free = np.array([cu, gu, cd, gd, ru, rd, ku, kd])
        cu, gu, cd, gd, ru, rd, ku, kd = self._free
        tops = []
        for way, (c, g0, rate) in enumerate(((cu, gu, ru), (cd, gd, rd))):
            power, pulses = powers(rho_of(rate, max(self.count(way), 1)), self.count(way) + 1)
            tops.append(power[-1] * g0 + pulses[-1] * c)
        low, high = (gu + tops[1]) / 2, (gd + tops[0]) / 2
        if not high > low:
            low, high = 0.0, 1.0
        slopes = (tops[0] - gu) / max(self.count(0), 1), (tops[1] - gd) / max(self.count(1), 1)
        starts = {
            "affine": [cu, gu, cd, gd, ru, rd],
            "linear": [slopes[0], gu, slopes[1], gd],
            "affine (closed)": [low, high, ru, rd],
            "linear (closed)": [low, high],
            "soft-bounds": [low, high, max(ru, 0.5), max(rd, 0.5)],
        }
        return np.array([*starts[model], ku, kd])

    def _grid(self, way: int) -> tuple[float, float, float, float]:
        """(c, first state, rate, gain) with the least innovations."""
        y, held = self.y[way], self.held[way]
        count = y.shape[1] - 1
        rates = [r for r in (-8, -5, -3, -1.5, -0.5, 0.5, 1.5, 3, 5, 8, 12, 20, 40, 80) if r < 3 * count]
        best, chosen = math.inf, (0.0, 0.0, 0.5, 0.0)
        for gain in (0.0,) if self.once else (0.0, 0.05, 0.3, 1.0):
            for rate in rates:
                rho = rho_of(rate, count)
                keep = rho * (1 - gain)
                power, pulses = powers(keep, count + 1)
                left = y - rho * gain * remembered(y, keep) if gain else y
                columns = [np.broadcast_to(part, y.shape)[held] for part in (pulses, power)]
                design = np.stack(columns, axis=1)
                wanted = left[held]
                (c, g0), *_ = np.linalg.lstsq(design, wanted, rcond=1e-12)
                e = wanted - design @ np.array([c, g0])
                if float(e @ e) < best * (1 - 1e-9):
                    best, chosen = float(e @ e), (float(c), float(g0), float(rate), gain)
        return chosen

    def _censored(self, model: str) -> _Solution:
        """Tobit regression of each state on the one before, for responses that are clipped at an end."""
        straight = model == "linear"
        if model == "soft-bounds":
            return _Solution(np.zeros(8), np.zeros((8, 8)), model, math.inf, (0.0, 0.0), True)
        if model not in ("linear", "affine"):
            return self._censored_closed(model)
        theta = np.zeros(6 if straight else 8)
        theta[-2:] = 1.0
        covariance = np.zeros((len(theta),) * 2)
        aic, variances = 0.0, []
        for way in range(2):
            y, held = self.y[way], self.held[way]
            both = held[:, 1:] & held[:, :-1]
            before, after = y[:, :-1][both], y[:, 1:][both]
            bound = self.stop[1 - way]
            sign = 1.0 if way == 0 else -1.0
            at_end = np.zeros(len(after), dtype=bool) if bound is None else after == bound
            design = np.ones((len(before), 1 if straight else 2))
            if not straight:
                design[:, 1] = before
            offset = before if straight else np.zeros_like(before)
            found, variance, likelihood = tobit(design, after - offset, at_end, sign)
            rho = 1.0 if straight else float(np.clip(found[1], 1e-9, 1.5))
            count = max(self.count(way), 1)
            theta[2 * way], theta[2 * way + 1] = found[0], float(y[:, 0].mean())
            inverse = variance * np.linalg.pinv(design[~at_end].T @ design[~at_end])
            covariance[2 * way, 2 * way] = inverse[0, 0]
            if not straight:
                theta[4 + way] = -math.log(rho) * count
                slope = -count / rho
                covariance[4 + way, 4 + way] = slope**2 * inverse[1, 1]
                covariance[4 + way, 2 * way] = covariance[2 * way, 4 + way] = slope * inverse[0, 1]
            aic += 2 * (len(found) + 1) - 2 * likelihood
            variances.append(variance)
        return _Solution(theta, covariance, model, aic, (variances[0], variances[1]), True)

    def _extremes(self) -> tuple[float, float]:
        """The ends where states are clipped; where they are not, the furthest state."""
        held = np.concatenate([y[held] for y, held in zip(self.y, self.held, strict=True)])
        low, high = self.stop
        return float(held.min()) if low is None else low, float(held.max()) if high is None else high

    def _censored_closed(self, model: str) -> _Solution:
        """The same for branches that cross the range in the pulses of a sweep: the rate alone is free."""
        low, high = self._extremes()
        straight = model == "linear (closed)"
        theta = np.array([low, high] if straight else [low, high, 0.0, 0.0])
        theta = np.append(theta, [1.0, 1.0])
        covariance = np.zeros((len(theta),) * 2)
        aic, variances = 0.0, []
        for way in range(2):
            y, held = self.y[way], self.held[way]
            both = held[:, 1:] & held[:, :-1]
            before, after = y[:, :-1][both], y[:, 1:][both]
            ends, sign = ((low, high), 1.0) if way == 0 else ((high, low), -1.0)
            at_end = after == ends[1]
            nothing = np.zeros((len(after), 0))

            def scored(
                rate: float,
                way: int = way,
                ends: tuple[float, float] = ends,
                sign: float = sign,
                parts: tuple[Values, Values, NDArray[np.bool_], Values] = (before, after, at_end, nothing),
            ) -> tuple[float, float]:
                rho = rho_of(rate, self.count(way))
                power, pulses = powers(rho, self.count(way) + 1)
                c = (ends[1] - power[-1] * ends[0]) / pulses[-1]
                _, variance, likelihood = tobit(parts[3], parts[1] - rho * parts[0] - c, parts[2], sign)
                return likelihood, variance

            rate = 0.0 if straight else highest(lambda r: scored(r)[0], -8.0, 20.0)
            likelihood, variance = scored(rate)
            if not straight:
                theta[2 + way] = rate
                bend = (scored(rate + 1e-3)[0] + scored(rate - 1e-3)[0] - 2 * likelihood) / 1e-6
                covariance[2 + way, 2 + way] = 1 / max(-bend, 1e-12)
            aic += 2 * (1 if straight else 2) - 2 * likelihood
            variances.append(variance)
        return _Solution(theta, covariance, model, aic, (variances[0], variances[1]), True)


def _stops(y: list[Values], held: list[NDArray[np.bool_]]) -> tuple[float | None, float | None]:
    """The ends at which states repeat exactly while others do not."""
    values = np.concatenate([part[mask] for part, mask in zip(y, held, strict=True)])
    known, number = np.unique(values, return_counts=True)
    inner = number[1:-1]
    if len(known) < 5 or float(inner.mean()) > 1.1:
        return None, None
    low = float(known[0]) if number[0] >= 3 else None
    high = float(known[-1]) if number[-1] >= 3 else None
    return low, high


# From curves to a card


@dataclass(frozen=True)
class _Report:
    response: Response
    devices: list[_Device]
    solutions: list[_Solution]
    aic: dict[str, float]
    model: str
    low: float
    span: float

    def made(self, g_range: tuple[float, float] | None) -> Fit:
        shapes = [f"{name}_{way}" for name in ("label", "levels", "step", "curvature") for way in _WAYS]
        pairs = list(zip(self.devices, self.solutions, strict=True))
        each = [self._named(device, one) for device, one in pairs]
        for device, one in pairs:
            up, down = device.curves(one)
            if up.end <= up.start or down.end >= down.start:
                way = "LTP pulses lower" if up.end <= up.start else "LTD pulses raise"
                raise DataError(
                    f"{self.response.source}: {way} the conductance: exchange up and down, or mend directions"
                )
        halves = [self._halves(device, one) for device, one in pairs]
        figures: dict[str, Value] = {}
        for name in ("g_min_S", "g_max_S", *shapes):
            if len(each) == 1:
                figures[name] = Value(each[0][name], halves[0][name])
                continue
            way = name.rpartition("_")[2]
            arrived = [one[name] for one in each if math.isfinite(one.get(f"levels_{way}", 0.0))]
            if 2 * len(arrived) > len(each):  # a device that never arrives has no levels, and no finite label
                found = estimate(arrived)
                figures[name] = Value(found.mean, None if found.low is None else found.mean - found.low)
            else:
                figures[name] = Value(float(np.mean([one[name] for one in each])))
        figures |= self._scatter(figures)
        unknown = {}
        if len(each) > 1:
            figures |= self._between(each, halves)
        else:
            unknown["device-to-device"] = "one device"
        if "read_noise" not in figures and not self.solutions[0].clipped:
            unknown["read noise"] = "one cycle"
        figures = self._physical(figures, g_range)
        curves, r2 = self._curves(g_range, figures)
        ways = [sum(s.direction == way for s in self.response.sweeps) for way in _WAYS]
        cycles = -(-min(ways) // len(self.devices))
        law = "linear" if self.model.startswith("linear") else self.model.split(" ")[0]
        return Fit(
            law,
            figures,
            self._bound(),
            unknown,
            self.aic,
            r2,
            len(self.devices),
            cycles,
            self.response,
            curves,
        )

    def _named(self, device: _Device, solution: _Solution, theta: Values | None = None) -> dict[str, float]:
        """Ends in siemens (or the data's own unit), shapes per pulse."""
        low, high = device.ends(solution, theta)
        if not high > low:
            low, high = 0.0, 1.0
        found = {"g_min_S": self.low + low * self.span, "g_max_S": self.low + high * self.span}
        for way, curve in zip(_WAYS, device.curves(solution, theta), strict=True):
            shape = _shape(curve, low, high, way, self.response.every)
            for name in ("label", "levels", "step", "curvature"):
                found[f"{name}_{way}"] = getattr(shape, name)
        return found

    def _halves(self, device: _Device, solution: _Solution) -> dict[str, float | None]:
        """1.96 standard errors: the gradient of each figure through the covariance of theta."""
        slopes = []
        for at, value in enumerate(solution.theta):
            step = 1e-5 * max(abs(float(value)), 1e-2)
            ahead, behind = solution.theta.copy(), solution.theta.copy()
            ahead[at] += step
            behind[at] -= step
            above, below = self._named(device, solution, ahead), self._named(device, solution, behind)
            # An infinite figure has no slope; the difference of two is not a number.
            slopes.append({name: above[name] / (2 * step) - below[name] / (2 * step) for name in above})
        found: dict[str, float | None] = {}
        for name in slopes[0]:
            gradient = np.array([slope[name] for slope in slopes])
            with np.errstate(invalid="ignore"):  # a figure without a slope has no interval
                variance = float(gradient @ solution.covariance @ gradient)
            found[name] = _Z * math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else None
        return found

    def _bound(self) -> bool:
        number = {(sweep.device, sweep.direction): 0 for sweep in self.response.sweeps}
        for sweep in self.response.sweeps:
            number[sweep.device, sweep.direction] += 1
        return max(number.values()) < 2 and not self.solutions[0].clipped

    def _scatter(self, figures: dict[str, Value]) -> dict[str, Value]:
        """c2c of one pulse as a share of the range; read noise as a share of the conductance."""
        wide = figures["g_max_S"].value - figures["g_min_S"].value
        moves, reads, count = [], [], 0
        shaky = 0.0
        for device, solution in zip(self.devices, self.solutions, strict=True):
            for way, curve in enumerate(device.curves(solution)):
                number = int(device.held[way][:, 1:].sum())
                count += number
                if self._bound():
                    e = device._innovations(way, curve.rho, curve.c, curve.start, 1.0)[:, 1:]
                    moves.append((mean_square(e[device.held[way][:, 1:]]), number))
                    continue
                keep = 1 - curve.rho**2 * (1 - curve.gain)
                moves.append((curve.gain * curve.variance * keep, number))
                reads.append(((1 - curve.gain) * curve.variance, number))
                if 0 < curve.gain < 1:
                    at = len(solution.theta) - 2 + way
                    slope = 1 / curve.gain + curve.rho**2 / keep
                    shaky += number**2 * slope**2 * float(solution.covariance[at, at])
        move = sum(q * n for q, n in moves) / count / self.response.every
        c2c = math.sqrt(move) * self.span / wide
        c2c = c2c if c2c > 1e-9 else 0.0
        found = {"c2c": Value(c2c, _Z / 2 * c2c * math.sqrt(2 / count + shaky / count**2))}
        if reads and not self.solutions[0].clipped:
            read = sum(r * n for r, n in reads) / count
            g = np.concatenate([sweep.g for sweep in self.response.sweeps])
            noise = math.sqrt(read) * self.span / math.sqrt(float(np.mean(g**2)))
            found["read_noise"] = Value(noise, _Z / 2 * noise * math.sqrt(2 / count))
        return found

    def _between(
        self, each: list[dict[str, float]], halves: list[dict[str, float | None]]
    ) -> dict[str, Value]:
        """sd over devices of ends, steps (as shares) and labels, less what the errors of the fits add."""
        wide = float(np.mean([one["g_max_S"] - one["g_min_S"] for one in each]))

        def column(name: str) -> tuple[Values, Values]:
            errors = [(half.get(name) or 0.0) / _Z for half in halves]
            values = np.array([one[name] for one in each])
            return values[kept], np.array(errors)[kept]

        kept = np.array([math.isfinite(one["levels_up"] + one["levels_down"]) for one in each])
        found: dict[str, Value] = {}
        for end in ("g_min", "g_max"):
            ends = np.array([one[f"{end}_S"] for one in each])
            off = np.array([(half[f"{end}_S"] or 0.0) / _Z for half in halves])
            found[f"{end}_dtod"] = _spread([ends / wide], [off / wide])
        if kept.sum() < 2:
            return found
        widths = column("g_max_S")[0] - column("g_min_S")[0]
        shapes = [(column(f"step_{way}"), column(f"curvature_{way}")[0]) for way in _WAYS]
        # The step at mid-range is known better than the pulses that cross it.
        steps = np.mean([widths * step * (1 - bend / 2) for (step, _), bend in shapes], axis=0)
        off = np.sqrt(sum((errors / step) ** 2 for (step, errors), _ in shapes)) / 2
        found["step_dtod"] = _spread([steps / steps.mean()], [off])
        labels = [column(f"label_{way}") for way in _WAYS]
        found["label_dtod"] = _spread([values for values, _ in labels], [errors for _, errors in labels])
        return found

    def _physical(self, figures: dict[str, Value], g_range: tuple[float, float] | None) -> dict[str, Value]:
        low, high = figures["g_min_S"].value, figures["g_max_S"].value
        source = self.response.source
        if self.response.unit == "1":
            if g_range is None:
                raise DataError(f"{source}: arbitrary units: say what the ends are: --g-min S --g-max S")
            if not (0 < g_range[0] < g_range[1] < 1e100):
                raise DataError(f"g_min = {g_range[0]:g}, g_max = {g_range[1]:g}: give 0 < g_min < g_max")
            scale = (g_range[1] - g_range[0]) / (high - low)
            ends = {"g_min_S": g_range[0], "g_max_S": g_range[1]}
            halves = {name: figures[name].half for name in ends}
            return figures | {
                name: Value(end, None if (half := halves[name]) is None else half * scale)
                for name, end in ends.items()
            }
        if low <= 0:
            raise DataError(
                f"{source}: a lowest conductance of {low:.3g} S is impossible: mend the data, or say "
                "--unit 1 with --g-min and --g-max for normalised ones"
            )
        return figures

    def _curves(
        self, g_range: tuple[float, float] | None, figures: dict[str, Value]
    ) -> tuple[list[tuple[Sweep, Values]], dict[str, float]]:
        """Each sweep with its fitted curve, in the data's unit; R2 of the curves by direction."""
        found = []
        off, total = dict.fromkeys(_WAYS, 0.0), dict.fromkeys(_WAYS, 0.0)
        for device, solution in zip(self.devices, self.solutions, strict=True):
            curves = dict(zip(_WAYS, device.curves(solution), strict=True))
            low, high = device.ends(solution) if solution.clipped else (-math.inf, math.inf)
            for sweep in device.sweeps:
                path = curves[sweep.direction].walk(len(sweep.g)).clip(low, high) * self.span + self.low
                found.append((sweep, path))
                off[sweep.direction] += float((((sweep.g - path) / self.span) ** 2).sum())
        for way in _WAYS:
            g = np.concatenate([sweep.g for sweep in self.response.sweeps if sweep.direction == way])
            total[way] = float((((g - g.mean()) / self.span) ** 2).sum())
        return found, {way: 1 - off[way] / total[way] if total[way] > 0 else math.nan for way in _WAYS}


def _spread(columns: list[Values], errors: list[Values]) -> Value:
    """sd of the truth behind columns that are known up to errors; pooled over columns."""
    count = len(columns[0])
    seen = float(np.mean([np.var(values, ddof=1) for values in columns]))
    true = math.sqrt(max(seen - float(np.mean(np.square(errors))), 0.0))
    return Value(
        true if true > 1e-6 else 0.0, t975(count - 1) * math.sqrt(seen / (2 * (count - 1) * len(columns)))
    )


def _shape(curve: Curve, low: float, high: float, way: str, every: int) -> Shape:
    """Label, levels, first step and curvature of a branch between two ends, for single pulses.

    rate = ln(first step / last step), kappa = 1 - exp(-rate), levels = rate / -ln rho.
    """
    start, end = (low, high) if way == "up" else (high, low)
    sign = 1.0 if way == "up" else -1.0
    first, last = sign * curve.step(start), sign * curve.step(end)
    wide = high - low
    if first <= 0:  # the branch leads nowhere from its start: a straight stand-in
        first = last = max(first, last, 1e-9)
    one = curve.rho ** (1 / every)
    per = first / wide / every if abs(1 - curve.rho) < 1e-12 else first / wide * (1 - one) / (1 - curve.rho)
    if last <= first * 1e-4 * 0.1:
        return Shape(sign * LARGEST, math.inf, per, 1.0)
    rate = math.log(first / last)
    levels = wide / first if abs(rate) < 1e-9 else rate / -math.log(curve.rho)
    return Shape(sign * label_of_rate(rate) + 0.0, levels * every, per, -math.expm1(-rate))
