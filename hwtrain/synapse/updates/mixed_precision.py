"""Mixed precision: changes add up in digital memory, and whole steps of it go to the cells.

    chi <- chi + change,   n = trunc(chi / step),   chi <- chi - n step,

n pulses land on the weight (Nandakumar et al., Frontiers in Neuroscience 14:406, 2020; the transfer is that
of aihwkit's MixedPrecRPUDevice, every update and without its bins). What the pulses really did is not
looked at.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.arith.threefry import Stream
from hwtrain.synapse.updates._digital import Digital
from hwtrain.synapse.updates.base import Pulses, Site, counted


class MixedPrecision(Digital):
    """A digital accumulator chi (groups, out, in_), in weight units."""

    memory: ClassVar[tuple[str, ...]] = ("chi",)

    def place(self, site: Site) -> None:
        """Allot chi."""
        self.chi = site.like.new_zeros(site.shape)

    def outer(
        self,
        x: Float[Tensor, "in_"],
        d: Float[Tensor, "out"],
        scale: float,
        step: float,
        draws: Stream,
        when: tuple[int, int],
        group: int = 0,
    ) -> Pulses:
        """Of the rank-one change."""
        return self.dense(torch.outer(d * scale, x), step, draws, when, group)

    def dense(
        self,
        change: Float[Tensor, "out in_"],
        step: float,
        draws: Stream,
        when: tuple[int, int],
        group: int = 0,
    ) -> Pulses:
        """Add up, then send whole steps."""
        chi = self.chi[group]
        chi += change
        n = (chi / step).trunc()
        chi -= n * step
        return counted(n.long())
