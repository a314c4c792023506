"""ResNet-8: as ResNet-20, with one residual block a stage."""

from __future__ import annotations

from hwtrain.layers.base import Shape
from hwtrain.net import Net
from hwtrain.nets import resnet20
from hwtrain.nets.base import Activation


def make(shape: Shape, classes: int, activation: Activation, width: int = 16) -> Net:
    """``width``, twice and four times as many filters."""
    return resnet20.make(shape, classes, activation, width, blocks=1)
