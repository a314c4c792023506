"""ONNX files as nets: each node has its counterpart here, each weight is the first one of its layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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
from hwtrain.net import INPUT, Add, Concat, Merge, Net, wired

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
_NUMBERS = {"value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}
"""Attributes of a Constant that are no tensors."""


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
    constants = {one.name: _tensor(numpy_helper.to_array(one), file) for one in graph.initializer}
    signals = [one.name for one in graph.input if one.name not in constants]
    if len(signals) != 1 or len(graph.output) != 1:
        raise ConfigError(
            f"net = '{file}': {len(signals)} inputs and {len(graph.output)} outputs: give one of each"
        )
    alike: dict[str, str] = {}  # what a node that changes nothing makes, and what it takes
    nodes = []
    for node in graph.node:
        node.input[:] = [alike.get(name, name) for name in node.input]
        if node.op_type in _NOTHING:
            alike[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    output = alike.get(graph.output[0].name, graph.output[0].name)
    reads = Counter([output, *(name for node in nodes if node.op_type != "Shape" for name in node.input)])
    names = {signals[0]: INPUT}
    sizes: set[str] = set()  # what the file computes of shapes, to flatten by
    children: dict[str, Layer | Net | Merge] = {}
    inputs: dict[str, tuple[str, ...]] = {}
    for place, node in enumerate(nodes):
        name = (node.name or f"{node.op_type}{place}").strip("/").replace("/", ".")
        while name in (INPUT, *children):
            name += f"_{place}"
        options = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Constant":
            if "value" in options:
                constants[node.output[0]] = _tensor(numpy_helper.to_array(options["value"]), file)
                continue
            numbers = [(_NUMBERS[kind], value) for kind, value in options.items() if kind in _NUMBERS]
            if numbers:
                constants[node.output[0]] = torch.from_numpy(np.array(numbers[0][1], numbers[0][0]))
                continue
        taken = [names[one] for one in node.input if one in names]
        if node.op_type == "Shape" or (not taken and sizes & set(node.input)):
            sizes |= set(node.output)
            continue
        try:
            unknown = [one for one in node.input if one and one not in {*names, *constants, *sizes}]
            if unknown:
                raise ValueError(f"takes {unknown[0]}, which is made nowhere that is known here")
            given = [constants[one] for one in node.input if one in constants]
            before = children.get(taken[0]) if taken else None
            if node.op_type == "Add" and len(given) == len(taken) == 1 and isinstance(before, Dense):
                product = next(one for one in node.input if one in names)
                if not before.bias and reads[product] == 1:
                    offsets = _offsets(given[0], before.out)
                    whole = Dense(before.in_, before.out, weights=before.weights, offsets=offsets)
                    children[taken[0]] = whole
                    names[node.output[0]] = taken[0]
                    continue
            if len(taken) == 1 and node.input[0] not in names:
                raise ValueError(f"{node.op_type} takes its signal elsewhere than first")
            flattens = node.op_type == "Reshape" and sizes & set(node.input)
            child = Flatten() if flattens else _child(node.op_type, options, given, len(taken))
        except ValueError as problem:
            raise ConfigError(f"net = '{file}': node {name}: {problem}") from None
        children[name], inputs[name] = child, tuple(taken)
        names[node.output[0]] = name
    if names.get(output) != next(reversed(children), INPUT) or not children:
        raise ConfigError(f"net = '{file}': its output is not that of its last node: export it again")
    return wired(children, inputs, loss)


def _tensor(values: np.ndarray, file: Path) -> Tensor:
    try:
        return torch.from_numpy(values.copy())
    except TypeError:
        raise ConfigError(f"net = '{file}': constants of type {values.dtype}: export it in float32") from None


def _offsets(values: Tensor, out: int) -> Tensor:
    """A bias of ``out`` values, given as what a batch of rows is added to."""
    if values.numel() != out or values.shape[-1:] != (out,):
        raise ValueError(f"a bias of shape {tuple(values.shape)} for {out} outputs")
    return values.flatten()


def _child(kind: str, options: dict[str, Any], given: list[Tensor], signals: int) -> Layer | Merge:
    """The counterpart of a node; ValueError says what has none."""
    if kind in ("Add", "Concat") and signals == 2 and not given:
        if kind == "Concat" and options.get("axis") != 1:
            raise ValueError(f"joins axis {options.get('axis')}: only channels, axis 1")
        return Add() if kind == "Add" else Concat()
    if signals != 1 or kind in ("Add", "Concat"):
        raise ValueError(f"{kind} of {signals} signals and {len(given)} constants: known are {_KNOWN}")
    if kind in _PLAIN:
        return _PLAIN[kind]()
    if kind in ("Gemm", "MatMul") and given:
        if given[0].ndim != 2:
            raise ValueError(f"{kind} by constants of shape {tuple(given[0].shape)}: only matrices")
        _only(options, alpha=1.0, beta=1.0, transA=0)
        weights = given[0] if options.get("transB") else given[0].T.contiguous()
        offsets = _offsets(given[1], len(weights)) if len(given) > 1 else None
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
        _only(options, training_mode=0)
        eps = options.get("epsilon", 1e-5)
        return BatchNorm2d(
            len(scales), eps=eps, frozen=True, scales=scales, offsets=offsets, mean=mean, variance=variance
        )
    if kind in ("MaxPool", "AveragePool"):
        _only(options, auto_pad=b"NOTSET", ceil_mode=0, dilations=[1, 1])
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
