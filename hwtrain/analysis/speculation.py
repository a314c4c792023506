"""What speculation would save in hardware: a model of cycles, no measurement.

P multipliers an engine; F, B, U the cycles of the passes forward and back and of the update of a chain of
dense layers with W weights, of which W_1 in the first; S cycles for the softmax, c for the test of a hit; h
the share of hits:

    F = W/P + S    B = (W - W_1)/P    U = W/P    c = classes/P + 4
    plain: F + B + U, one engine     speculative: max(F, k + B + U) + c + (1 - h) again, two engines

k: choosing one of K prototypes by its input, K in_/P for K > 1. What a miss does ``again``:

    redo      B + U
    correct   (W_1 + 3 (W - W_1))/P: an exact pass back, one change of the first layer, two of each other
    folded    (3 (W - W_1) + in_ + out_1)/P: not built; the first layer's change is made by the sweep of the
              next sample, with 2P multipliers in the engine back
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

SOFTMAX = 40
"""Cycles, at the clock of the multipliers; an assumption."""
Miss = Literal["redo", "correct", "folded"]


@dataclass(frozen=True)
class Phases:
    """Cycles of the parts of a step."""

    forward: float
    back: float
    update: float
    choice: float
    test: float
    again: float

    @property
    def plain(self) -> float:
        """A step of one engine that waits."""
        return self.forward + self.back + self.update

    def speculative(self, hits: float) -> float:
        """A step of two engines, at a share of hits."""
        overlapped = max(self.forward, self.choice + self.back + self.update)
        return overlapped + self.test + (1 - hits) * self.again


def phases(widths: list[int], multipliers: int, prototypes: int = 1, miss: Miss = "redo") -> Phases:
    """The parts of a step of a chain of such widths, as 784, 128, 10."""
    sizes = [a * b for a, b in pairwise(widths)]
    first, rest = sizes[0], sum(sizes[1:])
    weights = first + rest
    again = {
        "redo": rest + weights,
        "correct": first + 3 * rest,
        "folded": 3 * rest + widths[0] + widths[1],
    }
    return Phases(
        forward=weights / multipliers + SOFTMAX,
        back=rest / multipliers,
        update=weights / multipliers,
        choice=(prototypes * widths[0] if prototypes > 1 else 0) / multipliers,
        test=widths[-1] / multipliers + 4,
        again=again[miss] / multipliers,
    )


def speedup(
    widths: list[int], multipliers: int, hits: float, prototypes: int = 1, miss: Miss = "redo"
) -> float:
    """Cycles of the plain step over those of the speculative one."""
    found = phases(widths, multipliers, prototypes, miss)
    return found.plain / found.speculative(hits)
