"""Lines with resistance: the conductances that a crossbar seems to have, to first order in what is lost.

Inputs drive lines from their near end (output 0); outputs are held at 0 V at the near end (input 0) of
theirs. With r the resistance of a line from one cell to the next, and currents as if nothing were lost, the
line of input j has dropped r sum_k min(i, k) G_kj V_j at output i, and the line of output i has risen by
r sum_l min(j, l) G_il V_l at input j (places counted from 1). What is read is linear in the voltages, and the
product with

    G' = G - r G o (A G) - r G o (G B),    A_ik = min(i, k), B_lj = min(l, j), o the product by elements,

up to terms in r^2. The network is reciprocal: driven from its outputs, it is the transpose.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def seeming(
    g_S: Float[Tensor, "groups out in_"], line_ohm: float, lines: int | None
) -> Float[Tensor, "groups out in_"]:
    """G' in siemens, tile by tile of at most ``lines`` lines either way; never below 0."""
    found = torch.empty_like(g_S)
    for rows in tiles(g_S.shape[1], lines):
        for columns in tiles(g_S.shape[2], lines):
            g = g_S[:, rows, columns]
            lost = _near(g, 1) + _near(g, 2)
            found[:, rows, columns] = (g * (1 - line_ohm * lost)).clamp(min=0)
    return found


def tiles(count: int, lines: int | None) -> list[slice]:
    """So many lines, cut into pieces of at most ``lines``."""
    most = lines or count
    return [slice(start, min(start + most, count)) for start in range(0, count, most)]


def _near(g: Float[Tensor, "groups out in_"], along: int) -> Float[Tensor, "groups out in_"]:
    """sum_k min(i, k) g_k along an axis: the sum over m <= i of all that lies from m on."""
    beyond = g.flip(along).cumsum(along).flip(along)
    return beyond.cumsum(along)
