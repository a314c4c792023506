"""In-silico training: the net learns on the twins of its physics, and is used on the physics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.net import Net
from hwtrain.rules.backprop import Backprop, BackpropBound
from hwtrain.substrates.physical import PhysicalArray


class InSilico(Backprop):
    """Backpropagation in which every measurement is a twin's; no pass of the physics is spent in training."""

    floats_only = True

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """As backpropagation, and model of all physics."""
        ports = super().needs(net)
        for path in ports:
            if path.endswith(".medium"):
                ports[path] = ports[path] - {"read"} | {"model"}
        return ports

    def work(self, net: Net) -> InSilicoBound:
        """Backpropagation on twins."""
        return InSilicoBound(net, self.first(net))


class InSilicoBound(BackpropBound):
    """Trains on twins; ``predict`` measures."""

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """A step of backpropagation with twins in place of the physics."""
        with _imagined(self.net):
            return super().step(x, labels, lr)


@contextmanager
def _imagined(net: Net) -> Iterator[None]:
    media = [array for _, array in net.arrays() if isinstance(array, PhysicalArray)]
    for array in media:
        array.stand_in = array.twin
    try:
        yield
    finally:
        for array in media:
            array.stand_in = None
