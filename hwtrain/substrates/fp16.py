"""Weights, signals and gradients as FP16: what the SIMD unit of a microcontroller computes, to the bit.

The order of every operation is specified (hwtrain/arith/fp16.py, hwtrain/kernels/half.py). A gradient carries
the loss scale; the write port takes it off again.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.arith.threefry import Purpose
from hwtrain.cards import Fp16Card
from hwtrain.direction import Direction, Outer
from hwtrain.kernels import dense, half
from hwtrain.kernels.base import StepNumber, is_recording
from hwtrain.substrates.base import Array, Geometry, Options, Substrate, Trial


class Fp16Array(Array):
    """Halves, and beside them what the card keeps so that small changes are not lost."""

    ports = frozenset({"read", "read_t", "write", "load", "peek"})
    takes = (Outer,)
    scaling: Int[Tensor, "4"]

    def __init__(
        self, geometry: Geometry, trial: Trial, card: Fp16Card, scaling: Int[Tensor, "4"], *, owner: bool
    ) -> None:
        super().__init__(geometry, trial)
        self.scaling, self._owner, self._keep = scaling, owner, card.weight.keep
        self._weights = torch.zeros(geometry.shape, dtype=torch.float16)
        self._beside: Tensor | None = None
        if self._keep == "master":
            self._beside = torch.zeros(geometry.shape, dtype=torch.float32)
        elif self._keep == "compensated":
            self._beside = torch.zeros(geometry.shape, dtype=torch.float16)
        self._counts = torch.zeros(2, dtype=torch.int32)
        self._told = self._counts.clone(), 0
        self._stream = trial.streams.stream(Purpose.UPDATE, geometry.number)

    def peek(self) -> Float[Tensor, "groups out in_"]:
        """The weights that are read."""
        return self._weights.to(self.trial.dtype)

    def live(self) -> dict[str, Tensor]:
        """Weights, what is kept beside them, and counts; the first array also has what all share."""
        found = {"weights": self._weights, "counts": self._counts}
        if self._beside is not None:
            found["master" if self._keep == "master" else "rest"] = self._beside
        if self._owner:
            found["scaling"] = self.scaling
        return found

    def spent(self) -> dict[str, int]:
        """Overflows, lost updates and, in the first array, vanished gradients, since it was last asked."""
        (counts, vanished), now = self._told, int(self.scaling[3]) if self._owner else 0
        overflows, lost = (self._counts - counts).tolist()
        self._told = self._counts.clone(), now
        found = {"overflows": overflows, "lost": lost, "vanished": now - vanished}
        return {name: count for name, count in found.items() if count}

    def settle(self) -> dict[str, dict[str, int]]:
        """What a program has lost."""
        found = self.spent()
        return {"write": found} if found else {}

    def state(self) -> dict[str, Tensor]:
        """All of ``live``."""
        return {name: value.clone() for name, value in self.live().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        for name, value in self.live().items():
            value.copy_(state[name])
        self._told = self._counts.clone(), int(self.scaling[3]) if self._owner else 0

    def _read(self, x: Float[Tensor, "batch groups in_"]) -> Float[Tensor, "batch groups out"]:
        return dense.read(self._weights, x)

    def _read_t(self, d: Float[Tensor, "batch groups out"]) -> Float[Tensor, "batch groups in_"]:
        return dense.read_t(self._weights, d)

    def _write(self, direction: Direction) -> None:
        assert isinstance(direction, Outer)
        pairs = (direction.x, direction.d, self.scaling, self._counts, direction.scale)
        if self._keep == "stochastic":
            step = StepNumber(self.trial.ledger.clock.step)
            half.add_at_random(self._weights, *pairs, *self._stream.key, step)
        elif self._beside is None:
            half.add_to_nearest(self._weights, *pairs)
        elif self._keep == "master":
            half.add_to_master(self._weights, self._beside, *pairs)
        else:
            half.add_compensated(self._weights, self._beside, *pairs)
        if not is_recording():
            self.trial.ledger.add(self.geometry.path, "write", **self.spent())

    def _load(self, weights: Float[Tensor, "groups out in_"]) -> None:
        # In place: a program works on these very tensors.
        self._weights.copy_(weights)
        if self._beside is not None:
            master = self._keep == "master"
            self._beside.copy_(weights if master else (weights - self._weights) * half.FINER)


class Fp16(Substrate):
    """The substrate of cards of kind ``fp16``; biases live on it too."""

    card: Fp16Card

    def __init__(self, card: Fp16Card, options: Options) -> None:
        super().__init__(card, options)
        self.digital = self
        self._scaling: Tensor | None = None

    def array(self, geometry: Geometry, trial: Trial) -> Fp16Array:
        """Halves of this shape."""
        owner = self._scaling is None
        if self._scaling is None:
            self._scaling = torch.tensor([self.card.loss_scale.log2_first, 0, 0, 0], dtype=torch.int32)
        return Fp16Array(geometry, trial, self.card, self._scaling, owner=owner)
