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

from hwtrain.kernels import transfer
from hwtrain.synapse.updates._transfer import Buffered
from hwtrain.synapse.updates.base import Site, Write


class ChoppedTikiTaka(Buffered):
    """``chop`` (groups, in_) is 1 or -1."""

    memory: ClassVar[tuple[str, ...]] = ("turn", "h", "chop")
    shifted = False

    def place(self, site: Site) -> None:
        """All signs are + at first."""
        super().place(site)
        self.chop = torch.ones(site.shape[0], site.shape[2]).to(site.like)

    def signed(self, x: Float[Tensor, "in_"], group: int) -> Float[Tensor, "in_"]:
        """By the choppers."""
        return transfer.signed(x, self.chop[group])

    def passed(self, v: Float[Tensor, "out"], write: Write) -> tuple[Float[Tensor, "out"], float]:
        """Whole steps of the buffered column, its sign set right; then perhaps a flip."""
        group, (at, sample) = write.group, write.when
        turn, (key0, key1) = self.turn[group : group + 1], write.draws.key
        n = transfer.chopped(turn, self.h[group], self.chop[group], v, write.step, key0, key1, at, sample)
        return n, write.step
