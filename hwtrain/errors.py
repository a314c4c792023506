"""Every error that hwtrain raises on purpose: one line that says what, where, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HwtrainError(Exception):
    """Bad input or a failed run; the command line prints the message alone and exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # names in it may hold line breaks


class CardError(HwtrainError):
    """A device card that cannot be read, or says something impossible."""


class ConfigError(HwtrainError):
    """A configuration key, flag or argument that does not fit."""


class DataError(HwtrainError):
    """A data set that cannot be read."""


class RunError(HwtrainError):
    """A run folder or checkpoint that is missing, damaged, foreign, or cannot be written."""


class UnknownNameError(HwtrainError):
    """A rule, law, cell, update, layer, kernel or card that is not registered."""


class IncompatibleRule(HwtrainError):
    """A rule or update asks a layer for a port that its substrate does not have."""


class ProgramError(HwtrainError):
    """A net, rule or format that cannot become a program, or a program that contradicts itself."""


class NativeError(HwtrainError):
    """No compiler or hardware tool, or one that refuses what it is given."""


class InstrumentError(HwtrainError):
    """An instrument in the loop gave no possible answer; the message names layer and pass."""


class InstrumentSlow(InstrumentError):
    """No answer in time."""


class InstrumentDied(InstrumentError):
    """Its process ended, or could not be started."""


class InstrumentBroken(InstrumentError):
    """An answer that is none, or cannot be right."""


class HwtrainWarning(UserWarning):
    """Training goes on, but the result is probably not what was wanted."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause that suggests what was meant: ``did you mean 'relu'?``, or the whole choice."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}"
