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
from hwtrain.synapse.updates.base import Write
from hwtrain.synapse.updates.stochastic_pulse import StochasticPulse


class TikiTaka(Transfer):
    """C <- C + v e_j^T by stochastic pulses, trains on the one column and on all rows."""

    lands = StochasticPulse

    def passed(self, v: Float[Tensor, "out"], write: Write) -> tuple[Float[Tensor, "out"], float]:
        """v as it is."""
        return v, 1.0
