"""Directions: lazy descriptions of a wanted weight change, and the transforms that they pass.

A direction says what to add to an array's weights. It is made by a layer's ``wgrad``, scaled by a
rule with -lr/batch, passed through transforms, and taken by the array's ``write`` port.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from jaxtyping import Real
from torch import Tensor

from hwtrain.ledger import Clock


@dataclass(frozen=True)
class Outer:
    """n rank-one updates in order: add ``scale * d[k] x[k]^T`` for k = 0 .. n-1, in every group."""

    x: Real[Tensor, "pairs groups in_"]
    d: Real[Tensor, "pairs groups out"]
    scale: float = 1.0

    def scaled(self, factor: float) -> Outer:
        """The same direction, ``factor`` times as far."""
        return replace(self, scale=self.scale * factor)

    def summed(self) -> Dense:
        """The sum of all pairs as one dense update."""
        return Dense(self.scale * torch.einsum("ngo,ngi->goi", self.d, self.x))


@dataclass(frozen=True)
class Dense:
    """Add ``change``, given weight by weight."""

    change: Real[Tensor, "groups out in_"]

    def scaled(self, factor: float) -> Dense:
        """The same direction, ``factor`` times as far."""
        return Dense(self.change * factor)

    def summed(self) -> Dense:
        """Itself."""
        return self


@dataclass(frozen=True)
class Seeded:
    """Add ``c`` times the perturbation of this seed."""

    seed: int
    c: float

    def scaled(self, factor: float) -> Seeded:
        """The same direction, ``factor`` times as far."""
        return replace(self, c=self.c * factor)


@dataclass(frozen=True)
class Controls:
    """Add ``change`` to the controls of a piece of physics, in their own units."""

    change: Real[Tensor, "controls"]

    def scaled(self, factor: float) -> Controls:
        """The same direction, ``factor`` times as far."""
        return Controls(self.change * factor)


Direction = Outer | Dense | Seeded | Controls


class Transform(ABC):
    """A step between a rule and the write port; it may keep a state for its array."""

    @abstractmethod
    def __call__(self, direction: Outer | Dense) -> Outer | Dense:
        """The direction to write instead."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:  # noqa: B027 - most keep nothing
        """Undo of ``state``."""


class Momentum(Transform):
    """v <- momentum v + direction; writes v.

    torch.optim.SGD's momentum as long as lr stays the same: here v already holds the learning rate.
    """

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self.velocity: Tensor | None = None

    def __call__(self, direction: Outer | Dense) -> Dense:
        """The new velocity; n pairs count as one update, for a velocity is dense anyway."""
        change = direction.summed().change
        if self.velocity is None:
            self.velocity = torch.zeros_like(change)
        self.velocity = self.momentum * self.velocity + change
        return Dense(self.velocity)

    def state(self) -> dict[str, Tensor]:
        """The velocity, once there is one."""
        return {} if self.velocity is None else {"velocity": self.velocity}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        self.velocity = state.get("velocity")


class Adam(Transform):
    """Adam (Kingma and Ba, ICLR 2015), of directions that already hold the learning rate.

    With the gradient g = -change / rate: m <- 0.9 m + 0.1 g, v <- 0.999 v + 0.001 g^2; writes
    -rate (m / (1 - 0.9^t)) / (sqrt(v / (1 - 0.999^t)) + 1e-8). ``clock`` says the rate.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.moments: Tensor | None = None
        self.steps = 0

    def __call__(self, direction: Outer | Dense) -> Dense:
        """Adam's step; n pairs count as one update."""
        rate = self.clock.rate
        gradient = direction.summed().change / -rate
        if self.moments is None:
            self.moments = torch.zeros(2, *gradient.shape, dtype=gradient.dtype, device=gradient.device)
        self.steps += 1
        first = 0.9 * self.moments[0] + 0.1 * gradient
        second = 0.999 * self.moments[1] + 0.001 * gradient**2
        self.moments = torch.stack([first, second])
        size = (second / (1 - 0.999**self.steps)).sqrt() + 1e-8
        return Dense(first * (-rate / (1 - 0.9**self.steps)) / size)

    def state(self) -> dict[str, Tensor]:
        """Moments and count, once there are any."""
        if self.moments is None:
            return {}
        return {"moments": self.moments, "steps": torch.tensor(self.steps)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        self.moments, self.steps = state.get("moments"), int(state.get("steps", 0))


class Clip(Transform):
    """Shortens a direction of which the Euclidean norm is above ``limit`` to that norm.

    The norm is that of the summed change, so that n pairs and their sum are clipped alike.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __call__(self, direction: Outer | Dense) -> Outer | Dense:
        """The direction, no longer than the limit."""
        norm = float(direction.summed().change.norm())
        return direction.scaled(self.limit / norm) if norm > self.limit else direction


class Sum(Transform):
    """Writes the sum of all pairs as one dense update: what mini-batch hardware would apply."""

    def __call__(self, direction: Outer | Dense) -> Outer | Dense:
        """The sum; pairs of codes and of halves add up in an accumulator anyway: the substrate's work."""
        if isinstance(direction, Outer) and direction.x.dtype not in (torch.float32, torch.float64):
            return direction
        return direction.summed()
