"""ResNet-20 with half as many filters everywhere."""

from __future__ import annotations

from hwtrain.layers.base import Shape
from hwtrain.net import Net
from hwtrain.nets import resnet20
from hwtrain.nets.base import Activation


def make(shape: Shape, classes: int, activation: Activation) -> Net:
    """8, 16 and 32 filters."""
    return resnet20.make(shape, classes, activation, width=8)
