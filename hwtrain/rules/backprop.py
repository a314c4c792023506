"""Backpropagation: the error goes back through the transposed weights (Rumelhart et al., 1986)."""

from __future__ import annotations

from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.net import Net
from hwtrain.rules.base import Bound, Rule, tape_bytes


class Backprop(Rule):
    """d_l = (W^T d_{l+1}) phi'(z_l); the direction of layer l is d_l a_{l-1}^T."""

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read everywhere, write in the layers that learn, read_t in those behind the first of them."""
        placed = [path for path, layer in net.layers() if layer.arrays]
        first = placed.index(self.first(net))
        ports = {}
        for path, _ in net.arrays():
            layer, _, name = path.rpartition(".")
            if name == "bias" or layer not in placed:  # digital, and passing nothing back; a rule's own
                continue
            learns = {"write"} if placed.index(layer) >= first and name != "medium" else set()
            passes_back = {"read_t"} if placed.index(layer) > first else set()
            ports[path] = frozenset({"read", *learns, *passes_back})
        return ports

    def first(self, net: Net) -> str:
        """Path of the first layer that learns."""
        return net.trained()[0]

    def work(self, net: Net) -> Bound:
        """Backpropagation from the loss to the first layer that learns."""
        return BackpropBound(net, self.first(net))


class BackpropBound(Bound):
    """One forward pass, one backward pass, then the writes."""

    def __init__(self, net: Net, first: str) -> None:
        super().__init__(net)
        self.first = first
        self.arrays = dict(net.arrays())

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Descend the mean loss of the batch by lr."""
        z, _, tapes = self.net.fw(x)
        loss, tape = self.net.loss.fw(z, labels)
        _, directions = self.net.backward(self.net.loss.igrad(tape), tapes, self.first)
        for path, direction in directions.items():
            self.arrays[path].write(direction.scaled(-lr / x.shape[0]))
        ledger = next(iter(self.arrays.values())).trial.ledger
        if ledger.clock.step == 0:
            ledger.peak("net", "tape", bytes_held=tape_bytes((tapes, tape)))
        return loss
