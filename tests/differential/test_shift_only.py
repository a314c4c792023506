"""Training by shifts alone: errors as powers of two, right on average, and the same in Python and C."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.arith import pow2
from hwtrain.arith.threefry import threefry
from hwtrain.export.run import IntegerRunner, InterpretRunner, NativeRunner
from hwtrain.kernels import pot
from tests.programs import bound_on, differences, moved, samples, small_program, trained

KEY = (7, 9)


def code_of(d: int, word: int) -> int:
    """By hand: the power below |d|, or by chance the one above."""
    if d == 0:
        return 0
    power = 0
    while 2 ** (power + 1) <= abs(d):
        power += 1
    if word % 2**power < abs(d) - 2**power:
        power += 1
    return (power + 1) * (1 if d > 0 else -1)


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_codes_of_errors_are_those_written_by_hand(kind: Any) -> None:
    ends = np.iinfo(kind)
    d = np.concatenate(
        [np.arange(-130, 130).clip(ends.min, ends.max), [ends.min, ends.max, ends.max - 1]]
    ).astype(kind)
    point = threefry(KEY, (5, 1 << 8))
    expected = [code_of(int(one), threefry(point, (place, 0))[0]) for place, one in enumerate(d)]
    assert pot.round_error(torch.from_numpy(d), *KEY, 5).tolist() == expected
    assert pot.round_error.meaning is not None
    assert pot.round_error.meaning(d, *KEY, 5).tolist() == expected


def test_codes_of_errors_are_right_on_average() -> None:
    for value in (1, 3, 5, 96, 127, -128, -77):
        d = torch.full((40_000,), value, dtype=torch.int8)
        found = pow2.values(pot.round_error(d, *KEY, 1).numpy())
        assert set(np.log2(abs(found))) <= {np.floor(np.log2(abs(value))), np.floor(np.log2(abs(value))) + 1}
        assert abs(found.mean() - value) <= 5 * found.std() / 200 + 1e-9


def test_changes_are_sums_of_shifts() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (6, 2, 5)).astype(np.int8)
    codes = rng.integers(-8, 9, (6, 2, 3)).astype(np.int8)
    w = rng.integers(-500, 500, (2, 3, 5)).astype(np.int16)
    expected = w.copy()
    for group in range(2):
        for out in range(3):
            for in_ in range(5):
                total = pow2.shift_dot(codes[:, group, out], x[:, group, in_])
                expected[group, out, in_] = min(max(int(w[group, out, in_]) + (-total >> 4), -32768), 32767)
    found = torch.from_numpy(w.copy())
    pot.add_outer(found, torch.from_numpy(x), torch.from_numpy(codes), -0.25, 2, "floor", 1, 2, 3)
    assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("kind", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_a_hundred_steps_are_the_same_in_python_and_c(kind: str) -> None:
    bound, program = small_program(kind, "shift-only")
    kernels = {node.kernel for node in program.entries["step"] if node.kind == "call"}
    assert {"pot.read", "pot.read_t", "pot.round_error", "pot.add_outer"} <= kernels
    given = samples(bound, program, 100)
    oracle = trained(InterpretRunner(program), given, 100, lr=0.1)
    assert moved(program, oracle) >= 0.9
    for runner in (NativeRunner(program), IntegerRunner(program)):
        assert not differences(trained(runner, given, 100, lr=0.1), oracle)


def test_torch_trains_as_its_program_does() -> None:
    from hwtrain.kernels.base import Rate
    from hwtrain.program.lower import lower
    from tests.programs import small_mlp

    bound = bound_on(small_mlp("shift-only"), "shift-only")
    program = lower(bound, (37,), 2)
    given = samples(bound, program, 20)
    memory = trained(InterpretRunner(program), given, 20, lr=0.1, step=0, predict=False)
    clock = next(bound.net.arrays())[1].trial.ledger.clock
    for step in range(20):
        clock.step = step
        bound.step(
            torch.from_numpy(given["x"][step]), torch.from_numpy(given["labels"][step]).long(), Rate(0.1)
        )
    for path, array in bound.net.arrays():
        for name, tensor in array.live().items():
            assert np.array_equal(memory[f"{path}/{name}"], tensor.numpy())
