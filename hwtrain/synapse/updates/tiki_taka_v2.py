"""Tiki-Taka v2: columns of the fast array pass a digital buffer H, of which whole steps go to the weights.

Gokmen, "Enabling training of neural networks on noisy hardware", Frontiers in Artificial Intelligence
4:699148, 2021; the recursion is that of aihwkit's BufferedTransferRPUDevice without its momentum:

    H <- H + v / step,   n = trunc(H), at most 31,   H <- H - n,   n pulses on C.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from hwtrain.synapse.updates._transfer import Buffered
from hwtrain.synapse.updates.base import Pulses, Write


class TikiTakaV2(Buffered):
    """The buffer is a low-pass filter of what A says."""

    def transfer(self, column: int, v: Float[Tensor, "out"], write: Write) -> Pulses:
        """Whole steps of the buffered column."""
        return self.pulses(column, self.whole(column, v / write.step, write.group))
