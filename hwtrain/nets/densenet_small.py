"""A small DenseNet (Huang et al., CVPR 2017): every convolution sees the channels of all before it."""

from __future__ import annotations

from hwtrain.layers.avg_pool2d import AvgPool2d
from hwtrain.layers.base import Shape
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.global_avg_pool2d import GlobalAvgPool2d
from hwtrain.net import INPUT, Concat, Graph, Net
from hwtrain.nets.base import Activation, Children, conv_block, image_shape

GROWTH, CONVOLUTIONS, STAGES = 12, 4, 3


def make(shape: Shape, classes: int, activation: Activation) -> Net:
    """Three dense blocks of four convolutions that add 12 channels each; between them the size halves."""
    channels, _ = image_shape(shape, 8, "densenet-small")
    children: Children = {"stem": Conv2d(channels, 2 * GROWTH, 3, padding=1, bias=False)}
    width = 2 * GROWTH
    for stage in range(1, STAGES + 1):
        for number in range(1, CONVOLUTIONS + 1):
            children[f"dense{stage}_{number}"] = _joined(width, activation)
            width += GROWTH
        if stage < STAGES:
            children[f"thin{stage}"] = Conv2d(width, width // 2, 1, bias=False)
            children[f"pool{stage}"] = AvgPool2d(2)
            width //= 2
    return Net({**children, "mean": GlobalAvgPool2d(), "flat": Flatten(), "fc": Dense(width, classes)})


def _joined(width: int, activation: Activation) -> Graph:
    body = conv_block(1, width, GROWTH, activation)
    return Graph({**body, "join": Concat()}, {"join": (INPUT, next(reversed(body)))})
