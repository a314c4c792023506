"""The integer engine: at the ends of its numbers, and in every type that it may compute with.

Random nets are in test_program_random.py.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.arith import fixed, pow2
from hwtrain.errors import ProgramError
from hwtrain.export import conv8, integer
from hwtrain.export.run import IntegerRunner, InterpretRunner, NativeRunner, Runner
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.relu import Relu
from hwtrain.net import Net
from hwtrain.program.interpret import Interpreter
from hwtrain.program.ir import Program, walk
from hwtrain.program.lower import lower
from hwtrain.shipped import shipped
from tests.programs import (
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


def nets(kind: str) -> tuple[Net, tuple[int, ...]]:
    """A plain, a grouped and a depthwise convolution, or dense layers."""
    if kind == "dense":
        return Net({"a": Dense(70, 50), "r": Relu(), "b": Dense(50, 9)}, loss_of("squared-error")), (70,)
    groups, out = {"conv": (1, 10), "grouped": (2, 10), "depthwise": (6, 6)}[kind]
    layers: dict[str, Any] = {
        "a": Conv2d(6, out, 3, stride=2, padding=1, groups=groups),
        "r": Relu(),
        "b": Conv2d(out, 9, 2, bias=False),
        "flat": Flatten(),
        "c": Dense(81, 4),
    }
    return Net(layers, loss_of("squared-error")), (6, 7, 7)


def program_at(kind: str, bits: int, rounding: str, signal: int = 8) -> tuple[Any, Program]:
    net, shape = nets(kind)
    card = fixed_card((signal, signal // 2, signal - 2), (16, 13), rounding, pot=bits)
    bound = bound_on(net, card)
    return bound, lower(bound, shape, 3)


@pytest.mark.parametrize("rounding", ["half-up", "floor", "half-even"])
@pytest.mark.parametrize("kind", ["dense", "conv", "grouped", "depthwise"])
@pytest.mark.parametrize("bits", [pytest.param(2, marks=pytest.mark.slow), 5])
def test_the_ends_of_the_numbers_are_the_same(bits: int, kind: str, rounding: str) -> None:
    """All -128, all 127, all codes the largest, all of them zero, and small sums, which end in ties."""
    _, program = program_at(kind, bits, rounding)
    most = pow2.Pot(bits).most
    rng = np.random.default_rng(bits)
    runners: list[Runner] = [InterpretRunner(program), IntegerRunner(program)]
    if rounding == "half-up" and kind != "grouped":
        runners.append(NativeRunner(program, flags=O1))
    shape = program.buffers["x"].shape
    living = outputs = 0
    for x in (
        np.full(shape, -128),
        np.full(shape, 127),
        rng.choice([-128, 127, 0], shape),
        rng.integers(-3, 4, shape),
    ):
        for code in (most + 1, -most - 1, 0, None):
            memories = []
            for runner in runners:
                memory = runner.memory(1, {"x": x[None].astype(np.int8)})
                for name, values in memory.items():
                    if name.endswith("/codes"):
                        drawn = np.random.default_rng(1).choice([-1, 0, 1, most + 1], values.shape)
                        values[...] = drawn if code is None else code
                runner.run("predict", 1, memory)
                runner.run("step", 1, memory, lr=0.5, step=1)
                memories.append(memory)
            for other in memories[1:]:
                assert not differences(memories[0], other)
            outputs += memories[0]["z"].size
            living += int((memories[0]["z"] != 0).sum())
    assert living > outputs / 4


@pytest.mark.parametrize("signal", [8, 16])
def test_every_type_of_product_is_exact(signal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bound, program = program_at("conv", 4, "half-up", signal)
    given = samples(bound, program, 5, scale=3.0)
    oracle = trained(InterpretRunner(program), given, 5, lr=0.25)
    taken = []
    assert not differences(trained(IntegerRunner(program), given, 5, lr=0.25), oracle)
    monkeypatch.setattr(conv8, "library", lambda: None)
    for without in ((), ("int_mm",), ("int_mm", "float32"), ("int_mm", "float32", "float64")):
        if "int_mm" in without:
            monkeypatch.setattr(integer, "has_int_mm", lambda: False)
        for name, limit in (("float32", "_FLOAT32"), ("float64", "_FLOAT64")):
            if name in without:
                monkeypatch.setattr(integer, limit, 0)
        taken.append(without)
        assert not differences(trained(IntegerRunner(program), given, 5, lr=0.25), oracle)
    assert len(taken) == 4


def test_products_at_their_bounds_are_exact() -> None:
    rng = np.random.default_rng(0)
    for rows, in_, out in ((1, 1, 1), (1, 1, 5), (4, 1, 3), (3, 7, 1), (1, 300, 9), (33, 1000, 17)):
        for fill in (None, -128):
            x = torch.from_numpy(rng.integers(-128, 128, (rows, in_)).astype(np.int8))
            w = torch.from_numpy(rng.choice([-64, -1, 0, 2, 64], (out, in_)).astype(np.int8))
            if fill is not None:
                x, w = torch.full_like(x, fill), torch.full_like(w, 64)
            found = integer.product(x, w, in_ << 13)
            assert found is not None
            assert torch.equal(found.long(), x.long() @ w.long().t())
    assert integer.product(x, w, 1 << 60) is None


CONVOLUTIONS = [
    # batch, channels of a group, groups, filters of a group, side of the image, filter, stride, padding
    (2, 3, 1, 17, 9, 3, 1, 1),  # words of 4 channels that are not full, at the end of memory
    (1, 5, 1, 33, 7, 2, 2, 0),
    (2, 8, 1, 64, 8, 1, 1, 0),
    (1, 16, 1, 50, 11, 5, 3, 2),
    (1, 6, 3, 7, 6, 3, 1, 1),
    (1, 4, 2, 40, 5, 4, 1, 2),
    (1, 4, 1, 33, 3, 2, 1, 2),  # windows that hold nothing of the image
    (2, 1, 70, 1, 7, 3, 1, 1),  # depthwise: more than one block, and part of one
    (1, 1, 6, 1, 6, 5, 2, 2),
    (1, 1, 5, 2, 6, 2, 1, 0),
]


@pytest.mark.parametrize("rounding", ["half-up", "floor", "half-even"])
@pytest.mark.parametrize("sizes", CONVOLUTIONS, ids=str)
def test_a_convolution_in_c_is_the_sum_by_hand(sizes: Any, rounding: Any) -> None:
    """All ends of the codes, and sums so small that they end in ties."""
    if conv8.library() is None:
        assert "avx512_vnni" not in Path("/proc/cpuinfo").read_text()
    batch, channels, groups, out, side, filter_, stride, padding = sizes
    rng = np.random.default_rng(out)
    for place, (shift, low, high) in enumerate(
        [(9, -128, 127), (9, -128, -128), (8, 127, 127), (1, -2, 2), (0, 0, 1)]
    ):
        x = rng.integers(low, high + 1, (batch, groups * channels, side, side)).astype(np.int8)
        w = rng.choice([-64, -1, 0, 1, 2, 64] if place != 1 else [64], (groups, out, channels * filter_**2))
        if place > 2:
            w = w.clip(-2, 2)
        bias = rng.integers(-50, 50, groups * out)
        sizes_ = {"side": filter_, "stride": stride, "padding": padding}
        given = torch.from_numpy(w.astype(np.int8)), bias
        made = conv8.convolution8(*given, **sizes_, shift=shift, rounding=rounding)
        if made is None:
            return
        filters = torch.from_numpy(w.reshape(groups * out, channels, filter_, filter_)).double()
        exact = torch.nn.functional.conv2d(
            torch.from_numpy(x).double(), filters, torch.from_numpy(bias).double(), stride, padding, 1, groups
        )
        found = made(torch.from_numpy(x))
        expected = [fixed.requantize(int(value), shift, 8, rounding) for value in exact.flatten().tolist()]
        assert found.flatten().tolist() == expected


def test_the_engine_takes_convolutions_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    bound, program = program_at("conv", 4, "half-up")
    made, run = [], conv8.Convolution8.__call__
    monkeypatch.setattr(conv8.Convolution8, "__call__", lambda self, x: made.append(1) or run(self, x))
    runner = IntegerRunner(program)
    memory = runner.memory(1, samples(bound, program, 1))
    runner.run("predict", 1, memory)
    assert len(made) == (2 if conv8.library() else 0)


def test_a_convolution_that_c_does_not_serve_is_left_to_torch() -> None:
    w, bias = torch.ones(1, 2, 9, dtype=torch.int8), np.zeros(2, np.int64)
    sizes = {"side": 3, "stride": 1, "padding": 0}
    assert conv8.convolution8(w, bias, **sizes, shift=-1, rounding="floor") is None
    assert conv8.convolution8(w.int(), bias, **sizes, shift=1, rounding="floor") is None


def test_a_wrong_private_product_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    integer.has_int_mm.cache_clear()
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: (a.long() @ b.long()).to(torch.int8).int())  # wraps
    assert not integer.has_int_mm()
    integer.has_int_mm.cache_clear()
    monkeypatch.delattr(torch, "_int_mm")
    assert not integer.has_int_mm()
    integer.has_int_mm.cache_clear()


@pytest.mark.parametrize("rounding", ["half-up", "floor", "half-even"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shift", [-20, -3, 0, 1, 7, 20])
def test_ends_of_accumulators_are_those_of_the_scalar(shift: int, bits: int, rounding: Any) -> None:
    rng = np.random.default_rng(0)
    half = 1 << max(shift - 1, 0)
    values = [
        *rng.integers(-1 << 26, 1 << 26, 500).tolist(),
        *range(-40, 40),
        *(k * half for k in range(-9, 10)),
    ]
    found = integer.requantize(torch.tensor(values, dtype=torch.int64), shift, bits, rounding)
    assert found.tolist() == [fixed.requantize(value, shift, bits, rounding) for value in values]


def test_floats_have_no_integer_engine() -> None:
    _, program = small_program("mlp", "float32")
    with pytest.raises(ProgramError, match="float32 has no integer engine: use native or reference"):
        IntegerRunner(program).run("predict", 1, IntegerRunner(program).memory(1, {}))


SHIFT_C = """
#define HWT_SIGNAL_BITS 8
#define HWT_WEIGHT_BITS 16
#define HWT_ACC_BITS 32
#include "hwt.h"

