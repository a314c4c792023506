"""Modules of torch as nets: torch.fx tells the wiring, each node has its counterpart here."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

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

_KNOWN = (
    "Linear, Conv2d, BatchNorm2d, ReLU, Tanh, Sigmoid, Flatten, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), "
    "Identity, sums and torch.cat"
)
_FUNCTIONS: dict[Any, Callable[[], Layer]] = {
    torch.relu: Relu,
    functional.relu: Relu,
    "relu": Relu,
    torch.tanh: Tanh,
    functional.tanh: Tanh,
    "tanh": Tanh,
    torch.sigmoid: Sigmoid,
    functional.sigmoid: Sigmoid,
    "sigmoid": Sigmoid,
}
"""Functions, and methods by name, of one signal and no options."""
_SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")


def from_torch(module: nn.Module, loss: Loss | None = None) -> Net:
    """A net with the layers, wiring and present weights of a module; layers keep the names that torch gives.

    A number in a name becomes ``layer<number>``: ``layer0`` is the first layer of a Sequential.

    Raises:
        ConfigError: a layer or function without a counterpart, or control flow that depends on the signal.
    """
    if type(module).__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential):
        module = nn.Sequential(module)  # fx looks into what it is given, and only then takes layers whole
    try:
        traced = fx.Tracer().trace(module)
    except Exception as problem:  # noqa: BLE001 - the forward is the user's code, and may raise anything
        raise ConfigError(f"net: torch.fx cannot follow {type(module).__name__}.forward: {problem}") from None
    modules = dict(module.named_modules())
    names: dict[fx.Node, str] = {}
    changed: dict[str, str] = {}  # child, and the node that has written over its output
    children: dict[str, Layer | Net | Merge] = {}
    inputs: dict[str, tuple[str, ...]] = {}
    for node in traced.nodes:
        if node.op == "placeholder":
            if INPUT in names.values():
                raise ConfigError("net: forward takes several inputs: give a module of one")
            names[node] = INPUT
            continue
        sources = _sources(node)
        for source in sources:
            if names[source] in changed:
                raise ConfigError(
                    f"net: {node.name} takes {source.name}, which {changed[names[source]]} has changed in "
                    "place: leave out inplace there"
                )
        if sources and _in_place(node, modules):
            changed[names[sources[0]]] = node.name
        if node.op == "output":
            if len(sources) != 1 or names[sources[0]] != next(reversed(children), INPUT):
                raise ConfigError("net: forward must return one tensor, that of its last layer")
            continue
        if _is_size(node):
            continue  # what a view asks of its input
        name, child = _child(node, modules)
        if child is None:
            names[node] = names[sources[0]]
            continue
        if name in children:
            raise ConfigError(f"net: layer {name} is used twice: give each place a layer of its own")
        names[node] = name
        children[name] = child
        inputs[name] = tuple(names[source] for source in sources)
    if not children:
        raise ConfigError(f"net: {type(module).__name__} has no layers: give it some")
    return wired(children, inputs, loss)


def _sources(node: fx.Node) -> list[fx.Node]:
    """The signals that a node takes, in order; one that it takes twice stands twice."""
    found: list[fx.Node] = []

    def gather(given: Any) -> None:
        if isinstance(given, fx.Node) and not _is_size(given):
            found.append(given)
        elif isinstance(given, list | tuple):
            for part in given:
                gather(part)

    gather(node.args)
    gather(list(node.kwargs.values()))
    return found


def _in_place(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether it writes over what it takes, which others that take it afterwards would see."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    given = (*node.args, *node.kwargs.values())
    return node.target in (operator.iadd, "add_") or any(one is True for one in given)


def _is_size(node: fx.Node) -> bool:
    """x.size(0), x.shape, x.shape[0]."""
    if node.op == "call_method":
        return node.target == "size"
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] == "shape"
    return (
        node.op == "call_function"
        and node.target is operator.getitem
        and isinstance(node.args[0], fx.Node)
        and _is_size(node.args[0])
    )


def _child(node: fx.Node, modules: dict[str, nn.Module]) -> tuple[str, Layer | Merge | None]:
    """Name and counterpart of a node; None for one that changes nothing."""
    if node.op == "call_module":
        path = str(node.target)
        name = ".".join(f"layer{part}" if part.isdigit() else part for part in path.split("."))
        return name, _layer_of(name, modules[path])
    target: Any = node.target
    rest = [given for given in (*node.args[1:], *node.kwargs.values()) if not isinstance(given, fx.Node)]
    if target in _FUNCTIONS and rest in ([], [False], [True]):  # inplace
        return node.name, _FUNCTIONS[target]()
    if target in _SUMS and len(_sources(node)) == 2 and not rest:
        return node.name, Add()
    if target in (torch.cat, torch.concat) and len(_sources(node)) == 2 and rest[-1:] == [1]:
        return node.name, Concat()
    if target in (torch.flatten, "flatten") and rest in ([1], [1, -1]):
        return node.name, Flatten()
    if target in ("view", "reshape", torch.reshape) and rest[-1:] == [-1]:
        return node.name, Flatten()  # whatever was kept before it is the batch
    if target is functional.adaptive_avg_pool2d and _one(rest):
        return node.name, GlobalAvgPool2d()
    if target in (functional.max_pool2d, functional.avg_pool2d) and len(rest) == 1 and _square(rest[0]):
        size = int(_square(rest[0]) or 0)
        return node.name, (MaxPool2d if target is functional.max_pool2d else AvgPool2d)(size)
    raise ConfigError(f"net: {node.name}: no counterpart of {node.format_node()}: known are {_KNOWN}")


def _layer_of(name: str, module: nn.Module) -> Layer | None:
    match module:
        case nn.Linear() | nn.Conv2d():
            return _weights_of(name, module)
        case nn.BatchNorm2d(track_running_stats=True):
            return _norm_of(name, module)
        case nn.ReLU():
            return Relu()
        case nn.Tanh():
            return Tanh()
        case nn.Sigmoid():
            return Sigmoid()
        case nn.Identity() | nn.Dropout(p=0):
            return None
        case nn.Flatten(start_dim=1, end_dim=-1):
            return Flatten()
        case nn.AdaptiveAvgPool2d(output_size=size) if _one([size]):
            return GlobalAvgPool2d()
        case nn.MaxPool2d(padding=0, dilation=1, ceil_mode=False):
            return MaxPool2d(_pooling(name, module))
        case nn.AvgPool2d(padding=0, ceil_mode=False, divisor_override=None):
            return AvgPool2d(_pooling(name, module))
    raise ConfigError(f"net: layer {name}: no counterpart of {module}: known are {_KNOWN}")


def _norm_of(name: str, module: nn.BatchNorm2d) -> BatchNorm2d:
    mean, variance, momentum = module.running_mean, module.running_var, module.momentum
    if not module.affine:
        raise ConfigError(f"net: layer {name}: ours has a scale and a bias that learn: give it affine=True")
    if momentum is None and module.training:
        raise ConfigError(f"net: layer {name}: no running mean of all batches here: give it a momentum")
    assert mean is not None, "it tracks its statistics"
    assert variance is not None, "it tracks its statistics"
    return BatchNorm2d(
        module.num_features,
        eps=module.eps,
        momentum=0.0 if momentum is None else momentum,
        frozen=not module.training,
        scales=module.weight.detach().clone(),
        offsets=module.bias.detach().clone(),
        mean=mean.detach().clone(),
        variance=variance.detach().clone(),
    )


def _weights_of(name: str, module: nn.Linear | nn.Conv2d) -> Layer:
    weights = module.weight.detach().clone()
    offsets = None if module.bias is None else module.bias.detach().clone()
    has_bias = offsets is not None
    if isinstance(module, torch.nn.Linear):
        return Dense(module.in_features, module.out_features, bias=has_bias, weights=weights, offsets=offsets)
    square = [_square(module.kernel_size), _square(module.stride), _square(module.padding)]
    if None in square or _square(module.dilation) != 1 or module.padding_mode != "zeros":
        raise ConfigError(f"net: layer {name}: only square filters without dilation: change {module}")
    kernel, stride, padding = (int(side) for side in square if side is not None)
    return Conv2d(
        module.in_channels,
        module.out_channels,
        kernel,
        stride=stride,
        padding=padding,
        groups=module.groups,
        bias=has_bias,
        weights=weights,
        offsets=offsets,
    )


def _pooling(name: str, module: nn.MaxPool2d | nn.AvgPool2d) -> int:
    size, stride = _square(module.kernel_size), _square(module.stride)
    if size is None or size != stride:
        raise ConfigError(f"net: layer {name}: only square windows side by side: change {module}")
    return size


def _square(size: object) -> int | None:
    """The one side of a square size, given as torch gives it; None for anything else."""
    sides = set(size) if isinstance(size, tuple | list) else {size}
    side = sides.pop()
    return side if isinstance(side, int) and not sides else None


def _one(sizes: list[Any]) -> bool:
    return len(sizes) == 1 and _square(sizes[0]) == 1
