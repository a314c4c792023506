"""What the state machines of a block do in which cycle, as Verilator saw it, beside the model of the cycles.

A module is bound to the machines (fpga/bench/hwt_phases.sv) that says when one moves; the RTL is as it is.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hwtrain.errors import ProgramError
from hwtrain.export.cosim import TIMEOUT_S, golden, opened
from hwtrain.export.rtl import Mode, RtlNet, cycles, speculative_cycles
from hwtrain.shipped import shipped
from hwtrain.sim import verilator

WATCHER = "bench/hwt_phases.sv"
OUTCOMES = ("hit", "miss", "first of its label")
_OF_MODE = {"sequential": "hwt_engine", "lookahead": "hwt_lookahead", "speculative": "hwt_speculative"}
"""Whose leaving of Idle begins a step."""
_ROWS = {
    "u_lookahead": "first layer",
    "u_forward": "engine 1",
    "u_backward": "engine 2",
    "u_engine": "engine",
}
_LAYERED = ("Forward", "Backward", "Update", "UpdateBias")
_SHOWN = 3


@dataclass(frozen=True)
class Phase:
    """An engine in one state; ``layer`` counts from 1, 0 where a state has none. Cycles of the first step."""

    row: str
    state: str
    layer: int
    start: int
    cycles: int


@dataclass(frozen=True)
class Step:
    """One sample in the block; ``outcome`` is "" but in mode ``speculative``."""

    number: int
    outcome: str
    start: int
    cycles: int
    model: int


@dataclass(frozen=True)
class Timeline:
    """Some consecutive steps and the phases in them."""

    mode: Mode
    sizes: str
    lanes: int
    steps: list[Step]
    phases: list[Phase]


@dataclass(frozen=True)
class _Move:
    """Machine and instance in a state from this cycle on."""

    machine: str
    instance: str
    cycle: int
    state: str
    layer: int


def timeline(folder: Path, steps: int) -> Timeline:
    """Of an exported RTL folder: three steps from within so many (ten or more), simulated without stalls.

    In mode ``speculative`` the first among which are a hit and a miss, if there are.

    Raises:
        HwtrainError: no such folder, or a tool that is missing or refuses it.
    """
    program, net, sources, samples, settings = opened(folder, steps)
    watched = [*sources, shipped("fpga") / WATCHER]
    simulation = verilator.build(watched, "hwt_net", folder / "cosim.cpp", "-O1")
    words, _, outcomes, _ = golden(program, net, samples, settings)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "vectors.bin"
        file.write_bytes(words.astype("<i4").tobytes())
        done = verilator.run(simulation, [str(file), "0", "1"], TIMEOUT_S)
    if done.returncode:
        raise ProgramError("the RTL differs from the interpreter: hwtrain cosim without --out says where")
    moves = _moves(done.stderr, [source for source in sources if source.stem in _OF_MODE.values()])
    return _shown(net, moves, outcomes)


def _moves(said: str, sources: list[Path]) -> list[_Move]:
    names = {}
    for source in sources:
        listed = re.search(r"typedef enum logic \[\d+:0\] \{([^}]*)\} state_e;", source.read_text())
        assert listed is not None, source
        names[source.stem] = [name.strip() for name in listed[1].split(",")]
    found = []
    for machine, path, *numbers in re.findall(r"^hwt_phases (\S+) (\S+) (\d+) (\d+) (\d+)$", said, re.M):
        cycle, state, layer = map(int, numbers)
        found.append(_Move(machine, path.split(".")[-2], cycle, names[machine][state], layer))
    return found


def _shown(net: RtlNet, moves: list[_Move], outcomes: list[int]) -> Timeline:
    """The steps that are shown, from the first one's first cycle on."""
    machine = _OF_MODE[net.mode]
    idle = _Move(machine, "", 0, "Idle", 0)  # before it moves for the first time
    begun = [
        move.cycle
        for before, move in pairwise([idle, *(m for m in moves if m.machine == machine)])
        if before.state in ("Idle", "Host") and move.state not in ("Idle", "Host")
    ]
    # Of lookahead the first step has nothing before it and the last ones no sample to read.
    first, last = 2 * net.late, len(begun) - 1 - 2 * net.late
    at = max(range(first, last - _SHOWN + 1), key=lambda n: len({*outcomes[n : n + _SHOWN]} - {2}))
    steps = []
    for n in range(at, at + _SHOWN):
        outcome = OUTCOMES[outcomes[n]] if outcomes else ""
        model = speculative_cycles(net)[outcomes[n]] if outcomes else cycles(net)
        steps.append(Step(n, outcome, begun[n] - begun[at], begun[n + 1] - begun[n], model))
    phases = []
    for instance, row in _ROWS.items():
        others = net.late * (instance == "u_engine")  # its first layer is the net's second
        for move, after in pairwise([move for move in moves if move.instance == instance]):
            start, end = max(move.cycle, begun[at]), min(after.cycle, begun[at + _SHOWN])
            if move.state != "Idle" and start < end:
                layer = move.layer + 1 + others if move.state in _LAYERED else 0
                phases.append(Phase(row, move.state, layer, start - begun[at], end - start))
    return Timeline(net.mode, net.sizes, net.lanes, steps, phases)
