"""From what a user writes after ``--net`` to a net."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from hwtrain.convert import from_torch
from hwtrain.errors import ConfigError, nearest
from hwtrain.layers.base import Layer, Shape
from hwtrain.layers.batch_norm2d import BatchNorm2d
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.relu import Relu
from hwtrain.layers.sigmoid import Sigmoid
from hwtrain.layers.tanh import Tanh
from hwtrain.losses.base import Loss
from hwtrain.net import Net
from hwtrain.registry import lookup, names

Children = dict[str, Layer | Net]
Activation = Callable[[], Layer]
ACTIVATIONS: dict[str, type[Layer]] = {"relu": Relu, "tanh": Tanh, "sigmoid": Sigmoid}


def build(spec: str, shape: Shape, classes: int, activation: str, loss: Loss | None = None) -> Net:
    """The net of a spec, for samples of this shape.

    Args:
        spec: widths such as ``784-128-10``; a name in hwtrain/nets; ``FILE.onnx``; or ``module:factory``,
            a function without arguments that returns a ``torch.nn.Module`` or a ``hwtrain.Net``.

    Raises:
        ConfigError: no such net, or one that cannot be read; names the layer.
    """
    if spec.endswith(".onnx"):
        from hwtrain.convert_onnx import from_onnx  # which finds onnx missing only where it is needed

        return from_onnx(Path(spec), loss)
    if ":" in spec:
        return _made(spec, loss)
    if spec[:1].isdigit():
        return mlp(spec, activation, loss)
    known = names("nets")
    if spec not in known:
        raise ConfigError(
            f"net = {spec!r}: {nearest(spec, known)}; or write widths such as 64-32-10, or module:factory"
        )
    found: Net = lookup("nets", spec).make(shape, classes, _activation(activation))
    return found.with_loss(loss)


def mlp(spec: str, activation: str = "relu", loss: Loss | None = None) -> Net:
    """Dense layers with an activation between them, from widths such as ``784-128-10``."""
    widths = spec.split("-")
    if len(widths) < 2 or not all(w.isascii() and w.isdigit() and int(w) > 0 for w in widths):
        raise ConfigError(
            f"net = {spec!r}: widths are positive whole numbers joined by '-', such as 64-32-10"
        )
    if max(map(int, widths)) > 1 << 20:
        raise ConfigError(f"net = {spec!r}: a layer is wider than {1 << 20}: make it narrower")
    kind = _activation(activation)
    children: Children = {}
    for place, (in_, out) in enumerate(pairwise(widths), start=1):
        if place > 1:
            children[f"{activation}{place - 1}"] = kind()
        children[f"fc{place}"] = Dense(int(in_), int(out))
    return Net(children, loss)


def conv_block(number: int, in_: int, out: int, activation: Activation, stride: int = 1) -> Children:
    """A 3x3 convolution that keeps the size (or halves it), its normalisation, an activation."""
    return {
        f"conv{number}": Conv2d(in_, out, 3, stride=stride, padding=1, bias=False),
        f"norm{number}": BatchNorm2d(out),
        f"act{number}": activation(),
    }


def image_shape(shape: Shape, least: int, net: str) -> tuple[int, int]:
    """Channels and side of square images that are at least so large; ConfigError for anything else."""
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] < least:
        raise ConfigError(f"net = {net!r}: needs square images of {least} pixels or more, not {shape}")
    return shape[0], shape[1]


def _activation(name: str) -> type[Layer]:
    if name not in ACTIVATIONS:
        raise ConfigError(f"activation = {name!r}: {nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _made(spec: str, loss: Loss | None) -> Net:
    """What ``module:factory`` returns; modules of the working folder are found, as python -m finds them."""
    module, _, factory = spec.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same first weights whenever the run is taken up again
            found = getattr(importlib.import_module(module), factory)()
    except Exception as problem:
        raise ConfigError(
            f"net = {spec!r}: {type(problem).__name__}: {problem}: mend the factory"
        ) from problem
    if isinstance(found, Net):
        return found if loss is None else found.with_loss(loss)
    if isinstance(found, nn.Module):
        return from_torch(found, loss)
    raise ConfigError(
        f"net = {spec!r}: returns a {type(found).__name__}: return a torch.nn.Module or a hwtrain.Net"
    )
