"""What a run of an entry costs: the counts that a ledger would get from the ports, and bytes."""

from __future__ import annotations

from collections import defaultdict

from hwtrain.errors import ProgramError
from hwtrain.program.ir import Call, Entry, Node, Program, Repeat, Sections, When

Counts = dict[tuple[str, str], dict[str, int]]


def cost(program: Program, entry: Entry) -> Counts:
    """By (layer, port): reads and macs, or writes, as the ports of hwtrain/substrates/base.py count.

    Raises:
        ProgramError: the entry has a ``when``, so that its counts depend on the data.
    """
    found: Counts = defaultdict(lambda: defaultdict(int))
    _add(program.entries[entry], 1, found)
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
                    raise _open()
                case Sections():
                    for body in (*node.bodies, node.join):
                        add(body, times)

    add(program.entries[entry], 1)
    return total


def _add(nodes: tuple[Node, ...], times: int, found: Counts) -> None:
    for node in nodes:
        match node:
            case Call():
                _count(node, times, found)
            case Repeat():
                _add(node.body, times * node.times, found)
            case When():
                raise _open()
            case Sections():
                for body in (*node.bodies, node.join):
                    _add(body, times, found)


def _count(call: Call, times: int, found: Counts) -> None:
    port = call.meaning.port
    if port is None:
        return
    layer = next(iter(call.tensors.values())).buffer.partition("/")[0]
    counts = found[layer, port]
    if port == "write":
        counts["writes"] += times
        return
    sizes = call.sizes()
    counts["reads"] += times * sizes["batch"]
    counts["macs"] += times * sizes["batch"] * sizes["groups"] * sizes["out"] * sizes["in_"]


def _open() -> ProgramError:
    return ProgramError("the cost depends on the data: the program has a 'when'")
