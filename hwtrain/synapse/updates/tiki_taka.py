"""Tiki-Taka: a fast array learns, and its columns are added to the weights by stochastic pulses.

Gokmen and Haensch, "Algorithm for training neural networks on resistive device arrays", Frontiers in
Neuroscience 14:103, 2020. A is counted from its symmetry points, to which random gradients drive it, so that
only what they have in common reaches C. One column is transferred after every update, as in aihwkit's
TransferRPUDevice; C alone makes the weight.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from hwtrain.synapse.updates._transfer import Transfer
from hwtrain.synapse.updates.base import Pulses, Site, Write
from hwtrain.synapse.updates.stochastic_pulse import StochasticPulse


class TikiTaka(Transfer):
    """C <- C + v e_j^T by stochastic pulses."""

    def place(self, site: Site) -> None:
        """The trains of the transfer."""
        super().place(site)
        self.trains = StochasticPulse()

    def transfer(self, column: int, v: Float[Tensor, "out"], write: Write) -> Pulses:
        """Trains on the one column and on all rows."""
        one = v.new_zeros(self.site.shape[2])
        one[column] = 1
        return self.trains.outer(one, v, 1.0, write)
