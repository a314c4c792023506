"""Weights, signals and errors as whole numbers: what integer hardware computes, to the bit.

A tensor on this substrate holds codes; hwtrain/arith/fixed.py says what a code stands for. Ports
still speak weight units where they take or give real numbers (``load``, ``peek``).
"""

from __future__ import annotations

import torch
from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.arith import fixed as formats
from hwtrain.arith.fixed import Numbers
from hwtrain.arith.threefry import Purpose
from hwtrain.cards import FixedCard
from hwtrain.direction import Direction, Outer
from hwtrain.kernels import dense, fixed
from hwtrain.kernels.base import StepNumber, current
from hwtrain.substrates.base import Array, Geometry, Options, Substrate, Trial


class FixedArray(Array):
    """Weights as codes; products add up exactly, ``end`` rounds them to a signal."""

    ports = frozenset({"read", "read_t", "write", "propose", "load", "peek"})
    takes = (Outer,)
    linear = True
    numbers: Numbers

    def __init__(self, geometry: Geometry, trial: Trial, numbers: Numbers) -> None:
        super().__init__(geometry, trial)
        self.numbers = numbers
        self.frac = numbers.weight_frac
        dtype = fixed.DTYPES[numbers.weight_bits]
        self._held = torch.zeros(geometry.shape, dtype=dtype, device=trial.torch_device)
        self._stream = trial.streams.stream(Purpose.UPDATE, geometry.number)

    def end(self, acc: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Rounded and saturated, signal or error alike: both keep their own place of the point."""
        return fixed.requantize(acc, self.frac, self.numbers.signal_bits, self.numbers.rounding)

    def peek(self) -> Real[Tensor, "groups out in_"]:
        """The weights that the codes stand for."""
        return self._weights.to(self.trial.dtype) * 2.0**-self.numbers.weight_frac

    @property
    def _weights(self) -> Tensor:
        return self._held if self.turn is None else current(self._held, self.turn)

    def live(self) -> dict[str, Tensor]:
        """The codes; both copies, where there are two."""
        return {"weights": self._held}

    def state(self) -> dict[str, Tensor]:
        """The codes."""
        return {name: value.clone() for name, value in self.live().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        for name, value in self.live().items():
            value.copy_(state[name])

    def _read(self, x: Int[Tensor, "batch groups in_"]) -> Int[Tensor, "batch groups out"]:
        return dense.read(self._weights, x)

    def _read_t(self, d: Int[Tensor, "batch groups out"]) -> Int[Tensor, "batch groups in_"]:
        return dense.read_t(self._weights, d)

    def _write(self, direction: Direction) -> None:
        assert isinstance(direction, Outer)
        step = StepNumber(self.trial.ledger.clock.step)
        pairs = direction.x, direction.d, direction.scale
        fixed.add_outer(self._weights, *pairs, *self._rounding, *self._stream.key, step)

    def _shadow(self) -> None:
        self._held = torch.stack([self._held, self._held])

    def _propose(self, direction: Direction) -> None:
        assert self.turn is not None
        assert isinstance(direction, Outer)
        other = current(self._held, self.turn, other=True)
        step = StepNumber(self.trial.ledger.clock.step)
        pairs = direction.x, direction.d, direction.scale
        fixed.propose_outer(other, self._weights, *pairs, *self._rounding, *self._stream.key, step)

    @property
    def _rounding(self) -> tuple[int, str]:
        """How many bits products have below a weight's last one, and how these are rounded away."""
        return self.numbers.update_shift, self.numbers.update_rounding

    def _load(self, weights: Real[Tensor, "groups out in_"]) -> None:
        numbers = self.numbers
        codes = formats.encode(weights.cpu().numpy(), numbers.weight_frac, numbers.weight_bits)
        self._weights.copy_(torch.from_numpy(codes))


class Fixed(Substrate):
    """The substrate of cards of kind ``fixed``; biases live on it too."""

    card: FixedCard

    def __init__(self, card: FixedCard, options: Options) -> None:
        super().__init__(card, options)
        self.numbers = card.numbers()
        self.digital = self

    def array(self, geometry: Geometry, trial: Trial) -> FixedArray:
        """Codes of this shape."""
        return FixedArray(geometry, trial, self.numbers)
