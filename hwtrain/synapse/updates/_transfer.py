"""What the Tiki-Taka family shares: a fast array A that learns, and columns of it that go to the weights C.

Every update writes the wanted change to A by stochastic pulses. Then one column of A is read, the columns
in turn, and added to C:

    A <- A + change (as pulses),   v = A e_j,   C <- C + v e_j^T (as pulses).

The rate is in the change alone. What becomes of v on its way is the member's.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.synapse.updates._digital import Digital
from hwtrain.synapse.updates.base import BL_MAX, Pulses, Site, Write, counted


class Transfer(Digital):
    """A member of the family; ``turn`` (groups) counts the columns read.

    Class attributes:
        shifted: whether A is counted from its symmetry points.
    """

    memory: ClassVar[tuple[str, ...]] = ("turn",)
    shifted: ClassVar[bool] = True

    def place(self, site: Site) -> None:
        """Ask for A."""
        self.site = site
        self.fast = site.another("fast", self.shifted)
        self.turn = torch.zeros(site.shape[0], dtype=torch.int64)

    def outer(self, x: Float[Tensor, "in_"], d: Float[Tensor, "out"], scale: float, write: Write) -> Pulses:
        """A rank-one change of A, then a column."""
        self.fast.outer(x * self.sign(write.group), d, scale, write.group, write.when)
        return self._next(write)

    def dense(self, change: Float[Tensor, "out in_"], write: Write) -> Pulses:
        """A change of A weight by weight, then a column."""
        self.fast.dense(change * self.sign(write.group), write.group, write.when)
        return self._next(write)

    def sign(self, group: int) -> Float[Tensor, "in_"] | float:
        """The sign under which A holds each column."""
        return 1.0

    @abstractmethod
    def transfer(self, column: int, v: Float[Tensor, "out"], write: Write) -> Pulses:
        """Pulses on C for the column that was read."""

    def _next(self, write: Write) -> Pulses:
        groups, _, in_ = self.site.shape
        group = write.group
        column = int(self.turn[group]) % in_
        self.turn[group] += 1
        one = self.site.like.new_zeros(1, groups, in_)
        one[0, group, column] = 1
        return self.transfer(column, self.fast.read(one)[0, group], write)

    def pulses(self, column: int, n: Int[Tensor, "out"]) -> Pulses:
        """n pulses on the weights of a column."""
        every = torch.zeros(self.site.shape[1:], dtype=torch.long, device=n.device)
        every[:, column] = n
        return counted(every)


class Buffered(Transfer):
    """With a digital buffer H (groups, out, in_) in steps, of which whole ones go to C:

    H <- H + v / step,   n = trunc(H), at most 31,   H <- H - n.
    """

    memory: ClassVar[tuple[str, ...]] = ("turn", "h")

    def place(self, site: Site) -> None:
        """Allot H."""
        super().place(site)
        self.h = site.like.new_zeros(site.shape)

    def whole(self, column: int, v: Float[Tensor, "out"], group: int) -> Int[Tensor, "out"]:
        """Add v (in steps) to a column of H; the whole steps that leave it."""
        h = self.h[group, :, column]
        h += v
        n = h.trunc().clamp(-BL_MAX, BL_MAX)
        h -= n
        return n.long()
