"""Nets: trees of layers. A block is a net, and a net of layers one after another is most nets."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from hwtrain.arith.fixed import encode
from hwtrain.arith.threefry import Purpose
from hwtrain.direction import Direction, Transform
from hwtrain.errors import ConfigError
from hwtrain.kernels import layout, vector
from hwtrain.kernels.fixed import DTYPES
from hwtrain.layers.base import Layer, Shape, State
from hwtrain.losses.base import Loss
from hwtrain.losses.softmax2 import Softmax2
from hwtrain.losses.softmax_ce import SoftmaxCe
from hwtrain.substrates.base import Array, Geometry, Substrate, Trial


class Net:
    """Layers and blocks by name, one after another; the outermost net also has the loss.

    Its signals: ``fw(x) -> y, states, tapes`` and ``backward(d, tapes, first)``; both walk the tree.
    """

    def __init__(self, children: Mapping[str, Layer | Net], loss: Loss | None = None) -> None:
        self.children = dict(children)
        self.with_loss(loss)
        self._rules: dict[str, Array] = {}
        self._home: tuple[Trial, Substrate, Callable[[], list[Transform]], int] | None = None

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
        yield from self._rules.items()

    def array(self, name: str, out: int, in_: int, std: float = 1.0) -> Array:
        """An array that a rule asks for beside the layers' own (heads, feedback): digital, counted, saved.

        The net must have been placed; its path is ``rule.<name>``.
        """
        assert self._home is not None, "a rule asks for arrays when it is bound to a placed net"
        trial, digital, transforms, first = self._home
        path = f"rule.{name}"
        array = digital.array(Geometry(path, first + len(self._rules) + 1, 1, out, in_, std), trial)
        array.transforms = transforms()
        self._rules[path] = array
        return array

    def trained(self) -> list[str]:
        """Paths of the layers that have weights, or other arrays that learn: all but physics."""
        return [path for path, layer in self.layers() if layer.arrays and "medium" not in layer.arrays]

    @property
    def is_chain(self) -> bool:
        """Whether its layers follow one another, blocks and all."""
        return all(child.is_chain for child in self.children.values() if isinstance(child, Net))

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of one sample's output; ConfigError names the layer that does not fit."""
        for name, child in self.children.items():
            try:
                shape = child.out_shape(shape)
            except ValueError as problem:
                raise ConfigError(f"net: layer {name}: {problem}: change the layer or its input") from None
        return shape

    def with_loss(self, loss: Loss | None) -> Net:
        """The net itself, with this loss; None leaves the choice to the signals' format."""
        self.loss: Loss = loss or SoftmaxCe()
        self._default_loss = loss is None
        return self

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
                if name not in ("weight", "medium"):
                    home = home.digital or digital
                geometry = Geometry(f"{path}.{name}", number, groups, out, in_, std)
                array = home.array(geometry, trial)
                array.transforms = [] if name == "medium" else transforms()
                return array

            layer.place(make)
            layer.initialise(trial.streams.stream(Purpose.INIT, number))
        self._home = trial, digital, transforms, number
        self._settle_numbers()

    def _settle_numbers(self) -> None:
        """One number format for all signals, which every layer and the loss can work on."""
        formats = {(array.numbers, array.scaling is not None): path for path, array in self.arrays()}
        if len(formats) > 1:
            first, second, *_ = formats.values()
            raise ConfigError(
                f"device: {first} and {second} have different number formats: give them the same card"
            )
        numbers, _ = next(iter(formats), (None, False))
        if self._default_loss:
            self.loss = SoftmaxCe() if numbers is None else Softmax2()
        self.loss.scaling = next((array.scaling for _, array in self.arrays()), None)
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
            return x if self.loss.scaling is None else x.half()
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
            inner, directions = self._back(name, d, tapes, first, prefix)
            found |= directions
            if inner is None:
                return None, found
            d = inner
        return d, found

    def _back(
        self, name: str, d: Tensor, tapes: dict[str, Any], first: str, prefix: str
    ) -> tuple[Tensor | None, dict[str, Direction]]:
        """Through one child."""
        child, path = self.children[name], prefix + name
        if isinstance(child, Net):
            return child.backward(d, tapes[name], first, f"{path}.")
        gradients = child.wgrad(d, tapes[name])
        directions = {f"{path}.{array}": gradient for array, gradient in gradients.items()}
        return None if path == first else child.igrad(d, tapes[name]), directions

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, as ``path/name`` to tensor."""
        found: dict[str, Tensor] = {}
        for path, array in self.arrays():
            found |= {f"{path}/{name}": value for name, value in array.state().items()}
            for place, transform in enumerate(array.transforms):
                kept = transform.state()
                found |= {f"{path}/transform{place}.{name}": v for name, v in kept.items()}
        for path, layer in self.layers():
            found |= {f"{path}/{name}": value.clone() for name, value in layer.running.items()}
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Undo of ``state``."""
        for path, layer in self.layers():
            for name, value in layer.running.items():
                value.copy_(state[f"{path}/{name}"])
        for path, array in self.arrays():
            own = {key.partition("/")[2]: v for key, v in state.items() if key.startswith(f"{path}/")}
            array.restore({name: v for name, v in own.items() if "transform" not in name})
            for place, transform in enumerate(array.transforms):
                start = f"transform{place}."
                transform.restore(
                    {name.removeprefix(start): v for name, v in own.items() if name.startswith(start)}
                )


