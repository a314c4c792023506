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

from jaxtyping import Float
from torch import Tensor

from hwtrain.kernels import transfer
from hwtrain.synapse.updates.base import Site, Write
from hwtrain.synapse.updates.chopped_tiki_taka import ChoppedTikiTaka


class Agad(ChoppedTikiTaka):
    """``mean`` is M and ``past`` P, both (groups, in_, out) in weight units."""

    memory: ClassVar[tuple[str, ...]] = ("turn", "h", "chop", "mean", "past")

    def place(self, site: Site) -> None:
        """Both means are 0 at first."""
        super().place(site)
        self.mean, self.past = self.columns(), self.columns()

    def passed(self, v: Float[Tensor, "out"], write: Write) -> tuple[Float[Tensor, "out"], float]:
        """Whole steps of the buffered difference to the reference."""
        group = write.group
        own = (
            self.turn[group : group + 1],
            self.h[group],
            self.chop[group],
            self.mean[group],
            self.past[group],
        )
        return transfer.referred(*own, v, write.step), write.step
