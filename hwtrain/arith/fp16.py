"""IEEE binary16 arithmetic whose order of operations is specified, so that every machine makes the same bits.

``fma`` on whole numbers is the reference; the array forms are NumPy's, by float64. In float64 a product of
halves is exact, and rounding its sum with a half first to 53 digits and then to 11 is rounding once: what
the first step cuts off lies below any tie of the second. In float32 that is not so: about one in a hundred
long sums would come out different. Subnormals are kept; which bits a NaN has is nobody's promise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Halves = NDArray[np.float16]
F32 = NDArray[np.float32]

CHUNK = 64
"""Terms of a gradient that add up in half precision before they are added in float32."""
LARGEST = 65504.0
_UNIT = 24
"""Halves are whole multiples of 2^-24."""


def fma(a: int, b: int, c: int) -> int:
    """Bits of a b + c, rounded once to the nearest, ties to even; operands and result as bits."""
    parts = [_parts(bits) for bits in (a, b, c)]
    if any(kind == "nan" for kind, _, _ in parts):
        return 0x7E00
    (a_kind, a_sign, a_value), (b_kind, b_sign, b_value), (c_kind, c_sign, c_value) = parts
    sign = a_sign * b_sign
    if "inf" in (a_kind, b_kind):
        zero = (a_kind != "inf" and not a_value) or (b_kind != "inf" and not b_value)
        if zero or (c_kind == "inf" and c_sign != sign):
            return 0x7E00
        return _infinity(sign)
    if c_kind == "inf":
        return _infinity(c_sign)
    total = sign * a_value * b_value + (c_sign * c_value << _UNIT)
    if total == 0:
        return 0x8000 if sign < 0 and c_sign < 0 else 0
    return _rounded(total, 2 * _UNIT)


def fma_halves(a: Any, b: Any, c: Any) -> Halves:
    """``fma`` of arrays of halves."""
    with np.errstate(all="ignore"):
        exact = a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)
        rounded: Halves = exact.astype(np.float16)
    return rounded


def chain(a: Halves, b: Halves) -> Halves:
    """A B of (..., m, k) and (..., k, n): s = +0; for k ascending s = fma(a, b, s)."""
    sums = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), np.float16)
    for k in range(a.shape[-1]):
        sums = fma_halves(a[..., :, k, None], b[..., None, k, :], sums)
    return sums


def chunked(a: Halves, b: Halves) -> F32:
    """A B with ``CHUNK`` terms after the other as chains, these added up in float32 from +0 on.

    A chain of halves of one sign stands still once a term is below half a unit of its sum; relative errors
    of 1024 positive terms are about 1 % there, and 1e-4 here.
    """
    total: F32 = np.zeros(chain(a[..., :1], b[..., :1, :]).shape, np.float32)
    with np.errstate(all="ignore"):
        for k in range(0, a.shape[-1], CHUNK):
            total = total + chain(a[..., k : k + CHUNK], b[..., k : k + CHUNK, :]).astype(np.float32)
    return total


def narrow(values: Any) -> Halves:
    """The nearest halves; what is too large becomes an infinity."""
    with np.errstate(all="ignore"):
        found: Halves = values.astype(np.float16)
    return found


def narrow_at_random(values: F32, noise: NDArray[np.uint32]) -> Halves:
    """One of the two nearest halves, the farther one with the probability of its distance.

    The digits that a half has no room for, s of them, are added to the lowest s bits of the noise and cut
    off; below the normal numbers s grows with every binary place, up to 31.
    """
    bits = np.ascontiguousarray(values).view(np.uint32)
    rest = bits & np.uint32(0x7FFFFFFF)
    exponent = (rest >> 23).astype(np.int64)
    digits = (rest & np.uint32(0x7FFFFF) | np.where(exponent > 0, 0x800000, 0).astype(np.uint32)).astype(
        np.uint64
    )
    shift = np.clip(126 - exponent, 13, 31).astype(np.uint64)
    mask = (np.uint64(1) << shift) - np.uint64(1)
    cut = (digits + (noise.astype(np.uint64) & mask)) >> shift
    # A normal number's leading digit is counted in its exponent; a carry out of the digits raises that.
    places = np.where(exponent > 112, exponent - 113, 0).astype(np.uint64)
    made = np.minimum(cut + (places << np.uint64(10)), 0x7C00)
    made = np.where(126 - exponent > 31, 0, made)
    made = np.where(rest >= 0x47800000, 0x7C00, made)
    made = np.where(rest > 0x7F800000, 0x7E00, made | (bits >> 16 & 0x8000).astype(np.uint64))
    return made.astype(np.uint16).view(np.float16)


def _parts(bits: int) -> tuple[str, int, int]:
    """Kind, sign and, of a finite one, magnitude in units of 2^-24."""
    sign = -1 if bits & 0x8000 else 1
    exponent, digits = bits >> 10 & 31, bits & 0x3FF
    if exponent == 31:
        return ("nan" if digits else "inf"), sign, 0
    return "finite", sign, (digits | 0x400) << (exponent - 1) if exponent else digits


def _infinity(sign: int) -> int:
    return 0x7C00 if sign > 0 else 0xFC00


def _rounded(total: int, unit: int) -> int:
    """Bits of the half that is nearest to total / 2^unit."""
    magnitude = abs(total)
    shift = max(magnitude.bit_length() - 11, unit - _UNIT)  # digits below a half's last place
    kept, rest = magnitude >> shift, magnitude & ((1 << shift) - 1)
    half = 1 << (shift - 1)
    kept += rest > half or (rest == half and kept & 1 == 1)
    bits = kept + (shift - (unit - _UNIT) << 10)  # a carry runs on into the exponent
    return min(bits, 0x7C00) | (0x8000 if total < 0 else 0)
