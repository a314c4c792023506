"""Programs of backpropagation against a training step written by hand, torch's own step, and autograd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hwtrain.cards import Card, FixedCard, ShiftCard, card
from hwtrain.export.run import InterpretRunner, NativeRunner
from hwtrain.kernels import softmax2
from hwtrain.kernels.base import Rate
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.heaviside import Heaviside
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.layers.relu import Relu
from hwtrain.layers.tanh import Tanh
from hwtrain.net import Net
from hwtrain.program.lower import lower
from tests.differential import scalar_step
from tests.programs import NETS, O1, bits, bound_on, fixed_card, loss_of, moved, samples, small_program

STEPS, BATCH = 4, 2


@dataclass(frozen=True)
class Case:
    """A net for hwtrain, the same net for the step by hand."""

    net: Net
    layers: list[scalar_step.Layer]
    shape: tuple[int, ...]


def mlp_case(loss: str, activation: str) -> Case:
    act: Any = Tanh if activation == "tanh" else Relu
    layers = {"a": Dense(19, 7), "act": act(), "b": Dense(7, 5), "act2": act(), "c": Dense(5, 3)}
    plain: list[scalar_step.Layer] = [("dense", "a"), (activation,), ("dense", "b"), (activation,)]
    return Case(Net(layers, loss_of(loss)), [*plain, ("dense", "c")], (19,))


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


def test_a_unit_of_one_bit_is_on_at_zero_in_c_too() -> None:
    """Sums of -1, 0 and 1: the last layer hands the bits on."""
    first = {"fc1": Dense(1, 3, bias=False, weights=torch.tensor([[-1.0], [0.0], [1.0]])), "bit": Heaviside()}
    net = Net(first | {"fc2": Dense(3, 3, bias=False, weights=torch.eye(3))}, loss_of("squared-error"))
    program = lower(bound_on(net, "float32"), (1,), 1)
    for runner in (InterpretRunner(program), NativeRunner(program, flags=O1)):
        memory = runner.memory(1, {"x": np.ones((1, 1, 1), np.float32)})
        runner.run("predict", 1, memory)
        found = [memory[name] for name, held in program.buffers.items() if held.role == "output"]
        assert [out.flatten().tolist() for out in found if out.size == 3] == [[0, 1, 1]]


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


def torch_against_interpreter(kind: str, device: str, steps: int, lr: float) -> tuple[int, float]:
    """Steps of torch and of the interpreter, each from equal state: values compared, the largest gap."""
    bound, program = small_program(kind, device)
    given = samples(bound, program, steps)
    runner = InterpretRunner(program)
    memory = runner.memory(1, {})
    live = {f"{path}/{key}": t for path, array in bound.net.arrays() for key, t in array.live().items()}
    clock = next(bound.net.arrays())[1].trial.ledger.clock
    compared, gap = 0, 0.0
    for step in range(steps):
        for name, tensor in live.items():
            tensor.copy_(torch.from_numpy(memory[name]))
        memory["x"][...], memory["labels"][...] = given["x"][step], given["labels"][step]
        clock.step = step
        x, labels = torch.from_numpy(given["x"][step]), torch.from_numpy(given["labels"][step]).long()
        z = bound.predict(x)
        runner.run("predict", 1, memory)
        loss = bound.step(x, labels, Rate(lr))
        runner.run("step", 1, memory, lr=lr, step=step)
        theirs = {"z": z, "loss": loss} | live
        for name, tensor in theirs.items():
            mine = memory[name].astype(np.float64).reshape(tuple(tensor.shape))
            gap = max(gap, float(abs(mine - tensor.double().numpy()).max()))
            compared += mine.size
    assert moved(program, memory) > 0.5
    return compared, gap


@pytest.mark.parametrize("device", ["fixed16", "fixed8", "shift4"])
@pytest.mark.parametrize("kind", NETS)
def test_torch_does_the_same_step_in_whole_numbers(kind: str, device: str) -> None:
    compared, gap = torch_against_interpreter(kind, device, steps=12, lr=0.1)
    assert compared > 3000
    assert gap == 0


@pytest.mark.parametrize("kind", NETS)
def test_torch_does_the_same_step_in_float32_within_a_millionth(kind: str) -> None:
    compared, gap = torch_against_interpreter(kind, "float32", steps=12, lr=0.1)
    assert compared > 3000
    assert 0 < gap < 2e-6  # of weights, outputs and losses up to about 3: 8 units in the last place


class Straight(torch.autograd.Function):
    """Rounded to codes on the way forward, untouched on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, frac: int) -> Tensor:
        return torch.floor(x * 2.0**frac + 0.5) / 2.0**frac

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


