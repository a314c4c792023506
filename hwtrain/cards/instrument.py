"""What a card says of an instrument in the loop."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from hwtrain.cards.base import key
from hwtrain.strict_toml import Strict

TRIES = 16
"""Most that a pass may have: the noise of an emulated instrument is numbered by pass and try."""


class Instrument(Strict):
    """A layer in the laboratory: another process, or files that somebody carries there.

    In ``command`` and ``folder`` the word {layer} stands for the path of the array that asks.
    """

    command: list[str] | None = key(
        "program that answers lines on its standard input (docs/physical.md)", "write it", default=None
    )
    folder: str | None = key(
        "folder where requests wait as CSV for answers as CSV, instead of command", "choose it", default=None
    )
    timeout_s: float = key("longest wait for an answer", "time it", default=10.0, gt=0)
    retries: int = key(
        "further tries after an answer that is late or no answer", "choose it", default=2, ge=0, le=TRIES - 1
    )
    low: float = key("smallest output that can be right", "know it", default=-1e6)
    high: float = key("largest output that can be right", "know it", default=1e6)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.command is None) == (self.folder is None):
            raise ValueError("give command, or folder: one of the two")
        return self
