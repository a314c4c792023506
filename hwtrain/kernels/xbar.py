"""The write port of a crossbar of electronic synapses as one kernel, for the host alone.

Its eager meaning is hwtrain/synapse, cell by cell; its C meaning is devices/synapse/src. There is none
in NumPy: the two are held against each other.
"""

from __future__ import annotations

from jaxtyping import Float, Int, Integer
from torch import Tensor

from hwtrain.kernels.base import kernel

COUNTS = ("pulses_up", "pulses_down", "clipped", "resets", "slots", "randoms")
"""What ``counts`` holds, in the order of the enum in C."""
KNOWN = {
    "law": ("linear", "affine"),
    "update": ("sign-pulse", "stochastic-pulse"),
    "cell": (
        "single",
        "bidirectional-pair",
        "alternating-pair",
        "unidirectional-ltp",
        "unidirectional-ltd",
    ),
}
"""What the C kernel can do, by registered name."""


@kernel(
    port="write",
    host=True,
    writes=("g", "wear", "unit", "turn", "updates", "counts", "touched", "amount", "live", "drive", "words"),
)
def write(
    g: Float[Tensor, "cells"],
    wear: Int[Tensor, "cells"],
    unit: Float[Tensor, "weights"],
    turn: Integer[Tensor, "turns"],
    updates: Int[Tensor, "1"],
    counts: Int[Tensor, "6"],
    rows: Float[Tensor, "7 columns"],
    edges_up: Float[Tensor, "ups"],
    edges_down: Float[Tensor, "downs"],
    touched: Int[Tensor, "weights"],
    amount: Int[Tensor, "weights"],
    live: Int[Tensor, "in_"],
    drive: Float[Tensor, "in_"],
    words: Int[Tensor, "in_"],
    x: Float[Tensor, "pairs groups in_"],
    d: Float[Tensor, "pairs groups out"],
    scale: float,
    dw: float,
    update: str,
    cell: str,
    law: str,
    kind: str,
    refresh: str,
    refresh_every: int,
    rel_range: float,
    rel_step: float,
    update0: int,
    update1: int,
    pulse0: int,
    pulse1: int,
    step: int,
) -> None:
    """Pulses for ``scale * d x^T``, as the update, cell and law of these names land them."""
    raise NotImplementedError
