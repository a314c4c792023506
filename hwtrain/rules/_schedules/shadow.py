"""Mode ``speculative`` on two engines, the backward one at work on a second copy of the weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.kernels import slots, vector
from hwtrain.kernels.base import sections, when
from hwtrain.net import Net
from hwtrain.rules._schedules.settings import Settings
from hwtrain.rules._schedules.speculative import SpeculativeBound

Gradient = tuple[list[Tensor], list[Tensor]]
"""Inputs and errors of every stage."""


class ShadowBound(SpeculativeBound):
    """One engine goes forward, the other already back, into a shadow of the weights.

    On hits alone shadow and weights change places. A miss is worked out again, and of a batch the misses
    alone, one after another. ``redo`` then writes the whole batch on the weights, with the same bits as
    without a shadow; with ``correct`` the two change places all the same, and what the shadow lacks is added.
    """

    def __init__(self, net: Net, rule: str, options: Settings) -> None:
        super().__init__(net, rule, options)
        weights = [stage.dense.in_ * stage.dense.out for stage in self.stages]
        self.waste = 2 * sum(weights) - weights[0]  # back through all but the first, and the update
        self.turn = self.keep("turn", 1, dtype=torch.int32)
        for array in self.arrays.values():
            array.shadow(self.turn)

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Learn from one batch."""
        batch = x.shape[0]
        places = self.slots_of(x, labels)
        signals: list[Tensor] = []
        loss = d = x

        def forward() -> None:
            nonlocal signals, loss, d
            signals = self.look(x)
            loss, d = self.judge(signals[-1], labels)

        kept: list[Tensor] = []
        guessed: list[Tensor] = []

        def backward() -> None:
            nonlocal kept, guessed
            kept = [x, *(slots.take(table, places) for table in self.hidden)]
            guessed = self.back(slots.take(self.errors, places), kept)
            for stage, before, error in zip(self.stages, kept, guessed, strict=True):
                for name, direction in stage.dense.wgrad(error, before).items():
                    stage.dense.arrays[name].propose(direction.scaled(-lr / batch))

        def missed() -> None:
            exact = [vector.duplicate(error) for error in guessed]
            own = [x, *(vector.duplicate(signal) for signal in kept[1:])]

            def again(row: int) -> None:
                here = slice(row, row + 1)
                found = self.back(d[here], [signal[here] for signal in signals])
                for into, error in zip(exact, found, strict=True):
                    vector.copy(into[here], error)
                for into, signal in zip(own[1:], signals[1:-1], strict=True):
                    vector.copy(into[here], signal[here])

            self._misses(hits, again)
            if self.options.miss == "redo":
                self.learn(own, exact, lr)
            else:
                slots.flip(self.turn)
                self._misses(hits, lambda row: self._add(row, (own, exact), (kept, guessed), lr / batch))

        hits = d

        def join() -> None:
            nonlocal hits
            hits = self.near(places, labels, d)
            when(hits if batch == 1 else slots.all_hit(hits), lambda: slots.flip(self.turn), missed)
            self.remember(signals, d, labels, places, hits)

        sections([forward, backward], join)
        return loss

    def _misses(self, hits: Tensor, body: Callable[[int], None]) -> None:
        """The body for each sample that missed; a sample alone is known to have."""
        for row in range(hits.shape[0]):
            if hits.shape[0] == 1:
                body(row)
            else:
                when(hits[row : row + 1], lambda: None, partial(body, row))

    def _add(self, row: int, exact: Gradient, guessed: Gradient, lr: float) -> None:
        """What the exact step of a sample is beyond the guessed one; both begin at the same x."""
        here = slice(row, row + 1)
        (x, *_), (error, *_) = exact
        self.write(self.stages[0], x[here], vector.subtract(error[here], guessed[1][0][here]), lr)
        for (signals, errors), rate in ((exact, lr), (guessed, -lr)):
            for stage, signal, d in list(zip(self.stages, signals, errors, strict=True))[1:]:
                self.write(stage, signal[here], d[here], rate)
