"""AlexNet's sequence of layers (Krizhevsky et al., NIPS 2012) with 3x3 filters only, for small images."""

from __future__ import annotations

from hwtrain.layers.base import Shape
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.net import Net
from hwtrain.nets.base import Activation, Children, conv_block, image_shape


def make(shape: Shape, classes: int, activation: Activation) -> Net:
    """Five convolutions, pooling after the first, second and last; three dense layers."""
    channels, side = image_shape(shape, 8, "alexnet-small")
    children: Children = {}
    for number, width in enumerate((32, 64, 96, 96, 64), start=1):
        children |= conv_block(number, channels, width, activation)
        if number in (1, 2, 5):
            children[f"pool{number}"] = MaxPool2d(2)
        channels = width
    children |= {"flat": Flatten(), "fc1": Dense(64 * (side // 8) ** 2, 128), "act6": activation()}
    return Net({**children, "fc2": Dense(128, 128), "act7": activation(), "fc3": Dense(128, classes)})
