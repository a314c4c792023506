"""AGAD: chopped Tiki-Taka whose fast array is measured from a reference that is learnt on the way.

Rasch, Carta, Fagbohungbe and Gokmen, Nature Communications 15:7133, 2024 (TTv4); the recursion is that of
aihwkit's DynamicTransferRPUDevice with regular choppers. For column j, read as v, N = 10 reads to a period:

    just flipped:  P_j <- M_j
    H_j <- H_j + chop_j (v - P_j) / step,   n = trunc(H_j), at most 31,   H_j <- H_j - n
    M_j <- (1 - a) M_j + a v,   a = min(5 / N, 1)
    flip chop_j after every N-th read.

n is written once the first period is over and lost before; M is the running mean, P that at the end of the
last period.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.synapse.updates.base import Pulses, Site, Write
from hwtrain.synapse.updates.chopped_tiki_taka import FLIPS, ChoppedTikiTaka

PERIOD = round(1 / FLIPS)
TAIL = 5
"""aihwkit's default ``tail_weightening``."""


class Agad(ChoppedTikiTaka):
    """``mean`` is M and ``past`` P, both (groups, out, in_) in weight units."""

    memory: ClassVar[tuple[str, ...]] = ("turn", "h", "chop", "mean", "past")

    def place(self, site: Site) -> None:
        """Both means are 0 at first."""
        super().place(site)
        self.mean = site.like.new_zeros(site.shape)
        self.past = site.like.new_zeros(site.shape)

    def transfer(self, column: int, v: Float[Tensor, "out"], write: Write) -> Pulses:
        """Whole steps of the buffered difference to the reference."""
        group = write.group
        mean, past = self.mean[group, :, column], self.past[group, :, column]
        reads = (int(self.turn[group]) - 1) // self.site.shape[2]  # of this column, before this one
        if reads > 0 and reads % PERIOD == 0:
            past.copy_(mean)
        n = self.whole(column, (v - past) * self.chop[group, column] / write.step, group)
        share = min(TAIL / PERIOD, 1.0)
        mean.copy_((1 - share) * mean + share * v)
        if reads % PERIOD == PERIOD - 1:
            self.chop[group, column] *= -1
        return self.pulses(column, n if reads > PERIOD else torch.zeros_like(n))
