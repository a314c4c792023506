"""Numbers as people read them."""

from __future__ import annotations

import math

from hwtrain.analysis.estimate import Estimate

SPACE = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
UNKNOWN = "not on the card"
UNSEEN = "unknown"
"""What nobody could count."""
NONE = "\N{EN DASH}"

_PREFIXES = "fpnµm kMGT"
_PAST = 5
"""Where the prefix for 1 stands."""


def quantity(value: float | None, unit: str) -> str:
    """Three digits with an engineering prefix; None is what the card does not say."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return f"0{SPACE}{unit}"
    power = math.floor(math.log10(abs(float(f"{value:.2e}"))) / 3)
    power = min(max(power, -_PAST), len(_PREFIXES) - 1 - _PAST)
    return f"{_digits(value / 1000.0**power)}{SPACE}{_PREFIXES[power + _PAST].strip()}{unit}"


def surface(value: float | None) -> str:
    """An area in µm² or mm²."""
    if value is None:
        return UNKNOWN
    small = value < 1e-8
    return f"{_digits(value * (1e12 if small else 1e6))}{SPACE}{'µm²' if small else 'mm²'}"


def duration(seconds: float | None) -> str:
    """Engineering units below two minutes, minutes and hours above."""
    if seconds is None or seconds < 120:
        return quantity(seconds, "s")
    if seconds < 7200:
        return f"{_digits(seconds / 60)}{SPACE}min"
    return f"{_digits(seconds / 3600)}{SPACE}h"


def age(seconds: float) -> str:
    """A time since something in the largest unit that goes into it: 1 min, 7 d, 1 y."""
    for unit, length in (("y", 31_536_000), ("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{SPACE}{unit}"
    return f"{seconds:g}{SPACE}s"


def count(value: float) -> str:
    """A whole number in groups of three digits."""
    return f"{value:,.0f}".replace(",", SPACE)


def share(value: float | None) -> str:
    """A fraction in percent, three digits."""
    return NONE if value is None else f"{_digits(100 * value)}{SPACE}%"


def accuracy(value: Estimate) -> str:
    """Percent, with the deviation over seeds if there is one."""
    spread = "" if value.sd is None else f" ± {100 * value.sd:.2f}"
    return f"{100 * value.mean:.2f}{spread}"


def signed(fraction: float) -> str:
    """Percentage points, with their sign."""
    return f"{100 * fraction:+.2f}".replace("-", MINUS)


def interval(value: Estimate) -> str:
    """The interval in percentage points, if there is one."""
    if value.low is None or value.high is None:
        return ""
    return f"[{signed(value.low)}, {signed(value.high)}]"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    after = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.2e}")))))
    return f"{value:.{after}f}"
