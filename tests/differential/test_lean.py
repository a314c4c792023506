"""A program in fewer bytes makes the bits of the one that it was made from, in NumPy and in C."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable

import numpy as np
import pytest

from hwtrain.export.run import InterpretRunner, NativeRunner
from hwtrain.kernels import conv
from hwtrain.layers.batch_norm2d import BatchNorm2d
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.global_avg_pool2d import GlobalAvgPool2d
from hwtrain.layers.relu import Relu
from hwtrain.native import build
from hwtrain.net import Net, Residual
from hwtrain.program import cycles
from hwtrain.program import lean as lean_module
from hwtrain.program.ir import Call, Program, Ref, refs
from hwtrain.program.lean import lean
from hwtrain.program.lower import lower
from hwtrain.program.plan import plan
from hwtrain.shipped import shipped
from hwtrain.sim.base import mcu_folder
from tests.programs import O1, bound_on, differences, moved, samples, small_cnn, trained

PORTABLE = (*O1, "-std=c11", "-DHWT_PORTABLE")
KEPT = ("fp16", "fp16-compensated", "fp16-stochastic", "fp16-nearest")


def norm_net(_: str) -> Net:
    """Norms of both kinds, a stride, groups, a depthwise and a pointwise filter, more rows than a strip."""
    inner = {
        "c2": Conv2d(4, 4, 3, padding=1, bias=False),
        "n2": BatchNorm2d(4),
        "a2": Relu(),
        "c3": Conv2d(4, 4, 3, padding=1, groups=2),
        "n3": BatchNorm2d(4, frozen=True),
    }
    return Net(
        {
            "c1": Conv2d(2, 4, 3, padding=1, stride=2),
            "n1": BatchNorm2d(4),
            "a1": Relu(),
            "block": Residual(inner),
            "a3": Relu(),
            "depth": Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
            "nd": BatchNorm2d(4),
            "point": Conv2d(4, 70, 1),
            "mean": GlobalAvgPool2d(),
            "flat": Flatten(),
            "fc": Dense(70, 4),
        }
    )


NETS: dict[str, tuple[Callable[[str], Net], tuple[int, int, int]]] = {
    "cnn": (small_cnn, (2, 8, 8)),
    "norm": (norm_net, (2, 17, 17)),
    "even": (norm_net, (2, 16, 16)),
}


def made_lean(net: str, device: str, batch: int, native: bool, flags: tuple[str, ...] = ()) -> None:
    make, shape = NETS[net]
    bound = bound_on(make(device), device)
    whole = lower(bound, shape, batch)
    less = lean(whole)
    given = samples(bound, whole, 3)
    expected = trained(InterpretRunner(whole), given, 3)
    assert np.isfinite(expected["fc.weight/weights"]).all()
    assert moved(whole, expected) > 0.4  # rounding to the nearest half loses small changes
    runner = (
        InterpretRunner(less) if not native else NativeRunner(less, **({"flags": flags} if flags else {}))
    )
    assert differences(trained(runner, given, 3), expected) == {}
    kernels = {node.kernel for node in less.entries["step"] if isinstance(node, Call)}
    assert not {name for name in kernels if name.split(".")[0] in ("im2col", "layout")}
    if net != "cnn":  # which is so small that the scratch is larger than its patches
        assert plan(less).size < plan(whole).size


@pytest.mark.parametrize(("net", "device", "batch"), [("norm", KEPT[2], 2), ("even", KEPT[0], 1)])
def test_fewer_bytes_are_the_same_numbers(net: str, device: str, batch: int) -> None:
    made_lean(net, device, batch, native=False)


@pytest.mark.slow
@pytest.mark.parametrize(("net", "device"), [*zip(("cnn", "norm", "even", "norm"), KEPT, strict=True)])
def test_every_way_of_learning_in_fewer_bytes(net: str, device: str) -> None:
    made_lean(net, device, 1, native=True)
    made_lean(net, device, 2, native=True, flags=PORTABLE)


def test_overlaps_add_up_position_by_position() -> None:
    """Of 2^13, -2^13 and 2^-12, in float32, the order decides what is left."""
    source = """
