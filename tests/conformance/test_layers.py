"""The contract of every layer, on the ideal substrate in float64; sizes are found by argument name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import card
from hwtrain.layers.base import Layer
from hwtrain.registry import lookup
from hwtrain.substrates.base import Array, Geometry, Options, Trial, substrate_of

SIZES = {"in_": 6, "out": 4, "in_channels": 2, "out_channels": 4, "kernel": 3, "size": 2, "channels": 2}
SHAPES = [(6,), (2, 6, 6)]
Example = tuple[Layer, Tensor]


def tensors(part: Any) -> list[Tensor]:
    """Every tensor inside a tape, an attribute or a state."""
    if isinstance(part, Tensor):
        return [part]
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list | tuple):
        return [found for inner in part for found in tensors(inner)]
    return []


@pytest.fixture
def example(layer: str) -> Example:
    """The layer on float64 numbers, and three samples for it."""
    kind = lookup("layers", layer)
    needed = [
        name
        for name, found in inspect.signature(kind).parameters.items()
        if found.default is found.empty and found.kind is found.POSITIONAL_OR_KEYWORD
    ]
    made: Layer = kind(**{name: SIZES[name] for name in needed})
    home = substrate_of(card("float32"), Options())
    trial = Trial(Streams(2), dtype=torch.float64)

    def make(name: str, groups: int, out: int, in_: int, std: float) -> Array:
        return home.array(Geometry(f"it.{name}", len(name), groups, out, in_, std), trial)

    made.place(make)
    made.initialise(Streams(2).stream(Purpose.INIT, 1))
    for shape in SHAPES:
        try:
            made.out_shape(shape)
        except ValueError:
            continue
        return made, torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)).double()
    raise AssertionError(f"layer {layer} takes none of the shapes {SHAPES}: add one that it takes")


def output(made: Layer, x: Tensor) -> Tensor:
    y: Tensor = made.fw(x)[0]
    return y


def slope(f: Callable[[float], Tensor], at: float = 1e-6) -> Tensor:
    return (f(at) - f(-at)) / (2 * at)


def test_output_and_input_gradient_have_their_shapes(example: Example) -> None:
    made, x = example
    y, _, tape = made.fw(x)
    assert tuple(y.shape[1:]) == made.out_shape(tuple(x.shape[1:]))
    assert made.igrad(torch.randn_like(y), tape).shape == x.shape


def test_input_gradient_is_the_slope(example: Example) -> None:
    made, x = example
    y, _, tape = made.fw(x)
    d, way = torch.randn_like(y), torch.randn_like(x)
    found = (made.igrad(d, tape) * way).sum()
    other = made if made.slope_of is None else made.slope_of()
    expected = (d * slope(lambda eps: output(other, x + eps * way))).sum()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    assert found != 0


def test_directions_are_the_slope_by_the_weights(example: Example) -> None:
    made, x = example
    y, _, tape = made.fw(x)
    d = torch.randn_like(y)
    directions = made.wgrad(d, tape)
    assert directions.keys() == dict(made.arrays).keys() - {"medium"}  # physics is never written
    for name in directions:
        array = made.arrays[name]
        weights, way = array.peek(), torch.randn(array.geometry.shape).double()

        def moved(eps: float, array: Any = array, weights: Tensor = weights, way: Tensor = way) -> Tensor:
            array.load(weights + eps * way)
            return output(made, x)

        found = (directions[name].summed().change * way).sum()  # type: ignore[union-attr]
        torch.testing.assert_close(found, (d * slope(moved)).sum(), rtol=1e-6, atol=1e-8)
        array.load(weights)


def test_tape_and_directions_hold_no_autograd_graph(example: Example) -> None:
    made, x = example
    y, _, tape = made.fw(x)
    directions = [vars(direction) for direction in made.wgrad(y, tape).values()]
    held = tensors([tape, made.igrad(y, tape), y, directions])
    assert held
    assert not any(tensor.requires_grad or tensor.grad_fn for tensor in held)


def test_layer_keeps_no_activations(example: Example) -> None:
    made, x = example
    before = {name: array.peek() for name, array in made.arrays.items()}
    names, kept = set(vars(made)), {id(value) for value in vars(made).values()}
    y, _, _ = made.fw(x)
    made.fw(torch.randn_like(x))
    assert set(vars(made)) == names
    assert {id(value) for value in vars(made).values()} == kept
    assert torch.equal(output(made, x), y)
    assert all(torch.equal(before[name], array.peek()) for name, array in made.arrays.items())


def test_samples_do_not_see_each_other(example: Example) -> None:
    made, x = example
    alone = torch.cat([output(made, sample[None]) for sample in x])
    torch.testing.assert_close(alone, output(made, x), rtol=1e-12, atol=1e-14)


def test_an_input_that_does_not_fit_is_refused(example: Example) -> None:
    """What ``out_shape`` takes is computed, with the shape that it says; layers with arrays take few."""
    made, _ = example
    for shape in [(1,), (5, 7), (2, 1, 1), (3, 5, 7, 9)]:
        try:
            promised = made.out_shape(shape)
        except ValueError:
            continue
        assert tuple(output(made, torch.ones(2, *shape).double()).shape[1:]) == promised
        assert not made.arrays or shape == (2, 1, 1)  # which has the channels that it asks for
