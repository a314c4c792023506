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
from jaxtyping import Float
from torch import Tensor

from hwtrain.kernels import transfer
from hwtrain.synapse.updates._digital import Digital
from hwtrain.synapse.updates.base import Pulses, RankOne, Site, Update, Write
from hwtrain.synapse.updates.rounded_pulse import RoundedPulse


class Transfer(Digital):
    """A member of the family; ``turn`` (groups) counts the columns read.

    Class attributes:
        shifted: whether A is counted from its symmetry points.
        lands: the update whose pulses the weights get.
    """

    memory: ClassVar[tuple[str, ...]] = ("turn",)
    shifted: ClassVar[bool] = True
    lands: ClassVar[type[Update]] = RoundedPulse

    def place(self, site: Site) -> None:
        """Ask for A."""
        self.site = site
        self.fast = site.another("fast", self.shifted)
        self.turn = torch.zeros(site.shape[0], dtype=torch.int64)
        self.lander = self.lands()
        self.kernel = self.lander.kernel

    def through(
        self, x: Float[Tensor, "in_"], d: Float[Tensor, "out"], scale: float, write: Write
    ) -> RankOne:
        """A rank-one change of A, then a column."""
        self.fast.outer(self.signed(x, write.group), d, scale, write.group, write.when)
        return self._next(x, write)

    def outer(self, x: Float[Tensor, "in_"], d: Float[Tensor, "out"], scale: float, write: Write) -> Pulses:
        """Pulses for a column that has come through."""
        return self.lander.outer(x, d, scale, write)

    def dense(self, change: Float[Tensor, "out in_"], write: Write) -> Pulses:
        """A change of A weight by weight, then a column."""
        rows = [self.signed(row, write.group) for row in change]
        self.fast.dense(torch.stack(rows), write.group, write.when)
        return self.outer(*self._next(change[0], write), write)

    def signed(self, x: Float[Tensor, "in_"], group: int) -> Float[Tensor, "in_"]:
        """x under the signs with which A holds its columns."""
        return x

    @abstractmethod
    def passed(self, v: Float[Tensor, "out"], write: Write) -> tuple[Float[Tensor, "out"], float]:
        """What the weights of the column that was read get, and its unit."""

    def _next(self, x: Float[Tensor, "in_"], write: Write) -> RankOne:
        group = write.group
        one = transfer.column(self.turn[group : group + 1], x, self.site.shape[0], group)
        return one[0, group], *self.passed(self.fast.read(one)[0, group], write)


class Buffered(Transfer):
    """With a digital buffer H (groups, in_, out) in steps, of which whole ones go to C."""

    memory: ClassVar[tuple[str, ...]] = ("turn", "h")

    def place(self, site: Site) -> None:
        """Allot H."""
        super().place(site)
        self.h = self.columns()

    def columns(self) -> Float[Tensor, "groups in_ out"]:
        """Zeros, a column's together."""
        groups, out, in_ = self.site.shape
        return self.site.like.new_zeros(groups, in_, out)
