"""Reads of a crossbar through converters, read noise and tiles as kernels, for the host alone.

Their eager meaning is that of ideal wires, for a recorder asks for shapes alone; what really is read stands
in hwtrain/substrates/crossbar.py, and in C in devices/synapse/src. The two are held against each other.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.kernels import xbar
from hwtrain.kernels.base import kernel

COUNTS = ("outputs", "adc_clipped", "adc_lost")
"""What ``converted`` holds, in the order of the enum in C."""
_SCRATCH = ("drive", "current", "power")


@kernel(port="read", host=True, writes=("converted", *_SCRATCH))
def read(
    g: Float[Tensor, "branches groups in_ out"],
    zero: Float[Tensor, "zeros"],
    look: Int[Tensor, "1"],
    converted: Int[Tensor, "tallies 3"],
    drive: Float[Tensor, "longest"],
    current: Float[Tensor, "longest"],
    power: Float[Tensor, "longest"],
    x: Float[Tensor, "batch groups in_"],
    cell: str,
    dac: int,
    adc: int,
    tile: int,
    full: float,
    noise: float,
    offset: float,
    key0: int,
    key1: int,
    number: int,
    step: int,
    evaluating: int,
) -> Float[Tensor, "batch groups out"]:
    """W x; in C input after input, tile after tile."""
    return xbar.read.eager(g, zero, x, cell)


@kernel(port="read_t", host=True, writes=("converted", *_SCRATCH))
def read_t(
    g: Float[Tensor, "branches groups in_ out"],
    zero: Float[Tensor, "zeros"],
    look: Int[Tensor, "1"],
    converted: Int[Tensor, "tallies 3"],
    drive: Float[Tensor, "longest"],
    current: Float[Tensor, "longest"],
    power: Float[Tensor, "longest"],
    d: Float[Tensor, "batch groups out"],
    cell: str,
    dac: int,
    adc: int,
    tile: int,
    full: float,
    noise: float,
    offset: float,
    key0: int,
    key1: int,
    number: int,
    step: int,
    evaluating: int,
) -> Float[Tensor, "batch groups in_"]:
    """W^T d; in C the terms of a tile add up in 16 lanes, then by a tree."""
    return xbar.read_t.eager(g, zero, d, cell)
