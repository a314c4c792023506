"""A card's physics, or its array of cells, as an instrument in a process of its own."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwtrain.arith.threefry import Streams
from hwtrain.cards import Card, PhysicalCard, SynapseCard, card
from hwtrain.cards.instrument import TRIES
from hwtrain.errors import ConfigError
from hwtrain.physical.instrument import serve
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
from hwtrain.substrates.crossbar import CrossbarArray
from hwtrain.substrates.physical import PhysicalArray

_MOST = 1 << 31
"""Pulses on one weight; a request for more is a mistake."""


def serve_card(name: str, in_: int, out: int, log: Path, seed: int) -> None:
    """Answer requests on standard input until it ends.

    The noise of a pass is a function of its number, so a process that was killed and started again answers as
    the first one would have.
    """
    if min(in_, out) < 1:
        raise ConfigError(f"--in {in_} --out {out}: at least one input and one output")
    torch.set_num_threads(1)
    its = card(name)
    if not isinstance(its, PhysicalCard | SynapseCard):
        raise ConfigError(f"{name}: neither physics nor synapses: choose a card of kind physical or synapse")
    if its.instrument is not None:
        raise ConfigError(f"{name}: an instrument itself: choose a card that is emulated")
    served = _Cells(its, in_, out, seed) if isinstance(its, SynapseCard) else _Physics(its, in_, out, seed)

    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    serve(log, served.answer, sys.stdin, write, served.again)


class _Served:
    """What answers for one array."""

    def __init__(self, its: Card, in_: int, out: int, seed: int) -> None:
        options = Options()
        # the largest weight is 1: of cells, what goes over the wire are weights in units of it
        geometry = Geometry("instrument.medium", 1, 1, out, in_, 1 / options.weight_range)
        self.array = substrate_of(its, options).array(geometry, Trial(Streams(seed)))
        self.ops = {name.removeprefix("on_"): getattr(self, name) for name in dir(self) if name[:3] == "on_"}

    def answer(self, op: str, x: Any, number: int, attempt: int) -> Any:
        """Do what is asked for."""
        if op not in self.ops:
            raise ConfigError(f"pass {number}: {op!r}: this instrument can only {' and '.join(self.ops)}")
        width = {"read_t": self.array.geometry.out, "pulse": 2}.get(op, self.array.geometry.in_)
        rows = None
        if isinstance(x, list) and all(isinstance(row, list) and len(row) == width for row in x):
            with contextlib.suppress(ValueError, TypeError, RuntimeError, OverflowError):
                rows = torch.tensor(x, dtype=torch.float64).view(len(x), width)
        if rows is None or not rows.isfinite().all():
            raise ConfigError(f"pass {number}: x of {op} is rows of {width} numbers: mend who asks")
        try:
            return self.ops[op](rows, number * TRIES + attempt).tolist()
        except ConfigError as problem:
            raise ConfigError(f"pass {number}: {problem}") from None

    def again(self, op: str, x: Any, number: int, attempt: int) -> None:
        """Do once more what changed the array."""


class _Physics(_Served):
    def on_measure(self, x: Tensor, number: int) -> Tensor:
        array = self.array
        assert isinstance(array, PhysicalArray)
        array.start_at(number)
        return array.measure(x.to(array.trial.dtype))


class _Cells(_Served):
    def on_read(self, x: Tensor, number: int) -> Tensor:
        return self._at(number).read(x.float()[:, None])[:, 0]

    def on_read_t(self, x: Tensor, number: int) -> Tensor:
        return self._at(number).read_t(x.float()[:, None])[:, 0]

    def on_pulse(self, x: Tensor, number: int) -> Tensor:
        array = self._at(number)
        if not ((x == x.round()) & (x.abs() <= _MOST)).all():
            raise ConfigError(
                f"x of pulse is rows of weight and pulses, whole numbers to {_MOST}: mend who asks"
            )
        pulses = x.long()
        weights = array.geometry.out * array.geometry.in_
        if len(pulses) and not 0 <= int(pulses[:, 0].min()) <= int(pulses[:, 0].max()) < weights:
            raise ConfigError(
                f"weights are numbered 0 to {weights - 1}, not {pulses[:, 0].tolist()}: mend who asks"
            )
        if len(set(pulses[:, 0].tolist())) < len(pulses):
            raise ConfigError("x of pulse names a weight twice: add its pulses up")
        array.pulse(pulses[:, 0], pulses[:, 1], (number, 0))
        return torch.zeros(0)

    def again(self, op: str, x: Any, number: int, attempt: int) -> None:
        """The pulses."""
        if op == "pulse":
            self.answer(op, x, number, attempt)

    def _at(self, number: int) -> CrossbarArray:
        """The array, its noise that of a pass."""
        assert isinstance(self.array, CrossbarArray)
        self.array.trial.ledger.clock.step = number
        self.array.rewind()
        return self.array
