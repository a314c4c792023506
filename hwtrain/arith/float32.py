"""exp, log, tanh and the inverse root in float32, in an order of operations that C repeats to the bit.

Only +, -, *, / and comparisons, each rounded by itself (fpga/include/hwt_math.h is the same in C).
Largest errors beside the true values, over all that may occur here: exp 2 units in the last place,
log 3, tanh 6 (just above its series), inverse root 2; the tests measure them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
_f = np.float32

EXP_RANGE = (-87.0, 88.0)
"""Arguments of ``exp`` are clamped to this: its results stay normal numbers."""
LOG2_E = 1.44269504
LN2_HIGH = 0.693359375
LN2_LOW = -2.12194440e-4
EXP_TERMS = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0)
"""Taylor's series of exp, the highest power first."""
LOG_TERMS = (2 / 9, 2 / 7, 2 / 5, 2 / 3, 2.0)
"""2 atanh(s) / s as a series in s^2."""
TANH_TERMS = (62 / 2835, -17 / 315, 2 / 15, -1 / 3)
"""(tanh(x) - x) / x^3 as a series in x^2."""
TANH_SMALL = 0.25
SQRT_HALF_BITS = 0x3F3504F3
ROOT_BITS = 0x5F3759DF
"""Less half the bits of x: a guess at 1/sqrt(x), right to 4 % (C. Lomont, 2003)."""


def _horner(terms: tuple[float, ...], x: F32) -> F32:
    total = np.full_like(x, _f(terms[0]))
    for term in terms[1:]:
        total = total * x + _f(term)
    return total


def exp(x: F32) -> F32:
    """e^x: x = n ln 2 + r, Taylor's series of r, times 2^n."""
    x = np.minimum(np.maximum(x, _f(EXP_RANGE[0])), _f(EXP_RANGE[1]))
    n = np.floor(x * _f(LOG2_E) + _f(0.5))
    r = (x - n * _f(LN2_HIGH)) - n * _f(LN2_LOW)
    power = ((n.astype(np.int32) + 127) << 23).view(np.float32)
    result: F32 = _horner(EXP_TERMS, r) * power
    return result


def log(x: F32) -> F32:
    """ln x of a normal number: x = 2^e m, m about 1, ln m = 2 atanh((m - 1)/(m + 1))."""
    bits = np.ascontiguousarray(x).view(np.int32)
    e = (bits - SQRT_HALF_BITS) >> 23
    m = (bits - (e << 23)).view(np.float32)
    s = (m - _f(1)) / (m + _f(1))
    n = e.astype(np.float32)
    low = n * _f(LN2_LOW) + s * _horner(LOG_TERMS, s * s)
    return (n * _f(LN2_HIGH) + low).astype(np.float32, copy=False)


def tanh(x: F32) -> F32:
    """1 - 2/(exp(2|x|) + 1) with the sign of x; its series where that would cancel."""
    a = np.abs(x)
    large = _f(1) - _f(2) / (exp(a + a) + _f(1))
    square = a * a
    small = a + a * square * _horner(TANH_TERMS, square)
    result: F32 = np.copysign(np.where(a < _f(TANH_SMALL), small, large), x)
    return result


def inverse_root(x: F32) -> F32:
    """1 / sqrt(x) of a positive normal number: a guess from the bits, then four of Newton's steps."""
    y = (ROOT_BITS - (np.ascontiguousarray(x).view(np.int32) >> 1)).astype(np.int32).view(np.float32)
    for _ in range(4):
        y = y * (_f(1.5) - ((_f(0.5) * x) * y) * y)
    return y
