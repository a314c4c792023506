"""Updates: pulse counts against a slot-by-slot simulation with numpy's own random numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hwtrain.arith.threefry import Point, Purpose, Stream, Streams
from hwtrain.synapse.updates.base import Pulses, Update, Write
from hwtrain.synapse.updates.sign_pulse import SignPulse
from hwtrain.synapse.updates.stochastic_pulse import StochasticPulse

DRAWS = Streams(11).stream(Purpose.UPDATE, 1)
TRIALS = 1500
X = np.array([0.9, -0.31, 0.0, 0.05])
D = np.array([0.4, -0.77, 0.11])
Counts = NDArray[np.float64]


def counts(pulses: Pulses, size: int = X.size * D.size) -> Counts:
    n = np.zeros(size)
    n[pulses.index.numpy()] = pulses.n.numpy()
    return n


@cache
def drawn(kind: type[Update], scale: float, step: float) -> Counts:
    x, d, update = torch.from_numpy(X), torch.from_numpy(D), kind()
    return np.array([counts(update.outer(x, d, scale, Write(step, DRAWS, (t, 0)))) for t in range(TRIALS)])


def trains(scale: float, step: float) -> tuple[int, Counts, Counts]:
    """Length of the trains and the chance of a bit on each column and row (update management)."""
    lr, x, d = abs(scale), abs(X), abs(D)
    k = lr * x.max() * d.max() / step
    length = min(math.ceil(k), 31)
    d_max = d.max() * (31 / k if k > 31 else 1)
    a = b = math.sqrt(lr / (step * length))
    a *= math.sqrt(x.max() / d_max)
    b *= math.sqrt(d_max / x.max())
    return length, np.minimum(1, b * x), np.minimum(1, a * d)


@cache
def slot_by_slot(scale: float, step: float, trials: int = 40_000) -> Counts:
    """Signed coincidences of random bits, slot after slot."""
    rng = np.random.default_rng(5)
    length, columns, rows = trains(scale, step)
    n = np.zeros((trials, D.size, X.size))
    for _ in range(length):
        on_columns = rng.random((trials, X.size)) < columns
        on_rows = rng.random((trials, D.size)) < rows
        n += on_rows[:, :, None] & on_columns[:, None, :]
    return (n * np.sign(scale * np.outer(D, X))).reshape(trials, -1)


def covariance(n: Counts) -> tuple[Counts, Counts]:
    """Every covariance of two cells and its standard error."""
    centred = n - n.mean(0)
    products = centred[:, :, None] * centred[:, None, :]
    return products.mean(0), products.std(0) / math.sqrt(len(n))


# k = lr max|x| max|d| / step: one slot, a few, just the longest train, and far beyond it.
CASES = {"one slot": 0.8, "few slots": 4.5, "longest train": 31.0, "clipped": 70.0}


def scale_of(k: float, step: float) -> float:
    return k * step / (0.9 * 0.77)


@pytest.mark.parametrize(("case", "sign"), [*((case, 1) for case in CASES), ("few slots", -1)], ids=str)
def test_pulse_counts_have_the_joint_law_of_a_slot_by_slot_simulation(case: str, sign: int) -> None:
    step = 0.01
    scale = sign * scale_of(CASES[case], step)
    ours, theirs = drawn(StochasticPulse, scale, step), slot_by_slot(scale, step)
    tiny = 1e-9  # cells that never scatter
    error = np.hypot(ours.std(0) / math.sqrt(TRIALS), theirs.std(0) / math.sqrt(len(theirs)))
    assert (abs(ours.mean(0) - theirs.mean(0)) < 4 * error + tiny).all()
    (found, error_1), (expected, error_2) = covariance(ours), covariance(theirs)
    assert (abs(found - expected) < 4 * np.hypot(error_1, error_2) + tiny).all()
    for n in range(1, 4):  # marginals, count by count
        p, q = (abs(ours) == n).mean(0), (abs(theirs) == n).mean(0)
        assert (abs(p - q) < 4 * np.sqrt(q * (1 - q) / TRIALS * 1.1) + 2 / TRIALS).all()


def test_cells_of_a_line_share_its_bits() -> None:
    found, error = covariance(abs(drawn(StochasticPulse, scale_of(4.5, 0.01), 0.01)))
    (row, column, apart) = ((0, 1), (1, 5), (0, 5))  # cell = 4 row + column
    assert found[row] > 8 * error[row]
    assert found[column] > 8 * error[column]
    assert abs(found[apart]) < 4 * error[apart]


@pytest.mark.parametrize("case", ["one slot", "few slots", "longest train"])
def test_mean_pulse_count_is_the_wanted_change_over_the_step(case: str) -> None:
    step = 0.01
    scale = scale_of(CASES[case], step)
    n = drawn(StochasticPulse, scale, step)
    wanted = scale * np.outer(D, X).flatten() / step
    error = n.std(0) / math.sqrt(TRIALS)
    assert (abs(n.mean(0) - wanted) < 4 * error + 1e-9).all()


@dataclass(frozen=True)
class Set(Point):
    """Every uniform is the same."""

    value: float = 0.0

    def uniform(self, elements: NDArray[np.uint32] | int) -> NDArray[np.float32]:
        size = elements if isinstance(elements, int) else len(elements)
        return np.full(size, self.value, dtype=np.float32)

    def trains(self, lines: NDArray[np.uint32], length: int) -> NDArray[np.float32]:
        return np.full((len(lines), length), self.value, dtype=np.float32)


@dataclass(frozen=True)
class Lots(Stream):
    """Uniforms set by hand, one value for the columns (pass 0) and one for the rows (pass 1)."""

    columns: float = 0.0
    rows: float = 0.0

    def at(self, step: int, sample: int = 0, pass_: int = 0) -> Point:
        return Set((0, 0), self.rows if pass_ else self.columns)


@pytest.mark.parametrize("k", [0.3, 1.0, 1.001, 7.2, 30.5, 31.0, 31.5, 90.0])
def test_train_length_and_line_chances_are_those_of_the_update_management(k: float) -> None:
    step = 0.01
    scale = scale_of(k, step)
    length, columns, rows = trains(scale, step)
    x, d = torch.from_numpy(X), torch.from_numpy(D)

    def sent(lots: Lots) -> Counts:
        return counts(StochasticPulse().outer(x, d, scale, Write(step, lots, (0, 0)))).reshape(3, 4)

    every = sent(Lots((0, 0)))
    assert (abs(every) == length * (X != 0)).all()
    assert (np.sign(every) == np.sign(np.outer(D, X))).all()
    for lot in np.linspace(0.001, 0.999, 60).astype(np.float32):
        assert (sent(Lots((0, 0), columns=float(lot))) == every * (lot < columns)).all()
        assert (sent(Lots((0, 0), rows=float(lot))) == every * (lot < rows)[:, None]).all()


@pytest.mark.parametrize("update", [SignPulse(), StochasticPulse()])
def test_no_change_means_no_pulse(update: Update) -> None:
    zero, x = torch.zeros(3), torch.ones(4)
    assert update.outer(x, zero, 1.0, Write(0.1, DRAWS, (0, 0))).index.numel() == 0
    assert update.outer(x, x, 0.0, Write(0.1, DRAWS, (0, 0))).index.numel() == 0
    assert update.dense(torch.zeros(3, 4), Write(0.1, DRAWS, (0, 0))).index.numel() == 0


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("form", ["outer", "dense"])
def test_sign_pulse_comes_as_often_as_the_change_is_of_a_step(form: str, sign: int) -> None:
    scale, step = sign * 0.5, 0.2
    change = scale * np.outer(D, X)
    if form == "outer":
        n = drawn(SignPulse, scale, step)
    else:
        dense = torch.from_numpy(change)
        n = np.array([counts(SignPulse().dense(dense, Write(step, DRAWS, (t, 1)))) for t in range(TRIALS)])
    chance = np.minimum(1, abs(change.flatten()) / step)
    assert (chance == 1).any()
    assert ((chance > 0) & (chance < 1)).any()
    assert abs(n).max() == 1
    assert (n * np.sign(change.flatten()) >= 0).all()
    error = np.sqrt(chance * (1 - chance) / TRIALS)
    assert (abs(abs(n).mean(0) - chance) <= 4 * error).all()


def test_sign_pulses_of_two_cells_are_independent() -> None:
    found, error = covariance(abs(drawn(SignPulse, 0.5, 0.2)))
    apart = ~np.eye(12, dtype=bool)
    assert (abs(found[apart]) <= 4 * error[apart]).all()


@pytest.mark.parametrize("wanted", [0.2, 1.7, 12.5, 80.0])
def test_dense_change_is_rounded_at_random_to_whole_pulses(wanted: float) -> None:
    change = torch.full((40, 50), -wanted * 0.01, dtype=torch.float64)
    n = counts(StochasticPulse().dense(change, Write(0.01, DRAWS, (0, 0))), 2000)
    capped = min(wanted, 31.0)
    assert set(np.unique(-n)) <= {math.floor(capped), math.ceil(capped)}
    assert abs(-n.mean() - capped) < 4 * 0.5 / math.sqrt(n.size)


def test_slots_and_random_words_are_counted() -> None:
    x, d = torch.from_numpy(X), torch.from_numpy(D)
    pulses = StochasticPulse().outer(x, d, scale_of(4.5, 0.01), Write(0.01, DRAWS, (0, 0)))
    assert pulses.slots == 2 * 5  # a pass for each polarity
    assert pulses.randoms == 5 * (4 + 3)
    pulses = SignPulse().outer(x, d, 1e6, Write(0.01, DRAWS, (0, 0)))
    assert pulses.randoms == 3 * 3  # live lines only
    assert pulses.slots == 3 * 2  # every row has pulses of both signs
