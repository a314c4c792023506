"""Power-of-two codes: the fast form against fractions, number by number; packing against words by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hwtrain.arith import pow2
from hwtrain.arith.pow2 import Pot
from hwtrain.errors import ConfigError

BITS = (2, 3, 4, 5)
ROUNDINGS = ("linear", "log", "stochastic")
ROOT = 1.4142135381698608
"""The largest float32 below the square root of two."""
ONE = np.ones(1, np.float32)


def awkward(low: int, most: int) -> NDArray[np.float32]:
    """Levels, halves, ties and their neighbours from far below all levels to far above."""
    found: list[Any] = [0.0, -0.0, 1e-38, 3e38]
    for exponent in range(low - 4, low + most + 4):
        for part in (1.0, 1.25, ROOT, 1.5, 1.75):
            value = np.float32(part * 2.0**exponent)
            found += [value, np.nextafter(value, np.float32(np.inf)), np.nextafter(value, np.float32(0))]
    values = np.array(found, np.float32)
    return np.concatenate([values, -values])


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("bits", BITS)
def test_every_code_is_that_of_fractions(bits: int, zero: bool, rounding: Any) -> None:
    pot, low = Pot(bits, zero, rounding), -9
    rng = np.random.default_rng(bits)
    w = np.concatenate([awkward(low, pot.most), rng.normal(0, 2.0 ** (low + 2), 400).astype(np.float32)])
    words = rng.integers(0, 1 << 32, w.size, dtype=np.uint32)
    given = words if rounding == "stochastic" else None
    codes = pow2.encode(w, np.array([low], np.int32), pot, given)
    noise = [Fraction(int(word) >> 9, 1 << 23) for word in words]
    expected = [pow2.encode_one(float(one), low, pot, part) for one, part in zip(w, noise, strict=True)]
    assert codes.tolist() == expected
    assert len(set(expected)) == 2 * (pot.most + 1) + zero == (1 << bits) - zero
    values = pow2.decode(codes, np.array([low], np.int32))
    levels = {0.0} if zero else set()
    levels |= {sign * 2.0 ** (low + k) for k in range(pot.most + 1) for sign in (1, -1)}
    assert set(values.tolist()) == levels


@pytest.mark.parametrize("bits", BITS)
def test_stochastic_rounding_keeps_the_mean(bits: int) -> None:
    pot, low = Pot(bits, rounding="stochastic"), np.array([-3], np.int32)
    words = np.random.default_rng(0).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    for value in (0.02, 0.1, -0.1, 0.125 * 2**pot.most * 0.9):
        found = pow2.decode(pow2.encode(np.full(words.size, value, np.float32), low, pot, words), low)
        error = found.std() / np.sqrt(words.size)
        assert abs(found.mean() - value) < 5 * error + 1e-7


@pytest.mark.parametrize("scale", ["tensor", "channel"])
@pytest.mark.parametrize("bits", BITS)
def test_the_largest_level_is_nearest_to_the_largest_weight(bits: int, scale: Any) -> None:
    rng = np.random.default_rng(bits)
    w = (rng.normal(size=(40, 3, 5)) * np.exp2(rng.integers(-9, 9, (40, 1, 1)))).astype(np.float32)
    w[7] = 0
    pot = Pot(bits, scale=scale)
    low = pow2.lowest(w, pot)
    assert low.shape == ((40, 1, 1) if scale == "channel" else (1, 1, 1))
    for row, one in zip(w if scale == "channel" else [w], low.ravel(), strict=True):
        largest = float(abs(row).max())
        assert one + pot.most == (round(np.log2(largest)) if largest else 0)
    decoded = pow2.decode(pow2.encode(w, low, pot), low)
    assert (abs(decoded - w) <= abs(w) / 3 + np.exp2(low - 1)).mean() > 0.9
    edges = np.array([[ROOT], [np.nextafter(np.float32(ROOT), np.float32(2))], [1e-40]], np.float32)
    assert (pow2.lowest(edges, Pot(bits, scale="channel")).ravel() + pot.most).tolist()[:2] == [0, 1]


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1001])
def test_packed_words_are_those_written_by_hand(bits: int, zero: bool, size: int) -> None:
    pot = Pot(bits, zero)
    rng = np.random.default_rng(size)
    codes = rng.integers(1, pot.most + 2, size) * rng.choice([-1, 1], size)
    codes = (codes * (rng.random(size) < 0.7) if zero else codes).astype(np.int8)
    packed = pow2.pack(codes, pot)
    stream = 0
    for place, code in enumerate(codes.tolist()):
        word = (abs(code) if zero else abs(code) - 1) | (code < 0) << (bits - 1)
        stream |= word << (bits * place)
    assert packed.tobytes() == stream.to_bytes(-(-size // 8) * bits, "little")
    assert (pow2.unpack(packed, size, pot) == codes).all()


def test_sums_of_shifts_are_sums_of_products() -> None:
    rng = np.random.default_rng(0)
    for bits in BITS:
        codes = rng.integers(-Pot(bits).most - 1, Pot(bits).most + 2, 300)
        for x in (rng.integers(-128, 128, 300), np.full(300, -128), np.full(300, -32768)):
            found = pow2.shift_dot(codes.tolist(), x.tolist())
            assert found == int((pow2.values(codes) * x).sum())
        worst = [Pot(bits).most + 1] * 300
        assert pow2.shift_dot(worst, [-128] * 300) == -300 * 128 * 2 ** Pot(bits).most
    assert pow2.shift_dot([0, -1, 3], [5, 7, -2]) == -7 - 8


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Pot(1), "bits = 1"),
        (lambda: Pot(6), "bits = 6"),
        (lambda: Pot(3, rounding="up"), "linear, log or stochastic"),  # type: ignore[arg-type]
        (lambda: Pot(3, scale="row"), "tensor or channel"),  # type: ignore[arg-type]
        (lambda: pow2.encode(ONE, np.zeros(1, np.int32), Pot(3, rounding="stochastic")), "needs noise"),
        (lambda: pow2.lowest(np.array([1, np.nan], np.float32), Pot(3)), "not finite"),
        (lambda: pow2.lowest(np.array([1, -np.inf], np.float32), Pot(3)), "not finite"),
        (lambda: pow2.unpack(np.zeros(3, np.uint8), 9, Pot(3)), "3 bytes"),
        (lambda: pow2.unpack(np.array([0b100, 0, 0], np.uint8), 8, Pot(3)), "minus zero"),
    ],
)  # fmt: skip
def test_what_is_no_power_of_two_code_is_refused(made: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made()
