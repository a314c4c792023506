"""Threefry-2x32-20 against the published vectors and a scalar form written here."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hwtrain.arith.threefry import Point, Purpose, Streams, threefry, threefry_words

# The lines "threefry2x32 20" of kat_vectors in Random123: counter, key, result.
PUBLISHED = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]
# And "threefry2x32 13".
FEWER_ROUNDS = [
    ((0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0xFD36D048, 0x2D17272C)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xBA3E4725, 0xF27D669E)),
]
MANY = 40_000


def slow(key: tuple[int, int], counter: tuple[int, int], rounds: int = 20) -> tuple[int, int]:
    """The cipher round by round, a key injection after every fourth round."""
    schedule = [key[0], key[1], 0x1BD11BDA ^ key[0] ^ key[1]]
    a, b = (counter[0] + schedule[0]) % 2**32, (counter[1] + schedule[1]) % 2**32
    for number in range(rounds):
        turn = [13, 15, 26, 6, 17, 29, 16, 24][number % 8]
        a = (a + b) % 2**32
        b = (b * 2**turn % 2**32 + b // 2 ** (32 - turn)) ^ a
        if number % 4 == 3:
            injection = (number + 1) // 4
            a = (a + schedule[injection % 3]) % 2**32
            b = (b + schedule[(injection + 1) % 3] + injection) % 2**32
    return a, b


def point(
    *, seed: int = 1, purpose: Purpose = Purpose.READ, layer: int = 2, at: tuple[int, ...] = (3, 4, 5)
) -> Point:
    return Streams(seed).stream(purpose, layer).at(*at)


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_published_vectors_come_out(
    counter: tuple[int, int], key: tuple[int, int], words: tuple[int, int]
) -> None:
    assert threefry(key, counter) == words
    assert slow(key, counter) == words


@pytest.mark.parametrize(("counter", "key", "words"), FEWER_ROUNDS)
def test_published_vectors_of_13_rounds_come_out(
    counter: tuple[int, int], key: tuple[int, int], words: tuple[int, int]
) -> None:
    assert threefry(key, counter, 13) == words
    assert slow(key, counter, 13) == words
    with np.errstate(over="ignore"):
        given = threefry_words(key, np.array([5, 9], np.uint32), 13)
    assert [int(word[1]) for word in given] == list(slow(key, (9, 0), 13))


def test_one_bit_of_an_address_turns_half_the_bits_after_13_rounds() -> None:
    rng = np.random.default_rng(2)
    k0, k1 = rng.integers(0, 2**32, 2).tolist()
    elements = rng.integers(0, 2**32, 4000).astype(np.uint32)
    before = threefry_words((k0, k1), elements, 13)
    for bit in range(32):
        after = threefry_words((k0, k1), elements ^ np.uint32(1 << bit), 13)
        for one, other in zip(before, after, strict=True):
            turned = ((one ^ other)[:, None] >> np.arange(32, dtype=np.uint32) & 1).mean(0)
            assert abs(turned - 0.5).max() < 5 * 0.5 / 4000**0.5


def test_lots_are_bytes_of_shared_blocks_and_then_of_their_own() -> None:
    elements = np.append(np.arange(0, 3000, 7), 2**31 - 1).astype(np.uint32)
    key = point().key
    for element, lot in zip(elements.tolist(), point().lots(elements).tolist(), strict=True):
        strip, place = divmod(element, 128)
        words = slow(key, (16 * strip + place % 16, 0), 13)
        byte, word = (
            words[place // 64].to_bytes(4, "little")[place // 16 % 4],
            slow(key, (2**31 + element, 0), 13),
        )
        assert lot == (byte * 2**16 + word[0] // 2**16) / 2**24


def test_lots_are_uniform_and_apart() -> None:
    drawn = point().lots(np.arange(MANY, dtype=np.uint32)).astype(float)
    assert stats.kstest(drawn, "uniform").pvalue > 0.01
    for lag in (1, 16, 64, 128):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 4 / MANY**0.5


def test_scalar_form_equals_the_slow_one_for_random_keys_and_counters() -> None:
    draws = np.random.default_rng(0).integers(0, 2**32, (500, 4)).tolist()
    for k0, k1, c0, c1 in draws:
        assert threefry((k0, k1), (c0, c1)) == slow((k0, k1), (c0, c1))


def test_vector_form_equals_the_slow_one_for_random_keys_and_elements() -> None:
    rng = np.random.default_rng(1)
    for k0, k1 in rng.integers(0, 2**32, (40, 2)).tolist():
        elements = np.append(rng.integers(0, 2**32, 20), [0, 2**32 - 1]).astype(np.uint32)
        first, second = threefry_words((k0, k1), elements)
        expected = [slow((k0, k1), (int(e), 0)) for e in elements]
        assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**63 + 12345])
def test_address_is_packed_as_documented(seed: int) -> None:
    step, sample, pass_, layer = 70_000, 2**24 - 1, 255, 9
    stream = slow((seed % 2**32, seed // 2**32), (int(Purpose.PULSE), layer))
    key = slow(stream, (step, sample * 256 + pass_))
    words = [slow(key, (e, 0))[0] // 256 / 2**24 for e in range(5)]
    drawn = Streams(seed).stream(Purpose.PULSE, layer).at(step, sample, pass_).uniform(5)
    assert drawn.tolist() == words


def test_normal_is_box_muller_of_both_words() -> None:
    words = [slow(point().key, (e, 0)) for e in range(2000)]
    u = [((a >> 8) / 2**24, (b >> 8) / 2**24) for a, b in words]
    expected = [np.sqrt(-2 * np.log(a + 2**-24)) * np.cos(2 * np.pi * b) for a, b in u]
    np.testing.assert_allclose(point().normal(2000), expected, atol=3e-6)


def test_largest_normal_is_the_documented_one() -> None:
    assert abs(np.sqrt(-2 * np.log(2**-24)) - 5.77) < 0.005


def test_chosen_elements_get_the_numbers_they_have_among_all() -> None:
    some = np.array([7, 0, 999, 7], dtype=np.uint32)
    assert point().uniform(some).tolist() == point().uniform(1000)[some].tolist()
    assert point().normal(some).tolist() == point().normal(1000)[some].tolist()


def test_uniforms_lie_in_the_half_open_unit_interval_and_are_uniform() -> None:
    u = point().uniform(MANY).astype(float)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 4 * np.sqrt(1 / 12 / MANY)
    assert abs(u.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / MANY)
    assert stats.kstest(u, "uniform").pvalue > 0.01


def test_normals_are_standard_normal() -> None:
    z = point().normal(MANY).astype(float)
    assert abs(z.mean()) < 4 / np.sqrt(MANY)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / MANY)
    assert abs((z**3).mean()) < 4 * np.sqrt(15 / MANY)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / MANY)
    assert stats.kstest(z, "norm").pvalue > 0.01


def test_scatter_is_coins_and_dither_of_one_word() -> None:
    elements = np.arange(100, dtype=np.uint32)
    expected = []
    for e in range(100):
        word = slow(point().key, (e // 32 * 16 + e % 16, 0), 13)[e // 16 % 2]
        m = 64 * ((word % 2**20).bit_count() - 10) + word // 2**20 % 64 - word // 2**26
        expected.append(m * (0.0067859204 + 1.4285637e-09 * m * m))
    np.testing.assert_allclose(point().scatter(elements), expected, rtol=3e-7)
    assert point().scatter(elements[::-7]).tolist() == point().scatter(elements)[::-7].tolist()


def test_scatter_is_as_nearly_normal_as_documented() -> None:
    coins = np.array([math.comb(20, k) for k in range(21)]) / 2**20
    step = np.ones(64) / 64
    chance = np.zeros(1407)
    for k, p in enumerate(coins):
        chance[64 * k : 64 * k + 127] += p * np.convolve(step, step)
    m = np.arange(-703, 704)
    z = m * (0.0067859204 + 1.4285637e-09 * m**2)
    assert abs(chance @ z**2 - 1) < 1e-6
    assert abs(chance @ z**4 - 3) < 1e-6
    assert abs(chance @ z**6 - 14.95) < 0.01
    assert abs(chance.cumsum() - stats.norm.cdf(z)).max() < 0.0017
    assert z.max() == pytest.approx(5.27, abs=0.005)
    drawn = point().scatter(np.arange(MANY, dtype=np.uint32)).astype(float)
    assert abs(drawn.mean()) < 4 / np.sqrt(MANY)
    assert abs(drawn.var() - 1) < 4 * np.sqrt(2 / MANY)
    assert stats.kstest(drawn, "norm").pvalue > 0.01
    for lag in (1, 2, 16, 32, 256):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 4 / np.sqrt(MANY - lag)


def test_trains_are_bit_planes_of_24_words() -> None:
    lines = np.array([0, 5, 700], dtype=np.uint32)
    for line, found in zip(lines.tolist(), point().trains(lines, 31).tolist(), strict=True):
        planes = [word for block in range(12) for word in slow(point().key, (12 * line + block, 0), 13)]
        expected = [sum((plane >> t & 1) << (23 - k) for k, plane in enumerate(planes)) for t in range(31)]
        assert found == [code / 2**24 for code in expected]
    u = point().trains(np.arange(MANY // 31, dtype=np.uint32), 31).astype(float)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(u[:, 0], u[:, 1])[0, 1]) < 4 / np.sqrt(len(u))
    assert abs(np.corrcoef(u[1:, 3], u[:-1, 3])[0, 1]) < 4 / np.sqrt(len(u))


OTHERS = {
    "seed": point(seed=2),
    "high half of the seed": point(seed=1 + 2**32),
    "purpose": point(purpose=Purpose.EVAL_READ),
    "layer": point(layer=3),
    "step": point(at=(4, 4, 5)),
    "sample": point(at=(3, 5, 5)),
    "pass": point(at=(3, 4, 6)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_address_gives_uncorrelated_numbers(what: str) -> None:
    here, there = point().normal(MANY), OTHERS[what].normal(MANY)
    assert (here != there).mean() > 0.999
    for lag in range(3):  # a shifted copy would be as bad as an equal one
        pairs = MANY - lag
        correlation = np.corrcoef(here[:pairs], there[lag:])[0, 1]
        assert abs(correlation) < 4 / np.sqrt(pairs)


def test_neighbouring_elements_are_uncorrelated() -> None:
    z = point().normal(MANY)
    for lag in (1, 2, 3, 256):
        assert abs(np.corrcoef(z[:-lag], z[lag:])[0, 1]) < 4 / np.sqrt(MANY - lag)


def test_every_address_in_a_small_box_has_its_own_key() -> None:
    keys = {
        Streams(seed).stream(purpose, layer).at(step, sample, pass_).key
        for seed in range(2)
        for purpose in Purpose
        for layer in range(3)
        for step in range(4)
        for sample in range(4)
        for pass_ in range(4)
    }
    assert len(keys) == 2 * len(Purpose) * 3 * 4**3


@pytest.mark.parametrize("n", [0, 1, 2, 10, 1000])
def test_permutation_is_one(n: int) -> None:
    assert sorted(point().permutation(n).tolist()) == list(range(n))


def test_permutations_differ_and_are_uniform() -> None:
    stream = Streams(0).stream(Purpose.SHUFFLE)
    orders = [tuple(stream.at(step).permutation(3).tolist()) for step in range(3000)]
    seen = [orders.count(order) for order in sorted(set(orders))]
    assert len(seen) == 6
    assert stats.chisquare(seen).pvalue > 0.01


@pytest.mark.parametrize(
    "place", [(-1, 0, 0), (2**32, 0, 0), (0, 2**24, 0), (0, 0, 256), (0, -1, 0), (0, 0, -1)]
)
def test_address_that_does_not_fit_is_refused(place: tuple[int, int, int]) -> None:
    with pytest.raises(OverflowError, match="no random address"):
        Streams(0).stream(Purpose.READ).at(*place)
