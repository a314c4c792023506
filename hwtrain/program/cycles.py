"""Cycles, bytes and joules of a program on a microcontroller, from counted instructions and its card.

    compute = max(multiply-adds / FPUs, accesses / ports, instructions / issue)
    cycles  = compute + (DMA - compute, if that is more than 0) + fork and join

per kernel, the instructions being those of the busiest core. Instructions were counted on simulated cores
(devices/mcu/instructions.json, ``./run bench mcu_closed_form``): of a product (m, n, k) they are so many for
each time that a loop or branch of it runs (hwtrain/program/trips.py), of any other kernel so many a value.
DMA moves each operand of a kernel once, if all of them and the net do not fit next to the cores; it is double
buffered, so only its excess counts.

Where an entry has a ``when``, its longer way counts.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import Field

from hwtrain.cards import Constant, McuCard, card
from hwtrain.kernels import conv
from hwtrain.program.ir import Call, Entry, Node, Program, Ref, Repeat, Sections, When
from hwtrain.program.trips import Copies, Form, Term, Tiling, trips
from hwtrain.shipped import shipped
from hwtrain.strict_toml import Strict

STRIP_ROWS, STRIP_COLUMNS = 4, 64
"""Of a gradient (HWT_STRIP_ROWS and HWT_STRIP_COLUMNS of hwt_net16.h)."""
NEVER_COUNTED = {"norm.batch_forward": 40.0, "norm.batch_input_gradient": 40.0}
"""Instructions a value, guessed at about three passes; other kernels without a count take GUESS."""
GUESS = 12.0

Corner = Literal["value", "best", "worst"]
_SLOWER_IF_MORE = {"fork_join_cycles", "contention", "power_W"}


class Code(Strict):
    """What a back end's code was counted to execute."""

    rows: int
    columns: int
    depth: int
    unroll: tuple[int, ...] = ()
    copies: Copies
    products: dict[Form, list[Term]]
    kernels: dict[str, tuple[float, float]] = Field(
        description="instructions a value and of the call, by kernel"
    )

    @property
    def tiling(self) -> Tiling:
        """How its products go through their operands."""
        return Tiling(self.rows, self.columns, self.depth, self.unroll, self.copies)


@cache
def codes() -> dict[str, Code]:
    """By the name of the back end."""
    text = (shipped("devices") / "mcu" / "instructions.json").read_text()
    return {name: Code.model_validate(table) for name, table in json.loads(text).items()}


@dataclass(frozen=True)
class Cost:
    """Of one call, or of several: cycles by what takes them; ``fast`` and ``main`` are bytes."""

    kernel: str
    where: str
    macs: int
    fpu: float
    access: float
    issue: float
    dma: float
    fork: float
    fast: float
    main: float

    @property
    def cycles(self) -> float:
        """All of them."""
        return max(self.compute, self.dma) + self.fork

    @property
    def compute(self) -> float:
        """Without moving data and starting cores."""
        return max(self.fpu, self.access, self.issue)

    @property
    def limit(self) -> str:
        """What takes longest."""
        found = {"arithmetic": self.fpu, "accesses": self.access, "instructions": self.issue, "DMA": self.dma}
        return max(found, key=lambda name: found[name])


@dataclass(frozen=True)
class _Machine:
    """A card's numbers at one corner of their ranges."""

    code: Code
    cores: int
    issue: float
    fork: float
    macs: float
    access_bytes: float
    contention: float
    dma: float
    moves: bool


def machine(card: McuCard, moves: bool, corner: Corner = "value") -> _Machine:
    """The card's numbers; ``moves`` says whether operands come through DMA."""
    core = card.core

    def at(name: str, constant: Constant) -> float:
        return pick(name, constant, corner)

    main = card.memory.main
    width = None if main is None else main.bytes_per_cycle
    cores = round(core.cores.value)
    return _Machine(
        code=codes()[core.code],
        cores=cores,
        issue=at("issue_per_cycle", core.issue_per_cycle),
        fork=at("fork_join_cycles", core.fork_join_cycles) if cores > 1 else 0.0,
        macs=at("fpus", core.fpus) * at("macs_per_cycle", core.macs_per_cycle),
        access_bytes=at("access_bytes", core.access_bytes),
        contention=at("contention", core.contention),
        dma=1.0 if width is None else at("bytes_per_cycle", width),
        moves=moves and width is not None,
    )


