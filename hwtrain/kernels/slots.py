"""Rows kept by label: what a rule remembers of the last sample of each class.

A table has one row (a slot) for each label. ``hits`` holds 1 for each sample of a batch whose row is taken
from the table, 0 for the others. Whole numbers are codes: distances and limits are in their units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Real
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.float32 import log
from hwtrain.kernels.base import kernel

SMALLEST = 1e-30
"""Below it a probability counts as this, for its logarithm."""
OUTCOMES = ("hits", "misses", "cold", "right")
"""What ``tally`` counts by label; ``right`` are the hits whose sample is classified correctly."""


@kernel()
def take(table: Real[Tensor, "slots n"], labels: Int[Tensor, "batch"]) -> Real[Tensor, "batch n"]:
    """table[label] of each sample."""
    return table[labels.long()]


@take.numpy
def _(table: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    rows: NDArray[Any] = table[labels]
    return rows


@kernel()
def choose(
    table: Real[Tensor, "slots n"],
    labels: Int[Tensor, "batch"],
    hits: Int[Tensor, "batch"],
    rows: Real[Tensor, "batch n"],
) -> Real[Tensor, "batch n"]:
    """table[label] where the sample is a hit, else its own row."""
    return torch.where(hits[:, None] != 0, table[labels.long()], rows)


@choose.numpy
def _(table: NDArray[Any], labels: NDArray[Any], hits: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    return np.where(hits[:, None] != 0, table[labels], rows)


@kernel(writes=("table",))
def put(
    table: Real[Tensor, "slots n"],
    labels: Int[Tensor, "batch"],
    hits: Int[Tensor, "batch"],
    rows: Real[Tensor, "batch n"],
    sticky: int,
) -> None:
    """table[label] <- row, sample after sample; with ``sticky`` a hit changes nothing."""
    for label, hit, row in zip(labels.tolist(), hits.tolist(), rows, strict=True):
        if not (sticky and hit):
            table[label] = row


@put.numpy
def _(table: NDArray[Any], labels: NDArray[Any], hits: NDArray[Any], rows: NDArray[Any], sticky: int) -> None:
    for label, hit, row in zip(labels, hits, rows, strict=True):
        if not (sticky and hit):
            table[label] = row


@kernel()
def near(
    table: Real[Tensor, "slots n"],
    known: Int[Tensor, "slots"],
    labels: Int[Tensor, "batch"],
    rows: Real[Tensor, "batch n"],
    limit: float,
    distance: str,
) -> Int[Tensor, "batch"]:
    """1 where the label's slot is filled and its row is nearer than the limit to the sample's, else 0.

    Rows are errors, an output minus the one-hot target. ``l1`` is sum |a - b| of two of them;
    ``cross-entropy`` is -sum p ln q, p being the output of the slot and q that of the sample. The terms add
    up in order.
    """
    own = table[labels.long()]
    if distance == "l1":
        gap = (own.double() - rows.double()).abs().sum(1)
    else:
        target = torch.nn.functional.one_hot(labels.long(), rows.shape[1])
        gap = -((own + target) * (rows + target).clamp(min=SMALLEST).log()).sum(1)
    return ((known[labels.long()] != 0) & (gap < limit)).to(torch.int32)


@near.numpy
def _(
    table: NDArray[Any],
    known: NDArray[Any],
    labels: NDArray[Any],
    rows: NDArray[Any],
    limit: float,
    distance: str,
) -> NDArray[Any]:
    kind = np.float32 if rows.dtype == np.float32 else np.int64
    found = np.zeros(len(labels), np.int32)
    for place, (label, row) in enumerate(zip(labels, rows.astype(kind), strict=True)):
        own = table[label].astype(kind)
        if distance == "l1":
            terms = abs(own - row)
        else:
            target = np.zeros_like(row)
            target[label] = 1
            terms = -(own + target) * log(np.maximum(row + target, np.float32(SMALLEST)))
        total = kind(0)
        for term in terms:
            total = total + term
        found[place] = bool(known[label]) and total < (limit if kind is np.int64 else np.float32(limit))
    return found


@kernel(writes=("left",))
def warm(left: Int[Tensor, "1"], hits: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
    """No hits while samples are left that must not be one; each sample takes one off."""
    return torch.from_numpy(_warm(left.numpy(), hits.numpy()))


@warm.numpy
def _(left: NDArray[Any], hits: NDArray[Any]) -> NDArray[Any]:
    return _warm(left, hits)


def _warm(left: NDArray[Any], hits: NDArray[Any]) -> NDArray[Any]:
    found = np.where(np.arange(len(hits)) < left[0], 0, hits).astype(np.int32)
    left[0] = max(left[0] - len(hits), 0)
    return found


@kernel(writes=("counts", "known"))
def tally(
    counts: Int[Tensor, "slots 4"],
    known: Int[Tensor, "slots"],
    labels: Int[Tensor, "batch"],
    hits: Int[Tensor, "batch"],
    z: Real[Tensor, "batch classes"],
) -> None:
    """Count each sample by label as a hit, a miss or cold, and hits that are classified right; fill slots."""
    _tally(counts.numpy(), known.numpy(), labels.numpy(), hits.numpy(), z.numpy())


@tally.numpy
def _(
    counts: NDArray[Any], known: NDArray[Any], labels: NDArray[Any], hits: NDArray[Any], z: NDArray[Any]
) -> None:
    _tally(counts, known, labels, hits, z)


def _tally(
    counts: NDArray[Any], known: NDArray[Any], labels: NDArray[Any], hits: NDArray[Any], z: NDArray[Any]
) -> None:
    for label, hit, outputs in zip(labels, hits, z, strict=True):
        counts[label, 0 if hit else 1 if known[label] else 2] += 1
        counts[label, 3] += bool(hit) and outputs.argmax() == label
    known[labels] = 1


@kernel(writes=("turn",))
def flip(turn: Int[Tensor, "1"]) -> None:
    """0 becomes 1 and 1 becomes 0: of two copies the other is current from now on."""
    turn.bitwise_xor_(torch.ones_like(turn))


@flip.numpy
def _(turn: NDArray[Any]) -> None:
    turn ^= 1
