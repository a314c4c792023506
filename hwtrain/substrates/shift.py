"""Weights that are 0 or a power of two: a product is a shift.

Of whole numbers (``ShiftArray``): a master weight, a fixed-point code, takes the updates; its nearest power
of two is what is read, and the gradient passes the rounding unchanged (straight-through). Of a card with a
``[latent]`` (``LatentArray``): floats take the updates, by the gradient that the card names; how they become
levels is hwtrain/qat, the same code that trains modules of torch.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from hwtrain.arith.fixed import Numbers
from hwtrain.arith.pow2 import Pot
from hwtrain.cards import LatentCard, ShiftCard
from hwtrain.direction import Dense, Direction, Outer
from hwtrain.errors import IncompatibleRule
from hwtrain.kernels import dense, pot
from hwtrain.kernels.base import StepNumber, current
from hwtrain.qat.apot import AdditiveLevels
from hwtrain.qat.layers import FixedPoint, PotLevels, ShiftAndSign
from hwtrain.substrates.base import Array, Geometry, Options, Substrate, Trial
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


class LatentArray(Array):
    """Floats w behind levels Q(w), read with signals F(x) that are rounded, too, if the card says so.

    ``write`` moves all that learns by the derivative of ``read`` along the direction: with w seen as Q(w),
    w += (dQ/dw)^T change, where dQ/dw is the card's ``gradient``. The pairs of one step add up before that.
    Evaluation sees the levels in every mode; ``read_t`` takes no account of signals that end at their grid.
    """

    ports = frozenset({"read", "read_t", "write", "load", "peek"})
    takes = (Outer, Dense)

    def __init__(self, geometry: Geometry, trial: Trial, card: LatentCard) -> None:
        super().__init__(geometry, trial)
        given, self._blend_steps = card.pot, card.latent.blend_steps
        self._levels: PotLevels | ShiftAndSign | AdditiveLevels
        if given.terms > 1:
            self._levels = AdditiveLevels(given.terms, given.scale)
        elif card.latent.gradient == "shift-and-sign":
            self._levels = ShiftAndSign(Pot(given.bits, given.zero, scale=given.scale))
        else:
            spec = Pot(given.bits, given.zero, given.rounding, given.scale)
            self._levels = PotLevels(spec, card.latent.gradient)
        self._signal = None
        if card.signal is not None:
            self._signal = FixedPoint(card.signal.bits, frac=card.signal.frac, learn=card.signal.learn)
        self._latents: tuple[Tensor, ...] = ()
        self._load(torch.zeros(geometry.shape, dtype=trial.dtype, device=trial.torch_device))

    def peek(self) -> Float[Tensor, "groups out in_"]:
        """The levels."""
        return self._seen(training=False)

    def live(self) -> dict[str, Tensor]:
        """Nothing in C works on these."""
        raise IncompatibleRule(
            f"layer {self.geometry.path}: floats behind powers of two are trained by torch alone: use "
            "--engine torch, or shift4, whose masters are whole numbers"
        )

    def state(self) -> dict[str, Tensor]:
        """The floats, and what placed the levels and the point."""
        found = {f"latent{place}": held.clone() for place, held in enumerate(self._latents)}
        if isinstance(self._levels, ShiftAndSign):
            found["top"] = self._levels.top.clone()
        if self._signal is not None:
            found["log2_range"] = self._signal.log2_range.detach().clone()
        return found

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        for place, held in enumerate(self._latents):
            held.copy_(state[f"latent{place}"])
        if isinstance(self._levels, ShiftAndSign):
            self._levels.top.copy_(state["top"])
        if self._signal is not None:
            self._signal.log2_range.data.copy_(state["log2_range"])

    def _read(self, x: Float[Tensor, "batch groups in_"]) -> Float[Tensor, "batch groups out"]:
        with torch.no_grad():
            return dense.read(self._seen(), x if self._signal is None else self._signal(x))

    def _read_t(self, d: Float[Tensor, "batch groups out"]) -> Float[Tensor, "batch groups in_"]:
        return dense.read_t(self._seen(), d)

    @torch.enable_grad()
    def _write(self, direction: Direction) -> None:
        self._begin(training=True)
        learning = [held.requires_grad_() for held in self._latents]
        seen = self._view(self._levels(*learning))
        if isinstance(direction, Outer):
            x = direction.x
            if self._signal is not None:
                x = self._signal.train()(x)
                if self._signal.learn:
                    learning.append(self._signal.log2_range)
            along = float(direction.scale) * (torch.einsum("goi,ngi->ngo", seen, x) * direction.d).sum()
        else:
            assert isinstance(direction, Dense)
            along = (seen * direction.change).sum()
        changes = torch.autograd.grad(along, learning)
        for held, change in zip(learning, changes, strict=True):
            held.data.add_(change)
        for held in self._latents:
            held.requires_grad_(False)

    def _load(self, weights: Real[Tensor, "groups out in_"]) -> None:
        rows = weights.flatten(0, 1).clone()
        if isinstance(self._levels, ShiftAndSign):
            self._latents = self._levels.right_inverse(rows)
        else:
            self._latents = (rows,)

    def _seen(self, *, training: bool | None = None) -> Tensor:
        """The weights as they are read; in training ``blend`` shows part of the floats."""
        self._begin(training=self.trial.ledger.clock.phase != "eval" if training is None else training)
        with torch.no_grad():
            return self._view(self._levels(*self._latents))

    def _begin(self, *, training: bool) -> None:
        self._levels.train(training)
        if isinstance(self._levels, PotLevels) and self._blend_steps is not None:
            self._levels.blend = min(1.0, self.trial.ledger.clock.step / self._blend_steps)

    def _view(self, rows: Tensor) -> Tensor:
        return rows.reshape(self.geometry.shape)


class Shift(Substrate):
    """The substrate of cards of kind ``shift``.

    Biases are plain fixed-point codes beside whole numbers, and plain numbers beside floats.
    """

    card: ShiftCard | LatentCard

    def __init__(self, card: ShiftCard | LatentCard, options: Options) -> None:
        super().__init__(card, options)
        if isinstance(card, ShiftCard):
            self.digital = Fixed(card, options)

    def array(self, geometry: Geometry, trial: Trial) -> ShiftArray | LatentArray:
        """Weights of this shape."""
        if isinstance(self.card, LatentCard):
            return LatentArray(geometry, trial, self.card)
        return ShiftArray(geometry, trial, self.card.numbers(), self.card.pot.bits, self.card.pot.errors)
