"""Rows kept by label: what a rule remembers of samples of each class.

A table has one row (a slot) for each label, or several; ``places`` says which is a sample's. ``hits`` holds
1 for each sample of a batch whose row is taken from the table, 0 for the others. Whole numbers are codes:
distances and limits are in their units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Real
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.float32 import log
from hwtrain.kernels.base import kernel, lanes16

SMALLEST = 1e-30
"""Below it a probability counts as this, for its logarithm."""
LIMIT_FRAC, LIMIT_STEP, LIMIT_MOST = 20, 1 / 64, 1 << 30
"""Of a limit that moves, ``follow``: bits behind its point in codes, its pace, and where it stops."""
OUTCOMES = ("hits", "misses", "cold", "right")
"""What ``tally`` counts by label; ``right`` are the hits whose sample is classified correctly."""


@kernel()
def take(table: Real[Tensor, "slots n"], places: Int[Tensor, "batch"]) -> Real[Tensor, "batch n"]:
    """table[place] of each sample."""
    return table[places.long()]


@take.numpy
def _(table: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    rows: NDArray[Any] = table[places]
    return rows


@kernel()
def choose(
    table: Real[Tensor, "slots n"],
    places: Int[Tensor, "batch"],
    hits: Int[Tensor, "batch"],
    rows: Real[Tensor, "batch n"],
) -> Real[Tensor, "batch n"]:
    """table[place] where the sample is a hit, else its own row."""
    return torch.where(hits[:, None] != 0, table[places.long()], rows)


@choose.numpy
def _(table: NDArray[Any], places: NDArray[Any], hits: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    return np.where(hits[:, None] != 0, table[places], rows)


@kernel(writes=("table",))
def put(
    table: Real[Tensor, "slots n"],
    places: Int[Tensor, "batch"],
    hits: Int[Tensor, "batch"],
    rows: Real[Tensor, "batch n"],
    sticky: int,
) -> None:
    """table[place] <- row, sample after sample; with ``sticky`` a hit changes nothing."""
    for place, hit, row in zip(places.tolist(), hits.tolist(), rows, strict=True):
        if not (sticky and hit):
            table[place] = row


@put.numpy
def _(table: NDArray[Any], places: NDArray[Any], hits: NDArray[Any], rows: NDArray[Any], sticky: int) -> None:
    for place, hit, row in zip(places, hits, rows, strict=True):
        if not (sticky and hit):
            table[place] = row


@kernel()
def pick(
    inputs: Real[Tensor, "slots n"],
    known: Int[Tensor, "slots"],
    labels: Int[Tensor, "batch"],
    x: Real[Tensor, "batch n"],
    classes: int,
) -> Int[Tensor, "batch"]:
    """Of a label's slots, label + k classes, the first that is empty, else the one of the nearest input.

    The distance is sum |a - b|, in floats by lanes as in ``dense.read``; of equals the first is taken.
    """
    found = []
    for label, row in zip(labels.tolist(), x, strict=True):
        gaps = (inputs[label::classes].double() - row.double()).abs().sum(1)
        found.append(label + classes * int(torch.where(known[label::classes] != 0, gaps, -1.0).argmin()))
    return torch.tensor(found, dtype=torch.int32)


@pick.numpy
def _(
    inputs: NDArray[Any], known: NDArray[Any], labels: NDArray[Any], x: NDArray[Any], classes: int
) -> NDArray[Any]:
    found = np.zeros(len(labels), np.int32)
    for place, (label, row) in enumerate(zip(labels, x, strict=True)):
        if row.dtype == np.float32:
            gaps = lanes16(abs(inputs[label::classes] - row))
        else:
            gaps = abs(inputs[label::classes].astype(np.int64) - row).sum(1)
        found[place] = label + classes * np.where(known[label::classes] != 0, gaps, -1).argmin()
    return found


@kernel()
def near(
    table: Real[Tensor, "slots n"],
    known: Int[Tensor, "slots"],
    places: Int[Tensor, "batch"],
    labels: Int[Tensor, "batch"],
    rows: Real[Tensor, "batch n"],
    limit: float,
    distance: str,
) -> Int[Tensor, "batch"]:
    """1 where the slot is filled and its row is nearer than the limit to the sample's, else 0.

    Rows are errors, an output minus the one-hot target. ``l1`` is sum |a - b| of two of them;
    ``cross-entropy`` is -sum p ln q, p being the output of the slot and q that of the sample. The terms add
    up in order.
    """
    own = table[places.long()]
    if distance == "l1":
        gap = (own.double() - rows.double()).abs().sum(1)
    else:
        target = torch.nn.functional.one_hot(labels.long(), rows.shape[1])
        gap = -((own + target) * (rows + target).clamp(min=SMALLEST).log()).sum(1)
    return ((known[places.long()] != 0) & (gap < limit)).to(torch.int32)


@near.numpy
def _(
    table: NDArray[Any],
    known: NDArray[Any],
    places: NDArray[Any],
    labels: NDArray[Any],
    rows: NDArray[Any],
    limit: float,
    distance: str,
) -> NDArray[Any]:
    most: Any = limit if rows.dtype != np.float32 else np.float32(limit)
    gaps = (
        _gap(table[k], row, label, distance)
        for k, row, label in zip(places, rows, labels.tolist(), strict=True)
    )
    found = [bool(known[k]) and gap < most for k, gap in zip(places, gaps, strict=True)]
    return np.array(found, np.int32)


def _gap(own: NDArray[Any], row: NDArray[Any], label: int, distance: str) -> Any:
    kind = np.float32 if row.dtype == np.float32 else np.int64
    own, row = own.astype(kind), row.astype(kind)
    if distance == "l1":
        terms = abs(own - row)
    else:
        target = np.zeros_like(row)
        target[label] = 1
        terms = -(own + target) * log(np.maximum(row + target, np.float32(SMALLEST)))
    total = kind(0)
    for term in terms:
        total = total + term
    return total


@kernel(writes=("limit",))
def follow(
    table: Real[Tensor, "slots n"],
    known: Int[Tensor, "slots"],
    places: Int[Tensor, "batch"],
    labels: Int[Tensor, "batch"],
    rows: Real[Tensor, "batch n"],
    limit: Real[Tensor, "1"],
    shift: int,
    up: float,
    down: float,
    distance: str,
) -> Int[Tensor, "batch"]:
    """``near`` with a limit that moves: down by a sample that is a hit, up by one that is not.

    So the share of hits goes to up / (up + down). An empty slot moves nothing. The limit stays between 0 and
    2^30; of codes, it is in units of 2^-shift.
    """
    hits = []
    for part in range(len(labels)):
        here = slice(part, part + 1)
        given = table, known, places[here], labels[here], rows[here]
        hit = near.eager(*given, float(limit[0]) / 2.0**shift, distance)
        if bool(known[places[part].long()] != 0):
            move = -down if bool(hit) else up
            limit.add_(move if limit.is_floating_point() else int(move)).clamp_(0, LIMIT_MOST)
        hits.append(hit)
    return torch.cat(hits)


@follow.numpy
def _(
    table: NDArray[Any],
    known: NDArray[Any],
    places: NDArray[Any],
    labels: NDArray[Any],
    rows: NDArray[Any],
    limit: NDArray[Any],
    shift: int,
    up: float,
    down: float,
    distance: str,
) -> NDArray[Any]:
    kind = limit.dtype.type
    hits = np.zeros(len(labels), np.int32)
    for part, (k, row, label) in enumerate(zip(places, rows, labels.tolist(), strict=True)):
        if known[k]:
            gap = _gap(table[k], row, label, distance)
            hits[part] = (gap << shift if shift else gap) < limit[0]
            limit[0] = min(max(limit[0] + (-kind(down) if hits[part] else kind(up)), 0), LIMIT_MOST)
    return hits


@kernel()
def all_hit(hits: Int[Tensor, "batch"]) -> Int[Tensor, "1"]:
    """1 if every sample is a hit, else 0."""
    return (hits != 0).all().to(torch.int32)[None]


@all_hit.numpy
def _(hits: NDArray[Any]) -> NDArray[Any]:
    return np.array([hits.all()], np.int32)


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
    counts: Int[Tensor, "classes 4"],
    known: Int[Tensor, "slots"],
    labels: Int[Tensor, "batch"],
    places: Int[Tensor, "batch"],
    hits: Int[Tensor, "batch"],
    z: Real[Tensor, "batch classes"],
) -> None:
    """Count each sample by label as a hit, a miss or cold, and hits that are classified right; fill slots."""
    _tally(*(part.numpy() for part in (counts, known, labels, places, hits, z)))


@tally.numpy
def _(
    counts: NDArray[Any],
    known: NDArray[Any],
    labels: NDArray[Any],
    places: NDArray[Any],
    hits: NDArray[Any],
    z: NDArray[Any],
) -> None:
    _tally(counts, known, labels, places, hits, z)


def _tally(
    counts: NDArray[Any],
    known: NDArray[Any],
    labels: NDArray[Any],
    places: NDArray[Any],
    hits: NDArray[Any],
    z: NDArray[Any],
) -> None:
    for label, place, hit, outputs in zip(labels, places, hits, z, strict=True):
        counts[label, 0 if hit else 1 if known[place] else 2] += 1
        counts[label, 3] += bool(hit) and outputs.argmax() == label
    known[places] = 1


@kernel(writes=("turn",))
def flip(turn: Int[Tensor, "1"]) -> None:
    """0 becomes 1 and 1 becomes 0: of two copies the other is current from now on."""
    turn.bitwise_xor_(torch.ones_like(turn))


@flip.numpy
def _(turn: NDArray[Any]) -> None:
    turn ^= 1
