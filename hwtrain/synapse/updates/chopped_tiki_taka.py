"""Chopped Tiki-Taka: the fast array holds each column under a sign that flips now and then.

Rasch, Carta, Fagbohungbe and Gokmen, "Fast and robust analog in-memory deep neural network training", Nature
Communications 15:7133, 2024 (c-TTv2); the recursion is that of aihwkit's ChoppedTransferRPUDevice:

    A <- A + change chop,   H <- H + chop_j v / step,   n = trunc(H), at most 31,   H <- H - n,

and after its transfer a column's chop flips with probability 0.1. Offsets of A change sign with it and
cancel in H, so A needs no shift to its symmetry points.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.synapse.updates._transfer import Buffered
from hwtrain.synapse.updates.base import Pulses, Site, Write

FLIPS = 0.1
"""Probability of a flip after a transfer: aihwkit's default ``in_chop_prob``."""


class ChoppedTikiTaka(Buffered):
    """``chop`` (groups, in_) is 1 or -1."""

    memory: ClassVar[tuple[str, ...]] = ("turn", "h", "chop")
    shifted = False

    def place(self, site: Site) -> None:
        """All signs are + at first."""
        super().place(site)
        self.chop = torch.ones(site.shape[0], site.shape[2]).to(site.like)

    def sign(self, group: int) -> Float[Tensor, "in_"]:
        """The choppers."""
        return self.chop[group]

    def transfer(self, column: int, v: Float[Tensor, "out"], write: Write) -> Pulses:
        """Whole steps of the buffered column, its sign set right; then perhaps a flip."""
        group = write.group
        n = self.whole(column, v * self.chop[group, column] / write.step, group)
        if float(write.draws.at(*write.when).uniform(1)[0]) < FLIPS:
            self.chop[group, column] *= -1
        return self.pulses(column, n)
