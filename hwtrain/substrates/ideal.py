"""Weights as plain numbers: the software baseline, and where biases live."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.arith.threefry import Purpose
from hwtrain.direction import Dense, Direction, Outer, Seeded
from hwtrain.kernels import dense
from hwtrain.kernels.base import current
from hwtrain.substrates.base import Array, Geometry, Substrate, Trial


class IdealArray(Array):
    """A tensor; every port is exact."""

    ports = frozenset({"read", "read_t", "write", "propose", "perturb", "load", "peek"})
    takes = (Outer, Dense, Seeded)
    linear = True

    def __init__(self, geometry: Geometry, trial: Trial) -> None:
        super().__init__(geometry, trial)
        self._held = torch.zeros(geometry.shape, dtype=trial.dtype, device=trial.torch_device)
        self._shift: Tensor | None = None

    def peek(self) -> Float[Tensor, "groups out in_"]:
        """The weights, without a perturbation that is on."""
        return self._weights.clone()

    @property
    def _weights(self) -> Tensor:
        return self._held if self.turn is None else current(self._held, self.turn)

    def live(self) -> dict[str, Tensor]:
        """The weights; both copies, where there are two."""
        return {"weights": self._held}

    def state(self) -> dict[str, Tensor]:
        """The weights."""
        return {"weights": self._held.clone()}  # writes work in place

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        self._held = state["weights"].to(self._held, copy=True).add_(0)  # as _load

    def _read(self, x: Float[Tensor, "batch groups in_"]) -> Float[Tensor, "batch groups out"]:
        return dense.read(self._seen(), x)

    def _read_t(self, d: Float[Tensor, "batch groups out"]) -> Float[Tensor, "batch groups in_"]:
        return dense.read_t(self._seen(), d)

    def _write(self, direction: Direction) -> None:
        if isinstance(direction, Seeded):
            self._weights.add_(direction.c * self._normal(direction.seed))
        elif isinstance(direction, Outer):
            # n rank-one updates in order are their sum: nothing here depends on the weights.
            dense.add_outer(self._weights, direction.x, direction.d, direction.scale)
        else:
            self._weights.add_(direction.change)

    def _perturb(self, seed: int, eps: float) -> None:
        # Kept beside the weights, not in them: adding and subtracting would not undo to the bit.
        self._shift = eps * self._normal(seed) if eps != 0 else None

    def _load(self, weights: Float[Tensor, "groups out in_"]) -> None:
        self._weights.copy_(weights).add_(0)  # no -0: C leaves out sums with 0

    def _shadow(self) -> None:
        self._held = torch.stack([self._held, self._held])

    def _propose(self, direction: Direction) -> None:
        assert self.turn is not None
        assert isinstance(direction, Outer)
        other = current(self._held, self.turn, other=True)
        dense.propose_outer(other, self._weights, direction.x, direction.d, direction.scale)

    def _seen(self) -> Tensor:
        return self._weights if self._shift is None else self._weights + self._shift

    def _normal(self, seed: int) -> Tensor:
        stream = self.trial.streams.stream(Purpose.PERTURB, self.geometry.number)
        draw = torch.from_numpy(stream.at(seed).normal(self._weights.numel()))
        return draw.view(self.geometry.shape).to(self._weights)


class Ideal(Substrate):
    """The substrate of cards of kind ``ideal``."""

    def array(self, geometry: Geometry, trial: Trial) -> IdealArray:
        """A tensor of this shape."""
        return IdealArray(geometry, trial)
