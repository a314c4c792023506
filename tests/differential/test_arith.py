"""Arithmetic of programs: plain integers, NumPy and C agree; how exact exp, log and tanh are."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwtrain.arith import float32
from hwtrain.arith.fixed import ROUNDINGS, encode, limits, requantize, requantize_codes, saturate
from hwtrain.arith.threefry import threefry, threefry_words
from hwtrain.native import build
from hwtrain.shipped import shipped
from tests.differential import scalar_step
from tests.programs import O1, bits

SOURCE = """
#define HWT_SIGNAL_BITS 0
#include "hwt.h"
/* FIXED */
void exp_(int32_t n, const float *x, float *y) { for (int32_t i = 0; i < n; i++) y[i] = hwt_exp(x[i]); }
void log_(int32_t n, const float *x, float *y) { for (int32_t i = 0; i < n; i++) y[i] = hwt_log(x[i]); }
void tanh_(int32_t n, const float *x, float *y) { hwt_tanh_forward(n, x, y); }
uint64_t block(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1) { return hwt_threefry(k0, k1, c0, c1); }
int64_t end(int64_t v, int32_t s, int32_t b, int32_t r, uint64_t n) { return hwt_requantize(v, s, b, r, n); }
"""


@cache
def library() -> ctypes.CDLL:
    """The functions in C; the whole-number ones are cut out of their header."""
    include = shipped("fpga") / "include"
    text = (include / "hwt_fixed.h").read_text()
    fixed = text[text.index("enum {") : text.index("/* acc (n) -> y (n) */")]
    made = build(SOURCE.replace("/* FIXED */", fixed), (include,), O1)
    made.block.restype, made.end.restype = ctypes.c_uint64, ctypes.c_int64
    return made


def in_c(name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """A function of every value, in C."""
    y = np.empty_like(x)
    getattr(library(), name)(
        ctypes.c_int32(len(x)), ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data)
    )
    return y


def end_in_c(value: int, shift: int, width: int, rounding: str, noise: int) -> int:
    """requantize, in C."""
    code = ROUNDINGS.index(rounding)
    found = library().end(
        ctypes.c_int64(value), ctypes.c_int32(shift), width, code, ctypes.c_uint64(noise % 2**64)
    )
    return int(found)


@given(
    st.lists(st.integers(-(2**61), 2**61), min_size=1, max_size=20),
    st.integers(-20, 40),
    st.sampled_from([8, 16, 32, 62]),
    st.sampled_from(ROUNDINGS),
    st.integers(-(2**63), 2**63 - 1),
)
def test_every_form_of_rounding_is_the_same(
    values: list[int], shift: int, width: int, rounding: Any, noise: int
) -> None:
    values += [
        0,
        1,
        -1,
        *(1 << k for k in range(3, 50, 7)),
        -(3 << max(shift - 1, 0)),
        5 << max(shift - 1, 0),
    ]
    one_by_one = [requantize(value, shift, width, rounding, noise) for value in values]
    by_fractions = [
        scalar_step.clipped(scalar_step.rounded(value, shift, rounding, noise), width) for value in values
    ]
    assert one_by_one == by_fractions
    assert requantize_codes(np.array(values), shift, width, rounding, np.int64(noise)).tolist() == one_by_one
    assert [end_in_c(value, shift, width, rounding, noise) for value in values] == one_by_one


def test_rounding_of_ties_and_signs() -> None:
    halves = [-5, -3, -1, 1, 3, 5]  # in units of 1/2
    assert [requantize(h, 1, 8, "half-up") for h in halves] == [-2, -1, 0, 1, 2, 3]
    assert [requantize(h, 1, 8, "half-even") for h in halves] == [-2, -2, 0, 0, 2, 2]
    assert [requantize(h, 1, 8, "floor") for h in halves] == [-3, -2, -1, 0, 1, 2]
    assert [requantize(h, 1, 8, "stochastic", 0) for h in halves] == [-3, -2, -1, 0, 1, 2]
    assert [requantize(h, 1, 8, "stochastic", 1) for h in halves] == [-2, -1, 0, 1, 2, 3]


@given(st.integers(-1000, 1000), st.integers(1, 8))
def test_stochastic_rounding_is_right_on_average(value: int, shift: int) -> None:
    total = sum(requantize(value, shift, 32, "stochastic", noise) for noise in range(1 << shift))
    assert total == value


def test_codes_of_numbers_saturate_and_round_to_even() -> None:
    x = np.array([0.5, 1.5, -2.5, 1e9, -1e9])
    assert encode(x, 0, 8).tolist() == [0, 2, -2, 127, -128]
    assert [saturate(v, 8) for v in (-129, -128, 127, 128)] == [-128, -128, 127, 127]
    assert limits(16) == (-32768, 32767)


def test_random_words_are_the_published_ones() -> None:
    for found in (threefry((0, 0), (0, 0)), scalar_step.threefry((0, 0), (0, 0))):
        assert found == (0x6B200159, 0x99BA4EFE)
    assert library().block(0, 0, 0, 0) == 0x99BA4EFE6B200159


@given(*[st.integers(0, 2**32 - 1)] * 4)
def test_random_words_are_the_same_in_c(k0: int, k1: int, c0: int, c1: int) -> None:
    found = library().block(*map(ctypes.c_uint32, (k0, k1, c0, c1)))
    assert (found & 0xFFFFFFFF, found >> 32) == threefry((k0, k1), (c0, c1))
    assert scalar_step.threefry((k0, k1), (c0, c1)) == threefry((k0, k1), (c0, c1))
    first, second = threefry_words((k0, k1), np.array([c0], np.uint32))
    assert (int(first[0]), int(second[0])) == threefry((k0, k1), (c0, 0))


def arguments(name: str) -> NDArray[np.float32]:
    """A million and more: everywhere, densely where it cancels, and the ends."""
    rng = np.random.default_rng(0)
    n = 400_000
    small = (rng.choice([-1, 1], n) * 2.0 ** rng.uniform(-40, 3, n)).astype(np.float32)
    if name == "log":
        patterns = rng.integers(0x00800000, 0x7F800000, n, dtype=np.int32)  # every normal number
        near = (1 + rng.uniform(-0.3, 0.5, n)).astype(np.float32)
        return np.concatenate([patterns.view(np.float32), near, rng.uniform(1, 1e4, n).astype(np.float32)])
    wide = rng.uniform(-87, 88, n) if name == "exp" else rng.uniform(-12, 12, n)
    near = rng.choice([-1, 1], n) * rng.uniform(0.249, 0.27, n) if name == "tanh" else rng.uniform(-1, 1, n)
    ends = [0.0, -0.0, -87, 88, -200, 200, 0.25, -0.25, 0.24999999, 1e-38, -1e-38]
    return np.concatenate([wide, small, near, ends]).astype(np.float32)


FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], float]] = {
    "exp": (float32.exp, np.exp, 2),
    "log": (float32.log, np.log, 3),
    "tanh": (float32.tanh, np.tanh, 6),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_the_same_in_c_and_as_exact_as_they_say(name: str) -> None:
    ours, true, most = FUNCTIONS[name]
    x = arguments(name)
    assert len(x) >= 10**6
    y = ours(x)
    assert np.array_equal(bits(y), bits(in_c(f"{name}_", x)))
    inside = (x >= -87) & (x <= 88) if name == "exp" else np.ones(len(x), bool)
    expected = true(x[inside].astype(np.float64))
    units = abs(y[inside] - expected) / np.spacing(abs(expected).astype(np.float32))
    assert units.max() < most


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_those_written_by_hand(name: str) -> None:
    x = np.random.default_rng(1).choice(arguments(name), 3000)
    by_hand = [getattr(scalar_step, name)(value) for value in x]
    assert np.array_equal(bits(FUNCTIONS[name][0](x)), bits(np.array(by_hand, np.float32)))
