"""Faults of one line in kernels, lowering and printer: each compiles, and each gives other numbers.

The judge is the interpreter on the sound program, which tests/differential/test_programs.py holds to a
step written by hand.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import hwtrain.export.run as run_module
from hwtrain.cards import Card
from hwtrain.export.host_c import HostC, host_c
from hwtrain.export.run import InterpretRunner, Memory, NativeRunner
from hwtrain.layers.dense import Dense
from hwtrain.layers.relu import Relu
from hwtrain.layers.sigmoid import Sigmoid
from hwtrain.net import Net
from hwtrain.program.ir import Listing, Program
from hwtrain.program.lower import lower
from hwtrain.rules.base import Rule
from hwtrain.rules.speculative import Speculative
from hwtrain.shipped import shipped
from tests.helpers import place_of
from tests.programs import O1, bound_on, differences, fixed_card, loss_of, samples, small_program, trained
from tests.toy_rules import SettlingBound, SpeculatingBound, Toy

STEPS = 20


def sigmoid_net(loss: str) -> Net:
    return Net({"fc1": Dense(12, 9), "bend": Sigmoid(), "fc2": Dense(9, 4)}, loss_of(loss))


def toy_net() -> Net:
    layers = {"fc1": Dense(12, 9, bias=False), "fc2": Dense(9, 4, bias=False)}
    return Net(layers, loss_of("squared-error"))


def whole_net(hidden: int = 15) -> Net:
    return Net({"fc1": Dense(12, hidden), "bend": Relu(), "fc2": Dense(hidden, 4)}, loss_of("squared-error"))


SUBJECTS: dict[str, tuple[Net | str, str | Card, Rule | None, float, float]] = {
    "cnn32": ("cnn", "float32", None, 1, 0.25),
    "cnn16": ("cnn", "fixed16", None, 1, 0.25),
    "cnn8": ("cnn", "fixed8", None, 3, 0.25),
    "shift": ("mlp", "shift4", None, 1, 0.01),
    "mse32": (sigmoid_net("mse"), "float32", None, 1, 0.25),
    "softmax2-32": (sigmoid_net("softmax2"), "float32", None, 1, 0.25),
    "even": (whole_net(), fixed_card((8, 4, 6), (8, 5), "half-even", "half-up"), None, 1, 0.25),
    "floor": (whole_net(), fixed_card((16, 8, 10), (8, 6), "floor", "half-even"), None, 4, 0.25),
    "settling": (toy_net(), "fixed16", Toy(SettlingBound), 1, 0.25),
    "speculating": (toy_net(), "float32", Toy(SpeculatingBound), 1, 0.25),
    "shadow": (whole_net(), "fixed16", Speculative(shadow=True, threshold=3.0), 1, 0.25),
    # 291 columns: 16 vectors at once, two, and 3 values
    "one32": (whole_net(291), "float32", Speculative(mode="delayed"), 1, 0.01),
    "sweep": (whole_net(), "float32", Speculative(mode="fused-sweep"), 1, 0.25),
    "warm": (whole_net(), "fixed16", Speculative(warm_up=3, threshold=9.0), 1, 0.25),
    "lookahead": (whole_net(), "fixed16", Speculative(mode="lookahead"), 1, 0.25),
}


@cache
def subject(name: str) -> tuple[Program, Memory, Memory]:
    """A program, its samples, and what the interpreter makes of them."""
    net, device, rule, scale, lr = SUBJECTS[name]
    if isinstance(net, str):
        assert isinstance(device, str)
        bound, program = small_program(net, device)
    else:
        bound = bound_on(net, device, rule)
        program = lower(bound, (12,), bound.batch or 2)
    given = samples(bound, program, STEPS, scale=scale)
    return program, given, trained(InterpretRunner(program), given, STEPS, lr=lr)


# ---------------------------------------------------------------- kernels: file, function, line, fault, judge

KERNELS = [
    ("math", "hwt_exp", "1.0 / 120.0", "1.0 / 121.0", "cnn32"),
    ("math", "hwt_exp", "+ 127)", "+ 126)", "cnn32"),
    ("math", "hwt_log", "2.0 / 5.0", "2.0 / 5.1", "cnn32"),
    ("math", "hwt_tanh", "a < 0.25f", "a < 0.5f", "cnn32"),
    ("math", "hwt_tanh", "a + a * square * p", "a - a * square * p", "cnn32"),
    ("float32", "hwt_tree", "quarter[0] + quarter[2]", "quarter[0] + quarter[1]", "cnn32"),
    ("float32", "hwt_dense_lanes", "(x + i)", "(x)", "one32"),
    ("float32", "hwt_dense_row", "k < HWT_AT_ONCE", "k < HWT_AT_ONCE - 1", "one32"),
    ("float32", "hwt_dense_row", "i += HWT_LANES)", "i += 2 * HWT_LANES)", "one32"),
    ("float32", "hwt_dense_row", "& (HWT_LANES - 1)", "& (HWT_LANES - 2)", "cnn32"),
    ("float32", "hwt_dense_row", "factor * before[k]", "factor * before[0]", "sweep"),
    ("float32", "hwt_dense_add_rows", "scale * d[o] != 0.0f", "scale * d[o] > 0.0f", "one32"),
    ("float32", "hwt_dense_sweep", "0.0f, 0, x", "0.0f, 0, before", "sweep"),
    ("float32", "hwt_dense_read(", "(n % groups)", "(n / batch)", "cnn32"),
    ("float32", "hwt_dense_read_t", "* error[o]", "* error[out - 1 - o]", "cnn32"),
    ("float32", "hwt_dense_add_outer", "k < pairs", "k < pairs - 1", "cnn32"),
    ("float32", "hwt_dense_add_outer", "line / out", "line % groups", "cnn32"),
    ("float32", "hwt_tanh_input_gradient", "1.0f - y[i] * y[i]", "1.0f - y[i]", "cnn32"),
    ("float32", "hwt_pool_average_forward", "(float)(size * size)", "(float)size", "cnn32"),
    ("float32", "hwt_softmax_ce_forward", "z[labels[n]] - largest", "z[labels[n]]", "cnn32"),
    ("float32", "hwt_softmax_ce_input_gradient", "- 1.0f", "- 0.5f", "cnn32"),
    ("float32", "hwt_sigmoid_forward", "hwt_exp(-x[i])", "hwt_exp(x[i])", "mse32"),
    ("float32", "hwt_mse_input_gradient", "2.0 / classes", "1.0 / classes", "mse32"),
    ("float32", "hwt_mse_forward", "/ (float)classes", "/ (float)batch", "mse32"),
    ("float32", "hwt_softmax2_forward", "/ 0.69314718f", "* 1.44269504f", "softmax2-32"),
    (
        "image",
        "hwt_im2col_im2col",
        "position % across * stride - padding",
        "position % across * stride",
        "cnn32",
    ),
    ("image", "hwt_im2col_im2col", "width + w] : (hwt_signal)0", "width + w] : (hwt_signal)1", "cnn16"),
    ("image", "hwt_im2col_col2im", "+= *columns", "= *columns", "cnn16"),
    ("image", "hwt_pool_max_forward", "> x[best]", ">= x[best]", "cnn8"),
    ("image", "hwt_pool_max_input_gradient", "image++, y += height * width", "image++", "cnn16"),
    ("image", "hwt_layout_channels_first", "channels + c]", "channels + channels - 1 - c]", "cnn16"),
    ("image", "hwt_layout_channels_last", "positions + p]", "positions + positions - 1 - p]", "cnn16"),
    ("fixed", "hwt_requantize(", "(int64_t)1 << (shift - 1);", "((int64_t)1 << (shift - 1)) - 1;", "cnn8"),
    ("fixed", "hwt_requantize(", "(hwt_shift_right(value, shift) & 1)", "1", "even"),
    ("fixed", "hwt_shift_right", "-1 - ((-1 - value) >> shift)", "-(-value >> shift)", "floor"),
    ("fixed", "hwt_saturate", "? -high - 1 : value", "? -high : value", "cnn8"),
    ("fixed", "hwt_requantize(", "1 << shift) - 1));", "1 << (shift - 1)) - 1));", "cnn16"),
    ("fixed", "hwt_dense_read_t", "d[sample * out + o]", "d[sample * out + out - 1 - o]", "cnn16"),
    ("fixed", "hwt_dense_read(", "i < in_;", "i < in_ - 1;", "cnn16"),
    (
        *("fixed", "hwt_fixed_propose_outer", "hwt_saturate(w[element] + change, HWT_WEIGHT_BITS)"),
        *("(w[element] + change)", "floor"),
    ),
    ("fixed", "hwt_fixed_propose_outer", "key1, step, 0)", "key1, 0, step)", "cnn16"),
    ("fixed", "hwt_fixed_propose_outer", "(uint32_t)element, 0)", "(uint32_t)i, 0)", "cnn16"),
    ("fixed", "hwt_fixed_propose_outer", "? shift + rate :", "? shift - rate :", "cnn16"),
    ("fixed", "hwt_bias_add", "HWT_HALF_UP", "HWT_FLOOR", "shift"),
    ("fixed", "hwt_pot_encode", "else if (leading > 0)", "else if (leading > 99)", "shift"),
    ("fixed", "hwt_pot_encode", "power == -1", "power == -2", "shift"),
    ("fixed", "hwt_pot_shift", "(hwt_acc)-shifted : shifted", "shifted : shifted", "shift"),
    ("fixed", "hwt_pot_read_t", "o * in_ + i]", "o * in_ + in_ - 1 - i]", "shift"),
    ("fixed", "hwt_pool_average_forward", "HWT_HALF_UP", "HWT_FLOOR", "cnn16"),
    ("fixed", "hwt_pool_average_input_gradient", "HWT_HALF_UP", "HWT_FLOOR", "cnn16"),
    ("fixed", "hwt_squared_error_forward", "frac + 1, 32", "frac, 32", "even"),
    ("fixed", "hwt_squared_error_forward", "frac - error_frac", "frac - error_frac + 1", "even"),
    ("fixed", "hwt_softmax2_power", "fraction * 32", "fraction * 31", "cnn16"),
    ("fixed", "hwt_softmax2_forward", "(place - 5)", "(place - 4)", "cnn16"),
    ("fixed", "hwt_softmax2_forward", "place - 15", "place - 14", "cnn16"),
    (
        "threefry",
        "hwt_threefry_words(",
        "24) HWT_ADD_KEY(k1, k2, 4u)",
        "23) HWT_ADD_KEY(k1, k2, 4u)",
        "cnn16",
    ),
    ("threefry", "hwt_threefry_words(", "5u", "4u", "cnn16"),
    ("vector", "#define HWT_SUM(sum) ((", "hwt_saturate(sum, HWT_SIGNAL_BITS)", "(sum)", "cnn8"),
    ("vector", "hwt_vector_subtract", "a[i] - b[i]", "b[i] - a[i]", "settling"),
    ("slots", "hwt_slots_near", "total < limit", "total > limit", "shadow"),
    ("slots", "hwt_slots_put", "rows[b * n + i]", "rows[b * n]", "shadow"),
    ("slots", "hwt_slots_take", "places[b] * n + i", "places[b] * n", "shadow"),
    ("slots", "hwt_slots_tally", "best == labels[b]", "best != labels[b]", "shadow"),
    ("slots", "hwt_slots_warm", "*left -= *left > 0", "*left -= 0", "warm"),
    ("slots", "hwt_slots_flip", "^= 1", "|= 1", "shadow"),
    ("fixed", "hwt_fixed_correct", "(int64_t)d[o] * overlap;", "overlap;", "lookahead"),
    ("vector", "hwt_vector_gate(", "!= 0", "== 0", "lookahead"),
    ("vector", "hwt_vector_within", "total < limit", "total > limit", "speculating"),
    ("vector", "hwt_vector_within", "gap < 0 ? -gap : gap", "gap", "speculating"),
    ("vector", "hwt_relu_input_gradient", "y[i] > 0", "y[i] >= 0", "cnn16"),
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWTRAIN_CACHE", str(tmp_path / "cache"))


def assert_caught(name: str, runner: NativeRunner) -> None:
    """The faulty C runs, and some number is another."""
    _, given, oracle = subject(name)
    assert differences(trained(runner, given, STEPS, lr=SUBJECTS[name][4]), oracle), "survived"


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_sound_program_passes(name: str) -> None:
    program, given, oracle = subject(name)
    assert not differences(
        trained(NativeRunner(program, flags=O1), given, STEPS, lr=SUBJECTS[name][4]), oracle
    )


def test_faults_stand_where_they_are_put() -> None:
    for file, function, line, _, _ in KERNELS:
        place_of((shipped("fpga") / "include" / f"hwt_{file}.h").read_text(), function, line)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "function", "line", "fault", "name"), KERNELS)
def test_faulty_kernel_is_caught(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    function: str,
    line: str,
    fault: str,
    name: str,
) -> None:
    shutil.copytree(shipped("fpga") / "include", tmp_path / "include")
    header = tmp_path / "include" / f"hwt_{file}.h"
    text = header.read_text()
    place = place_of(text, function, line)
    header.write_text(text[:place] + fault + text[place + len(line) :])
    monkeypatch.setattr(run_module, "shipped", lambda _: tmp_path)
    assert_caught(name, NativeRunner(subject(name)[0], flags=O1))


# ---------------------------------------------------------------- lowering: a fault in the list of calls

Step = list[Any]


def calls(nodes: Step, kernel: str) -> Iterator[Any]:
    """Every call of a kernel, whatever it stands in."""
    for node in nodes:
        if node["kind"] == "call":
            if node["kernel"] == kernel:
                yield node
        else:
            parts = [
                node.get("body", []),
                node.get("then", []),
                node.get("otherwise", []),
                node.get("join", []),
            ]
            for body in (*parts, *node.get("bodies", [])):
                yield from calls(body, kernel)


def first(nodes: Step, kernel: str) -> Any:
    return next(calls(nodes, kernel))


def drop_last_write(step: Step) -> None:
    del step[max(at for at, node in enumerate(step) if node["kernel"] == "dense.add_outer")]


def drop_encode(step: Step) -> None:
    step.remove(first(step, "pot.encode"))


def drop_copy(step: Step) -> None:
    step.remove(first(step, "vector.copy"))


def swap(kernel: str, one: str, other: str) -> Callable[[Step], None]:
    def fault(step: Step) -> None:
        tensors = first(step, kernel)["tensors"]
        tensors[one], tensors[other] = tensors[other], tensors[one]

    return fault


def double_the_skip(step: Step) -> None:
    tensors = first(step, "vector.add")["tensors"]
    tensors["b"] = tensors["a"]


def change(kernel: str, number: str, value: Any) -> Callable[[Step], None]:
    def fault(step: Step) -> None:
        assert first(step, kernel)["numbers"][number] != value
        first(step, kernel)["numbers"][number] = value

    return fault


def halve_rate(step: Step) -> None:
    first(step, "dense.add_outer")["numbers"]["scale"]["factor"] /= 2


def turn_rate(step: Step) -> None:
    first(step, "fixed.add_outer")["numbers"]["scale"]["factor"] *= -1


def write_too_early(step: Step) -> None:
    at = next(at for at, node in enumerate(step) if node["kernel"] == "dense.read_t")
    name = step[at]["tensors"]["w"]["buffer"]
    write = next(node for node in calls(step, "dense.add_outer") if node["tensors"]["w"]["buffer"] == name)
    step.remove(write)
    step.insert(at, write)


def write_elsewhere(step: Step) -> None:
    one, other = [
        node for node in calls(step, "fixed.add_outer") if node["tensors"]["w"]["shape"] == [1, 4, 1]
    ][:2]
    one["tensors"]["w"] = other["tensors"]["w"]


def one_turn_less(step: Step) -> None:
    next(node for node in step if node["kind"] == "repeat")["times"] -= 1


def unroll_nothing(step: Step) -> None:
    at = next(at for at, node in enumerate(step) if node["kind"] == "repeat")
    del step[at]


def swap_branches(step: Step) -> None:
    (node,) = (node for node in step[0]["join"] if node["kind"] == "when")
    node["then"], node["otherwise"] = node["otherwise"], node["then"]


def drop_section(step: Step) -> None:
    step[0]["bodies"][1] = ()


LOWERING: list[tuple[Callable[[Step], None], str]] = [
    (drop_last_write, "cnn32"),
    (drop_encode, "shift"),
    (drop_copy, "settling"),
    (swap("tanh.input_gradient", "d", "y"), "cnn32"),
    (swap("relu.input_gradient", "d", "y"), "cnn16"),
    (double_the_skip, "cnn32"),
    (halve_rate, "cnn32"),
    (turn_rate, "cnn16"),
    (write_too_early, "cnn32"),
    (write_elsewhere, "cnn16"),
    (change("fixed.requantize", "shift", 12), "cnn16"),
    (change("fixed.requantize", "rounding", "floor"), "cnn16"),
    (change("fixed.add_outer", "rounding", "half-up"), "cnn16"),
    (change("fixed.add_outer", "step", 0), "cnn16"),
    (change("fixed.add_outer", "key1", 7), "cnn16"),
    (change("fixed.add_outer", "shift", 11), "cnn16"),
    (change("softmax2.forward", "error_frac", 12), "cnn16"),
    (change("im2col.im2col", "padding", 0), "cnn16"),
    (change("bias.ones", "one", 16), "cnn8"),
    (change("pot.encode", "low", 5), "shift"),
    (one_turn_less, "settling"),
    (unroll_nothing, "settling"),
    (swap_branches, "speculating"),
    (drop_section, "speculating"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "name"), LOWERING)
def test_faulty_lowering_is_caught(spoil: Callable[[Step], None], name: str) -> None:
    program = subject(name)[0]
    listing = program.listing.model_dump(mode="json")
    spoil(listing["entries"]["step"])
    faulty = Program(Listing.model_validate_json(json.dumps(listing)), program.contents)
    assert faulty.listing != program.listing
    assert_caught(name, NativeRunner(faulty, flags=O1))


# ---------------------------------------------------------------- printer: pattern, fault, subject

PRINTER = [
    (r"(\(float \*\)buffers\[\d+\]) \+ k \* \d+", r"\1", "cnn32"),  # every run on the first sample
    (r"\(k - 1\) \*", "k *", "sweep"),  # the input of now instead of the one before
    (r"\(n - 1\) \*", "0 *", "sweep"),
    (r"step \+ \(uint32_t\)k", "step", "cnn16"),
    (r"(float \*const t\d+ = \(float \*\)\(arena \+ )[1-9]\d*", r"\g<1>0", "cnn32"),
    (r"0x1\.0+p-1 \* lr", "0x1.8p-1 * lr", "cnn32"),
    (r"-0x1\.0+p-1 \* lr", "-lr", "cnn32"),
    (r"\n *hwt_dense_add_outer\(.*;", "", "cnn32"),
    (r"\n *hwt_vector_copy\(.*;", "", "settling"),
    (r"-1, lr \+ 1", "-1, lr", "cnn16"),
    (r"-1, lr", "1, lr", "cnn16"),
    (r"HWT_STOCHASTIC", "HWT_HALF_UP", "cnn16"),
    (r"HWT_HALF_EVEN", "HWT_HALF_UP", "even"),
    (r"(hwt_relu_input_gradient\(\d+), (t\d+), (t\d+)", r"\1, \3, \2", "cnn16"),
    (r"(hwt_vector_subtract\(\d+), (\w+), (?!\2)(\w+)", r"\1, \3, \2", "settling"),
    (r"turn1 < 5", "turn1 < 4", "settling"),
    (r"if \(\*(t\d+)\)", r"if (!*\1)", "speculating"),
    (r"} else {", "} {", "speculating"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "fault", "name"), PRINTER)
def test_faulty_printer_is_caught(
    monkeypatch: pytest.MonkeyPatch, pattern: str, fault: str, name: str
) -> None:
    def faulty(program: Program, threads: int = 1, *, keep_steps: int = 0) -> HostC:
        printed = host_c(program, threads, keep_steps=keep_steps)
        source, found = re.subn(pattern, fault, printed.source, count=0 if "buffers" in pattern else 1)
        assert found
        return replace(printed, source=source)

    monkeypatch.setattr(run_module, "host_c", faulty)
    assert_caught(name, NativeRunner(subject(name)[0], flags=O1))