class Merge(ABC):
    """Where two signals of a graph meet."""

    @abstractmethod
    def out_shape(self, one: Shape, other: Shape) -> Shape:
        """Shape of one sample's output; ValueError says why the inputs do not fit."""

    @abstractmethod
    def fw(self, one: Tensor, other: Tensor) -> Tensor:
        """What they make."""

    @abstractmethod
    def igrad(self, d: Tensor, one: Shape, other: Shape) -> tuple[Tensor, Tensor]:
        """Gradients by both, of these shapes."""


class Add(Merge):
    """one + other."""

    def out_shape(self, one: Shape, other: Shape) -> Shape:
        """That of both."""
        if one != other:
            raise ValueError(f"a sum of {one} and {other}")
        return one

    def fw(self, one: Tensor, other: Tensor) -> Tensor:
        """The sum."""
        return vector.add(one, other)

    def igrad(self, d: Tensor, one: Shape, other: Shape) -> tuple[Tensor, Tensor]:
        """d by both."""
        return d, d


class Concat(Merge):
    """The channels (of vectors, the values) of one, then those of the other."""

    def out_shape(self, one: Shape, other: Shape) -> Shape:
        """Their channels together."""
        if one[1:] != other[1:]:
            raise ValueError(f"channels of {one} beside those of {other}")
        return (one[0] + other[0], *one[1:])

    def fw(self, one: Tensor, other: Tensor) -> Tensor:
        """Side by side."""
        joined = layout.join(_flat(one), _flat(other))
        return joined.view(one.shape[0], -1, *one.shape[2:])

    def igrad(self, d: Tensor, one: Shape, other: Shape) -> tuple[Tensor, Tensor]:
        """The part of each."""
        rows, here = _flat(d), one[1]
        parts = layout.part(rows, 0, here), layout.part(rows, here, here + other[1])
        return parts[0].view(one), parts[1].view(other)


def _flat(x: Tensor) -> Tensor:
    """(batch, channels, positions), of vectors too."""
    return x.view(x.shape[0], x.shape[1], -1)


INPUT = "input"
"""How the children of a graph call the graph's own input."""


