"""Programs of backpropagation against a training step written by hand, torch's own step, and autograd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hwtrain.cards import Card, FixedCard, ShiftCard, card
from hwtrain.export.run import InterpretRunner, NativeRunner
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.layers.relu import Relu
from hwtrain.layers.tanh import Tanh
from hwtrain.net import Net
from hwtrain.program.lower import lower
from tests.differential import scalar_step
from tests.programs import O1, bits, bound_on, fixed_card, loss_of, moved, samples

STEPS, BATCH = 4, 2


@dataclass(frozen=True)
class Case:
    """A net for hwtrain, the same net for the step by hand."""

    net: Net
    layers: list[scalar_step.Layer]
    shape: tuple[int, ...]


def mlp_case(loss: str, activation: str) -> Case:
    act: Any = Tanh if activation == "tanh" else Relu
    net = Net({"a": Dense(19, 7), "act": act(), "b": Dense(7, 5), "act2": act(), "c": Dense(5, 3)}, loss_of(loss))
    layers = [("dense", "a"), (activation,), ("dense", "b"), (activation,), ("dense", "c")]
    return Case(net, layers, (19,))


def cnn_case(loss: str, activation: str) -> Case:
    act: Any = Tanh if activation == "tanh" else Relu
    net = Net(
        {
            "a": Conv2d(2, 4, 3, padding=1),
            "act": act(),
            "pool": MaxPool2d(2),
            "b": Conv2d(4, 4, 2, stride=1, groups=2),
            "act2": act(),
            "flat": Flatten(),
            "c": Dense(8, 3),
        },
        loss_of(loss),
    )
    layers = [
        *[("conv", "a", 3, 1, 1), (activation,), ("max", 2), ("conv", "b", 2, 1, 0)],
        *[(activation,), ("flat",), ("dense", "c")],
    ]
    return Case(net, layers, (2, 5, 7))


def arithmetic_of(device: Card, net: Net) -> scalar_step.Arithmetic:
    """The formats of the card, told to the step by hand."""
    if not isinstance(device, FixedCard):
        return scalar_step.Float32()
    shapes = {path: array.geometry.shape for path, array in net.arrays()}
    weight = device.weight.bits, device.weight.frac
    powers = {}
    if isinstance(device, ShiftCard):
        powers = {
            path: scalar_step.lowest_power(weight, device.pot.bits, in_, out)
            for path, (_, out, in_) in shapes.items()
            if path.endswith(".weight")
        }
    signal = device.signal.bits, device.signal.frac, device.signal.error_frac
    rounding = device.signal.rounding, device.weight.rounding
    return scalar_step.Fixed(signal, weight, *rounding, seed=SEED, arrays=tuple(shapes), powers=powers)


SEED = 5 << 32 | 77

DEVICES: dict[str, tuple[Card, str, str]] = {
    "float32": (card("float32"), "softmax-ce", "tanh"),
    "float32 mse": (card("float32"), "mse", "relu"),
    "fixed16": (card("fixed16"), "softmax2", "relu"),
    "fixed8": (card("fixed8"), "squared-error", "relu"),
    "8-bit weights": (fixed_card((8, 5, 7), (8, 6), "half-even", "half-up"), "softmax2", "relu"),
    "floor": (fixed_card((16, 8, 12), (16, 11), "floor", "half-even"), "squared-error", "relu"),
    "shift4": (card("shift4"), "softmax2", "relu"),
    "shift3": (fixed_card((16, 10, 13), (8, 6), "half-even", "floor", pot=3), "squared-error", "relu"),
}


@pytest.mark.parametrize("make", [mlp_case, cnn_case], ids=["mlp", "cnn"])
@pytest.mark.parametrize("name", DEVICES)
def test_interpreter_and_c_do_the_step_written_by_hand(name: str, make: Any) -> None:
    device, loss, activation = DEVICES[name]
    case = make(loss, activation)
    bound = bound_on(case.net, device, seed=SEED)
    program = lower(bound, case.shape, BATCH)
    given = samples(bound, program, STEPS, classes=3, scale=1.5)
    arithmetic = arithmetic_of(device, bound.net)
    plain: Any = list if isinstance(arithmetic, scalar_step.Float32) else np.ndarray.tolist
    weights = {
        path: [[plain(row) for row in rows] for rows in program.contents[f"{path}/weights"]]
        for path, _ in bound.net.arrays()
    }
    runners = [InterpretRunner(program), NativeRunner(program, flags=O1)]
    memories = [runner.memory(1, {}) for runner in runners]
    for step in range(STEPS):
        x, labels = given["x"][step], given["labels"][step]
        batch = [(plain(row), int(label)) for row, label in zip(x.reshape(BATCH, -1), labels, strict=True)]
        z, _ = scalar_step.forward(case.layers, weights, arithmetic, batch[0][0], case.shape)
        losses = scalar_step.train_step(
            case.layers, weights, loss, arithmetic, batch, case.shape, lr=0.1, step=step + 9
        )
        for runner, memory in zip(runners, memories, strict=True):
            memory["x"][...], memory["labels"][...] = x, labels
            runner.run("predict", 1, memory)
            runner.run("step", 1, memory, lr=0.1, step=step + 9)
            assert_same(memory["z"].reshape(BATCH, -1)[0], z, f"{runner}: z at step {step}")
            assert_same(memory["loss"], losses, f"{runner}: loss at step {step}")
            for path, expected in weights.items():
                assert_same(memory[f"{path}/weights"], expected, f"{runner}: {path} at step {step}")
    assert moved(program, memories[0]) > 0.3


def assert_same(found: Any, expected: Any, what: str) -> None:
    """Bit for bit."""
    theirs = np.array(expected, found.dtype).reshape(found.shape)
    assert np.array_equal(bits(found), bits(theirs)), what
