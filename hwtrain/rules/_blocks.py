"""What rules without backpropagation share: blocks that learn by themselves, labels as inputs, draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.arith.threefry import Purpose, Stream
from hwtrain.direction import Direction
from hwtrain.errors import IncompatibleRule
from hwtrain.layers.base import Layer
from hwtrain.layers.dense import Dense
from hwtrain.net import Net
from hwtrain.substrates.base import Array


@dataclass(frozen=True)
class Block:
    """A layer with weights, what lies before it (physics, reshapes) and behind it (activations).

    Only the way back from its output to its own weights is ever needed: no gradient leaves a block, and none
    passes physics.
    """

    path: str
    front: tuple[Layer, ...]
    trained: Dense
    behind: tuple[Layer, ...]

    @property
    def width(self) -> int:
        """Values that it puts out."""
        return self.trained.out

    def prepare(self, x: Float[Tensor, "batch *features"]) -> Float[Tensor, "batch in_"]:
        """What the weights see: measured once, however often they are trained on it."""
        for layer in self.front:
            x = layer.fw(x)[0]
        return x

    def fw(self, a: Float[Tensor, "batch in_"]) -> tuple[Float[Tensor, "batch out"], list[Any]]:
        """Output and tapes, from what ``prepare`` gave."""
        tapes = []
        for layer in (self.trained, *self.behind):
            a, _, tape = layer.fw(a)
            tapes.append(tape)
        return a, tapes

    def learn(self, d: Float[Tensor, "batch out"], tapes: list[Any], scale: float) -> None:
        """Write ``scale`` times the gradient, d being that by the block's output."""
        for layer, tape in zip(reversed(self.behind), reversed(tapes[1:]), strict=True):
            d = layer.igrad(d, tape)
        write(self.trained, self.trained.wgrad(d, tapes[0]), scale)


def write(layer: Layer, directions: Mapping[str, Direction], scale: float) -> None:
    """Write directions to a layer's arrays."""
    for name, direction in directions.items():
        layer.arrays[name].write(direction.scaled(scale))


def flat(net: Net, rule: str) -> list[tuple[str, Layer]]:
    """The layers of a net that has nothing but layers one after another."""
    for path, child in net.children.items():
        if isinstance(child, Net):
            raise IncompatibleRule(
                f"layer {path}: {rule} takes layers one after another, not a block: choose backprop"
            )
    if not net.is_chain:
        raise IncompatibleRule(f"net: {rule} takes layers one after another, not a graph: choose backprop")
    return list(net.layers())


def blocks(net: Net, rule: str) -> list[Block]:
    """The blocks of a net, one a layer with weights."""
    found: list[Block] = []
    front: list[Layer] = []
    for path, layer in flat(net, rule):
        if "medium" in layer.arrays or (not layer.arrays and not found):
            front.append(layer)
        elif isinstance(layer, Dense):
            found.append(Block(path, tuple(front), layer, ()))
            front = []
        elif layer.arrays:
            raise IncompatibleRule(
                f"layer {path}: {rule} trains dense layers alone: choose backprop, or another net"
            )
        elif front:
            front.append(layer)
        else:
            last = found[-1]
            found[-1] = Block(last.path, last.front, last.trained, (*last.behind, layer))
    if front:
        raise IncompatibleRule(f"net: {rule} needs a layer with weights behind the last physics: add one")
    return found


def local_needs(net: Net, trained: list[Block]) -> dict[str, frozenset[str]]:
    """read and write of the blocks' weights and biases, read of the physics before them."""
    ports: dict[str, frozenset[str]] = {}
    last = trained[-1].trained
    for path, layer in net.layers():
        mine = any(layer is block.trained for block in trained)
        if layer.arrays and (mine or "medium" in layer.arrays):
            name = "weight" if mine else "medium"
            ports[f"{path}.{name}"] = frozenset({"read", "write"} if mine else {"read"})
        if layer is last:
            break
    return ports


def draws(net: Net, number: int) -> Stream:
    """The rule's own random numbers; ``number`` tells its uses apart."""
    return first_array(net).trial.streams.stream(Purpose.RULE, number)


def step_of(net: Net) -> int:
    """The number of the training step."""
    return first_array(net).trial.ledger.clock.step


def first_array(net: Net) -> Array:
    """Any array, for what all of a trial share."""
    return next(net.arrays())[1]


def normal(stream: Stream, step: int, like: Tensor, sample: int = 0) -> Tensor:
    """Standard normal numbers of a tensor's shape."""
    found = stream.at(step, sample).normal(like.numel())
    return torch.from_numpy(found).view(like.shape).to(like)


def labelled(
    x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], classes: int
) -> Float[Tensor, "batch *features"]:
    """The samples with a label written over their first values: 0, and where the label says half the sample's
    own length, so that it is a fifth of the sample's power and does not drown in a speckle."""
    found = x.flatten(1).clone()
    found[:, :classes] = 0
    strength = 0.5 * found.norm(dim=1)
    found[torch.arange(len(x)), labels] = strength
    return found.view_as(x)


def wrong(labels: Int[Tensor, "batch"], classes: int, stream: Stream, step: int) -> Int[Tensor, "batch"]:
    """Another label for each sample, each of them equally often."""
    uniform = torch.from_numpy(stream.at(step).uniform(len(labels)))
    return (labels + 1 + (uniform * (classes - 1)).long().clamp(max=classes - 2)) % classes
