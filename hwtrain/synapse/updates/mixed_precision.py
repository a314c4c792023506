"""Mixed precision: changes add up in digital memory, and whole steps of it go to the cells.

    chi <- chi + change,   n = trunc(chi / write.step),   chi <- chi - n step,

n pulses land on the weight (Nandakumar et al., Frontiers in Neuroscience 14:406, 2020; the transfer is that
of aihwkit's MixedPrecRPUDevice, every update and without its bins). What the pulses really did is not
looked at.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from hwtrain.synapse.updates._digital import Digital
from hwtrain.synapse.updates.base import Pulses, Site, Write, counted


class MixedPrecision(Digital):
    """A digital accumulator chi (groups, in_, out), in weight units."""

    memory: ClassVar[tuple[str, ...]] = ("chi",)
    kernel = "mixed-precision"

    def place(self, site: Site) -> None:
        """Allot chi."""
        groups, out, in_ = site.shape
        self.chi = site.like.new_zeros(groups, in_, out)

    def dense(self, change: Float[Tensor, "out in_"], write: Write) -> Pulses:
        """Add up, then send whole steps."""
        chi = self.chi[write.group].T
        chi += change
        n = (chi / write.step).trunc()
        chi -= n * write.step
        return counted(n.long())
