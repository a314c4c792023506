"""Tiki-Taka v2: columns of the fast array pass a digital buffer H, of which whole steps go to the weights.

Gokmen, "Enabling training of neural networks on noisy hardware", Frontiers in Artificial Intelligence
4:699148, 2021; the recursion is that of aihwkit's BufferedTransferRPUDevice without its momentum:

    H <- H + v / step,   n = trunc(H), at most 31,   H <- H - n,   n pulses on C.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from hwtrain.kernels import transfer
from hwtrain.synapse.updates._transfer import Buffered
from hwtrain.synapse.updates.base import Write


class TikiTakaV2(Buffered):
    """The buffer is a low-pass filter of what A says."""

    def passed(self, v: Float[Tensor, "out"], write: Write) -> tuple[Float[Tensor, "out"], float]:
        """Whole steps of the buffered column."""
        turn = self.turn[write.group : write.group + 1]
        return transfer.buffered(turn, self.h[write.group], v, write.step), write.step
