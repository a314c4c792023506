"""Every engine gives the same bits; what a program is, survives; plans, bounds and costs hold."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.analysis.programs import differences as different
from hwtrain.cards import Card
from hwtrain.errors import ProgramError
from hwtrain.export.run import InterpretRunner, NativeRunner
from hwtrain.kernels.base import Rate
from hwtrain.layers.dense import Dense
from hwtrain.layers.relu import Relu
from hwtrain.net import Net
from hwtrain.program.bounds import bounds
from hwtrain.program.cost import cost, traffic
from hwtrain.program.interpret import Interpreter
from hwtrain.program.ir import Program, load_program
from hwtrain.program.lower import lower
from hwtrain.program.plan import ALIGNMENT, lifetimes, plan
from hwtrain.rules.base import Bound
from hwtrain.rules.speculative import Speculative
from tests.programs import (
    CARDS,
    NETS,
    O1,
    bound_on,
    differences,
    fixed_card,
    loss_of,
    moved,
    samples,
    small_program,
    trained,
)
from tests.toy_rules import SettlingBound, SpeculatingBound, Toy, ToyBound

ENGINES: dict[str, dict[str, Any]] = {
    "gcc -O3": {"cc": "gcc"},
    "gcc -O1": {"cc": "gcc", "flags": O1},
    "clang -O3": {"cc": "clang"},
    "clang -O1": {"cc": "clang", "flags": O1},
    "two threads": {"threads": 2},
}
ALL = [name if name == "gcc -O1" else pytest.param(name, marks=pytest.mark.slow) for name in ENGINES]
RULES = {"settling": SettlingBound, "speculating": SpeculatingBound}


def toy_program(rule: str, device: str | Card) -> tuple[Bound, Program]:
    """One of the toy rules on a small net."""
    whole = device != "float32"
    net = Net(
        {"fc1": Dense(12, 9, bias=False), "fc2": Dense(9, 4, bias=False)},
        loss_of("squared-error" if whole else "softmax-ce"),
    )
    bound = bound_on(net, device, Toy(RULES[rule]))
    return bound, lower(bound, (12,), ToyBound.batch)


@pytest.mark.parametrize("mode", ["sequential", "fused-sweep"])
@pytest.mark.parametrize("scale", [1, 1e38], ids=["finite", "beyond float32"])
def test_rows_without_error_are_left_out_and_no_bit_changes(scale: float, mode: str) -> None:
    net = Net(
        {"fc1": Dense(275, 41), "bend": Relu(), "fc2": Dense(41, 35), "bend2": Relu(), "fc3": Dense(35, 4)},
        loss_of("mse"),
    )
    bound = bound_on(net, "float32", Speculative(mode=mode))
    program = lower(bound, (275,), 1)
    given = samples(bound, program, 12, scale=scale)
    with np.errstate(all="ignore"):
        native, oracle = (
            trained(run, given, 12) for run in (NativeRunner(program), InterpretRunner(program))
        )
    assert sum(different(native[name], oracle[name]) for name in oracle) == 0
    assert np.isfinite(native["fc3.weight/weights"]).all() == (scale == 1)


def test_no_weight_is_loaded_as_minus_zero() -> None:
    net = Net({"fc1": Dense(2, 1, bias=False)}, loss_of("mse"))
    bound = bound_on(net, "float32")
    [(_, array)] = bound.net.arrays()
    weights = torch.tensor([[[-0.0, 1.0]]])
    array.load(weights)
    assert not torch.signbit(array.peek()).any()
    array.restore({"weights": weights})
    assert not torch.signbit(array.peek()).any()


@pytest.mark.parametrize("engine", ALL)
@pytest.mark.parametrize("device", CARDS)
@pytest.mark.parametrize("kind", NETS)
def test_every_engine_trains_a_hundred_steps_to_the_same_bits(kind: str, device: str, engine: str) -> None:
    bound, program = small_program(kind, device)
    given = samples(bound, program, 100)
    oracle = trained(InterpretRunner(program), given, 100, lr=0.1)
    assert moved(program, oracle) > 0.9
    assert not differences(trained(NativeRunner(program, **ENGINES[engine]), given, 100, lr=0.1), oracle)


@pytest.mark.parametrize("engine", ALL)
@pytest.mark.parametrize("device", CARDS)
@pytest.mark.parametrize("rule", RULES)
def test_loops_branches_and_sections_are_the_same_on_every_engine(
    rule: str, device: str, engine: str
) -> None:
    n = 40
    bound, program = toy_program(rule, device)
    given = samples(bound, program, n)
    kinds = {node.kind for node in program.entries["step"]}
    assert ("repeat" if rule == "settling" else "sections") in kinds
    oracle = trained(InterpretRunner(program), given, n, lr=0.25)
    assert moved(program, oracle) > 0.5
    if rule == "speculating":
        assert 0.1 * n < oracle["rule/hits"][0] < 0.9 * n  # both branches were taken
    assert not differences(trained(NativeRunner(program, **ENGINES[engine]), given, n, lr=0.25), oracle)


@pytest.mark.parametrize("rule", RULES)
def test_torch_runs_a_toy_rule_like_its_program(rule: str) -> None:
    bound, program = toy_program(rule, "fixed16")
    given = samples(bound, program, 30)
    clock = next(bound.net.arrays())[1].trial.ledger.clock
    losses = []
    for step in range(30):
        clock.step = step
        x, labels = torch.from_numpy(given["x"][step]), torch.from_numpy(given["labels"][step]).long()
        losses.append(bound.step(x, labels, Rate(0.25)).numpy())
    memory = trained(InterpretRunner(program), given, 30, lr=0.25, step=0, predict=False)
    assert np.array_equal(memory["loss"], np.stack(losses))
    for name, tensor in bound.state().items():
        assert np.array_equal(memory[f"rule/{name}"], tensor.numpy())


@pytest.mark.parametrize("device", CARDS)
@pytest.mark.parametrize("make", [*NETS, *RULES])
def test_saved_program_comes_back_as_it_was(tmp_path: Path, make: str, device: str) -> None:
    bound, program = small_program(make, device) if make in NETS else toy_program(make, device)
    program.save(tmp_path / "one")
    again = load_program(tmp_path / "one")
    again.save(tmp_path / "two")
    for file in ("program.json", "contents.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert again.text() == program.text()
    given = samples(bound, program, 3)
    runs = [trained(InterpretRunner(each), given, 3) for each in (program, again)]
    assert not differences(*runs)


@pytest.mark.parametrize("device", ["float32", "shift4"])
@pytest.mark.parametrize("make", [*NETS, *RULES])
def test_temporaries_alive_together_lie_apart(make: str, device: str) -> None:
    _, program = small_program(make, device) if make in NETS else toy_program(make, device)
    layout = plan(program)
    most = shared = 0
    for nodes in program.entries.values():
        lives = lifetimes(program.buffers, nodes)
        places = {
            name: range(layout.offsets[name], layout.offsets[name] + program.buffers[name].nbytes)
            for name in lives
        }
        for one, other in combinations(lives, 2):
            together = max(lives[one][0], lives[other][0]) <= min(lives[one][1], lives[other][1])
            overlap = max(places[one].start, places[other].start) < min(places[one].stop, places[other].stop)
            assert not (together and overlap), (one, other)
            shared += overlap
        most = max([most, *(place.stop for place in places.values())])
        assert all(place.start % ALIGNMENT == 0 for place in places.values())
    assert shared > 0 or make in RULES  # the arena is used again, but sections keep all that they touch
    assert most <= layout.size
    assert layout.bound <= layout.size <= 1.25 * layout.bound


@pytest.mark.parametrize("make", [*NETS, *RULES])
def test_no_call_touches_a_temporary_outside_of_its_life(make: str) -> None:
    """A run in which the arena is filled with rubbish wherever nothing is alive gives the same bits."""
    bound, program = small_program(make, "fixed16") if make in NETS else toy_program(make, "fixed16")
    given = samples(bound, program, 5)
    runner = NativeRunner(program, flags=O1)
    oracle = trained(InterpretRunner(program), given, 5)
    runner._arena[...] = 0xA5
    assert not differences(trained(runner, given, 5), oracle)


@pytest.mark.parametrize("device", CARDS[1:])
@pytest.mark.parametrize("kind", NETS)
def test_no_accumulator_ever_passes_its_bound(kind: str, device: str) -> None:
    _, program = small_program(kind, device)
    limits = bounds(program)
    assert len(limits) > 5
    interpreter = Interpreter(program)
    shape, rng = program.buffers["x"], np.random.default_rng(0)
    low = np.iinfo(np.int8 if shape.format == "i8" else np.int16).min
    reached = dict.fromkeys(limits, 0)
    for turn in range(6):
        for name in interpreter.memory:  # the worst that weights and signals can be
            if program.buffers[name].role == "weight":
                kept = interpreter.memory[name]
                extremes = (-7, 0, 7) if name.endswith("/codes") else (kept.min(), np.iinfo(kept.dtype).min)
                kept[...] = rng.choice(extremes, kept.shape)
        x = np.full(shape.shape, low) if turn % 2 else rng.choice([low, -low - 1], shape.shape)
        labels = rng.integers(0, 4, shape.shape[0])
        interpreter.run("step", {"x": x, "labels": labels}, lr=1.0, step=turn)
        for name in limits:
            reached[name] = max(reached[name], int(abs(interpreter.memory[name]).max()))
    assert all(reached[name] <= limits[name] for name in limits)
    assert any(reached[name] > limits[name] / 4 for name in limits)


@pytest.mark.parametrize(
    ("device", "width", "format_"),
    [
        (fixed_card((16, 10, 13), (16, 13)), 1, "i32"),
        (fixed_card((16, 10, 13), (16, 13)), 3, "i64"),  # 3 * 2^15 * 2^15 > 2^31
        (fixed_card((8, 4, 6), (16, 13)), 500, "i32"),
        (fixed_card((8, 4, 6), (16, 13)), 512, "i64"),  # 512 * 2^15 * 2^7 = 2^31
        (fixed_card((8, 4, 6), (8, 6)), 2000, "i32"),
        (fixed_card((8, 4, 6), (16, 13), pot=4), 2000, "i32"),  # 2^6 * 2^7 * 2000
    ],
)
def test_accumulators_are_as_wide_as_they_must_be(device: Card, width: int, format_: str) -> None:
    net = Net({"fc": Dense(width, 1, bias=False)}, loss_of("squared-error"))
    program = lower(bound_on(net, device), (width,))
    assert program.listing.acc == format_
    accumulators = [name for name, limit in bounds(program).items() if limit]
    assert {program.buffers[name].format for name in accumulators} == {format_}
    biggest = dict.fromkeys(accumulators, 1 << 31) if format_ == "i64" else {}
    assert all(bounds(program)[name] >= limit for name, limit in biggest.items())


@pytest.mark.parametrize("device", CARDS)
@pytest.mark.parametrize("make", [*NETS, "settling"])
def test_cost_of_a_step_is_what_the_ledger_counts(make: str, device: str) -> None:
    bound, program = small_program(make, device) if make in NETS else toy_program(make, device)
    given = samples(bound, program, 1)
    ledger = next(bound.net.arrays())[1].trial.ledger
    ledger.clock.phase = "train"
    ledger.counts = {}
    bound.step(torch.from_numpy(given["x"][0]), torch.from_numpy(given["labels"][0]).long(), Rate(0.1))
    ports = ("read", "read_t", "write")
    counted = {(layer, port): dict(line) for (_, layer, port), line in ledger.counts.items() if port in ports}
    assert len(counted) > 4
    assert cost(program, "step") == counted
    assert traffic(program, "step") > traffic(program, "predict") > 0


def test_cost_of_a_branch_depends_on_the_data() -> None:
    _, program = toy_program("speculating", "float32")
    for count in (cost, traffic):
        with pytest.raises(ProgramError, match="depends on the data"):
            count(program, "step")
