"""A card's physics as an instrument in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from hwtrain.arith.threefry import Streams
from hwtrain.cards import PhysicalCard, card
from hwtrain.errors import ConfigError
from hwtrain.physical.instrument import serve
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
from hwtrain.substrates.physical import PhysicalArray


def serve_card(name: str, in_: int, out: int, log: Path, seed: int) -> None:
    """Answer requests on standard input until it ends.

    The noise of a pass is a function of its number, so a process that was killed and started again answers as
    the first one would have.
    """
    if min(in_, out) < 1:
        raise ConfigError(f"--in {in_} --out {out}: at least one input and one output")
    torch.set_num_threads(1)
    its = card(name)
    if not isinstance(its, PhysicalCard):
        raise ConfigError(f"{name}: no card of physics: choose one of kind physical")
    array = substrate_of(its, Options()).array(
        Geometry("instrument.medium", 1, 1, out, in_, 1.0), Trial(Streams(seed))
    )
    assert isinstance(array, PhysicalArray)

    def answer(op: str, x: Any, number: int, attempt: int) -> Any:
        if op != "measure":
            raise ConfigError(f"pass {number}: {op!r}: this instrument can only measure")
        array.start_at(number * 16 + attempt)
        return array.measure(torch.tensor(x).view(-1, in_)).tolist()

    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    serve(log, answer, sys.stdin, write)