def pick(name: str, constant: Constant, corner: Corner) -> float:
    """The constant, or the end of its range that is better or worse for the user."""
    if corner == "value":
        return constant.value
    return constant.ends[(corner == "best") != (name in _SLOWER_IF_MORE)]


def costs(program: Program, entry: Entry, on: _Machine) -> list[Cost]:
    """Of every call of an entry in order, those of a ``repeat`` as often as it runs."""
    return costs_of(program, program.entries[entry], on)


def costs_of(program: Program, nodes: tuple[Node, ...], on: _Machine) -> list[Cost]:
    """The same of some nodes."""
    found: list[Cost] = []

    def add(nodes: tuple[Node, ...], times: int, into: list[Cost]) -> None:
        for node in nodes:
            match node:
                case Call():
                    into.extend([cost_of(program, node, on)] * times)
                case Repeat():
                    add(node.body, times * node.times, into)
                case When():
                    ways: list[list[Cost]] = [[], []]
                    add(node.then, times, ways[0])
                    add(node.otherwise, times, ways[1])
                    into.extend(max(ways, key=lambda way: sum(one.cycles for one in way)))
                case Sections():
                    for body in (*node.bodies, node.join):
                        add(body, times, into)

    add(nodes, 1, found)
    return found


def part_cycles(program: Program, entry: Entry) -> list[int]:
    """Cycles of every node of an entry on a Cortex-M55, in order, at least one: what slices go by."""
    found = card("cortex-m55")
    assert isinstance(found, McuCard)
    on = machine(found, moves=False)
    costs = [sum(cost.cycles for cost in costs_of(program, (node,), on)) for node in program.entries[entry]]
    return [max(1, math.ceil(cycles)) for cycles in costs]


