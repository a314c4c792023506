"""Two conductances that take turns: up is LTP on G+ *or* LTD on G-, down the reverse.

The update method "alternating, pair" of the electronic-synapse papers (Lim et al., arXiv
1707.06381; as described in the abstracts).
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from hwtrain.synapse.cells.base import Refresh
from hwtrain.synapse.cells.bidirectional_pair import BidirectionalPair
from hwtrain.synapse.conductances import Conductances


class AlternatingPair(BidirectionalPair):
    """w = G+ - G-; each weight remembers whose turn it is."""

    gain = 1.0

    def __init__(self, cells: Conductances, refresh: Refresh, refresh_every: int) -> None:
        super().__init__(cells, refresh, refresh_every)
        self.turn = torch.zeros(self.weights, dtype=torch.uint8, device=cells.g.device)

    def spread(
        self, index: Int[Tensor, "weights"], n: Int[Tensor, "weights"]
    ) -> tuple[Int[Tensor, "cells"], Int[Tensor, "cells"]]:
        """The side whose turn it is takes the larger half of |n|, the other the rest."""
        turn = self.turn[index].long()
        larger, smaller = (n.abs() + 1) // 2 * n.sign(), n.abs() // 2 * n.sign()
        self.turn[index] ^= (n.abs() % 2).to(torch.uint8)
        cells = torch.cat([index + turn * self.weights, index + (1 - turn) * self.weights])
        pulses = torch.cat([larger * (1 - 2 * turn), smaller * (2 * turn - 1)])
        on = pulses != 0
        return cells[on], pulses[on]

    def state(self) -> dict[str, Tensor]:
        """Whose turn it is."""
        return {"turn": self.turn.clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        self.turn = state["turn"].to(self.turn.device, copy=True)
