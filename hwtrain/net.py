"""Nets: trees of layers. A block is a net, and a net of layers one after another is most nets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hwtrain.arith.fixed import encode
from hwtrain.arith.threefry import Purpose
from hwtrain.direction import Direction, Transform
from hwtrain.errors import ConfigError, nearest
from hwtrain.kernels import vector
from hwtrain.kernels.fixed import DTYPES
from hwtrain.layers.avg_pool2d import AvgPool2d
from hwtrain.layers.base import Layer, Shape, State
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.layers.relu import Relu
from hwtrain.layers.sigmoid import Sigmoid
from hwtrain.layers.tanh import Tanh
from hwtrain.losses.base import Loss
from hwtrain.losses.softmax2 import Softmax2
from hwtrain.losses.softmax_ce import SoftmaxCe
from hwtrain.substrates.base import Array, Geometry, Substrate, Trial

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS: dict[str, type[Layer]] = {"relu": Relu, "tanh": Tanh, "sigmoid": Sigmoid}


class Net:
    """Layers and blocks by name, one after another; the outermost net also has the loss.

    Its signals: ``fw(x) -> y, states, tapes`` and ``backward(d, tapes, first)``; both walk the tree.
    """

    def __init__(self, children: Mapping[str, Layer | Net], loss: Loss | None = None) -> None:
        self.children = dict(children)
        self.loss: Loss = loss or SoftmaxCe()
        self._default_loss = loss is None

    def layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Every layer with its path, in the order of the signal."""
        for name, child in self.children.items():
            if isinstance(child, Net):
                yield from child.layers(f"{prefix}{name}.")
            else:
                yield prefix + name, child

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Every array with its path, such as ``fc1.weight``; what it brings along stands after it."""
        for path, layer in self.layers():
            for name, array in layer.arrays.items():
                yield f"{path}.{name}", array
                for part, other in array.parts().items():
                    yield f"{path}.{name}.{part}", other

    def trained(self) -> list[str]:
        """Paths of the layers that have weights."""
        return [path for path, layer in self.layers() if layer.arrays]

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of one sample's output; ConfigError names the layer that does not fit."""
        for name, child in self.children.items():
            try:
                shape = child.out_shape(shape)
            except ValueError as problem:
                raise ConfigError(f"net: layer {name}: {problem}: change the layer or its input") from None
        return shape

    def copy(self) -> Net:
        """A net of the same layers, to be placed by itself."""
        return copy.deepcopy(self)

    def place(
        self,
        trial: Trial,
        substrate: Callable[[str], Substrate],
        digital: Substrate,
        transforms: Callable[[], list[Transform]] = list,
    ) -> None:
        """Allot every array and load its first weights.

        ``substrate`` gives the substrate of a layer's weights by its path, ``digital`` that of the
        biases, ``transforms`` a fresh list of transforms for each array.
        """
        number = 0
        for path, layer in self.layers():

            def make(name: str, groups: int, out: int, in_: int, std: float, path: str = path) -> Array:
                nonlocal number
                number += 1
                home = substrate(path)
                if name == "bias":
                    home = home.digital or digital
                geometry = Geometry(f"{path}.{name}", number, groups, out, in_, std)
                array = home.array(geometry, trial)
                array.transforms = transforms()
                return array

            layer.place(make)
            layer.initialise(trial.streams.stream(Purpose.INIT, number))
        self._settle_numbers()

    def _settle_numbers(self) -> None:
        """One number format for all signals, which every layer and the loss can work on."""
        formats = {array.numbers: path for path, array in self.arrays()}
        if len(formats) > 1:
            first, second, *_ = formats.values()
            raise ConfigError(
                f"device: {first} and {second} have different number formats: give them the same card"
            )
        numbers = next(iter(formats), None)
        if self._default_loss:
            self.loss = SoftmaxCe() if numbers is None else Softmax2()
        self.loss.numbers = numbers
        if numbers is None:
            return
        for path, layer in self.layers():
            refusal = layer.refuses_codes()
            if refusal is not None:
                raise ConfigError(f"net: layer {path}: {refusal}")
        if not self.loss.whole_numbers:
            raise ConfigError(
                f"loss: {type(self.loss).__name__} needs floating-point numbers: "
                "use softmax2 or squared-error"
            )

    def encode(self, x: Tensor) -> Tensor:
        """Samples as the net's signals: codes, where it has a format for them."""
        numbers = self.loss.numbers
        if numbers is None:
            return x
        codes = encode(x.cpu().numpy(), numbers.signal_frac, numbers.signal_bits)
        return torch.from_numpy(codes).to(x.device, DTYPES[numbers.signal_bits])

    def fw(self, x: Tensor, state: State = None) -> tuple[Tensor, dict[str, State], dict[str, Any]]:
        """Output, and by child its state and tape."""
        states: dict[str, State] = {}
        tapes: dict[str, Any] = {}
        for name, child in self.children.items():
            x, states[name], tapes[name] = child.fw(x, state[name] if state else None)
        return x, states, tapes

    def backward(
        self, d: Tensor, tapes: dict[str, Any], first: str, prefix: str = ""
    ) -> tuple[Tensor | None, dict[str, Direction]]:
        """Gradients by array path, from the output back to the layer ``first`` and no further.

        Also returns the gradient by the input, or None where the walk ended at ``first``.
        """
        found: dict[str, Direction] = {}
        for name in reversed(self.children):
            child, path = self.children[name], prefix + name
            if isinstance(child, Net):
                inner, directions = child.backward(d, tapes[name], first, f"{path}.")
                found |= directions
            else:
                gradients = child.wgrad(d, tapes[name])
                found |= {f"{path}.{array}": gradient for array, gradient in gradients.items()}
                inner = None if path == first else child.igrad(d, tapes[name])
            if inner is None:
                return None, found
            d = inner
        return d, found

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, as ``path/name`` to tensor."""
        found: dict[str, Tensor] = {}
        for path, array in self.arrays():
            found |= {f"{path}/{name}": value for name, value in array.state().items()}
            for place, transform in enumerate(array.transforms):
                kept = transform.state()
                found |= {f"{path}/transform{place}.{name}": v for name, v in kept.items()}
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Undo of ``state``."""
        for path, array in self.arrays():
            own = {key.partition("/")[2]: v for key, v in state.items() if key.startswith(f"{path}/")}
            array.restore({name: v for name, v in own.items() if "transform" not in name})
            for place, transform in enumerate(array.transforms):
                start = f"transform{place}."
                transform.restore(
                    {name.removeprefix(start): v for name, v in own.items() if name.startswith(start)}
                )