def cost_of(program: Program, call: Call, on: _Machine) -> Cost:
    """Of one call."""
    operands = float(sum(_nbytes(program, ref) for ref in _touched(call)))
    product = _product(call)
    instructions = accesses = macs = padded = 0.0
    if product is not None:
        form, groups, m, n, k = product
        macs = groups * m * n * k
        padded = groups * m * -(-n // on.code.columns) * on.code.columns * k
        strip = STRIP_ROWS, STRIP_COLUMNS
        if call.kernel.startswith("conv.add_"):
            strip = conv.ROWS, conv.columns_at_a_time(call.sizes())
        instructions, accesses = _split(on, form, groups, m, n, k, strip)
    for values, per_value, per_call in _elements(call, on.code):
        share = -(-values // on.cores)
        instructions += share * per_value + per_call
        accesses += operands / on.cores / on.access_bytes if product is None else 0.0
    fast = macs and accesses * on.access_bytes * on.cores
    return Cost(
        kernel=call.kernel,
        where=call.where or "loss",
        macs=int(macs),
        fpu=padded / on.macs,
        access=accesses * (1 + on.contention),
        issue=instructions / on.issue,
        dma=operands / on.dma if on.moves else 0.0,
        fork=on.fork,
        fast=fast or operands,
        main=operands if on.moves else 0.0,
    )


def uncounted(program: Program, code: Code) -> list[str]:
    """Kernels whose own instructions nobody has counted: guessed, or taken to be another kernel's."""
    calls = {node.kernel: node for nodes in program.entries.values() for node in _calls(nodes)}
    return sorted(name for name, call in calls.items() if _product(call) is None and name not in code.kernels)


def _calls(nodes: tuple[Node, ...]) -> list[Call]:
    from hwtrain.program.ir import walk

    return list(walk(nodes))


def _nbytes(program: Program, ref: Ref) -> int:
    buffer = program.buffers[ref.buffer]
    values = 1
    for side in ref.shape:
        values *= side
    return values * buffer.nbytes // buffer.size


def _product(call: Call) -> tuple[Form, int, int, int, int] | None:
    """Form, groups, m, n and k of a call that multiplies matrices."""
    known = ("dense.read", "dense.read_t", "dense.add_outer", "conv.forward", "conv.input_gradient")
    if call.kernel not in known and not _updates(call.kernel):
        return None
    sizes = call.sizes()
    groups, out, in_ = sizes["groups"], sizes["out"], sizes["in_"]
    if call.kernel.startswith("conv."):
        pairs = sizes["batch"] * sizes["positions"]
        if call.kernel == "conv.forward":
            return "nn", groups, out, pairs, in_
        return ("tn", groups, in_, pairs, out) if _back(call) else ("gradient", groups, out, in_, pairs)
    if call.kernel == "dense.read":
        return "nt", groups, sizes["batch"], out, in_
    if call.kernel == "dense.read_t":
        return "nn", groups, sizes["batch"], in_, out
    return "gradient", groups, out, in_, sizes["pairs"]


def _updates(kernel: str) -> bool:
    return kernel.startswith(("half.add_", "conv.add_"))


def _back(call: Call) -> bool:
    return call.kernel == "conv.input_gradient"


def _split(
    on: _Machine, form: Form, groups: int, m: int, n: int, k: int, strip: tuple[int, int]
) -> tuple[float, float]:
    """Instructions and accesses of the busiest core: groups, rows or columns are shared, as is best."""

    def share(number: int) -> int:
        return -(-number // on.cores)

    ways = {(share(groups), m, n), (groups, share(m), n), (groups, m, share(n))}
    return min(_one_core(on, form, *way, k, strip) for way in ways)


def _one_core(
    on: _Machine, form: Form, groups: int, m: int, n: int, k: int, strip: tuple[int, int]
) -> tuple[float, float]:
    code = on.code
    tiles = {(m, n): 1}
    if form == "gradient" and code.columns > 1:  # strip by strip, as hwt_net16.h goes through the weights
        rows, columns = Counter(_parts(m, strip[0])), Counter(_parts(n, strip[1]))
        tiles = {(row, column): rows[row] * columns[column] for row in rows for column in columns}
    instructions = accesses = 0.0
    size = 4 if code.columns == 1 else 2
    line = max(1.0, code.columns * size / on.access_bytes)
    for (rows_, columns_), times in tiles.items():
        found = trips(code.tiling, form, rows_, columns_, k)
        instructions += times * found.sum(code.products[form])
        strips, copied = found.strips["strip"], found.strips["copied"]
        accesses += times * k * (strips * (found.rows["tile"] * line + rows_) + 2 * copied * line)
    return groups * instructions, groups * accesses


def _parts(whole: int, most: int) -> list[int]:
    return [min(most, whole - start) for start in range(0, whole, most)]


def _known(kernel: str, code: Code) -> tuple[float, float] | None:
    name = kernel.replace("conv.add_", "half.add_")  # what is done with a gradient is the same
    return code.kernels.get(name) or code.kernels.get(_LIKE.get(name, name))


_LIKE = {
    "layout.channels_last": "layout.channels_first",
    "affine.add": "vector.add",
    "affine.scale": "vector.add",
}
"""Kernels whose instructions a value, where they were not counted, are taken to be those of another."""


def _elements(call: Call, code: Code) -> list[tuple[int, float, float]]:
    """Values, instructions a value and of the call: of what is no product."""
    found = []
    if call.kernel.startswith("conv."):
        sizes = call.sizes()
        window = (call.numbers["filter_"], call.numbers["stride"], call.numbers["padding"])
        patches = sizes["batch"] * sizes["positions"] * sizes["groups"] * sizes["in_"]
        name = call.kernel
        if _updates(call.kernel):
            patches *= -(-sizes["out"] // conv.ROWS)
            name = "conv.gradient"
        if _updates(call.kernel) or _back(call) or window != (1, 1, 0):
            found.append((patches, *(_known(name, code) or (GUESS, 0.0))))
    elif _product(call) is None:
        values = max(map(_size, _touched(call)))
        if call.kernel == "bias.ones":
            values = _size(call.results[0])
        found.append((values, *(_known(call.kernel, code) or (NEVER_COUNTED.get(call.kernel, GUESS), 0.0))))
    if _updates(call.kernel):
        found.append((_size(call.tensors["w"]), *(_known(call.kernel, code) or (GUESS, 0.0))))
    return found


def _touched(call: Call) -> list[Ref]:
    """What it reads and writes, of images in strips the rows that it copies."""
    match call.kernel:
        case "strip.put":
            return [call.tensors["x"]] * 2
        case "strip.cut" | "strip.join":
            return [*call.results] * 2
    return [*call.tensors.values(), *call.results]


def _size(ref: Ref) -> int:
    values = 1
    for side in ref.shape:
        values *= side
    return values


def total(found: list[Cost]) -> dict[str, Any]:
    """Sums over calls."""
    return {
        "macs": sum(one.macs for one in found),
        "cycles": sum(one.cycles for one in found),
        "fast_bytes": sum(one.fast for one in found),
        "main_bytes": sum(one.main for one in found),
        "issue": sum(one.issue for one in found),
    }
