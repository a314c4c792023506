"""Weights that are 0 or a power of two: a product is a shift.

A master weight, a fixed-point code, takes the updates; its nearest power of two is what is read, and
the gradient passes the rounding unchanged (straight-through).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.arith.fixed import Numbers
from hwtrain.cards import ShiftCard
from hwtrain.direction import Direction, Outer
from hwtrain.errors import IncompatibleRule
from hwtrain.kernels import pot
from hwtrain.kernels.base import StepNumber, current
from hwtrain.substrates.base import Geometry, Options, Substrate, Trial
from hwtrain.substrates.fixed import Fixed, FixedArray


class ShiftArray(FixedArray):
    """Masters and their powers of two, the highest of which covers three standard deviations."""

    linear = False

    def __init__(
        self, geometry: Geometry, trial: Trial, numbers: Numbers, bits: int, errors: bool = False
    ) -> None:
        super().__init__(geometry, trial, numbers)
        self._errors = errors
        self._most = 2 ** (bits - 1) - 2  # a sign, a zero and this many doublings in 2^bits - 1 codes
        highest = min(math.ceil(math.log2(3 * geometry.std)), numbers.weight_bits - 2 - numbers.weight_frac)
        self._low = numbers.weight_frac + highest - self._most
        self.frac = self._most - highest
        self._held_codes = torch.zeros(geometry.shape, dtype=torch.int8, device=trial.torch_device)

    def peek(self) -> Real[Tensor, "groups out in_"]:
        """The powers of two: what is read."""
        codes = self._codes.to(self.trial.dtype)
        return codes.sign() * (codes.abs() - 1).exp2() * (codes != 0) * 2.0**-self.frac

    @property
    def _codes(self) -> Tensor:
        return self._held_codes if self.turn is None else current(self._held_codes, self.turn)

    def live(self) -> dict[str, Tensor]:
        """Masters and codes; both copies, where there are two."""
        return {"weights": self._held, "codes": self._held_codes}

    def _read(self, x: Int[Tensor, "batch groups in_"]) -> Int[Tensor, "batch groups out"]:
        return pot.read(self._codes, x)

    def _read_t(self, d: Int[Tensor, "batch groups out"]) -> Int[Tensor, "batch groups in_"]:
        return pot.read_t(self._codes, d)

    def _write(self, direction: Direction) -> None:
        if self._errors:
            self._write_shifts(direction)
        else:
            super()._write(direction)
        self._encode()

    def _write_shifts(self, direction: Direction) -> None:
        """As the fixed array's, the errors as powers of two."""
        assert isinstance(direction, Outer)
        step = StepNumber(self.trial.ledger.clock.step)
        codes = pot.round_error(direction.d, *self._stream.key, step)
        pairs = direction.x, codes, direction.scale
        pot.add_outer(self._weights, *pairs, *self._rounding, *self._stream.key, step)

    def _load(self, weights: Real[Tensor, "groups out in_"]) -> None:
        super()._load(weights)
        self._encode()

    def _shadow(self) -> None:
        super()._shadow()
        self._held_codes = torch.stack([self._held_codes, self._held_codes])

    def _propose(self, direction: Direction) -> None:
        assert self.turn is not None
        if self._errors:
            raise IncompatibleRule(
                f"layer {self.geometry.path}: a change by shifts alone cannot be proposed ahead: "
                "use a card of kind shift without errors"
            )
        super()._propose(direction)
        codes, masters = (current(held, self.turn, other=True) for held in (self._held_codes, self._held))
        pot.encode(codes, masters, self._low, self._most)

    def _encode(self) -> None:
        pot.encode(self._codes, self._weights, self._low, self._most)


class Shift(Substrate):
    """The substrate of cards of kind ``shift``; biases are plain fixed-point codes."""

    card: ShiftCard

    def __init__(self, card: ShiftCard, options: Options) -> None:
        super().__init__(card, options)
        self.digital = Fixed(card, options)

    def array(self, geometry: Geometry, trial: Trial) -> ShiftArray:
        """Masters and codes of this shape."""
        return ShiftArray(geometry, trial, self.card.numbers(), self.card.pot.bits, self.card.pot.errors)
