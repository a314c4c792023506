"""Diffractive planes: phase masks with free space between them, and detectors behind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from hwtrain.cards import key
from hwtrain.physical.emulators.base import Emulator, Normal, decorrelated, detected
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from torch import Tensor


class DiffractiveParams(Strict):
    """Light, masks and distances."""

    planes: int = key("phase masks one behind the other", "count them", ge=1, le=32)
    wavelength_m: float = key("wavelength", "know the source", gt=0)
    pitch_m: float = key("distance of two pixels of a mask, and of the input", "know the mask", gt=0)
    distance_m: float = key("way between two planes", "measure it", gt=0)
    phase_bits: int = key(
        "bits of a mask's phase over 2 pi; 0 is continuous", "know it", default=0, ge=0, le=16
    )
    misalignment_px: float = key(
        "sd of a mask's shift to the side, in pixels", "align and see", default=0.0, ge=0
    )
    detection: Literal["modulus", "intensity", "homodyne"] = key(
        "what an output is of the field: its modulus, its square, or its real part", "know the detector"
    )


class Diffractive(Emulator):
    """Field, then for each plane: free space, times exp(i phase); free space; a detector on each pixel.

    Inputs are the amplitudes of a square of pixels in the middle of a field twice as wide; detectors are
    the pixels of such a square. Free space is the angular spectrum: FFT, exp(2 pi i z sqrt(1/lambda^2 -
    fx^2 - fy^2)) with evanescent waves set to 0, inverse FFT. Controls: the masks' phases in radians.
    """

    Params = DiffractiveParams
    disturbances = ("drift", "moved")
    held = ("shift", "warp")

    def build(self, normal: Normal) -> None:
        """Draw masks and their places."""
        import torch

        self.side = 2 * max(math.isqrt(self.in_ - 1) + 1, math.isqrt(self.out - 1) + 1)
        pixels = self.params.planes * self.side**2
        self.controls = 2 * torch.pi * torch.special.ndtr(normal(pixels))  # uniform over the circle
        self.shift = self.params.misalignment_px * normal(self.params.planes, 2)
        self.warp = torch.zeros(self.params.planes, self.side, self.side, dtype=self.dtype)
        f = torch.fft.fftfreq(self.side, self.params.pitch_m, dtype=torch.float64)
        left = 1 / self.params.wavelength_m**2 - f[:, None] ** 2 - f**2
        way = 2 * torch.pi * self.params.distance_m * left.clamp(min=0).sqrt()
        wave = torch.polar((left > 0).double(), way)
        self.free = wave.to(self.dtype.to_complex())
        self._f = f.to(self.dtype) * self.params.pitch_m

    def respond(self, x: Tensor, controls: Tensor) -> Tensor:
        """Through all planes."""
        import torch

        field = torch.zeros(len(x), self.side, self.side, dtype=self.free.dtype)
        rows, columns = self._square(self.in_)
        field[:, rows, columns] = x.to(field.dtype)
        for mask in self.masks(controls):
            field = self.propagate(field) * mask
        rows, columns = self._square(self.out)
        return detected(self.propagate(field)[:, rows, columns], self.params.detection)

    def propagate(self, field: Tensor) -> Tensor:
        """One way through free space; (..., side, side)."""
        import torch

        return torch.fft.ifft2(torch.fft.fft2(field) * self.free)

    def masks(self, controls: Tensor) -> Tensor:
        """exp(i phase) of every plane as it stands there, (planes, side, side)."""
        import torch

        phase = controls.view(-1, self.side, self.side)
        if self.params.phase_bits:
            step = 2 * torch.pi / 2**self.params.phase_bits
            phase = (phase / step).round() * step
        phase = phase + self.warp
        mask = torch.polar(torch.ones_like(phase), phase)
        if bool((self.shift == 0).all()):
            return mask
        # a shift by any part of a pixel is a phase over the spatial frequencies
        turn = self.shift[:, :1, None] * self._f[:, None] + self.shift[:, 1:, None] * self._f
        moved = torch.fft.fft2(mask) * torch.polar(torch.ones_like(turn), -2 * torch.pi * turn)
        found = torch.fft.ifft2(moved)
        return found / found.abs().clamp(min=1)  # a mask gives no light

    def _square(self, n: int) -> tuple[Tensor, Tensor]:
        """Rows and columns of n pixels in the middle."""
        import torch

        width = math.isqrt(n - 1) + 1
        at = torch.arange(n)
        start = (self.side - width) // 2
        return start + at // width, start + at % width

    def _drift(self, strength: float, normal: Normal) -> None:
        """At 1 nothing of the masks' own errors is left."""
        fresh = normal(self.params.planes, self.side, self.side)
        self.warp = decorrelated(self.warp, fresh, strength)

    def _moved(self, strength: float, normal: Normal) -> None:
        """At 1 every mask shifts to the side by one pixel (sd)."""
        self.shift = self.shift + strength * normal(self.params.planes, 2)
