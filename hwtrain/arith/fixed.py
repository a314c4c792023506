"""Fixed-point numbers: a code c stands for c / 2^frac. Rounding and saturation, in one place.

``requantize`` on plain integers is the reference; ``requantize_codes`` does the same to arrays.
``noise`` is 64 random bits for each value, of which the lowest ``shift`` decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Rounding = Literal["half-up", "floor", "half-even", "stochastic"]
ROUNDINGS: tuple[str, ...] = get_args(Rounding)

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Numbers:
    """The number formats of a net: signals, errors, weights, and how what is too long is rounded.

    A signal has ``signal_frac`` bits after the point, a gradient by a signal ``error_frac``; both have
    ``signal_bits`` in all. ``rounding`` ends an accumulator, ``update_rounding`` a weight's change.
    """

    signal_bits: int
    signal_frac: int
    error_frac: int
    weight_bits: int
    weight_frac: int
    rounding: Rounding = "half-up"
    update_rounding: Rounding = "stochastic"

    @property
    def one(self) -> int:
        """The code of the signal 1, or the nearest to it."""
        return saturate(1 << self.signal_frac, self.signal_bits)

    @property
    def update_shift(self) -> int:
        """How many bits after the point a product of signal and error has more than a weight."""
        return self.signal_frac + self.error_frac - self.weight_frac


def limits(bits: int) -> tuple[int, int]:
    """Lowest and highest code of so many bits, sign included."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def saturate(value: int, bits: int) -> int:
    """The nearest code that fits."""
    low, high = limits(bits)
    return min(max(value, low), high)


def requantize(value: int, shift: int, bits: int, rounding: Rounding = "half-up", noise: int = 0) -> int:
    """value / 2^shift, rounded and saturated; a negative shift multiplies.

    half-up rounds ties toward +inf, half-even to the even code, floor always down; stochastic rounds up
    with the probability of the fraction that is cut off.
    """
    if shift <= 0:
        return saturate(value << -shift, bits)
    if rounding == "half-up":
        value += 1 << (shift - 1)
    elif rounding == "half-even":
        value += (1 << (shift - 1)) - 1 + (value >> shift & 1)
    elif rounding == "stochastic":
        value += noise & ((1 << shift) - 1)
    return saturate(value >> shift, bits)


def requantize_codes(
    values: NDArray[Any], shift: int, bits: int, rounding: str = "half-up", noise: Any = 0
) -> Codes:
    """``requantize`` of every value of an array; values must leave room for one more bit."""
    wide = values.astype(np.int64)
    low, high = limits(bits)
    if shift <= 0:
        most = max(high >> -shift, 0) + 1  # beyond it the shifted value saturates, and might wrap
        codes: Codes = np.clip(np.clip(wide, -most - 1, most) << -shift, low, high)
        return codes
    if rounding == "half-up":
        wide = wide + (1 << (shift - 1))
    elif rounding == "half-even":
        wide = wide + ((1 << (shift - 1)) - 1) + (wide >> shift & 1)
    elif rounding == "stochastic":
        wide = wide + (noise & np.int64((1 << shift) - 1))
    codes = np.clip(wide >> shift, low, high)
    return codes


def encode(values: NDArray[Any], frac: int, bits: int) -> Codes:
    """Real numbers to the nearest codes, ties to even."""
    low, high = limits(bits)
    return np.clip(np.rint(values.astype(np.float64) * 2.0**frac), low, high).astype(np.int64)
