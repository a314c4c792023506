"""The numerics of fits: censored regression by EM, least squares with a damped step, geometric sums."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

FLOOR = 1e-10
"""Standard deviation, as a share of the range, below which data are exact: they are rounded to it, so that
the last bits, which a change of unit changes, do not count."""


def highest(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f is highest: a grid of 15, then the golden section."""
    grid = np.linspace(low, high, 15)
    at = int(np.argmax([f(float(x)) for x in grid]))
    low, high = float(grid[max(at - 1, 0)]), float(grid[min(at + 1, 14)])
    golden = (math.sqrt(5) - 1) / 2
    a, b = high - golden * (high - low), low + golden * (high - low)
    fa, fb = f(a), f(b)
    while high - low > 1e-6:
        if fa > fb:
            high, b, fb = b, a, fa
            a = high - golden * (high - low)
            fa = f(a)
        else:
            low, a, fa = a, b, fb
            b = low + golden * (high - low)
            fb = f(b)
    return (low + high) / 2


def tobit(
    design: Values, wanted: Values, at_end: NDArray[np.bool_], sign: float
) -> tuple[Values, float, float]:
    """(coefficients, variance, log-likelihood); states ``at_end`` would have gone further, by EM."""
    target = wanted.copy()
    free = ~at_end
    if free.sum() <= design.shape[1]:
        free = np.ones_like(at_end)
    found = np.asarray(np.linalg.lstsq(design[free], wanted[free], rcond=None)[0], dtype=np.float64)
    variance = max(mean_square(wanted[free] - design[free] @ found), FLOOR**2)
    inverse = np.linalg.pinv(design)
    for _ in range(500):
        mean = design @ found
        sigma = math.sqrt(variance)
        alpha = sign * (wanted - mean)[at_end] / sigma
        hazard = mean_above(alpha)
        target[at_end] = mean[at_end] + sign * sigma * hazard
        lost = variance * np.clip(1 + alpha * hazard - hazard**2, 0, 1)
        before, spread = found, variance
        if design.size:
            found = np.asarray(inverse @ target, dtype=np.float64)
        e = target - design @ found
        variance = max((float(e @ e) + float(lost.sum())) / len(e), FLOOR**2)
        if abs(variance - spread) < 1e-9 * spread and np.abs(found - before).max(initial=0.0) < 1e-11:
            break
    e = wanted - design @ found
    sigma = math.sqrt(variance)
    seen = -0.5 * (e[~at_end] / sigma) ** 2 - math.log(sigma) - 0.5 * math.log(2 * math.pi)
    tails = log_tail(sign * e[at_end] / sigma)
    return found, variance, float(seen.sum() + tails.sum())


_TAIL = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807,
    -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223,
)  # fmt: skip
"""Chebyshev coefficients of ln erfc, good to 1.2e-7 of erfc (Press et al., Numerical Recipes, 6.2)."""


def log_tail(x: Values) -> Values:
    """ln of the normal distribution above x."""
    z = np.abs(x) / math.sqrt(2)
    t = 1 / (1 + z / 2)
    above = np.log(t / 2) - z * z + np.polyval(_TAIL, t)
    found: Values = np.where(x > 0, above, np.log1p(-np.exp(np.minimum(above, 0.0))))
    return found


def mean_above(x: Values) -> Values:
    """Mean of a standard normal above x."""
    density = -0.5 * x**2 - 0.5 * math.log(2 * math.pi)
    found: Values = np.exp(np.minimum(density - log_tail(x), 300))
    return found


def rho_of(rate: float, count: int) -> float:
    """exp(-rate / count), kept within what can be computed with."""
    return math.exp(min(max(-rate, -40.0 * count), 40.0) / count)


