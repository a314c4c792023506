"""Optical random projection: y = |H x|^p, after which a linear readout is a kernel machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hwtrain.cards import key
from hwtrain.physical.emulators.base import Emulator, Normal, complex_normal, decorrelated
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from torch import Tensor


class RandomProjectionParams(Strict):
    """What the camera sees."""

    exponent: Literal[1, 2] = key("power p of the modulus: 2 is the intensity", "know the camera", default=2)


class RandomProjection(Emulator):
    """y = |H x|^p with entries of H drawn CN(0, 1/in_).

    Over many outputs the mean product of two responses tends to a kernel (u, v: x / sqrt(in_); c: their
    cosine): for p = 2 it is |u|^2 |v|^2 + (u.v)^2; for p = 1 |u| |v| (pi/4) 2F1(-1/2, -1/2; 1; c^2). Both
    are moments of two correlated circular normals.
    """

    Params = RandomProjectionParams
    disturbances = ("drift",)
    held = ("H",)

    def build(self, normal: Normal) -> None:
        """Draw H."""
        self.H = complex_normal(normal, self.out, self.in_) / self.in_**0.5

    def respond(self, x: Tensor, controls: Tensor) -> Tensor:
        """|H x|^p."""
        intensity = (x @ self.H.real.T) ** 2 + (x @ self.H.imag.T) ** 2
        return intensity if self.params.exponent == 2 else (intensity + 1e-30).sqrt()

    def _drift(self, strength: float, normal: Normal) -> None:
        """At 1 nothing of the matrix is left."""
        fresh = complex_normal(normal, self.out, self.in_) / self.in_**0.5
        self.H = decorrelated(self.H, fresh, strength)
