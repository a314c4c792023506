"""NeuroSim's equations (Chen, Peng, Yu, IEEE TCAD 37(12):3067, 2018, 8-10) in plain numbers.

G(P) = B (1 - exp(-P/A)) + Gmin and its LTD; a write of n pulses inverts to a position, moves, clips.
A comes from the label in 40-digit decimals: labels of 9 and 10 leave nothing of doubles.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import pytest
import torch

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.synapse.conductances import Conductances
from tests.helpers import synapse_card

LOW, HIGH = 3e-9, 4e-8
POINT = Streams(0).stream(Purpose.PULSE).at(0)


@cache
def a_norm(label: float) -> float:
    """A/Pmax of |label|: 1/c - A + A ln(A c) = 0.07 sqrt(2) |label|, c = 1 - exp(-1/A)."""
    with localcontext() as context:
        context.prec = 40
        wanted = Decimal("0.07") * Decimal(2).sqrt() * Decimal(str(abs(label)))
        low, high = Decimal(-12), Decimal(8)  # ln A
        for _ in range(120):
            middle = (low + high) / 2
            a = middle.exp()
            c = 1 - (-1 / a).exp()
            above = 1 / c - a + a * (a * c).ln() > wanted
            low, high = (middle, high) if above else (low, middle)
        return float(low.exp())


class NeuroSim:
    """One device; conductance in siemens."""

    def __init__(self, label_up: float, label_down: float, up: int, down: int) -> None:
        self.labels, self.levels, self.g = (label_up, label_down), (up, down), LOW

    def pulse(self, n: int) -> None:
        if n > 0:
            self.g = self._moved(self.labels[0], self.levels[0], n, "ltp")
        elif self.labels[1] > 0:  # retraces the LTP curve backwards
            self.g = self._moved(self.labels[1], self.levels[1], n, "ltp")
        else:
            self.g = self._moved(self.labels[1], self.levels[1], n, "ltd")
        self.g = min(max(self.g, LOW), HIGH)

    def _moved(self, label: float, levels: int, n: int, curve: str) -> float:
        if label == 0:
            return self.g + n * (HIGH - LOW) / levels
        a = a_norm(label) * levels
        b = (HIGH - LOW) / -math.expm1(-levels / a)
        if curve == "ltp":
            position = -a * math.log1p(-(self.g - LOW) / b) if self.g < LOW + b else math.inf
            return b * -math.expm1(-(position + n) / a) + LOW
        gone = -a * math.log1p(-(HIGH - self.g) / b) if self.g > HIGH - b else math.inf
        return HIGH - b * -math.expm1(-(gone + abs(n)) / a)


def ours(label_up: float, label_down: float, up: int, down: int) -> Conductances:
    response = {
        "law": "affine",
        "levels_up": up,
        "levels_down": down,
        "label_up": label_up,
        "label_down": label_down,
    }
    card = synapse_card(response, range={"g_min_S": LOW, "g_max_S": HIGH})
    return Conductances(card, (1,), Streams(0), 0, torch.float64, torch.device("cpu"))


LABELS = [
    (2.4, -4.88),
    (1.75, 1.46),
    (0.0, 0.0),
    (6.0, -6.0),
    (10.0, -10.0),
    (9.0, -9.0),
    (0.04, -0.63),
    (3.68, -6.76),
    (0.01, -0.01),
    (1.85, -1.79),
    (4.0, 3.0),
]


def deviation(cells: Conductances, device: NeuroSim, trains: list[int]) -> float:
    """Largest difference over the trains, as a share of the range."""
    worst, where = 0.0, torch.zeros(1, dtype=torch.long)
    for n in trains:
        cells.pulse(where, torch.tensor([n]), POINT)
        device.pulse(n)
        worst = max(worst, abs(float(cells.siemens()[0]) - device.g) / (HIGH - LOW))
    return worst


@pytest.mark.parametrize("levels", [(32, 32), (97, 100), (128, 64)])
@pytest.mark.parametrize("labels", LABELS)
def test_staircase_up_and_down_is_that_of_the_equations(
    labels: tuple[float, float], levels: tuple[int, int]
) -> None:
    trains = [1] * levels[0] + [-1] * levels[1]
    cells, device = ours(*labels, *levels), NeuroSim(*labels, *levels)
    assert deviation(cells, device, trains[: levels[0]]) < 1e-12
    assert float(cells.g[0]) == pytest.approx(1)  # `levels` pulses cross the range
    assert deviation(cells, device, trains[levels[0] :]) < 1e-12
    assert float(cells.g[0]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("labels", LABELS)
def test_random_trains_are_those_of_the_equations(labels: tuple[float, float]) -> None:
    rng = np.random.default_rng(3)
    trains = [int(n) for n in rng.integers(-25, 26, 300) if n != 0]
    assert deviation(ours(*labels, 64, 50), NeuroSim(*labels, 64, 50), trains) < 1e-12


@pytest.mark.parametrize(("up", "down"), [(-9.1, -1.0), (1.0, 9.1), (10.2, -1.0), (1.0, -10.2)])
def test_label_that_has_no_usable_curve_is_refused(up: float, down: float) -> None:
    with pytest.raises(ValueError, match="label_"):
        ours(up, down, 64, 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("up", "down"), [(10.1, -10.1), (-9.0, 9.0)])
def test_steepest_labels_still_cross_the_range(up: float, down: float, dtype: torch.dtype) -> None:
    card = ours(up, down, 64, 64).card
    cells = Conductances(card, (1,), Streams(0), 0, dtype, torch.device("cpu"))
    where = torch.zeros(1, dtype=torch.long)
    for n, end in ((64, 1.0), (-64, 0.0)):
        cells.pulse(where, torch.tensor([n]), POINT)
        assert float(cells.g[0]) == pytest.approx(end, abs=1e-3)
