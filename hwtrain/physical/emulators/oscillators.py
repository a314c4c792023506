"""Coupled nonlinear oscillators: inputs push, and after a time the positions are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwtrain.cards import key
from hwtrain.physical.emulators.base import Emulator, Normal, decorrelated
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from torch import Tensor


class OscillatorsParams(Strict):
    """Springs, friction, coupling and time, in units of a typical oscillator's own angular frequency."""

    damping: float = key("rate of loss gamma", "decay of its swing", default=0.0, ge=0)
    duffing: float = key(
        "beta: the spring's force is -w^2 q - beta q^3", "frequency by amplitude", default=0.0
    )
    coupling: float = key("sd of the coupling to all others together", "splitting of modes", ge=0)
    spread: float = key("sd of w^2 from oscillator to oscillator", "spectrum", default=0.0, ge=0)
    time: float = key("how long the push lasts before the positions are read", "set it", gt=0)
    steps: int = key("steps of the fourth-order Runge-Kutta scheme", "halve the step and see", ge=1, le=10000)


class Oscillators(Emulator):
    """q_i'' = -(1 + c_i) q_i - gamma q_i' - beta q_i^3 + sum_j J_ij (q_j - q_i) + x_i; y = q(time).

    max(in_, out) oscillators at rest at first, J symmetric. Controls: c, what is added to w^2.
    """

    Params = OscillatorsParams
    disturbances = ("drift",)
    held = ("J",)

    def build(self, normal: Normal) -> None:
        """Draw couplings and frequencies."""
        self.n = max(self.in_, self.out)
        self.J = self._couplings(normal)
        self.controls = self.params.spread * normal(self.n)

    def respond(self, x: Tensor, controls: Tensor) -> Tensor:
        """Integrate from rest."""
        import torch

        push = torch.cat([x, torch.zeros(len(x), self.n - self.in_, dtype=x.dtype)], 1)
        q = torch.zeros_like(push)
        return self.moved(q, torch.zeros_like(push), push, controls)[0][:, : self.out]

    def moved(self, q: Tensor, v: Tensor, push: Tensor, controls: Tensor) -> tuple[Tensor, Tensor]:
        """Positions and velocities (batch, oscillators) after ``time``."""
        spring = 1 + controls + self.J.sum(1)

        def force(q: Tensor, v: Tensor) -> Tensor:
            return q @ self.J - q * (spring + self.params.duffing * q * q) - self.params.damping * v + push

        h = self.params.time / self.params.steps
        for _ in range(self.params.steps):
            a1 = force(q, v)
            v2 = v + h / 2 * a1
            a2 = force(q + h / 2 * v, v2)
            v3 = v + h / 2 * a2
            a3 = force(q + h / 2 * v2, v3)
            v4 = v + h * a3
            a4 = force(q + h * v3, v4)
            q = q + h / 6 * (v + 2 * v2 + 2 * v3 + v4)
            v = v + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
        return q, v

    def _couplings(self, normal: Normal) -> Tensor:
        a = normal(self.n, self.n).triu(1)
        return (a + a.T) * (self.params.coupling / self.n**0.5)

    def _drift(self, strength: float, normal: Normal) -> None:
        """At 1 nothing of the couplings is left."""
        self.J = decorrelated(self.J, self._couplings(normal), strength)
