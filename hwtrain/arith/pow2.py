"""Power-of-two weights: a code is 0 for 0 and sign * (k + 1) for sign * 2^k, k = 0 .. most.

A weight is its code's value times 2^lowest, where ``lowest`` is the exponent of the smallest level, one for a
tensor or one for each channel (the first axis). Products are left shifts, so nothing is rounded inside of
a sum: ``shift_product`` and ``shift_dot`` are that, literally, and the oracle of every faster form.

``encode_one`` on one number is the reference; ``encode`` does the same to an array through the bits of
float32: the exponent field counts octaves, and what is added below it decides which way a number goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwtrain.errors import ConfigError

Rounding = Literal["linear", "log", "stochastic"]
Scale = Literal["tensor", "channel"]
Codes = NDArray[np.int8]

_MANTISSA = 23
_BLOCK = 1 << 15
_MAGNITUDE = np.int32(0x7FFFFFFF)
_CARRY = {"linear": np.int32(1 << (_MANTISSA - 1)), "log": np.int32((1 << _MANTISSA) - 0x3504F4)}
"""What carries a mantissa into the next octave: from 1.5 on; from the first float32 above sqrt 2 on."""


@dataclass(frozen=True)
class Pot:
    """Which powers of two a weight may be, and how a number becomes one of them.

    linear: the nearest level, halfway upward in magnitude; log: the nearest exponent; stochastic: one of the
    two levels beside the number, with the mean of the number itself. Below half of the smallest level (when
    stochastic: below the smallest level, by chance) a weight is 0 if there is a ``zero``; without one, the
    code word of 0 is one more power instead.
    """

    bits: int
    zero: bool = True
    rounding: Rounding = "linear"
    scale: Scale = "tensor"

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 5:
            raise ConfigError(f"bits = {self.bits}: a power-of-two code has 2 to 5")
        if self.rounding not in ("linear", "log", "stochastic"):
            raise ConfigError(f"rounding = {self.rounding!r}: choose linear, log or stochastic")
        if self.scale not in ("tensor", "channel"):
            raise ConfigError(f"scale = {self.scale!r}: choose tensor or channel")

    @property
    def most(self) -> int:
        """The largest k: the largest level is 2^most times the smallest."""
        return (1 << (self.bits - 1)) - (2 if self.zero else 1)

    @property
    def container(self) -> int:
        """Bits of a signed integer that holds the largest level and its negative."""
        return self.most + 2


def lowest(w: NDArray[np.float32], pot: Pot) -> NDArray[np.int32]:
    """The exponent of the smallest level where the largest one is nearest (by log) to the largest weight.

    Shape (1, ...) or, by channel, (channels, 1, ...); what is all zeros takes 0 as its largest exponent.
    """
    rows = _checked(w).reshape(w.shape[0] if pot.scale == "channel" else 1, -1)
    size = np.maximum(rows.max(1, initial=0), -rows.min(1, initial=0)).view(np.int32) & _MAGNITUDE
    top = np.where(size == 0, np.int32(0), ((size + _CARRY["log"]) >> _MANTISSA) - np.int32(127))
    return (top - np.int32(pot.most)).reshape(-1, *[1] * (w.ndim - 1))


def encode_one(value: float, low: int, pot: Pot, noise: float = 0.0) -> int:
    """The code of one number; ``noise`` in [0, 1) decides when stochastic. Exact, in fractions."""
    size = abs(Fraction(value)) / Fraction(2) ** low
    sign = -1 if value < 0 else 1
    if size < 1:
        up = size + Fraction(noise) >= 1 if pot.rounding == "stochastic" else size * 2 >= 1
        return sign if up or not pot.zero else 0
    k = 0
    while Fraction(2) ** (k + 1) <= size:
        k += 1
    rest = size / Fraction(2) ** k  # 1 <= rest < 2
    match pot.rounding:
        case "linear":
            k += rest >= Fraction(3, 2)
        case "log":
            k += rest**2 > 2
        case "stochastic":
            k += rest - 1 + Fraction(noise) >= 1
    return sign * (min(k, pot.most) + 1)


def encode(
    w: NDArray[np.float32], low: NDArray[np.int32], pot: Pot, noise: NDArray[np.uint32] | None = None
) -> Codes:
    """The code of every weight of float32; ``noise``: 32 random bits a weight, for stochastic rounding.

    Weights must be finite; float32's subnormal numbers count as 0.

    Raises:
        ConfigError: weights that are not finite, or no noise where it is needed.
    """
    if pot.rounding == "stochastic" and noise is None:
        raise ConfigError("stochastic rounding needs noise: 32 random bits for each weight")
    bits = _checked(w).reshape(low.shape[0], -1).view(np.int32)
    lows, words = low.reshape(-1, 1), None if noise is None else noise.reshape(bits.shape)
    codes = np.empty(bits.shape, np.int8)
    # In blocks that stay in a cache: several passes over each.
    tall = max(1, _BLOCK // max(bits.shape[1], 1))
    for top in range(0, bits.shape[0], tall):
        rows = slice(top, top + tall)
        for left in range(0, bits.shape[1], _BLOCK):
            part = rows, slice(left, left + _BLOCK)
            codes[part] = _encode(bits[part], lows[rows], pot, None if words is None else words[part])
    return codes.reshape(w.shape)


def _encode(
    bits: NDArray[np.int32], low: NDArray[np.int32], pot: Pot, noise: NDArray[np.uint32] | None
) -> NDArray[np.int32]:
    size = bits & _MAGNITUDE
    if noise is None:
        carry: Any = _CARRY[pot.rounding]
        keep = size >= low + np.int32(126) << _MANTISSA  # half of the smallest level
    else:
        carry = (noise >> np.uint32(32 - _MANTISSA)).astype(np.int32)
        below = np.minimum(size, low + np.int32(127) << _MANTISSA).view(np.float32)  # at most one level
        keep = np.ldexp(below, _MANTISSA - low).astype(np.int32) + carry >= 1 << _MANTISSA
    k: NDArray[np.int32] = size + carry
    k >>= _MANTISSA
    k -= low + np.int32(126)  # 1 at the smallest level
    np.maximum(k, 1, out=k)
    np.minimum(k, pot.most + 1, out=k)
    if pot.zero:
        k *= keep
    sign = bits >> 31  # -1 or 0
    if not pot.zero:
        sign *= size > 0  # -0 is a zero like 0
    k ^= sign
    k -= sign
    return k


def values(codes: NDArray[Any]) -> NDArray[np.int64]:
    """The levels as whole numbers: sign * 2^k."""
    wide = codes.astype(np.int64)
    return np.where(wide == 0, 0, np.sign(wide) << np.maximum(abs(wide) - 1, 0))


def decode(codes: Codes, low: NDArray[np.int32]) -> NDArray[np.float32]:
    """The weights that codes stand for."""
    return np.ldexp(values(codes).astype(np.float32), low)


def pack(codes: Codes, pot: Pot) -> NDArray[np.uint8]:
    """Words of ``bits`` bits, the first in the lowest bits; 8 words are ``bits`` bytes, padded with zeros.

    A word is the sign above k + 1 (above k, without a zero).
    """
    flat = codes.reshape(-1)
    words = np.abs(flat).view(np.uint8)
    if not pot.zero:
        words = words - np.uint8(1)
    words = words | (flat < 0).view(np.uint8) << np.uint8(pot.bits - 1)
    lanes: NDArray[Any] = np.zeros(-(-flat.size // 8) * 8, np.uint8)
    lanes[: flat.size] = words
    kinds: tuple[Any, ...] = (np.dtype("<u2"), np.dtype("<u4"), np.dtype("<u8"))
    for place, kind in enumerate(kinds):  # neighbours join
        lanes = lanes.view(kind)
        half = kind.itemsize * 4
        lanes = lanes & kind.type((1 << half) - 1) | lanes >> kind.type(half) << kind.type(pot.bits << place)
    return np.ascontiguousarray(lanes.view(np.uint8).reshape(-1, 8)[:, : pot.bits]).reshape(-1)


def unpack(packed: NDArray[np.uint8], size: int, pot: Pot) -> Codes:
    """The first ``size`` codes of what ``pack`` made.

    Raises:
        ConfigError: too few bytes, or the word of minus zero, which ``pack`` never makes.
    """
    rows = -(-size // 8)
    if packed.size != rows * pot.bits:
        raise ConfigError(
            f"{packed.size} bytes hold no {size} codes of {pot.bits} bits: {rows * pot.bits} do"
        )
    lanes = np.zeros((rows, 8), np.uint8)
    lanes[:, : pot.bits] = packed.reshape(rows, pot.bits)
    shifts = np.arange(8, dtype=np.uint64) * np.uint64(pot.bits)
    words = (lanes.view("<u8") >> shifts & np.uint64((1 << pot.bits) - 1)).reshape(-1)[:size].astype(np.int8)
    negative = words >> (pot.bits - 1) == 1
    magnitude = words & np.int8((1 << (pot.bits - 1)) - 1)
    if not pot.zero:
        magnitude = magnitude + np.int8(1)
    elif (negative & (magnitude == 0)).any():
        raise ConfigError("a packed code is minus zero: these bytes are no power-of-two codes")
    signed: Codes = np.where(negative, -magnitude, magnitude).astype(np.int8)
    return signed


def shift_product(code: int, x: int) -> int:
    """x times the level of a code: shifted, negated, or nothing."""
    if code == 0:
        return 0
    return -(x << (-code - 1)) if code < 0 else x << (code - 1)


def shift_dot(codes: Iterable[int], x: Iterable[int]) -> int:
    """The sum of products, in units of the smallest level."""
    return sum(shift_product(int(code), int(one)) for code, one in zip(codes, x, strict=True))


def _checked(w: NDArray[np.float32]) -> NDArray[np.float32]:
    w = np.ascontiguousarray(w, np.float32)
    if w.size and not (np.isfinite(w.max()) and np.isfinite(w.min())):
        raise ConfigError("weights that are not finite have no power of two: train with a smaller lr")
    return w
