"""Six 3x3 convolutions in three stages, after VGG (Simonyan and Zisserman, ICLR 2015)."""

from __future__ import annotations

from hwtrain.layers.base import Shape
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.net import Net
from hwtrain.nets.base import Activation, Children, conv_block, image_shape


def make(shape: Shape, classes: int, activation: Activation) -> Net:
    """Twice 32, 64 and 128 filters, the image halved after each pair."""
    channels, side = image_shape(shape, 8, "vgg-small")
    children: Children = {}
    for stage, width in enumerate((32, 64, 128)):
        children |= conv_block(2 * stage + 1, channels, width, activation)
        children |= conv_block(2 * stage + 2, width, width, activation)
        children[f"pool{stage + 1}"] = MaxPool2d(2)
        channels = width
    return Net({**children, "flat": Flatten(), "fc": Dense(128 * (side // 8) ** 2, classes)})
