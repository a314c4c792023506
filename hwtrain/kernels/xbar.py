"""The ports of a crossbar of electronic synapses as kernels, for the host alone.

The eager meaning of the write is hwtrain/synapse, cell by cell; its C meaning is devices/synapse/src. There
is none in NumPy: the two are held against each other. Conductances lie (branches, groups, in_, out) here.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from hwtrain.kernels.base import kernel

COUNTS = ("pulses_up", "pulses_down", "clipped", "resets", "slots", "randoms", "refreshing")
"""What ``counts`` holds, in the order of the enum in C."""
BL_MAX = 31
"""Most pulses of a stochastic train, or out of a digital buffer: aihwkit's default length of a train."""
THREADS = 16
"""The most that a kernel may have; its scratch and its counts are made for so many."""
KNOWN = {
    "law": ("linear", "affine", "exp-step", "pow-step", "piecewise", "cdf-table", "drawn-table"),
    "update": ("sign-pulse", "stochastic-pulse", "rounded-pulse", "mixed-precision"),
    "cell": (
        "single",
        "bidirectional-pair",
        "alternating-pair",
        "unidirectional-ltp",
        "unidirectional-ltd",
    ),
}
"""What the C kernel can do, by registered name."""


@kernel(port="read", host=True)
def read(
    g: Float[Tensor, "branches groups in_ out"],
    zero: Float[Tensor, "zeros"],
    x: Float[Tensor, "batch groups in_"],
    cell: str,
) -> Float[Tensor, "batch groups out"]:
    """W x of the weights, as shares of the largest, that conductances make; in C input after input.

    ``zero``: what stands for 0, in the order of the cells, of weights that are counted from symmetry points.
    """
    return torch.einsum("gio,ngi->ngo", _weights(g, zero), x)


@kernel(port="read_t", host=True)
def read_t(
    g: Float[Tensor, "branches groups in_ out"],
    zero: Float[Tensor, "zeros"],
    d: Float[Tensor, "batch groups out"],
    cell: str,
) -> Float[Tensor, "batch groups in_"]:
    """W^T d; in C the terms add up in 16 lanes, then by a tree."""
    return torch.einsum("gio,ngo->ngi", _weights(g, zero), d)


@kernel(
    port="write",
    host=True,
    writes=("g", "wear", "turn", "updates", "counts", "columns", "rows", "falling", "live", "sent", "chi"),
)
def write(
    g: Float[Tensor, "branches groups in_ out"],
    wear: Int[Tensor, "branches groups in_ out"],
    turn: Integer[Tensor, "turns"],
    updates: Int[Tensor, "1"],
    counts: Int[Tensor, "tallies 7"],
    own: Float[Tensor, "owned"],
    typical: Float[Tensor, "8"],
    life: Int[Tensor, "lives"],
    bent: Float[Tensor, "ways terms"],
    edges_up: Float[Tensor, "ups"],
    edges_down: Float[Tensor, "downs"],
    columns: Int[Tensor, "in_"],
    rows: Int[Tensor, "out"],
    falling: Int[Tensor, "out"],
    live: Int[Tensor, "lines"],
    sent: Int[Tensor, "sends"],
    chi: Float[Tensor, "sums"],
    x: Float[Tensor, "pairs parts in_"],
    d: Float[Tensor, "pairs parts out"],
    first: int,
    scale: float,
    dw: float,
    update: str,
    cell: str,
    law: str,
    kind: str,
    refresh: str,
    refresh_every: int,
    varies: int,
    rel_range: float,
    rel_step: float,
    update0: int,
    update1: int,
    pulse0: int,
    pulse1: int,
    step: int,
) -> None:
    """Pulses for ``scale * d x^T``, as the update, cell and law of these names land them.

    Pairs have numbers from ``first`` on, group after group: the address of their draws.
    """
    raise NotImplementedError


def _weights(g: Tensor, zero: Tensor) -> Tensor:
    weights = 2 * g[0] - 1 if g.shape[0] == 1 else g[0] - g[1]
    return weights - zero if zero.numel() == 1 else weights - zero.view_as(weights)
