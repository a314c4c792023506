"""FP16 training: gradients scaled so that they do not vanish, and weights that learn in small steps.

``scaling`` is {log2 of the scale, steps since it changed, whether a gradient overflowed since, gradients that
vanished}; all arrays of a net share it. ``counts`` is an array's {overflows, lost updates}.

A weight's gradient is ``chunked`` (hwtrain/arith/fp16.py). Its change is factor * gradient in float32, with
factor = scale / 2^scaling[0]. A gradient that is no finite number changes nothing and is counted; the loss
scale is then halved before the next gradients are made. An update is lost when the change is not 0 and all
that is kept of the weight stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith import fp16, fp16_native
from hwtrain.arith.threefry import threefry, threefry_words
from hwtrain.kernels.base import kernel

F32 = NDArray[np.float32]
Halves = NDArray[np.float16]
PATIENCE = 200
"""Steps without an overflow, after which the loss scale doubles."""
FINER = 2048.0
"""What rounding left of a weight is kept so many times as large: as large as the weight, so no subnormal."""
LARGEST_LOG2 = 15
"""2^15 is the largest power of two of which the double is no half."""


@kernel(writes=("scaling",), halves="own")
def scaled(d: Float[Tensor, "batch classes"], scaling: Int[Tensor, "4"]) -> Float[Tensor, "batch classes"]:
    """round(d 2^log2), the scale first halved if a gradient overflowed, or doubled if none did for long."""
    return torch.from_numpy(_scaled(d.numpy(), scaling.numpy()))


@scaled.numpy
def _(d: F32, scaling: NDArray[Any]) -> Halves:
    return _scaled(d, scaling)


@kernel(port="write", writes=("w", "master", "scaling", "counts"), halves="own")
def add_to_master(
    w: Float[Tensor, "groups out in_"],
    master: Float[Tensor, "groups out in_"],
    x: Float[Tensor, "pairs groups in_"],
    d: Float[Tensor, "pairs groups out"],
    scaling: Int[Tensor, "4"],
    counts: Int[Tensor, "2"],
    scale: float,
) -> None:
    """master += change in float32; w = round(master)."""
    _update(w, x, d, scaling, counts, scale, _to_master(master.numpy()), fast=True)


@add_to_master.numpy
def _(w: Halves, master: F32, x: Halves, d: Halves, scaling: Any, counts: Any, scale: float) -> None:
    _update(w, x, d, scaling, counts, scale, _to_master(master))


@kernel(port="write", writes=("w", "rest", "scaling", "counts"), halves="own")
def add_compensated(
    w: Float[Tensor, "groups out in_"],
    rest: Float[Tensor, "groups out in_"],
    x: Float[Tensor, "pairs groups in_"],
    d: Float[Tensor, "pairs groups out"],
    scaling: Int[Tensor, "4"],
    counts: Int[Tensor, "2"],
    scale: float,
) -> None:
    """t = w + (rest / ``FINER`` + change) in float32; w = round(t); rest = round(``FINER`` (t - w))."""
    _update(w, x, d, scaling, counts, scale, _compensated(rest.numpy()), fast=True)


@add_compensated.numpy
def _(w: Halves, rest: Halves, x: Halves, d: Halves, scaling: Any, counts: Any, scale: float) -> None:
    _update(w, x, d, scaling, counts, scale, _compensated(rest))


@kernel(port="write", writes=("w", "scaling", "counts"), halves="own")
def add_at_random(
    w: Float[Tensor, "groups out in_"],
    x: Float[Tensor, "pairs groups in_"],
    d: Float[Tensor, "pairs groups out"],
    scaling: Int[Tensor, "4"],
    counts: Int[Tensor, "2"],
    scale: float,
    key0: int,
    key1: int,
    step: int,
) -> None:
    """w = w + change, rounded at random; drawn at (step, 0, 0), an element's word at its index in w."""
    _update(w, x, d, scaling, counts, scale, _at_random((key0, key1), step), fast=True)


@add_at_random.numpy
def _(
    w: Halves, x: Halves, d: Halves, scaling: Any, counts: Any, scale: float, key0: int, key1: int, step: int
) -> None:
    _update(w, x, d, scaling, counts, scale, _at_random((key0, key1), step))


