"""What a run of an entry costs: the counts that a ledger would get from the ports, and bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from hwtrain.errors import ProgramError
from hwtrain.program.ir import Call, Entry, Node, Program, Repeat, Sections, When

Counts = dict[tuple[str, str], dict[str, int]]


def cost(
    program: Program, entry: Entry, runs: int = 1, memory: Mapping[str, NDArray[Any]] | None = None
) -> Counts:
    """By (layer, port): reads and macs, or writes, as the ports of hwtrain/substrates/base.py count.

    Where the entry has a ``when``, the counters in the memory of these runs say how often each way went.

    Raises:
        ProgramError: the counts depend on the data, and there is no memory.
    """
    found: Counts = defaultdict(lambda: defaultdict(int))
    _add(program.entries[entry], runs, found, memory)
    return {place: dict(counts) for place, counts in found.items()}


def traffic(program: Program, entry: Entry) -> int:
    """Bytes that the calls of an entry read and write, every operand counted once a call."""
    total = 0

    def add(nodes: tuple[Node, ...], times: int) -> None:
        nonlocal total
        for node in nodes:
            match node:
                case Call():
                    for ref in (*node.reads(), *node.writes()):
                        whole = program.buffers[ref.buffer]
                        values = 1
                        for side in ref.shape:
                            values *= side
                        total += times * values * (whole.nbytes // whole.size)
                case Repeat():
                    add(node.body, times * node.times)
                case When():
                    raise _depends_on_data()
                case Sections():
                    for body in (*node.bodies, node.join):
                        add(body, times)

    add(program.entries[entry], 1)
    return total


def _add(
    nodes: tuple[Node, ...], times: int, found: Counts, memory: Mapping[str, NDArray[Any]] | None
) -> None:
    for node in nodes:
        match node:
            case Call():
                _count(node, times, found)
            case Repeat():
                _add(node.body, times * node.times, found, memory)
            case When():
                if memory is None:
                    raise _depends_on_data()
                for body, taken in zip((node.then, node.otherwise), memory[node.taken], strict=True):
                    _add(body, int(taken), found, memory)
            case Sections():
                for body in (*node.bodies, node.join):
                    _add(body, times, found, memory)


def _count(call: Call, times: int, found: Counts) -> None:
    port = call.meaning.port
    if port is None:
        return
    layer = next(iter(call.tensors.values())).buffer.partition("/")[0]
    counts = found[layer, port]
    if port in ("write", "propose"):
        # A direction that is written pair by pair is one write.
        counts["writes"] += times * (call.numbers.get("first", 0) == 0)
        return
    sizes = call.sizes()
    counts["reads"] += times * sizes["batch"]
    counts["macs"] += times * sizes["batch"] * sizes["groups"] * sizes["out"] * sizes["in_"]


def _depends_on_data() -> ProgramError:
    return ProgramError("the cost depends on the data: the program has a 'when'")
