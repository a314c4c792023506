"""A convolution of FP16 without a buffer for all its patches: what hwtrain/program/lean.py puts in.

Each is by definition what im2col, the products of ``dense`` or ``half`` and the change of layout make one
after the other, to the bit. In C the patches of a few positions at a time lie in ``scratch``, which lives no
longer than the call. Signals have channels first; ``positions`` are those of the output, row by row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.kernels import dense, half, im2col, layout
from hwtrain.kernels.base import Kernel, kernel

Halves = NDArray[np.float16]
ROWS, CHUNK = 64, 64
"""HWT_CONV_ROWS and HWT_CHUNK of devices/mcu/src: a weight's gradient is summed in so many rows, position by
position in chunks."""


def sums(out: int, columns: int, batch: int, positions: int) -> int:
    """Values of ``scratch`` by which a weight's gradient is summed so many columns at a time."""
    rows, mixed = _at_a_time(out, batch, positions)
    return columns * (rows + CHUNK // 2) + mixed


def columns_at_a_time(sizes: dict[str, int]) -> int:
    """Those for which a call of these sizes has the scratch."""
    rows, mixed = _at_a_time(sizes["out"], sizes["batch"], sizes["positions"])
    return (sizes["scratch"] - mixed) // (rows + CHUNK // 2)


def _at_a_time(out: int, batch: int, positions: int) -> tuple[int, int]:
    """Rows, and scratch for a chunk's errors where it may lie in two samples."""
    rows = min(out, ROWS)
    return rows, rows * CHUNK // 2 if batch > 1 and positions % CHUNK else 0


@kernel(port="read", halves="own")
def forward(
    w: Float[Tensor, "groups out in_"],
    x: Float[Tensor, "batch channels height width"],
    filter_: int,
    stride: int,
    padding: int,
    scratch: int,
) -> tuple[Float[Tensor, "batch filters positions"], Float[Tensor, "scratch"]]:
    """W x at every position."""
    columns = im2col.im2col.eager(x, filter_, stride, padding, w.shape[0])
    y = dense.read.eager(w, columns)
    first = layout.channels_first.eager(y.reshape(x.shape[0], -1, w.shape[0] * w.shape[1]))
    return first, torch.zeros(scratch, dtype=w.dtype)


@forward.numpy
def _(w: Halves, x: Halves, filter_: int, stride: int, padding: int, scratch: int) -> tuple[Any, Any]:
    patches = {"filter_": filter_, "stride": stride, "padding": padding, "groups": w.shape[0]}
    y = _one(dense.read, w=w, x=_one(im2col.im2col, patches, x=x))
    first = y.reshape(x.shape[0], -1, w.shape[0] * w.shape[1]).swapaxes(1, 2)
    return first, np.zeros(scratch, w.dtype)


@kernel(port="read_t", halves="own")
def input_gradient(
    w: Float[Tensor, "groups out in_"],
    d: Float[Tensor, "batch filters positions"],
    channels: int,
    height: int,
    width: int,
    filter_: int,
    stride: int,
    padding: int,
    scratch: int,
) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, "scratch"]]:
    """W^T d at every position, overlaps added."""
    columns = dense.read_t.eager(w, _by_position(d, w.shape[0]))
    shape = d.shape[0], channels, height, width, filter_, stride, padding
    return im2col.col2im.eager(columns, *shape), torch.zeros(scratch)


@input_gradient.numpy
def _(
    w: Halves,
    d: Halves,
    channels: int,
    height: int,
    width: int,
    filter_: int,
    stride: int,
    padding: int,
    scratch: int,
) -> tuple[Any, Any]:
    columns = _one(dense.read_t, w=w, d=_rows(d, w.shape[0]))
    sides = {"batch": d.shape[0], "channels": channels, "height": height, "width": width}
    patches = {"filter_": filter_, "stride": stride, "padding": padding}
    return _one(im2col.col2im, sides | patches, columns=columns), np.zeros(scratch, np.float32)


@kernel(port="write", writes=("w", "master", "scaling", "counts"), halves="own")
def add_to_master(
    w: Float[Tensor, "groups out in_"],
    master: Float[Tensor, "groups out in_"],
    x: Float[Tensor, "batch channels height width"],
    d: Float[Tensor, "batch filters positions"],
    scaling: Int[Tensor, "4"],
    counts: Int[Tensor, "2"],
    scale: float,
    filter_: int,
    stride: int,
    padding: int,
    scratch: int,
) -> Float[Tensor, "scratch"]:
    """``half.add_to_master`` of every position's patch."""
    columns, rows = im2col.im2col.eager(x, filter_, stride, padding, w.shape[0]), _by_position(d, w.shape[0])
    half.add_to_master.eager(w, master, columns, rows, scaling, counts, scale)
    return torch.zeros(scratch)


