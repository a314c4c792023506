"""An exported RTL folder beside the interpreter: Verilator runs it through its AXI ports, bit for bit.

Scores and losses of every step are compared while it learns, and all weights at the end. Weights are loaded
once, before the first step. The same steps run twice: with streams that never wait, for the cycles, and with
stalls and wrong frames at random.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors

from hwtrain.arith.fixed import limits
from hwtrain.errors import ProgramError, RunError
from hwtrain.export.rtl import (
    Mode,
    RtlNet,
    build_hash,
    cycles,
    rtl_net,
    scores,
    speculative_cycles,
    weights_in_order,
)
from hwtrain.export.run import Memory
from hwtrain.program.interpret import Interpreter
from hwtrain.program.ir import Call, Entry, Program, load_program, walk
from hwtrain.sim import verilator
from hwtrain.strict_toml import Strict

STALL_PERCENT = 40
TIMEOUT_S = 3600.0


class RtlSettings(Strict):
    """rtl.json of an exported folder: what else its block depends on."""

    format: Literal[1] = 1
    lanes: int
    lr: float
    first_step: int = 0


@dataclass(frozen=True)
class Cosim:
    """What was compared. ``hits`` and ``misses`` are of mode ``speculative``; the block counts them, too.

    ``ends`` are lowest and highest code of everything that a step rounds and of all weights it changes, each
    by its place in the program; ``ends_reached`` are those at which some value stood during the steps.

    ``cycles_per_step`` is measured, from the last result of the first step to that of the last (in mode
    ``lookahead`` to that before, since the last is not pushed out by a sample); ``model`` is what
    hwtrain.export.rtl.cycles says; ``changed`` is the share of weights that learning changed.
    """

    steps: int
    compared: int
    mismatches: int
    hits: int
    misses: int
    cycles_per_step: float
    model: float
    first_wrong: int
    wrong_frames: int
    changed: float
    ends: int
    ends_reached: int
    mode: Mode


def exported(folder: Path) -> tuple[Program, RtlSettings, list[Path]]:
    """The program of an exported RTL folder, what else its block depends on, and its sources but for the top.

    Raises:
        HwtrainError: no such folder.
    """
    try:
        settings = RtlSettings.model_validate_json((folder / "rtl.json").read_text())
    except (OSError, ValueError):
        raise no_export(folder) from None
    return load_program(folder), settings, sorted((folder / "rtl").glob("*.sv"))


def no_export(folder: Path) -> RunError:
    """The answer to a folder that is none."""
    return RunError(f"{folder}: no RTL export: write one with hwtrain export RUN --to rtl --out DIR")


def opened(folder: Path, steps: int) -> tuple[Program, RtlNet, list[Path], Memory, RtlSettings]:
    """What ``simulate`` needs of an exported RTL folder, its samples over and over for so many steps.

    Raises:
        HwtrainError: no such folder.
    """
    program, settings, sources = exported(folder)
    try:
        samples = read_tensors((folder / "samples.safetensors").read_bytes())
    except (OSError, SafetensorError):
        raise no_export(folder) from None
    net = rtl_net(program, settings.lanes, settings.lr)
    if steps < 2 + net.late:
        raise ProgramError(f"steps = {steps}: at least {2 + net.late}")
    x, labels = (np.resize(samples[name], (steps, *samples[name].shape[1:])) for name in ("x", "labels"))
    sources = [folder / "hwt_net.sv", *sorted((folder / "verify").glob("*.sv")), *sources]
    return program, net, sources, {"x": x, "labels": labels}, settings


def cosim(folder: Path, steps: int = 1000) -> Cosim:
    """Run the RTL of a folder for so many steps, over its samples again and again.

    Raises:
        HwtrainError: no such folder, or a tool that is missing or refuses it.
    """
    program, net, sources, samples, settings = opened(folder, steps)
    return simulate(program, net, sources, folder / "cosim.cpp", samples, settings)


def simulate(
    program: Program,
    net: RtlNet,
    sources: list[Path],
    harness: Path,
    samples: Memory,
    settings: RtlSettings,
    optimize: str = "-O2",
    stalls: tuple[int, ...] = (STALL_PERCENT,),
) -> Cosim:
    """The steps of these samples in RTL and in the interpreter; ``optimize`` is the C++ compiler's.

    They run once without stalls, and once with each of these percentages.
    """
    simulation = verilator.build(sources, "hwt_net", harness, optimize)
    words, changed, outcomes, ends = golden(program, net, samples, settings)
    hits = outcomes.count(0)
    misses = len(outcomes) - hits
    steps = len(samples["x"])
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "vectors.bin"
        file.write_bytes(words.astype("<i4").tobytes())
        for stall in (0, *stalls):
            done = verilator.run(simulation, [str(file), str(stall), "1"], TIMEOUT_S)
            numbers = done.stdout.split()
            if done.returncode not in (0, 1) or len(numbers) != 8:
                said = done.stdout.strip() or done.stderr.strip()[:200] or f"exit {done.returncode}"
                raise ProgramError(f"the simulated RTL does not finish: {said}")
            found.append([int(number) for number in numbers])
    free = found[0]
    wrong = [run[4] for run in found if run[4] >= 0]
    miscounted = sum(run[6] != hits or run[7] != misses for run in found)
    learned = outcomes[:-1]  # the last result comes before its step is over
    model = float(cycles(net))
    if learned:
        model = sum(speculative_cycles(net)[outcome] for outcome in learned) / len(learned)
    return Cosim(
        steps=steps,
        compared=sum(run[1] + 2 * bool(outcomes) for run in found),
        mismatches=sum(run[2] for run in found) + miscounted,
        hits=hits,
        misses=misses,
        cycles_per_step=free[3] / (steps - 1 - net.late),
        model=model,
        first_wrong=min(wrong, default=-1),
        wrong_frames=sum(run[5] for run in found),
        changed=changed,
        ends=len(ends),
        ends_reached=sum(ends),
        mode=net.mode,
    )


def vectors(
    program: Program, net: RtlNet, samples: Memory, settings: RtlSettings
) -> tuple[NDArray[np.uint32], float]:
    """What the harness reads, and the share of weights that the steps changed; both by the interpreter."""
    return golden(program, net, samples, settings)[:2]


class _Watched(Interpreter):
    """The interpreter; ``reached`` says of every call that clamps whether it came to either end of codes."""

    _CLAMPED: ClassVar = {"fixed.requantize": "", "fixed.add_outer": "w", "fixed.propose_outer": "into"}

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        calls = [call for call in walk(program.entries["step"]) if call.kernel in self._CLAMPED]
        self.reached = {(id(call), end): False for call in calls for end in (0, 1)}

    def _call(self, call: Call) -> None:
        super()._call(call)
        if (id(call), 0) in self.reached:
            written = self._CLAMPED[call.kernel]
            values = self._view(call.tensors[written] if written else call.results[0])
            bits = 8 * values.itemsize if written else self._number(call.numbers["bits"])
            for end, (code, most) in enumerate(zip(limits(bits), (values.min(), values.max()), strict=True)):
                self.reached[id(call), end] |= bool(code == most)


def golden(
    program: Program, net: RtlNet, samples: Memory, settings: RtlSettings
) -> tuple[NDArray[np.uint32], float, list[int], list[bool]]:
    """Those; of mode ``speculative`` what a sample was: 0 a hit, 1 a miss, 2 the first of its label; which
    ends of codes were reached."""
    interpreter = _Watched(program)
    before = weights_in_order(net, interpreter.memory)
    judged: list[NDArray[Any]] = []
    losses: list[int] = []

    def result(entry: Entry, loss: str) -> None:
        judged.append(interpreter.memory[scores(program, entry)].reshape(-1).astype(np.int32))
        losses.append(int(interpreter.memory[loss].reshape(-1)[0]))

    outcomes: list[int] = []
    counted = np.zeros(3, np.int64)
    for step, (x, label) in enumerate(zip(samples["x"], samples["labels"], strict=True)):
        interpreter.run(
            "step",
            {"x": x.reshape(program.buffers["x"].shape), "labels": label.reshape(1)},
            lr=settings.lr,
            step=settings.first_step + step,
        )
        if step >= net.late:
            result("step", "loss")
        if net.mode == "speculative":
            before_it, counted = counted, interpreter.memory["rule/counts"][:, :3].sum(0)
            outcomes.append(int((counted - before_it).argmax()))
    if net.late:  # the block does it when it is asked for a weight, or to learn no more
        interpreter.run("flush", {}, lr=settings.lr, step=settings.first_step + len(losses) + net.late)
        result("flush", "owed")
    after = weights_in_order(net, interpreter.memory)
    places = list(net.places())
    head = [build_hash(net), len(places), len(losses), net.layers[0].in_, net.classes, settings.first_step]
    head.append(net.late)
    parts: list[NDArray[Any]] = [
        np.array(head, np.int64),
        np.array([place for _, _, place, _ in places], np.int64),
        np.array([lane for _, _, _, lane in places], np.int64),
        before,
        after,
        samples["x"].reshape(-1),
        samples["labels"].reshape(-1),
        np.concatenate(judged),
        np.array(losses, np.int64),
    ]
    words = np.concatenate([part.astype(np.int64) for part in parts]).astype(np.uint32)
    return words, float((before != after).mean()), outcomes, list(interpreter.reached.values())
