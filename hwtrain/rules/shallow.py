"""The control that every result prints: hidden layers frozen, the last layer trained."""

from __future__ import annotations

from hwtrain.net import Net
from hwtrain.rules.backprop import Backprop


class Shallow(Backprop):
    """Backpropagation that stops at the last layer with weights; all others keep their first values."""

    def first(self, net: Net) -> str:
        """Path of the last layer that has weights."""
        return net.trained()[-1]
