"""Between numbers and physics: a layer's input to the drive of the physics, its response to a signal.

    encode "none"      x
           "norm"      gain x / (|x| + 1e-6) sqrt(n): every sample drives with the same power
           "min-max"   (x - min) / (max - min) of each sample, stretched over [low, high]
           "code"      min-max, then a binary code of ``bits`` bits, most significant first: n bits inputs
           "dmd"       1 where x is above the middle of the sample's range, else 0 (micromirrors)
    decode "none"      y
           "standard"  (y - mean) / sd of each sample

Drives beyond [low, high] are cut off there, as a driver saturates.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.cards.physical import Drive

_TINY = 1e-6


class Conditioner:
    """Encodes and decodes as a card's ``drive`` says; ``encode_t``, ``decode_t`` are the slopes transposed.

    What is cut, rounded or thresholded passes gradients straight through.
    """

    def __init__(self, drive: Drive) -> None:
        self.drive = drive

    def width(self, in_: int) -> int:
        """Inputs of the physics for ``in_`` numbers."""
        return in_ * self.drive.bits if self.drive.encode == "code" else in_

    def encode(self, x: Float[Tensor, "batch in_"]) -> tuple[Float[Tensor, "batch drives"], int]:
        """The drive, and how many of its values were cut off."""
        drive = self.drive
        match drive.encode:
            case "norm":
                made = x * self._gain(x)
            case "min-max":
                made = drive.low + (drive.high - drive.low) * _min_max(x)
            case "code":
                made = _bits(_levels(x, drive.bits), drive.bits, x.dtype)
            case "dmd":
                made = (_min_max(x) > 0.5).to(x.dtype)
            case _:
                made = x
        cut = made.clamp(drive.low, drive.high)
        return cut, int((cut != made).sum())

    def encode_t(
        self, d: Float[Tensor, "batch drives"], x: Float[Tensor, "batch in_"]
    ) -> Float[Tensor, "batch in_"]:
        """Gradient by x, from the gradient by the drive."""
        drive = self.drive
        match drive.encode:
            case "norm":
                norm = x.norm(dim=1, keepdim=True)
                along = (d * x).sum(1, keepdim=True) / (norm * (norm + _TINY)).clamp(min=_TINY**2)
                return self._gain(x) * (d - along * x)
            case "min-max":
                return d * ((drive.high - drive.low) / _span(x))
            case "code":
                return d.view(len(x), x.shape[1], drive.bits).sum(2) / _span(x)
            case "dmd":
                return d / _span(x)
        return d

    def decode(self, y: Float[Tensor, "batch out"]) -> Float[Tensor, "batch out"]:
        """The response as a signal."""
        if self.drive.decode == "none":
            return y
        off = y - y.mean(1, keepdim=True)
        return off / _deviation(off)

    def decode_t(
        self, d: Float[Tensor, "batch out"], y: Float[Tensor, "batch out"]
    ) -> Float[Tensor, "batch out"]:
        """Gradient by y, from the gradient by the signal."""
        if self.drive.decode == "none":
            return d
        off = y - y.mean(1, keepdim=True)
        sd = _deviation(off)
        z = off / sd
        return (d - d.mean(1, keepdim=True) - z * (d * z).mean(1, keepdim=True)) / sd

    def _gain(self, x: Tensor) -> Tensor:
        return self.drive.gain * x.shape[1] ** 0.5 / (x.norm(dim=1, keepdim=True) + _TINY)


def _span(x: Tensor) -> Tensor:
    return (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)).clamp(min=_TINY)


def _min_max(x: Tensor) -> Tensor:
    return (x - x.amin(1, keepdim=True)) / _span(x)


def _levels(x: Tensor, bits: int) -> Int[Tensor, "batch in_"]:
    """Bins of equal width, 0 .. 2^bits - 1."""
    return (_min_max(x) * 2**bits).long().clamp(max=2**bits - 1)


def _bits(levels: Tensor, bits: int, dtype: torch.dtype) -> Tensor:
    places = torch.arange(bits - 1, -1, -1)
    return (levels[:, :, None] >> places & 1).flatten(1).to(dtype)


def _deviation(off: Tensor) -> Tensor:
    return ((off**2).mean(1, keepdim=True) + _TINY**2).sqrt()
