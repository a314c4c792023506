"""Multimode fibre or scattering medium: a complex transmission matrix and a detector of light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hwtrain.cards import key
from hwtrain.physical.emulators.base import Emulator, Normal, complex_normal, decorrelated, detected
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from torch import Tensor


class FibreParams(Strict):
    """How light enters, spreads and is seen."""

    modulation: Literal["amplitude", "phase"] = key(
        "whether an input sets the field's amplitude, or its phase in units of pi", "know the modulator"
    )
    detection: Literal["modulus", "intensity", "homodyne"] = key(
        "what an output is of the field: its modulus, its square, or its real part", "know the detector"
    )
    reference: float = key(
        "amplitude of a reference wave added at the detector, which restores the sign",
        "block the signal",
        default=0.0,
        ge=0,
    )
    mode_loss_dB: float = key(
        "loss of the weakest mode against the strongest, in a straight line of dB between them",
        "singular values of a measured matrix",
        default=0.0,
        ge=0,
    )
    grain_outputs: float = key(
        "size of a speckle grain in outputs: fields nearer than that are alike",
        "autocorrelation of a speckle picture",
        default=0.0,
        ge=0,
    )


class Fibre(Emulator):
    """y = |T e + r|, e = x or exp(i pi x), T (out, in_) with entries CN(0, 1/in_).

    With ``mode_loss_dB`` the singular values of T are replaced by a falling series of the same power;
    with ``grain_outputs`` its rows are smoothed over outputs. So |Tx| of a vector of norm sqrt(in_) has
    mean square 1.
    """

    Params = FibreParams
    disturbances = ("drift", "swap")
    held = ("T",)

    def build(self, normal: Normal) -> None:
        """Draw the matrix."""
        self.T = self._fresh(normal)

    def respond(self, x: Tensor, controls: Tensor) -> Tensor:
        """Detect T e + r."""
        import torch

        if self.params.modulation == "phase":
            e = torch.polar(torch.ones_like(x), torch.pi * x)
            real, imag = (e @ self.T.T).real, (e @ self.T.T).imag
        else:  # two real products are half the work of a complex one
            real, imag = x @ self.T.real.T, x @ self.T.imag.T
        return detected(torch.complex(real + self.params.reference, imag), self.params.detection)

    def _fresh(self, normal: Normal) -> Tensor:
        import torch

        matrix = complex_normal(normal, self.out, self.in_) / self.in_**0.5
        if self.params.grain_outputs > 0:
            at = torch.arange(self.out, dtype=self.dtype)
            near = torch.exp(-(((at[:, None] - at) / self.params.grain_outputs) ** 2))
            near = near / (near**2).sum(1, keepdim=True).sqrt()  # keeps each row's power
            matrix = near.to(matrix.dtype) @ matrix
        if self.params.mode_loss_dB > 0:
            left, values, right = torch.linalg.svd(matrix, full_matrices=False)
            series = torch.linspace(0, -self.params.mode_loss_dB / 20, len(values), dtype=self.dtype)
            series = 10**series
            series = series * ((values**2).sum() / (series**2).sum()).sqrt()
            matrix = (left * series) @ right
        return matrix

    def _drift(self, strength: float, normal: Normal) -> None:
        """At 1 nothing of the matrix is left."""
        self.T = decorrelated(self.T, self._fresh(normal), strength)

    def _swap(self, strength: float, normal: Normal) -> None:
        """At 1 another specimen, whatever the strength above 0."""
        if strength > 0:
            self.T = self._fresh(normal)
