"""A depthwise-separable CNN (Howard et al., 2017), as keyword spotting on microcontrollers has it."""

from __future__ import annotations

from hwtrain.layers.base import Shape
from hwtrain.layers.batch_norm2d import BatchNorm2d
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.global_avg_pool2d import GlobalAvgPool2d
from hwtrain.net import Net
from hwtrain.nets.base import Activation, Children, conv_block, image_shape

WIDTH, BLOCKS = 32, 3


def make(shape: Shape, classes: int, activation: Activation, width: int = WIDTH) -> Net:
    """A convolution of stride 2, then three pairs of a depthwise and a pointwise one, ``width`` channels."""
    channels, _ = image_shape(shape, 8, "ds-cnn")
    children: Children = conv_block(0, channels, width, activation, stride=2)
    for number in range(1, BLOCKS + 1):
        children |= {
            f"depth{number}": Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            f"depth_norm{number}": BatchNorm2d(width),
            f"depth_act{number}": activation(),
            f"point{number}": Conv2d(width, width, 1, bias=False),
            f"point_norm{number}": BatchNorm2d(width),
            f"point_act{number}": activation(),
        }
    return Net({**children, "mean": GlobalAvgPool2d(), "flat": Flatten(), "fc": Dense(width, classes)})