WIDE = fixed_card((16, 10, 13), (16, 11), "half-up", "half-up")
WIDE_SHIFT = fixed_card((16, 10, 13), (16, 11), "half-up", "half-up", pot=4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("device", [WIDE, WIDE_SHIFT], ids=["fixed", "shift"])
@pytest.mark.parametrize("make", [mlp_case, cnn_case], ids=["mlp", "cnn"])
def test_integer_gradient_is_that_of_autograd_within_a_code(make: Any, device: FixedCard, seed: int) -> None:
    case = make("squared-error", "relu")
    bound = bound_on(case.net, device, seed=seed)
    program = lower(bound, case.shape, BATCH)
    given = samples(bound, program, 1, classes=3, seed=seed, scale=0.5)
    weights = {path: array.peek().double().requires_grad_() for path, array in bound.net.arrays()}
    frac, unit = device.signal.frac, 2.0**-device.weight.frac
    x = torch.from_numpy(given["x"][0]).double() * 2.0**-frac
    for layer in case.layers:
        match layer:
            case ("dense", name):
                y = x @ weights[f"{name}.weight"][0].T + weights[f"{name}.bias"].flatten()
                x = Straight.apply(y, frac)
            case ("conv", name, filter_, stride, padding):
                groups, rows, _ = weights[f"{name}.weight"].shape
                filters = weights[f"{name}.weight"].reshape(groups * rows, -1, filter_, filter_)
                offsets = weights[f"{name}.bias"].flatten()
                y = functional.conv2d(x, filters, offsets, stride, padding, groups=groups)
                x = Straight.apply(y, frac)
            case ("max", size):
                x = functional.max_pool2d(x, size)
            case ("relu",):
                x = x.relu()
            case ("flat",):
                x = x.flatten(1)
    target = torch.eye(3, dtype=torch.float64)[torch.from_numpy(given["labels"][0]).long()]
    loss = ((x - target) ** 2).sum() / 2 / BATCH
    gradients = torch.autograd.grad(loss, list(weights.values()))
    runner = InterpretRunner(program)
    memory = runner.memory(1, given)
    runner.run("step", 1, memory, lr=1.0)
    worst = 0.0
    for path, gradient in zip(weights, gradients, strict=True):
        change = memory[f"{path}/weights"].astype(int) - program.contents[f"{path}/weights"]
        assert abs(memory[f"{path}/weights"].astype(int)).max() < 2**15 - 1  # nothing saturated
        worst = max(worst, float(abs(change + gradient.numpy() / unit).max()))
        assert abs(change).max() > 20
    assert worst < 1  # half a code for the weight's own rounding, the rest for those of the errors


def test_softmax2_of_codes_is_that_of_autograd_within_a_fortieth() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-4000, 4000, (2000, 7)).astype(np.int16)
    labels = rng.integers(0, 7, 2000).astype(np.int32)
    assert softmax2.forward.meaning is not None
    loss, d = softmax2.forward.meaning(
        codes, labels, 10, 13, softmax2.EXP2.values, softmax2.RECIPROCAL.values
    )
    z = torch.from_numpy(codes / 2.0**10).requires_grad_()
    there = torch.from_numpy(labels).long()
    bits_ = torch.log2(torch.exp2(z).sum(1)) - z.gather(1, there[:, None])[:, 0]
    (gradient,) = torch.autograd.grad(bits_.sum(), z)
    assert abs(d / 2.0**13 - gradient.numpy()).max() < 1 / 40
    assert abs(loss / 2.0**10 - bits_.detach().numpy()).max() < 0.12  # Mitchell's 0.086, and the tables
