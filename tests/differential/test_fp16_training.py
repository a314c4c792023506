"""FP16 training: torch, the interpreter and C make the same bits; small changes and gradients survive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.arith.threefry import Streams
from hwtrain.cards import Fp16Card, card, cards
from hwtrain.config import make_config
from hwtrain.direction import Outer
from hwtrain.errors import ConfigError, ProgramError
from hwtrain.export.run import NativeRunner
from hwtrain.kernels import half
from hwtrain.kernels.base import Rate
from hwtrain.layers.dense import Dense
from hwtrain.losses.squared_error import SquaredError
from hwtrain.net import Net
from hwtrain.program.lower import lower
from hwtrain.substrates.base import Options, Trial, substrate_of
from hwtrain.training.engine import TorchEngine
from hwtrain.training.loop import run
from tests.programs import bits, bound_on, differences, interpreted, moved, samples, small_program, trained

CARDS = [name for name, its in cards() if isinstance(its, Fp16Card)]
ANY = pytest.mark.parametrize("device", CARDS)
STEPS = 5


@pytest.mark.parametrize("lr", [0.05, 30.0])
@pytest.mark.parametrize(
    ("kind", "device"),
    [("mlp", "fp16"), *(pytest.param("cnn", name, marks=pytest.mark.slow) for name in CARDS)],
)
def test_interpreter_and_c_agree_to_the_bit(kind: str, device: str, lr: float) -> None:
    """The larger rate overflows; then, too."""
    bound, program = small_program(kind, device)
    given = samples(bound, program, STEPS)
    ours = trained(NativeRunner(program), given, STEPS, lr=lr)
    assert not differences(ours, trained(interpreted(program), given, STEPS, lr=lr))
    assert moved(program, ours) > 0.85
    overflowed = sum(int(values[0]) for name, values in ours.items() if name.endswith("/counts"))
    assert (overflowed > 0) == (lr > 1)


@ANY
def test_torch_trains_the_same_bits(device: str) -> None:
    bound, program = small_program("mlp", device)
    given = samples(bound, program, STEPS)
    expected = trained(interpreted(program), given, STEPS, step=0, predict=False)
    clock = next(bound.net.arrays())[1].trial.ledger.clock
    for step in range(STEPS):
        clock.step, clock.phase = step, "train"
        x, labels = torch.from_numpy(given["x"][step]), torch.from_numpy(given["labels"][step]).long()
        loss = bound.step(x, labels, Rate(0.05))
        assert (bits(loss.numpy()) == bits(expected["loss"][step])).all()
    for path, array in bound.net.arrays():
        for name, value in array.live().items():
            assert (bits(value.numpy()) == bits(expected[f"{path}/{name}"])).all(), (path, name)


@ANY
def test_a_checkpoint_goes_round_in_mid_training(device: str) -> None:
    def steps(bound: Any, first: int, last: int) -> None:
        engine = TorchEngine(bound, next(bound.net.arrays())[1].trial.ledger, 2)
        rng = np.random.default_rng(3)
        x = torch.from_numpy(rng.normal(size=(16, 37)).astype(np.float32))
        labels = torch.from_numpy(rng.integers(0, 5, 16))
        engine.run(x[2 * first : 2 * last], labels[2 * first : 2 * last], first, 0.1)

    whole, other = (small_program("mlp", device)[0] for _ in range(2))
    steps(whole, 0, 4)
    other.net.restore(whole.net.state())
    steps(whole, 4, 8)
    steps(other, 4, 8)
    states = whole.net.state(), other.net.state()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def tiny(device: str, weight: float, x: float) -> Any:
    """One weight, no bias, on a card."""
    net = Net({"fc": Dense(1, 1, bias=False, weights=torch.tensor([[weight]]))})
    bound = bound_on(net, device)
    array = dict(bound.net.arrays())["fc.weight"]
    one = torch.tensor([[[x]]], dtype=torch.float16)
    return array, one


@ANY
def test_small_changes_add_up_but_where_the_nearest_half_loses_them(device: str) -> None:
    """200 changes of 2^-12 to a weight of 1, whose last place is 2^-10."""
    array, x = tiny(device, 1.0, 1.0)
    d = torch.full((1, 1, 1), 2.0**10, dtype=torch.float16)  # a gradient of 1 at the first loss scale
    for step in range(200):
        array.trial.ledger.clock.step = step
        array.write(Outer(x, d, 2.0**-12))
    found, lost = float(array.peek()), int(array.live()["counts"][1])
    if device == "fp16-nearest":
        assert (found, lost) == (1.0, 200)
    elif device == "fp16-stochastic":
        assert abs(found - 1.0488) < 0.02
        assert lost > 100
    else:
        assert abs(found - 1 - 200 * 2.0**-12) <= 2.0**-11
        assert lost == 0


@pytest.mark.parametrize("device", ["fp16", "fp16-compensated"])
def test_changes_below_half_of_the_smallest_half_add_up(device: str) -> None:
    """2048 changes of 2^-26 to a weight of 2^-5, whose last place is 2^-15; 2^-24 is the smallest half."""
    array, x = tiny(device, 2.0**-5, 1.0)
    d = torch.full((1, 1, 1), 2.0**10, dtype=torch.float16)
    for step in range(2048):
        array.trial.ledger.clock.step = step
        array.write(Outer(x, d, 2.0**-26))
    assert float(array.peek()) == 2.0**-5 + 2.0**-15
    assert array.live()["counts"].tolist() == [0, 0]


def test_an_overflow_changes_nothing_and_halves_the_loss_scale() -> None:
    array, x = tiny("fp16", 1.0, 300.0)
    big = torch.full((1, 1, 1), 300.0, dtype=torch.float16)
    array.write(Outer(x, big, 0.1))
    assert float(array.peek()) == 1.0
    assert array.live()["counts"].tolist() == [1, 0]
    assert array.scaling.tolist() == [10, 0, 1, 0]
    made = half.scaled(torch.tensor([[1.0, 1e-12]]), array.scaling)
    assert made.tolist() == [[512.0, 0.0]]
    assert array.scaling.tolist() == [9, 0, 0, 1]
    for _ in range(half.PATIENCE):
        half.scaled(torch.tensor([[1.0]]), array.scaling)
    assert array.scaling.tolist() == [10, 0, 0, 1]
    assert array.trial.ledger.of("init", "fc.weight", "write")["overflows"] == 1


def test_formats_do_not_mix() -> None:
    net = Net({"a": Dense(4, 4), "b": Dense(4, 2)})
    homes = {name: substrate_of(card(name), Options()) for name in ("fp16", "float32")}
    with pytest.raises(ConfigError, match=r"a\.bias and b\.bias have different number formats"):
        net.place(
            Trial(Streams(0)), lambda path: homes["fp16" if path == "a" else "float32"], homes["float32"]
        )


def test_a_kernel_without_a_form_in_c_is_named() -> None:
    net = Net({"fc": Dense(4, 3)}, SquaredError())
    with pytest.raises(ProgramError, match=r"layer loss: squared_error.forward has no FP16 form in C yet"):
        NativeRunner(lower(bound_on(net, "fp16"), (4,)))


def test_every_engine_counts_what_is_lost(tmp_path: Path) -> None:
    counts = []
    for engine in ("torch", "native"):
        config = make_config(
            **{"net": "64-8-10", "device": "fp16-nearest", "activation": "relu", "epochs": 1, "seeds": 1},
            **{"batch": 4, "lr": 0.01, "engine": engine},
        )
        run(config, out=tmp_path / engine, controls=False)
        state = json.loads((tmp_path / engine / "trials/backprop-fp16-nearest-s0/state.json").read_text())
        counts.append({(row["phase"], row["layer"]): row["lost"] for row in state["ledger"] if "lost" in row})
    assert counts[0] == counts[1]
    assert counts[0]["train", "fc1.weight"] > 1000