int32_t term(int8_t code, int8_t x) { return hwt_pot_shift(code, x); }
void row(const int8_t *codes, const int8_t *x, int32_t *y) { hwt_pot_read(1, 1, 576, 1, codes, x, y); }
void back(const int8_t *codes, const int8_t *d, int32_t *y) { hwt_pot_read_t(1, 64, 1, 1, codes, d, y); }
void error(const int8_t *d, int8_t *codes) { hwt_pot_round_error(64, 1, 2, 3, d, codes); }
void learn(int16_t *w, const int8_t *x, const int8_t *codes)
{
    hwt_pot_add_outer(1, 1, 64, 1, -1, 3, 5, HWT_FLOOR, 1, 2, 3, w, x, codes);
}
void code(const int16_t *w, int8_t *codes) { hwt_pot_encode(64, 3, 6, codes, w); }
"""
MULTIPLY = re.compile(r"\bv?(p?i?mul|pmadd|pdp|f?n?m(add|sub))\w*")


@pytest.mark.parametrize("cc", ["gcc", "clang"])
@pytest.mark.parametrize("level", ["-O1", "-O3", "-O3 -march=native"])
def test_the_shift_kernels_hold_no_multiplication(cc: str, level: str, tmp_path: Path) -> None:
    """Sizes are constants, so that no address takes one either; a kernel that multiplies is seen to."""
    found = {}
    multiplied = SHIFT_C.replace("hwt_pot_shift(code, x)", "code * x")
    for name, source in (("shift", SHIFT_C), ("product", multiplied)):
        (tmp_path / f"{name}.c").write_text(source)
        command = [
            cc,
            "-std=c99",
            *level.split(),
            "-I",
            shipped("fpga") / "include",
            "-c",
            f"{name}.c",
            "-o",
            f"{name}.o",
        ]
        subprocess.run(command, cwd=tmp_path, check=True)
        listing = subprocess.run(
            ["objdump", "-d", "--no-show-raw-insn", f"{name}.o"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "<row>:" in listing
        found[name] = [line for line in listing.splitlines() if MULTIPLY.search(line.partition("\t")[2])]
    assert found["shift"] == []
    assert found["product"] != []


def test_what_was_made_of_weights_goes_when_they_are_written_whoever_read_them_since() -> None:
    _, program = program_at("conv", 4, "half-up")
    found = []
    for machine in (integer.IntegerMachine(program), Interpreter(program)):
        rng = np.random.default_rng(0)
        for step in range(3):
            x, labels = program.buffers["x"], program.buffers["labels"]
            machine.memory["x"] = rng.integers(-128, 128, x.shape).astype(machine.memory["x"].dtype)
            machine.memory["labels"] = rng.integers(0, 4, labels.shape).astype(np.int32)
            machine.run("step", {}, lr=0.5, step=step)
            if isinstance(machine, integer.IntegerMachine):
                for call in walk(program.entries["step"]):
                    for ref in call.tensors.values():
                        if ref.buffer.endswith("/codes"):
                            machine.weights(ref)
        kept = (name for name, held in program.buffers.items() if held.role in ("weight", "state"))
        found.append({name: machine.memory[name] for name in kept})
    assert differences(*found) == {}
    assert moved(program, found[0]) > 0.5
