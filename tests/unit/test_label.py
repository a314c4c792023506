"""NeuroSim's labels against distances measured on the curve itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from hwtrain.synapse.label import LARGEST, curvature_of_label, rate_of_label, vertical_deviation

PUBLISHED = {
    "Ag:a-Si": (2.4, -4.88),
    "TaOx/TiO2": (1.85, -1.79),
    "TaOx/TiO2, second source": (0.66, -0.69),
    "PCMO": (3.68, -6.76),
    "AlOx/HfO2": (1.94, -0.61),
    "HZO FeFET": (1.75, 1.46),
    "TaOx/HfOx": (0.04, -0.63),
    "EpiRAM": (0.5, -0.5),
    "target eNVM": (1.0, -1.0),
}
MANY = np.linspace(0.01, 9, 200)


def distance(rate: float) -> float:
    """Largest distance of (x, (1 - e^(-rate x)) / (1 - e^-rate)) from the diagonal."""
    full = -math.expm1(-rate)

    def gap(log_x: float) -> float:
        x = math.exp(log_x)
        return -(-math.expm1(-rate * x) / full - x) / math.sqrt(2)

    return -minimize_scalar(gap, bounds=(-30, 0), method="bounded", options={"xatol": 1e-10}).fun


def measured_rate(label: float) -> float:
    """The rate at which the measured distance is 0.07 of the label."""
    wanted = 0.07 * abs(label)
    log_rate = brentq(lambda log: distance(math.exp(log)) - wanted, -9, 5, xtol=1e-12)
    return math.copysign(math.exp(log_rate), label)


@pytest.mark.parametrize("device", PUBLISHED)
def test_published_labels_give_the_curve_of_that_distance(device: str) -> None:
    for label in PUBLISHED[device]:
        rate = measured_rate(label)
        assert float(rate_of_label(label)) == pytest.approx(rate, rel=3e-5)
        assert float(curvature_of_label(label)) == pytest.approx(1 - math.exp(-rate), rel=3e-5)


def test_labels_over_the_whole_table_give_the_curve_of_that_distance() -> None:
    expected = np.array([measured_rate(label) for label in MANY])
    np.testing.assert_allclose(rate_of_label(MANY), expected, rtol=3e-5)
    np.testing.assert_allclose(curvature_of_label(MANY), 1 - np.exp(-expected), rtol=3e-5)
    np.testing.assert_allclose(curvature_of_label(-MANY), 1 - np.exp(expected), rtol=1e-3)


def test_distance_sampled_on_a_fine_grid_is_the_formula() -> None:
    x = np.linspace(0, 1, 200_001)
    for rate in (0.05, 0.7, 3.0, 12.0, 40.0):
        curve = -np.expm1(-rate * x) / -np.expm1(-rate)
        assert float(vertical_deviation(rate)) == pytest.approx((curve - x).max(), rel=1e-6)


def test_label_zero_is_a_straight_line() -> None:
    assert float(curvature_of_label(0.0)) == 0


@pytest.mark.parametrize("label", [1e-9, 1e-6, 1e-4, 0.01])
def test_small_labels_bend_in_proportion(label: float) -> None:
    # The deviation of a weak curve is rate/8.
    expected = 8 * 0.07 * math.sqrt(2) * label
    assert float(rate_of_label(label)) == pytest.approx(expected, rel=1e-3)


def test_curvature_rises_with_the_label_and_is_odd_in_the_rate() -> None:
    labels = np.linspace(-LARGEST + 1.2, LARGEST, 300)
    assert (np.diff(rate_of_label(labels)) > 0).all()
    np.testing.assert_allclose(rate_of_label(-MANY), -rate_of_label(MANY))


@pytest.mark.parametrize("label", [10.2, -10.2, 100.0])
def test_label_that_no_curve_reaches_is_refused(label: float) -> None:
    with pytest.raises(ValueError, match=r"beyond 10\.1"):
        rate_of_label(label)
