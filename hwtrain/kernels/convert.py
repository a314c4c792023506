"""Data converters: the DAC and ADC of a crossbar's periphery."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def quantize(x: Float[Tensor, "*shape"], full: float, bits: int) -> Float[Tensor, "*shape"]:
    """Round to the symmetric grid of 2^bits - 1 codes over [-full, full], clipped; ties to even."""
    largest = 2 ** (bits - 1) - 1
    resolution = full / largest
    codes: Tensor = (x / resolution).round().clamp(-largest, largest)
    return codes.mul(resolution)