#include "hwt_conv16.h"
void gradient(int32_t scratch, const hwt_half *w, const hwt_half *d, hwt_half *y, float *sums)
{
    hwt_conv_input_gradient(1, 1, 9, 1, 1, 25, 1, 5, 5, scratch, 3, 1, 1, w, d, y, sums);
}
"""
    library = build(source, (mcu_folder() / "src", shipped("fpga") / "include"), PORTABLE)
    w, d = np.zeros((1, 1, 9), np.float16), np.ones((1, 1, 25), np.float16)
    w[0, 0, :3] = 2.0**-12, 2.0**13, -(2.0**13)  # the last tap is the first position
    numbers = {
        "channels": 1,
        "height": 5,
        "width": 5,
        "filter_": 3,
        "stride": 1,
        "padding": 1,
        "scratch": 999,
    }
    expected, _ = conv.input_gradient.mean({"w": w, "d": d}, numbers)
    assert (expected[0, 0, :4, 1:4] == 2.0**-12).all()  # taps the other way round would leave nothing
    y, sums = np.ones((1, 1, 5, 5), np.float16), np.ones(999, np.float32)
    library.gradient(999, *(ctypes.c_void_p(part.ctypes.data) for part in (w, d, y, sums)))
    assert (y == expected).all()


def made(kernel: str, tensors: dict[str, str], result: str) -> Call:
    shape = (8,)
    given = {name: Ref(buffer=of, shape=shape) for name, of in tensors.items()}
    return Call(kernel=kernel, tensors=given, results=(Ref(buffer=result, shape=shape),))


def with_step(program: Program, calls: list[Call]) -> Program:
    """A program of calls on vectors of eight halves; the last result goes out."""
    roles = {"x": "input", calls[-1].results[0].buffer: "output"}
    first = program.buffers["x"].model_copy(update={"shape": (8,)})
    buffers = {
        ref.buffer: first.model_copy(
            update={"role": roles.get(ref.buffer, "temp"), "windowed": ref.buffer in roles}
        )
        for ref in refs(tuple(calls))
    }
    listing = program.listing.model_copy(update={"buffers": buffers, "entries": {"step": tuple(calls)}})
    return Program(listing, {})


def test_a_result_lies_over_nothing_that_is_read_again() -> None:
    bound = bound_on(small_cnn("fp16"), "fp16")
    program = with_step(
        lower(bound, (2, 8, 8), 1),
        [
            made("relu.forward", {"x": "x"}, "a"),  # not over the input
            made("vector.add", {"a": "a", "b": "a"}, "b"),  # not over a: the last call reads it
            made("tanh.forward", {"x": "b"}, "c"),  # over b
            made("vector.add", {"a": "c", "b": "a"}, "z"),  # not into a temporary
        ],
    )
    assert [call.results[0].buffer for call in lean(program).entries["step"]] == ["a", "b", "b", "z"]  # type: ignore[union-attr]


def test_the_passes_and_the_kernels_keep_one_set_of_sizes() -> None:
    headers = "".join(file.read_text() for file in (shipped("devices") / "mcu" / "src").glob("*.h"))
    sizes = {name: int(value) for name, value in re.findall(r"#define HWT_(\w+) (\d+)", headers)}
    for module, names in (
        (lean_module, {"POSITIONS": "POSITIONS"}),
        (conv, {"ROWS": "CONV_ROWS", "CHUNK": "CHUNK"}),
        (cycles, {"STRIP_ROWS": "STRIP_ROWS", "STRIP_COLUMNS": "STRIP_COLUMNS"}),
    ):
        for ours, theirs in names.items():
            assert getattr(module, ours) == sizes[theirs]
