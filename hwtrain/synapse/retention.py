"""Conductances after they were written: scatter, drift and the noise of reads, at any time.

With g = G / g_max and every xi a standard normal of its own, a card's [retention] means

    writing    G_0 = G + g_max s(g) xi, s a polynomial of the card
    drift      G(t) = G_0 ((t + t_0)/t_0)^-nu, nu = |mean(g) + sd(g) xi|, straight in ln g within limits
    reading    G (1 + Q(g) sqrt(ln((t + t_0 + t_read) / (2 t_read))) xi)

which is the form, and the order, of aihwkit's PCMLikeNoiseModel (after Nandakumar et al., ICECS 2019) and of
its HermesNoiseModel. A card's [relaxation] gives moments by time, as CrossSim's SONOS does:

    G(t) = G + g_max (shift(g, t) + sd(g, t) xi), a read adding g_max read_sd(G(t) / g_max) xi,

with one xi for every cell at all times. No conductance falls below 0.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hwtrain.arith.threefry import Purpose, Stream, Streams
from hwtrain.cards import SynapseCard

Values = NDArray[np.float64]


class Written(Protocol):
    """Conductances that were written once, in units of g_max."""

    def read(self, time_s: float, look: int) -> Values:
        """As they are read at a time after writing; ``look`` numbers the noise."""


def written(card: SynapseCard, target: Values, streams: Streams, number: int) -> Written:
    """Conductances written to ``target``; ``number`` tells the array from others."""
    made: type[Drifting] | type[Relaxing] = Relaxing if card.relaxation else Drifting
    return made(card, target, streams, number)


class Drifting:
    """By [retention]."""

    def __init__(self, card: SynapseCard, target: Values, streams: Streams, number: int) -> None:
        assert card.retention is not None
        self.says = card.retention
        self._reads = streams.stream(Purpose.AGED_READ, number)
        writes = streams.stream(Purpose.WRITE_NOISE, number)
        spread = sum(c * target**k for k, c in enumerate(self.says.write_sd))
        self.g = (target + spread * _normal(writes, 0, target)).clip(min=0)
        mean, sd = self.says.exponents(target)
        self.nu = abs(mean + sd * _normal(writes, 1, target))

    def read(self, time_s: float, look: int) -> Values:
        """Drift, then 1/f noise."""
        says = self.says
        aged = self.g * ((time_s + says.t0_s) / says.t0_s) ** -self.nu
        spread = says.flickers(self.g) * np.sqrt(
            np.log((time_s + says.t0_s + says.t_read_s) / (2 * says.t_read_s))
        )
        seen: Values = (aged * (1 + spread * _normal(self._reads, look, aged))).clip(min=0)
        return seen


class Relaxing:
    """By [relaxation]."""

    def __init__(self, card: SynapseCard, target: Values, streams: Streams, number: int) -> None:
        assert card.relaxation is not None
        self.says, self.g = card.relaxation, target
        self._reads = streams.stream(Purpose.AGED_READ, number)
        self._xi = _normal(streams.stream(Purpose.WRITE_NOISE, number), 0, target)

    def read(self, time_s: float, look: int) -> Values:
        """Shift and spread at this time, then the noise of the read."""
        says = self.says
        aged = (self.g + self._at(says.shift, time_s) + self._at(says.sd, time_s) * self._xi).clip(min=0)
        if not says.read_sd:
            return aged
        noise = np.interp(aged, says.g, says.read_sd) * _normal(self._reads, look, aged)
        seen: Values = (aged + noise).clip(min=0)
        return seen

    def _at(self, rows: list[list[float]], time_s: float) -> Values:
        """Figures of the card at this time and these conductances."""
        if not rows:
            return np.zeros_like(self.g)
        times = np.log1p(self.says.times_s)
        row = [np.interp(np.log1p(time_s), times, column) for column in np.transpose(rows)]
        found: Values = np.interp(self.g, self.says.g, row)
        return found


def _normal(stream: Stream, look: int, like: Values) -> Values:
    return stream.at(0, 0, look).normal(like.size).reshape(like.shape).astype(np.float64)