class Residual(Net):
    """A block with a skip: y = x + body(x)."""

    def out_shape(self, shape: Shape) -> Shape:
        """The input's; the body must keep it."""
        found = super().out_shape(shape)
        if found != shape:
            raise ConfigError(f"net: a residual block makes {found} of {shape}: it must keep the shape")
        return shape

    def fw(self, x: Tensor, state: State = None) -> tuple[Tensor, dict[str, State], dict[str, Any]]:
        """x + body(x)."""
        y, states, tapes = super().fw(x, state)
        return vector.add(x, y), states, tapes

    def backward(
        self, d: Tensor, tapes: dict[str, Any], first: str, prefix: str = ""
    ) -> tuple[Tensor | None, dict[str, Direction]]:
        """d goes around the body as well as through it."""
        inner, found = super().backward(d, tapes, first, prefix)
        return (None if inner is None else vector.add(d, inner)), found


def mlp(spec: str, activation: str = "relu", loss: Loss | None = None) -> Net:
    """Dense layers with an activation between them, from widths such as ``784-128-10``."""
    widths = spec.split("-")
    if len(widths) < 2 or not all(w.isascii() and w.isdigit() and int(w) > 0 for w in widths):
        raise ConfigError(
            f"net = {spec!r}: widths are positive whole numbers joined by '-', such as 64-32-10"
        )
    if max(map(int, widths)) > 1 << 20:
        raise ConfigError(f"net = {spec!r}: a layer is wider than {1 << 20}: make it narrower")
    if activation not in ACTIVATIONS:
        raise ConfigError(f"activation = {activation!r}: {nearest(activation, ACTIVATIONS)}")
    children: dict[str, Layer | Net] = {}
    for place, (in_, out) in enumerate(pairwise(widths), start=1):
        if place > 1:
            children[f"{activation}{place - 1}"] = ACTIVATIONS[activation]()
        children[f"fc{place}"] = Dense(int(in_), int(out))
    return Net(children, loss)


def from_torch(module: nn.Module, loss: Loss | None = None) -> Net:
    """A net with the layers and present weights of a ``torch.nn.Sequential``."""
    children: dict[str, Layer | Net] = {}
    for name, child in module.named_children():
        key = f"layer{name}" if name.isdigit() else name
        if isinstance(child, torch.nn.Sequential):
            children[key] = from_torch(child)
        else:
            children[key] = _layer_of(name, child)
    if not isinstance(module, torch.nn.Sequential) or not children:
        raise ConfigError(
            f"net: cannot read a {type(module).__name__}: give a torch.nn.Sequential or a hwtrain.Net"
        )
    return Net(children, loss)


def _layer_of(name: str, module: nn.Module) -> Layer:
    nn = torch.nn
    match module:
        case nn.Linear() | nn.Conv2d():
            return _weights_of(name, module)
        case nn.ReLU():
            return Relu()
        case nn.Tanh():
            return Tanh()
        case nn.Sigmoid():
            return Sigmoid()
        case nn.Flatten(start_dim=1, end_dim=-1):
            return Flatten()
        case nn.MaxPool2d(padding=0, dilation=1, ceil_mode=False):
            return MaxPool2d(_pooling(name, module))
        case nn.AvgPool2d(padding=0, ceil_mode=False, divisor_override=None):
            return AvgPool2d(_pooling(name, module))
    raise ConfigError(
        f"net: layer {name}: no counterpart of {module}: known are Linear, Conv2d, ReLU, Tanh, "
        "Sigmoid, Flatten, MaxPool2d and AvgPool2d"
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
    sides = set(size) if isinstance(size, tuple) else {size}
    side = sides.pop()
    return side if isinstance(side, int) and not sides else None
