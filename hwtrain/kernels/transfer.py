"""What passes from the fast array of the Tiki-Taka family to its weights, as kernels for the host alone.

A group's columns are read in turn; ``turn`` counts the reads. Buffers lie (in_, out): a column's values are
neighbours, as its cells are in C.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.arith.threefry import Stream
from hwtrain.kernels.base import kernel
from hwtrain.kernels.xbar import BL_MAX

FLIPS = 0.1
"""Probability of a flip after a transfer: aihwkit's default ``in_chop_prob``."""
PERIOD = round(1 / FLIPS)
TAIL = 5
"""aihwkit's default ``tail_weightening``."""


@kernel(host=True)
def signed(x: Float[Tensor, "in_"], chop: Float[Tensor, "in_"]) -> Float[Tensor, "in_"]:
    """x under the signs of the choppers."""
    return x * chop


@kernel(host=True, writes=("turn",))
def column(
    turn: Int[Tensor, "1"], x: Float[Tensor, "in_"], groups: int, group: int
) -> Float[Tensor, "batch groups in_"]:
    """e_j in one group, 0 in the others, and on to the next j; of x only the length counts."""
    one = x.new_zeros(1, groups, len(x))
    one[0, group, int(turn) % len(x)] = 1
    turn += 1
    return one


@kernel(host=True, writes=("h",))
def buffered(
    turn: Int[Tensor, "1"], h: Float[Tensor, "in_ out"], v: Float[Tensor, "out"], step: float
) -> Float[Tensor, "out"]:
    """h_j <- h_j + v / step;  n = trunc(h_j), at most 31;  h_j <- h_j - n."""
    return _whole(h[_last(turn, h)], v, step)


@kernel(host=True, writes=("h", "chop"))
def chopped(
    turn: Int[Tensor, "1"],
    h: Float[Tensor, "in_ out"],
    chop: Float[Tensor, "in_"],
    v: Float[Tensor, "out"],
    step: float,
    key0: int,
    key1: int,
    at: int,
    sample: int,
) -> Float[Tensor, "out"]:
    """The same of chop_j v; then chop_j flips with probability 0.1, drawn at step ``at`` and ``sample``."""
    j = _last(turn, h)
    n = _whole(h[j], v * chop[j], step)
    if float(Stream((key0, key1)).at(at, sample).uniform(1)[0]) < FLIPS:
        chop[j] *= -1
    return n


@kernel(host=True, writes=("h", "chop", "mean", "past"))
def referred(
    turn: Int[Tensor, "1"],
    h: Float[Tensor, "in_ out"],
    chop: Float[Tensor, "in_"],
    mean: Float[Tensor, "in_ out"],
    past: Float[Tensor, "in_ out"],
    v: Float[Tensor, "out"],
    step: float,
) -> Float[Tensor, "out"]:
    """The same of chop_j (v - past_j); hwtrain/synapse/updates/agad.py has the recursion of the means."""
    j = _last(turn, h)
    reads = (int(turn) - 1) // len(h)  # of this column, before this one
    if reads > 0 and reads % PERIOD == 0:
        past[j] = mean[j]
    n = _whole(h[j], (v - past[j]) * chop[j], step)
    share = min(TAIL / PERIOD, 1.0)
    mean[j] = (1 - share) * mean[j] + share * v
    if reads % PERIOD == PERIOD - 1:
        chop[j] *= -1
    return n if reads > PERIOD else torch.zeros_like(n)


def _last(turn: Tensor, h: Tensor) -> int:
    """The column that was read last."""
    return (int(turn) - 1) % len(h)


def _whole(row: Tensor, v: Tensor, step: float) -> Tensor:
    row += v / step
    n = row.trunc().clamp(-BL_MAX, BL_MAX)
    row -= n
    return n
