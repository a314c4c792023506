"""The registers, printed from one place; the C driver on the simulated block, resets in mid-step."""

import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hwtrain.export import registers
from hwtrain.export.cosim import scores
from hwtrain.export.printers.rtl import describe
from hwtrain.export.rtl import RtlNet, header_text, module_text
from hwtrain.export.run import Memory
from hwtrain.program.interpret import Interpreter
from hwtrain.program.ir import Entry, Program
from hwtrain.shipped import shipped
from hwtrain.sim import verilator
from tests.hardware.rtl_nets import RTL, made, samples

BENCH = Path(__file__).parent / "rtl"
DRIVER = shipped("fpga") / "driver"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "rtl.md"
FROM, TO = "hwtrain/export/registers.py writes from here", "to here"


def between(text: str, new: str | None = None) -> str:
    """What stands between the marks; or the text with something else there."""
    start = text.index("\n", text.index(FROM)) + 1
    end = text.rindex("\n", 0, text.index(TO, start)) + 1
    return text[start:end] if new is None else text[:start] + new + text[end:]


def test_every_printed_form_of_the_registers_is_the_defined_one(update_golden: bool) -> None:
    inside = {shipped("fpga") / "rtl" / "hwt_registers.sv": registers.sv_text(), DOCS: registers.table_text()}
    whole = {
        DRIVER / "hwt_registers.h": registers.header_text(),
        DRIVER / "hwt_registers.rdl": registers.rdl_text(),
    }
    if update_golden:
        for file, text in inside.items():
            file.write_text(between(file.read_text(), text))
        for file, text in whole.items():
            file.write_text(text)
    for file, text in inside.items():
        assert between(file.read_text()) == text, f"{file.name}: pytest --update-golden writes it"
    for file, text in whole.items():
        assert file.read_text() == text, f"{file.name}: pytest --update-golden writes it"


def test_no_bit_of_a_register_is_defined_twice() -> None:
    addresses = [one.address for one in registers.REGISTERS]
    assert addresses == [4 * k for k in range(len(addresses))]
    for one in registers.REGISTERS:
        bits = [bit for field in one.fields for bit in range(field.low, field.low + field.bits)]
        assert len(bits) == len(set(bits))
        assert all(0 <= bit < 32 for bit in bits)


def test_the_harness_of_cosim_uses_the_same_addresses() -> None:
    text = (shipped("fpga") / "bench" / "cosim.cpp").read_text()
    named = text[text.index("static const int Id") :].split(";")[0].replace("static const int", "")
    for pair in named.split(","):
        name, value = pair.split("=")
        assert registers.ADDRESS[name.strip().lower()] == int(value, 16)


def written(net: RtlNet, folder: Path) -> Path:
    """The driver's folder as it is exported."""
    driver = folder / "driver"
    driver.mkdir()
    for file in DRIVER.iterdir():
        (driver / file.name).write_bytes(file.read_bytes())
    (driver / "hwt_net.h").write_text(header_text(net))
    return driver


def test_the_driver_is_freestanding_c99_without_a_warning(tmp_path: Path) -> None:
    _, net = made("shift4", "8-6-4", 4, 2**-7)
    driver = written(net, tmp_path)
    (driver / "main.c").write_text('#include "hwt_net.h"\nconst hwt_trainer_net *const net = &hwt_net;\n')
    flags = [
        "-std=c99",
        "-ffreestanding",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Wconversion",
        "-Werror",
        "-fsyntax-only",
    ]
    for name in ("hwt_trainer.c", "main.c"):
        subprocess.run(["gcc", *flags, driver / name], check=True, timeout=60)


def weights_by_layer(net: RtlNet, memory: Memory) -> NDArray[Any]:
    """Of each layer weights, then biases: the order of the driver's arrays."""
    names = [name for layer in net.layers for name in (layer.weights, layer.biases)]
    return np.concatenate([memory[name].reshape(-1) for name in names])


