"""Where temporaries live: their lifetimes, and one arena in which they may lie over each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hwtrain.program.ir import Buffer, Call, Node, Program, When, bodies

ALIGNMENT = 64
"""Bytes; a line of a cache."""


@dataclass(frozen=True)
class Plan:
    """Offsets of the temporaries in bytes, the arena's size, and the least that any plan could need."""

    offsets: dict[str, int]
    size: int
    bound: int


def plan(program: Program) -> Plan:
    """Lay out every entry in the same arena; the largest temporaries are placed first."""
    offsets: dict[str, int] = {}
    size = bound = 0
    for nodes in program.entries.values():
        lives = lifetimes(program, nodes)
        need = {name: _aligned(program.buffers[name]) for name in lives}
        for name in sorted(lives, key=lambda name: (-need[name], lives[name], name)):
            first, last = lives[name]
            taken = sorted(
                (offsets[other], offsets[other] + need[other])
                for other, (begins, ends) in lives.items()
                if other in offsets and other != name and begins <= last and first <= ends
            )
            at = 0
            for start, end in taken:
                if start - at >= need[name]:
                    break
                at = max(at, end)
            offsets[name] = at
            size = max(size, at + need[name])
        times = {time for life in lives.values() for time in life}
        for time in times:
            alive = sum(need[name] for name, (begins, ends) in lives.items() if begins <= time <= ends)
            bound = max(bound, alive)
    return Plan(offsets, size, bound)


def lifetimes(program: Program, nodes: tuple[Node, ...]) -> dict[str, tuple[int, int]]:
    """First and last use of each temporary; what a loop or sections touch lives all through them."""
    found: dict[str, tuple[int, int]] = {}
    clock = 0

    def use(name: str, first: int, last: int) -> None:
        if program.buffers[name].role == "temp":
            begins, ends = found.get(name, (first, last))
            found[name] = min(begins, first), max(ends, last)

    def visit(nodes: tuple[Node, ...]) -> Iterator[str]:
        nonlocal clock
        for node in nodes:
            clock += 1
            if isinstance(node, Call):
                for ref in (*node.reads(), *node.writes()):
                    use(ref.buffer, clock, clock)
                    yield ref.buffer
                continue
            began = clock
            if isinstance(node, When):
                use(node.flag.buffer, clock, clock)
                yield node.flag.buffer
            touched = [name for body in bodies(node) for name in visit(body)]
            yield from touched
            if not isinstance(node, When):
                for name in touched:
                    use(name, began, clock)

    list(visit(nodes))
    return found


def _aligned(buffer: Buffer) -> int:
    return -(-buffer.nbytes // ALIGNMENT) * ALIGNMENT