class Graph(Net):
    """Children that take what they name: ``inputs`` says from which earlier child, or ``INPUT``.

    A child that it does not name takes the one before it, so that a chain needs no inputs. A ``Merge``
    takes two. The last child makes the output.
    """

    def __init__(
        self,
        children: Mapping[str, Layer | Net | Merge],
        inputs: Mapping[str, tuple[str, ...]],
        loss: Loss | None = None,
    ) -> None:
        super().__init__({}, loss)
        if INPUT in children:
            raise ConfigError(f"net: a child of a graph is called {INPUT!r}, as its input is: rename it")
        self.nodes = dict(children)
        self.children = {name: node for name, node in children.items() if not isinstance(node, Merge)}
        before = (INPUT, *self.nodes)
        self.inputs = {
            name: inputs.get(name, (last,)) for name, last in zip(self.nodes, before, strict=False)
        }
        for place, (name, sources) in enumerate(self.inputs.items()):
            if len(sources) != (2 if isinstance(self.nodes[name], Merge) else 1):
                raise ConfigError(
                    f"net: {name} takes {len(sources)} signals: one for a layer, two for a merge"
                )
            for source in sources:
                if source not in before[: place + 1]:
                    raise ConfigError(f"net: {name} takes {source!r}, which is no child before it")

    @property
    def is_chain(self) -> bool:
        """Paths part and meet."""
        return False

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of one sample's output; ConfigError names the child that does not fit."""
        shapes = {INPUT: shape}
        for name, node in self.nodes.items():
            try:
                shapes[name] = node.out_shape(*(shapes[source] for source in self.inputs[name]))
            except ValueError as problem:
                raise ConfigError(f"net: layer {name}: {problem}: change the layer or its input") from None
        return shapes[next(reversed(self.nodes), INPUT)]

    def fw(self, x: Tensor, state: State = None) -> tuple[Tensor, dict[str, State], dict[str, Any]]:
        """Output, and by child its state and tape; of a merge the shapes that met."""
        signals = {INPUT: x}
        states: dict[str, State] = {}
        tapes: dict[str, Any] = {}
        for name, node in self.nodes.items():
            given = [signals[source] for source in self.inputs[name]]
            if isinstance(node, Merge):
                signals[name] = node.fw(*given)
                tapes[name] = [tuple(one.shape) for one in given]
            else:
                earlier = state[name] if state else None
                signals[name], states[name], tapes[name] = node.fw(given[0], earlier)
        return signals[next(reversed(self.nodes), INPUT)], states, tapes

    def backward(
        self, d: Tensor, tapes: dict[str, Any], first: str, prefix: str = ""
    ) -> tuple[Tensor | None, dict[str, Direction]]:
        """As Net's; the gradients of a signal that several children take add up."""
        found: dict[str, Direction] = {}
        gradients = {next(reversed(self.nodes), INPUT): d}

        def take(source: str, part: Tensor) -> None:
            gradients[source] = vector.add(gradients[source], part) if source in gradients else part

        for name in reversed(self.nodes):
            if name not in gradients:
                continue  # nothing that follows takes it
            node, d = self.nodes[name], gradients[name]
            if isinstance(node, Merge):
                for source, part in zip(self.inputs[name], node.igrad(d, *tapes[name]), strict=True):
                    take(source, part)
                continue
            inner, directions = self._back(name, d, tapes, first, prefix)
            found |= directions
            if inner is None:
                return None, found
            take(self.inputs[name][0], inner)
        return gradients.get(INPUT), found


def wired(
    children: Mapping[str, Layer | Net | Merge], inputs: Mapping[str, tuple[str, ...]], loss: Loss | None
) -> Net:
    """A plain net where each child takes the one before it, which more rules can train; else a graph."""
    if all(taken == (before,) for before, taken in zip((INPUT, *inputs), inputs.values(), strict=False)):
        return Net({name: child for name, child in children.items() if not isinstance(child, Merge)}, loss)
    return Graph(children, inputs, loss)


class Residual(Graph):
    """A block with a skip: y = body(x) + x, or + shortcut(x) where the body changes the shape."""

    def __init__(self, body: Mapping[str, Layer | Net], shortcut: Layer | Net | None = None) -> None:
        last = next(reversed([*body]), INPUT)
        around = {} if shortcut is None else {"shortcut": shortcut}
        inputs = {"shortcut": (INPUT,), "sum": ("shortcut" if around else INPUT, last)}
        super().__init__({**body, **around, "sum": Add()}, inputs)