def learned(
    program: Program, net: RtlNet, taken: Memory, lr: float, resets: tuple[int, ...] = ()
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(weights at the end, scores and losses by step); before ``resets`` all but weights is forgotten."""
    machine, told = Interpreter(program), []

    def result(entry: Entry, loss: str) -> None:
        both = machine.memory[scores(program, entry)], machine.memory[loss]
        told.append(np.concatenate([values.reshape(-1) for values in both]))

    steps = len(taken["labels"])
    for first, last in pairwise((0, *resets, steps)):
        if first:
            held = {
                one: machine.memory[one] for one in machine.memory if one.endswith(("/weights", "/codes"))
            }
            machine = Interpreter(program)
            machine.memory.update(held)
        for step in range(first, last):
            x, label = taken["x"][step].reshape(program.buffers["x"].shape), taken["labels"][step].reshape(1)
            machine.run("step", {"x": x, "labels": label}, lr=lr, step=step)
            if step >= first + net.late:
                result("step", "loss")
        if net.late:
            machine.run("flush", {}, lr=lr, step=last)
            result("flush", "owed")
    return weights_by_layer(net, machine.memory), np.stack(told)


def driven(
    program: Program, net: RtlNet, lr: float, steps: int, resets: int, folder: Path, rtl: Path = RTL
) -> list[int]:
    """What the bench prints: compared, mismatches, resets; with the handshakes asserted."""
    driver = written(net, folder)
    (folder / "hwt_net.sv").write_text(module_text(net))
    taken = samples(program, steps)
    before = weights_by_layer(net, Interpreter(program).memory)
    after, straight = learned(program, net, taken, lr)
    after_reset, with_reset = learned(program, net, taken, lr, (steps // 2,))
    if net.mode == "sequential":
        assert (straight == with_reset).all()  # weights are all that a sequential block knows
        assert (after == after_reset).all()
    else:  # else a block that ignores the reset would pass
        assert (straight != with_reset).any()
    if net.mode == "speculative":
        assert (after != after_reset).any()
    frames = np.concatenate([taken["x"].reshape(steps, -1), taken["labels"].reshape(steps, 1)], axis=1)
    parts = [[steps, len(before), net.late], before, after, after_reset, frames, straight, with_reset]
    words = np.concatenate([np.asarray(part).reshape(-1) for part in parts])
    (folder / "vectors.bin").write_bytes(words.astype("<i4").tobytes())
    describe(folder, net)
    sources = [folder / "hwt_net.sv", *sorted((folder / "verify").glob("*.sv")), *sorted(rtl.glob("*.sv"))]
    program_ = verilator.build(sources, "hwt_net", BENCH / "driver_bench.cpp", "-O1", (driver,))
    done = verilator.run(program_, [str(folder / "vectors.bin"), str(resets)], 300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [int(number) for number in done.stdout.split()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("card", "net", "lanes", "mode", "lr"),
    [
        ("shift4", "9-6-4", 4, None, 2**-7),
        ("fixed16", "5-11-3", 8, None, 2**-7),
        (
            "fixed16",
            "9-6-4",
            4,
            "lookahead",
            2**-5,
        ),  # a sum corrected by what was put off is rounded otherwise
        ("shift4", "9-6-4", 4, "speculative", 2**-7),
    ],
)
def test_the_driver_trains_and_carries_weights_over_a_reset(
    card: str, net: str, lanes: int, mode: str | None, lr: float, tmp_path: Path
) -> None:
    options = {"threshold": 0.5} if mode == "speculative" else {}
    program, made_net = made(card, net, lanes, lr, mode=mode, options=options)
    compared, mismatches, resets = driven(program, made_net, lr, 100, 20, tmp_path)
    assert mismatches == 0
    weights = sum((layer.in_ + 1) * layer.out for layer in made_net.layers)
    frame = made_net.classes + 2
    assert compared == 1 + 200 * frame + 3 * (weights + 1) + 3 + 20 * 10 * frame + 80 * weights
    assert resets == 20
