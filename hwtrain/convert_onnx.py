"""ONNX files as nets: each node has its counterpart here, each weight is the first one of its layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwtrain.errors import ConfigError
from hwtrain.layers.avg_pool2d import AvgPool2d
from hwtrain.layers.base import Layer
from hwtrain.layers.batch_norm2d import BatchNorm2d
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.global_avg_pool2d import GlobalAvgPool2d
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.layers.relu import Relu
from hwtrain.layers.sigmoid import Sigmoid
from hwtrain.layers.tanh import Tanh
from hwtrain.losses.base import Loss
from hwtrain.net import INPUT, Add, Concat, Graph, Merge, Net

_PLAIN: dict[str, Callable[[], Layer]] = {
    "Relu": Relu,
    "Tanh": Tanh,
    "Sigmoid": Sigmoid,
    "GlobalAveragePool": GlobalAvgPool2d,
}
_KNOWN = (
    f"Gemm, MatMul, Conv, BatchNormalization, MaxPool, AveragePool, Flatten, Reshape, Add, Concat, Identity, "
    f"Dropout, {', '.join(_PLAIN)}"
)
_NOTHING = ("Identity", "Dropout")


def from_onnx(file: Path, loss: Loss | None = None) -> Net:
    """The net of a float ONNX file of one input and one output; layers keep the names of their nodes.

    Normalisation comes frozen, as the file has it for inference.

    Raises:
        ConfigError: no such file, no ONNX, a node or an attribute without a counterpart; names the node.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise ConfigError(f"net = '{file}': reading it needs onnx: pip install 'hwtrain[onnx]'") from None
    try:
        graph = onnx.load(file).graph
    except OSError as problem:
        raise ConfigError(f"net = '{file}': {problem.strerror or problem}: check the path") from None
    except Exception as problem:  # noqa: BLE001 - protobuf's errors share no class
        raise ConfigError(f"net = '{file}': no ONNX file ({problem}): export it again") from None
    constants = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    signals = [one.name for one in graph.input if one.name not in constants]
    if len(signals) != 1 or len(graph.output) != 1:
        raise ConfigError(
            f"net = '{file}': {len(signals)} inputs and {len(graph.output)} outputs: give one of each"
        )
    names = {signals[0]: INPUT}
    sizes: set[str] = set()  # what the file computes of shapes, to flatten by
    children: dict[str, Layer | Net | Merge] = {}
    inputs: dict[str, tuple[str, ...]] = {}
    for place, node in enumerate(graph.node):
        options = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Constant":
            constants[node.output[0]] = torch.from_numpy(numpy_helper.to_array(options["value"]).copy())
            continue
        given = [constants[name] for name in node.input if name in constants]
        taken = [names[name] for name in node.input if name in names]
        if node.op_type == "Shape" or (not taken and sizes & set(node.input)):
            sizes |= set(node.output)
            continue
        name = (node.name or f"{node.op_type}{place}").strip("/").replace("/", ".")
        if node.op_type in _NOTHING:
            names[node.output[0]] = taken[0]
            continue
        before = children.get(taken[0]) if taken else None
        if node.op_type == "Add" and len(given) == 1 and _lacks_bias(before) and len(taken) == 1:
            assert isinstance(before, Dense)
            children[taken[0]] = Dense(
                before.in_, before.out, weights=before.weights, offsets=given[0].flatten()
            )
            names[node.output[0]] = taken[0]
            continue
        try:
            flattens = node.op_type == "Reshape" and sizes & set(node.input)
            child = Flatten() if flattens else _child(node.op_type, options, given, len(taken))
        except ValueError as problem:
            raise ConfigError(f"net = '{file}': node {name}: {problem}") from None
        children[name], inputs[name] = child, tuple(taken)
        names[node.output[0]] = name
    if names.get(graph.output[0].name) != next(reversed(children), INPUT) or not children:
        raise ConfigError(f"net = '{file}': its output is not that of its last node: export it again")
    return Graph(children, inputs, loss)


def _lacks_bias(layer: Layer | Net | Merge | None) -> bool:
    return isinstance(layer, Dense) and not layer.bias


def _child(kind: str, options: dict[str, Any], given: list[Tensor], signals: int) -> Layer | Merge:
    """The counterpart of a node; ValueError says what has none."""
    if kind in ("Add", "Concat") and signals == 2 and not given:
        if kind == "Concat" and options.get("axis") != 1:
            raise ValueError(f"joins axis {options.get('axis')}: only channels, axis 1")
        return Add() if kind == "Add" else Concat()
    if signals != 1:
        raise ValueError(f"{kind} of {signals} signals and {len(given)} constants: known are {_KNOWN}")
    if kind in _PLAIN:
        return _PLAIN[kind]()
    if kind in ("Gemm", "MatMul") and given:
        _only(options, alpha=1.0, beta=1.0, transA=0)
        weights = given[0] if options.get("transB") else given[0].T.contiguous()
        offsets = given[1].flatten() if len(given) > 1 else None
        return Dense(
            weights.shape[1], weights.shape[0], bias=len(given) > 1, weights=weights, offsets=offsets
        )
    if kind == "Conv" and given:
        _only(options, auto_pad=b"NOTSET")
        weights, groups = given[0], options.get("group", 1)
        if _same(options.get("dilations", [1]), "dilations") != 1:
            raise ValueError("only filters without dilation")
        return Conv2d(
            weights.shape[1] * groups,
            weights.shape[0],
            _same(weights.shape[2:], "filters"),
            stride=_same(options.get("strides", [1]), "strides"),
            padding=_same(options.get("pads", [0]), "pads"),
            groups=groups,
            bias=len(given) > 1,
            weights=weights,
            offsets=given[1] if len(given) > 1 else None,
        )
    if kind == "BatchNormalization" and len(given) == 4:
        scales, offsets, mean, variance = given
        eps = options.get("epsilon", 1e-5)
        return BatchNorm2d(
            len(scales), eps=eps, frozen=True, scales=scales, offsets=offsets, mean=mean, variance=variance
        )
    if kind in ("MaxPool", "AveragePool"):
        _only(options, auto_pad=b"NOTSET", ceil_mode=0)
        size = _same(options["kernel_shape"], "windows")
        if _same(options.get("strides", [1]), "strides") != size or _same(options.get("pads", [0]), "pads"):
            raise ValueError("only windows side by side, without padding")
        return MaxPool2d(size) if kind == "MaxPool" else AvgPool2d(size)
    if kind == "Flatten" and options.get("axis", 1) == 1:
        return Flatten()
    if kind == "Reshape" and given and len(given[0]) == 2:
        return Flatten()  # its first size is the batch's
    hint = ": leave it out, the loss has it" if kind == "Softmax" else f": known are {_KNOWN}"
    raise ValueError(f"no counterpart of {kind}{hint}")


def _only(options: dict[str, Any], **expected: Any) -> None:
    for name, value in expected.items():
        if options.get(name, value) != value:
            raise ValueError(f"{name} = {options[name]}: only {value}")


def _same(sides: Any, what: str) -> int:
    """The one value of all sides."""
    if len(set(sides)) != 1:
        raise ValueError(f"{what} {list(sides)}: only square ones")
    return int(sides[0])
