"""A crossbar of real cells: read and pulsed through an instrument.

What decides about pulses is that of an emulated crossbar, updates and all; its card says how far a pulse of a
typical cell goes. What the pulses do is up to the cells.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.cards import SynapseCard
from hwtrain.errors import IncompatibleRule
from hwtrain.physical.instrument import connect
from hwtrain.substrates.base import Array, Geometry, Options, Trial
from hwtrain.substrates.crossbar import CrossbarArray
from hwtrain.synapse.updates.base import Pulses

_ROUNDS = 20
"""Most times that a load pulses what it read to be more than half a step off."""


class WiredArray(CrossbarArray):
    """Weights (1, out, in_) in a laboratory; every look at them is a pass of the instrument."""

    def __init__(self, card: SynapseCard, options: Options, geometry: Geometry, trial: Trial) -> None:
        super().__init__(card, options, geometry, trial)
        assert card.instrument is not None
        if geometry.groups != 1:
            raise IncompatibleRule(
                f"layer {geometry.path}: an instrument holds one group: emulate this layer"
            )
        if self.update.shifts:
            raise self._refused(options.update)
        self.source = connect(card.instrument, geometry.path, geometry.out)

    def peek(self) -> Float[Tensor, "1 out in_"]:
        """The weights, read with one input at a time."""
        every = torch.eye(self.geometry.in_, dtype=self.trial.dtype)
        return self._through_periphery(every[:, None], transposed=False).permute(1, 2, 0)

    def siemens(self) -> None:  # type: ignore[override]  # as the base class allows
        """Conductances stay in the laboratory."""

    def wear(self) -> None:  # type: ignore[override]  # as the base class allows
        """Not known: other trainings wear the cells too."""

    def live(self) -> dict[str, Tensor]:
        """No kernel reaches an instrument."""
        return Array.live(self)

    def state(self) -> dict[str, Tensor]:
        """The number of the next pass, and the update's own memory; the cells keep theirs."""
        return self.source.hidden() | {f"update.{name}": value for name, value in self.update.state().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``: passes after it are asked for again, and answered by the instrument's log."""
        self.source.restore(state)
        self.update.restore(
            {name.removeprefix("update."): its for name, its in state.items() if name != "pass"}
        )

    def _another(self, name: str, shifted: bool) -> CrossbarArray:
        raise self._refused(self.options.update)

    def _refused(self, update: str) -> IncompatibleRule:
        return IncompatibleRule(
            f"layer {self.geometry.path}: the update {update} needs more than an instrument gives: "
            "choose --update sign-pulse or stochastic-pulse"
        )

    def _through_periphery(self, x: Tensor, *, transposed: bool) -> Tensor:
        op, width = ("read_t", self.geometry.in_) if transposed else ("read", self.geometry.out)
        return self.source.ask(op, x[:, 0], width)[:, None] * self.w_max

    def _land(self, pulses: Pulses, offset: int, when: tuple[int, int], passes: Iterator[int]) -> None:
        if not len(pulses.n):
            return
        self.source.ask("pulse", torch.stack([pulses.index, pulses.n], 1), None)
        up, down = (int(n.clamp(min=0).sum()) for n in (pulses.n, -pulses.n))
        self.trial.ledger.add(
            self.geometry.path,
            "write",
            pulses_up=up,
            pulses_down=down,
            slots=pulses.slots,
            randoms=pulses.randoms,
        )

    def _load(self, weights: Float[Tensor, "1 out in_"]) -> None:
        """Write and verify: read all, pulse what is off, until nothing is by half a step or rounds run out.

        Counted: ``off``, weights that are still off by more, and ``off_steps``, by how many steps in all.
        """
        every = torch.arange(weights.numel())
        wanted = weights.clamp(-self.w_max, self.w_max)
        n = self._off(wanted)
        for _ in range(_ROUNDS):
            if not n.any():
                break
            self.pulse(every, n, (0, 0))
            n = self._off(wanted)
        self.trial.ledger.add(
            self.geometry.path,
            "load",
            weights=weights.numel(),
            beyond=int((weights.abs() > self.w_max).sum()),
            off=int(n.count_nonzero()),
            off_steps=int(n.abs().sum()),
        )

    def _off(self, wanted: Float[Tensor, "1 out in_"]) -> Int[Tensor, "weights"]:
        """How many steps every weight is below what is wanted, to the nearest."""
        return ((wanted - self.peek()) / self.step).round().long().flatten()