def powers(rho: float, count: int) -> tuple[Values, Values]:
    """rho^k and (1 - rho^k) / (1 - rho) for k = 0 .. count - 1."""
    k = np.arange(count, dtype=float)
    if abs(1 - rho) < 1e-13:
        return np.ones(count), k
    if rho <= 0:
        return np.where(k == 0, 1.0, 0.0), np.where(k == 0, 0.0, 1.0)
    log = math.log(rho)
    return np.exp(k * log), np.expm1(k * log) / (rho - 1)


def remembered(y: Values, keep: float) -> Values:
    """sum over j < k of keep^(k - 1 - j) y_j, by doubling."""
    found = np.zeros_like(y)
    found[:, 1:] = y[:, :-1]
    shift, power = 1, keep
    while shift < y.shape[1] and power > 1e-18:
        added = found.copy()
        added[:, shift:] += power * found[:, :-shift]
        found, shift, power = added, 2 * shift, power * power
    return found


def inflation(e: Values) -> float:
    """How many neighbouring residuals count for one: (1 + r) / (1 - r) with their correlation r."""
    power = float(e @ e)
    r = float(e[1:] @ e[:-1]) / power if power > 0 else 0.0
    return (1 + min(r, 0.98)) / (1 - min(r, 0.98)) if r > 0 else 1.0


def mean_square(e: Values) -> float:
    return float(e @ e) / max(len(e), 1)


def least_squares(
    residuals: Callable[[Values], Values], start: Values, *, gains: bool
) -> tuple[Values, Values, Values]:
    """(theta, residuals, Jacobian) by Levenberg and Marquardt with a numerical Jacobian.

    The last two of theta are the gains: kept within [0, 1], and moved only if ``gains``.
    """

    def legal(theta: Values) -> Values:
        theta = theta.copy()
        theta[-2:] = np.clip(theta[-2:], 0.0, 1.0)
        return theta

    def jacobian(theta: Values) -> Values:
        columns = []
        for at in range(len(theta)):
            step = 1e-6 * max(abs(float(theta[at])), 1e-2)
            ahead, behind = theta.copy(), theta.copy()
            ahead[at] += step
            behind[at] -= step
            ahead, behind = legal(ahead), legal(behind)
            columns.append((residuals(ahead) - residuals(behind)) / (ahead[at] - behind[at]))
        return np.stack(columns, axis=1)

    theta = legal(start)
    e = residuals(theta)
    damping = 1e-3
    slopes = jacobian(theta)
    for _ in range(60):
        active = np.ones(len(theta), dtype=bool)
        gradient = slopes.T @ e
        for at in (-2, -1):  # a gain that would leave its bounds stays there
            out = (theta[at] <= 0 and gradient[at] > 0) or (theta[at] >= 1 and gradient[at] < 0)
            active[at] = gains and not out
        normal = slopes[:, active].T @ slopes[:, active]
        scale = np.sqrt(np.maximum(np.diag(normal), 1e-30))
        moved = False
        for _ in range(12):
            matrix = normal / np.outer(scale, scale) + damping * np.eye(len(scale))
            step = np.zeros(len(theta))
            step[active] = -np.linalg.lstsq(matrix, gradient[active] / scale, rcond=None)[0] / scale
            with np.errstate(over="ignore", invalid="ignore"):  # a trial may go too far
                trial = legal(theta + step)
                ahead = residuals(trial) if np.abs(trial).max() < 1e4 else np.full_like(e, np.inf)
                reached = float(ahead @ ahead)
            if reached < float(e @ e):
                moved = True
                break
            damping *= 6
        if not moved:
            break
        change = float(np.abs(trial - theta).max())
        gained = 1 - reached / float(e @ e)
        theta, e, damping = trial, ahead, max(damping / 10, 1e-15)
        slopes = jacobian(theta)
        if change < 1e-12 or gained < 1e-15 or float(e @ e) < len(e) * (1e-3 * FLOOR) ** 2:
            break
    idle = (theta[-2:] <= 0) | (theta[-2:] >= 1) | (not gains)
    slopes[:, -2:] = np.where(idle, 0.0, slopes[:, -2:])
    return theta, e, slopes
