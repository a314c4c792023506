"""ResNet-20 for small images (He et al., CVPR 2016, section 4.2); shortcuts of 1x1 convolutions."""

from __future__ import annotations

from hwtrain.layers.base import Shape
from hwtrain.layers.batch_norm2d import BatchNorm2d
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.global_avg_pool2d import GlobalAvgPool2d
from hwtrain.net import Net, Residual
from hwtrain.nets.base import Activation, Children, conv_block, image_shape


def make(shape: Shape, classes: int, activation: Activation, width: int = 16, blocks: int = 3) -> Net:
    """Three stages of ``blocks`` residual blocks, of ``width``, twice and four times as many filters."""
    channels, _ = image_shape(shape, 8, "resnet20")
    children: Children = conv_block(0, channels, width, activation)
    in_ = width
    for stage in range(3):
        for block in range(blocks):
            out, stride = width << stage, 2 if stage and not block else 1
            name = f"block{stage + 1}_{block + 1}"
            children[name] = _block(in_, out, stride, activation)
            children[f"{name}_act"] = activation()
            in_ = out
    return Net({**children, "mean": GlobalAvgPool2d(), "flat": Flatten(), "fc": Dense(in_, classes)})


def _block(in_: int, out: int, stride: int, activation: Activation) -> Residual:
    body = conv_block(1, in_, out, activation, stride) | conv_block(2, out, out, activation)
    del body["act2"]  # it follows the sum
    around = None
    if stride > 1 or in_ != out:
        around = Net({"conv": Conv2d(in_, out, 1, stride=stride, bias=False), "norm": BatchNorm2d(out)})
    return Residual(body, around)
