"""NeuroSim's nonlinearity label, as a formula instead of its 900-entry table.

NeuroSim writes the potentiation curve as G(P) = B (1 - exp(-P/A)) + Gmin and names its bend by a
label between -10 and 10 (Chen, Peng, Yu, IEEE TCAD 37(12):3067, 2018, equations 8-10). The shipped
table from label to A = A_norm Pmax has no published formula. The label is the largest
*perpendicular* distance of the normalised curve from the diagonal, in units of 0.07: with
c = 1 - exp(-1/A_norm) the largest vertical distance is 1/c - A_norm + A_norm ln(A_norm c), and

    1/c - A_norm + A_norm ln(A_norm c) = 0.07 sqrt(2) |label|.

hwtrain works with the **curvature** of a branch, kappa = 1 - exp(-1/A_norm): the share of its first
step that a branch has lost at the far end. kappa = 0 is linear, kappa = 1 soft bounds, and a
negative kappa a step that grows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNIT = 0.07 * np.sqrt(2.0)
LARGEST = 10.1
Values = NDArray[np.float64] | np.float64


def vertical_deviation(rate: ArrayLike | float) -> Values:
    """Largest vertical distance of the normalised curve from the diagonal; rate = 1/A_norm > 0."""
    rate = np.asarray(rate, dtype=np.float64)
    c = -np.expm1(-rate)
    deviation: Values = 1 / c - (1 - np.log(c / rate)) / rate
    return deviation


def rate_of_label(label: ArrayLike | float) -> Values:
    """Signed 1/A_norm of a label, by bisection (the deviation rises with the rate).

    Raises ValueError for a label beyond +-10.1, which no curve reaches.
    """
    label = np.asarray(label, dtype=np.float64)
    wanted = UNIT * np.abs(label)
    if np.any(np.abs(label) > LARGEST):
        raise ValueError(f"label {np.abs(label).max():g} is beyond {LARGEST}")
    low, high = np.full(label.shape, -20.0), np.full(label.shape, 15.0)
    for _ in range(80):  # in ln(rate): 35 / 2^80 is below the float64 spacing
        middle = (low + high) / 2
        above = vertical_deviation(np.exp(middle)) > wanted
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    # Below |label| = 1e-6 the deviation (rate / 8) drowns in rounding and is taken at first order.
    rate = np.where(np.abs(label) < 1e-6, 8 * wanted, np.exp((low + high) / 2))
    signed: Values = np.sign(label) * rate
    return signed


def label_of_rate(rate: float) -> float:
    """The signed label of 1/A_norm; the inverse of ``rate_of_label``."""
    size = abs(rate)
    deviation = float(vertical_deviation(size)) if size > 1e-5 else size / 8  # the first order of it
    return float(np.copysign(deviation / UNIT, rate))


def curvature_of_label(label: ArrayLike | float) -> Values:
    """kappa = 1 - exp(-1/A_norm) of a label; negative for a label of the retracing kind."""
    return -np.expm1(-rate_of_label(label))