@kernel(port="write", writes=("w", "scaling", "counts"), halves="own")
def add_to_nearest(
    w: Float[Tensor, "groups out in_"],
    x: Float[Tensor, "pairs groups in_"],
    d: Float[Tensor, "pairs groups out"],
    scaling: Int[Tensor, "4"],
    counts: Int[Tensor, "2"],
    scale: float,
) -> None:
    """w = round(w + change)."""
    _update(w, x, d, scaling, counts, scale, _to_nearest, fast=True)


@add_to_nearest.numpy
def _(w: Halves, x: Halves, d: Halves, scaling: Any, counts: Any, scale: float) -> None:
    _update(w, x, d, scaling, counts, scale, _to_nearest)


Keep = Callable[[Halves, F32, NDArray[np.bool_]], NDArray[np.bool_]]
"""Adds the change to the weights where it may; where nothing moved."""


def _to_master(master: F32) -> Keep:
    def add(w: Halves, change: F32, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
        after = np.where(where, master + change, master)
        still: NDArray[np.bool_] = after == master
        master[...] = after
        w[...] = fp16.narrow(master)
        return still

    return add


def _compensated(rest: Halves) -> Keep:
    def add(w: Halves, change: F32, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
        with np.errstate(all="ignore"):
            total = w.astype(np.float32) + (rest.astype(np.float32) / np.float32(FINER) + change)
            made = fp16.narrow(total)
            left = fp16.narrow((total - made.astype(np.float32)) * np.float32(FINER))
        still: NDArray[np.bool_] = (made == w) & (left == rest)
        w[...], rest[...] = np.where(where, made, w), np.where(where, left, rest)
        return still

    return add


def _at_random(key: tuple[int, int], step: int) -> Keep:
    def add(w: Halves, change: F32, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
        noise, _ = threefry_words(threefry(key, (step, 0)), np.arange(w.size, dtype=np.uint32))
        with np.errstate(all="ignore"):
            made = fp16.narrow_at_random(w.astype(np.float32) + change, noise.reshape(w.shape))
        still: NDArray[np.bool_] = made == w
        w[...] = np.where(where, made, w)
        return still

    return add


def _to_nearest(w: Halves, change: F32, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        made = fp16.narrow(w.astype(np.float32) + change)
    still: NDArray[np.bool_] = made == w
    w[...] = np.where(where, made, w)
    return still


def _scaled(d: F32, scaling: NDArray[Any]) -> Halves:
    if scaling[2]:
        scaling[:3] = max(scaling[0] - 1, 0), 0, 0
    else:
        scaling[1] += 1
        if scaling[1] >= PATIENCE:
            scaling[:2] = min(scaling[0] + 1, LARGEST_LOG2), 0
    made = fp16.narrow(d * np.float32(2.0 ** int(scaling[0])))
    scaling[3] += int(((made == 0) & (d != 0)).sum())
    return made


def _update(
    w: Any, x: Any, d: Any, scaling: Any, counts: Any, scale: float, keep: Keep, *, fast: bool = False
) -> None:
    if fast:
        w, x, d, scaling, counts = (part.numpy() for part in (w, x, d, scaling, counts))
    # (groups, out, pairs) by (groups, pairs, in_)
    gradient = np.zeros(w.shape, np.float32)
    if fast:
        left, right = (np.ascontiguousarray(part).swapaxes(0, 1) for part in (d, x))
        fp16_native.product("gradient", left, right, gradient)
    for group in range(0 if fast else w.shape[0]):
        gradient[group] = fp16.chunked(d[:, group].T, x[:, group])
    factor = np.float32(scale) * np.float32(2.0 ** -int(scaling[0]))
    finite = np.isfinite(gradient)
    with np.errstate(all="ignore"):
        change = np.where(finite, factor * gradient, np.float32(0))
    still = keep(w, change, finite)
    overflows = int((~finite).sum())
    scaling[2] |= overflows > 0
    counts[0] += overflows
    counts[1] += int((still & (change != 0)).sum())