@add_to_master.numpy
def _(w: Halves, master: Any, x: Halves, d: Halves, **rest: Any) -> Any:
    return _added(half.add_to_master, {"w": w, "master": master}, x, d, rest)


@kernel(port="write", writes=("w", "rest", "scaling", "counts"), halves="own")
def add_compensated(
    w: Float[Tensor, "groups out in_"],
    rest: Float[Tensor, "groups out in_"],
    x: Float[Tensor, "batch channels height width"],
    d: Float[Tensor, "batch filters positions"],
    scaling: Int[Tensor, "4"],
    counts: Int[Tensor, "2"],
    scale: float,
    filter_: int,
    stride: int,
    padding: int,
    scratch: int,
) -> Float[Tensor, "scratch"]:
    """``half.add_compensated`` of every position's patch."""
    columns, rows = im2col.im2col.eager(x, filter_, stride, padding, w.shape[0]), _by_position(d, w.shape[0])
    half.add_compensated.eager(w, rest, columns, rows, scaling, counts, scale)
    return torch.zeros(scratch)


@add_compensated.numpy
def _(w: Halves, rest: Halves, x: Halves, d: Halves, **others: Any) -> Any:
    return _added(half.add_compensated, {"w": w, "rest": rest}, x, d, others)


@kernel(port="write", writes=("w", "scaling", "counts"), halves="own")
def add_at_random(
    w: Float[Tensor, "groups out in_"],
    x: Float[Tensor, "batch channels height width"],
    d: Float[Tensor, "batch filters positions"],
    scaling: Int[Tensor, "4"],
    counts: Int[Tensor, "2"],
    scale: float,
    key0: int,
    key1: int,
    step: int,
    filter_: int,
    stride: int,
    padding: int,
    scratch: int,
) -> Float[Tensor, "scratch"]:
    """``half.add_at_random`` of every position's patch."""
    columns, rows = im2col.im2col.eager(x, filter_, stride, padding, w.shape[0]), _by_position(d, w.shape[0])
    half.add_at_random.eager(w, columns, rows, scaling, counts, scale, key0, key1, step)
    return torch.zeros(scratch)


@add_at_random.numpy
def _(w: Halves, x: Halves, d: Halves, **rest: Any) -> Any:
    return _added(half.add_at_random, {"w": w}, x, d, rest)


@kernel(port="write", writes=("w", "scaling", "counts"), halves="own")
def add_to_nearest(
    w: Float[Tensor, "groups out in_"],
    x: Float[Tensor, "batch channels height width"],
    d: Float[Tensor, "batch filters positions"],
    scaling: Int[Tensor, "4"],
    counts: Int[Tensor, "2"],
    scale: float,
    filter_: int,
    stride: int,
    padding: int,
    scratch: int,
) -> Float[Tensor, "scratch"]:
    """``half.add_to_nearest`` of every position's patch."""
    columns, rows = im2col.im2col.eager(x, filter_, stride, padding, w.shape[0]), _by_position(d, w.shape[0])
    half.add_to_nearest.eager(w, columns, rows, scaling, counts, scale)
    return torch.zeros(scratch)


@add_to_nearest.numpy
def _(w: Halves, x: Halves, d: Halves, **rest: Any) -> Any:
    return _added(half.add_to_nearest, {"w": w}, x, d, rest)


def _one(of: Kernel[..., Any], numbers: dict[str, Any] | None = None, **tensors: Any) -> NDArray[Any]:
    """The only result of another kernel's NumPy meaning."""
    (found,) = of.mean(tensors, numbers or {})
    return found


def _added(of: Kernel[..., Any], kept: dict[str, Any], x: Halves, d: Halves, rest: dict[str, Any]) -> Any:
    groups = kept["w"].shape[0]
    patches = {name: rest[name] for name in ("filter_", "stride", "padding")} | {"groups": groups}
    given = kept | {"x": _one(im2col.im2col, patches, x=x), "d": _rows(d, groups)}
    given |= {name: rest[name] for name in ("scaling", "counts")}
    of.mean(given, {name: rest[name] for name in of.numbers})
    return np.zeros(rest["scratch"], np.float32)


def _rows(d: Halves, groups: int) -> Halves:
    """One row a position."""
    return np.ascontiguousarray(d.swapaxes(1, 2)).reshape(-1, groups, d.shape[1] // groups)


def _by_position(d: Tensor, groups: int) -> Tensor:
    return d.transpose(1, 2).reshape(-1, groups, d.shape[1] // groups)
