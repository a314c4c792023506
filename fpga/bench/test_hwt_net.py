"""The exported block in cocotb, by AXI models of others: weights in, samples learned, weights out.

    pip install cocotb cocotbext-axi
    python bench/test_hwt_net.py            # Icarus; SIM=... names another, none was tried

The golden values are those of vectors.hex: a head of words, then places, lanes, weights before and after,
inputs, labels, scores and losses.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

HERE = Path(__file__).resolve().parent
ID, HASH, CONTROL, STATUS, STEP, SAMPLES, ERRORS = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18
PLACE, LANE, WEIGHT = 0x20, 0x24, 0x28
ALL = 0xFFFFFFFF


@dataclass
class Golden:
    """What is given to the block, and what it must answer; words of 32 bits."""

    hash: int
    first_step: int
    late: int  # results that are held back until the next sample, or until no more is learned
    places: list[int]
    lanes: list[int]
    before: list[int]
    after: list[int]
    frames: list[list[int]]
    results: list[list[int]]


def golden() -> Golden:
    """The vectors beside this file."""
    words = [int(line, 16) for line in (HERE / "vectors.hex").read_text().split()]
    count, steps, inputs, classes = words[1:5]
    sizes = [count, count, count, count, steps * inputs, steps, steps * classes, steps]
    head = words[: len(words) - sum(sizes)]
    starts = itertools.accumulate(sizes, initial=len(head))
    places, lanes, before, after, x, labels, z, loss = (
        words[start : start + size] for start, size in zip(starts, sizes, strict=False)
    )
    return Golden(
        head[0],
        head[5],
        head[6],
        places,
        lanes,
        before,
        after,
        [[*x[s * inputs : (s + 1) * inputs], labels[s]] for s in range(steps)],
        [[*z[s * classes : (s + 1) * classes], loss[s]] for s in range(steps)],
    )


class Bench:
    """The block with a model on each of its ports."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        cocotb.start_soon(Clock(dut.aclk, 10, "ns").start())
        ports = (dut.aclk, dut.aresetn, False)
        for bus in ("s_axi", "s_axis", "m_axis"):  # the models tell every access
            logging.getLogger(f"cocotb.hwt_net.{bus}").setLevel(logging.WARNING)
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), *ports)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), *ports, byte_lanes=1)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), *ports, byte_lanes=1)

    async def reset(self) -> None:
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 24)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)

    async def write(self, address: int, word: int) -> None:
        await self.registers.write_dword(address, word & ALL)

    async def read(self, address: int) -> int:
        word: int = await self.registers.read_dword(address)
        return word

    async def load(self, vectors: Golden) -> None:
        for place, lane, weight in zip(vectors.places, vectors.lanes, vectors.before, strict=True):
            await self.write(PLACE, place)
            await self.write(LANE, lane)
            await self.write(WEIGHT, weight)
        await self.write(STEP, vectors.first_step)

    async def weights(self, vectors: Golden) -> list[int]:
        found = []
        for place, lane in zip(vectors.places, vectors.lanes, strict=True):
            await self.write(PLACE, place)
            await self.write(LANE, lane)
            found.append(await self.read(WEIGHT))
        return found

    async def train(self, vectors: Golden) -> None:
        """All samples at once: the models wait for the block, and the block for them."""
        steps = len(vectors.frames)
        await self.write(CONTROL, 1)
        for frame in vectors.frames:
            await self.source.send(AxiStreamFrame(frame))
        for step in range(steps):
            if step == steps - vectors.late:
                await self.write(CONTROL, 0)
            result = await self.sink.recv()
            assert list(result.tdata) == vectors.results[step], f"step {step}"


@cocotb.test()
async def learns_what_the_program_learns(dut: Any) -> None:
    """Every score, loss and weight."""
    bench, vectors = Bench(dut), golden()
    await bench.reset()
    assert await bench.read(ID) == 0x48575431
    assert await bench.read(HASH) == vectors.hash
    await bench.load(vectors)
    await bench.train(vectors)
    assert await bench.weights(vectors) == vectors.after
    assert await bench.read(SAMPLES) == len(vectors.frames)
    assert await bench.read(STEP) == (vectors.first_step + len(vectors.frames)) & ALL


@cocotb.test()
async def waits_and_wrong_frames_change_no_value(dut: Any) -> None:
    """Both streams stop at random; a frame that is too short goes before all others."""
    bench, vectors = Bench(dut), golden()
    chance = random.Random(0)
    await bench.reset()
    await bench.load(vectors)
    bench.source.set_pause_generator(chance.random() < 0.4 for _ in itertools.count())
    bench.sink.set_pause_generator(chance.random() < 0.4 for _ in itertools.count())
    await bench.source.send(AxiStreamFrame(vectors.frames[0][:1]))
    await bench.train(vectors)
    assert await bench.weights(vectors) == vectors.after
    assert await bench.read(ERRORS) == 1
    assert await bench.read(STATUS) == 2


def main() -> int:
    """Build the sources of the list and run the tests of this file; 1 when one fails."""
    runner = get_runner(os.environ.get("SIM", "icarus"))
    sources = [HERE.parent / name for name in (HERE.parent / "hwt_net.f").read_text().split()]
    built = {"hdl_toplevel": "hwt_net", "build_dir": HERE / "sim_build"}
    runner.build(sources=sources, timescale=("1ns", "1ps"), **built)
    results = runner.test(test_module="test_hwt_net", test_dir=HERE, **built)
    count, failed = get_results(results)
    return int(count == 0 or failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
