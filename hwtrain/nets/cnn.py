"""Two convolutions with pooling and a dense layer, about 9,000 weights on 28 by 28 pixels."""

from __future__ import annotations

from hwtrain.layers.base import Shape
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.net import Net
from hwtrain.nets.base import Activation, image_shape


def make(shape: Shape, classes: int, activation: Activation) -> Net:
    """8 and 16 filters of 3 by 3; no normalisation, so that it runs on every device."""
    channels, side = image_shape(shape, 4, "cnn")
    return Net(
        {
            "conv1": Conv2d(channels, 8, 3, padding=1),
            "act1": activation(),
            "pool1": MaxPool2d(2),
            "conv2": Conv2d(8, 16, 3, padding=1),
            "act2": activation(),
            "pool2": MaxPool2d(2),
            "flat": Flatten(),
            "fc": Dense(16 * (side // 4) ** 2, classes),
        }
    )
