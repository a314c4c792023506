"""Where temporaries live: their lifetimes, and one arena in which they may lie over each other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from hwtrain.program.ir import Buffer, Call, Node, Program, When, bodies

ALIGNMENT = 64
"""Bytes; a line of a cache."""
TRIES = 300
"""Orders in which temporaries are placed, where the first is not the best that there can be."""


@dataclass(frozen=True)
class Plan:
    """Offsets of the temporaries in bytes, the arena's size, and the least that any plan could need."""

    offsets: dict[str, int]
    size: int
    bound: int


def plan(program: Program) -> Plan:
    """Lay out every entry in the same arena.

    The largest temporaries are placed first. While that takes more than what is alive at a time, everything
    is placed anew: at first those that live when most is alive, then what came to lie at the top before all
    others, with one more by lot.
    """
    offsets: dict[str, int] = {}
    size = bound = 0
    for nodes in program.entries.values():
        lives = lifetimes(program.buffers, nodes)
        need = {name: _aligned(program.buffers[name]) for name in lives}
        heights = _heights(lives, need)
        least = max(heights, default=0)
        order = sorted(lives, key=lambda name: (-need[name], lives[name], name))
        best, most = _placed(order, lives, need)
        order.sort(key=lambda name: -max(heights[lives[name][0] : lives[name][1] + 1]))
        lots = random.Random(0)  # the same plan every time
        for _ in range(TRIES):
            if most <= max(least, size):
                break
            found, height = _placed(order, lives, need)
            if height < most:
                best, most = found, height
            top = [name for name in order if found[name] + need[name] == height]
            top.append(lots.choice(order))
            order = list(dict.fromkeys(top + order))
        offsets |= best
        size, bound = max(size, most), max(bound, least)
    return Plan(offsets, size, bound)


def alive(program: Program) -> int:
    """The most bytes of temporaries that are alive at a time, which no plan can go below."""
    found = 0
    for nodes in program.entries.values():
        found = max([found, *heights(program.buffers, nodes)])
    return found


def heights(buffers: dict[str, Buffer], nodes: tuple[Node, ...]) -> list[int]:
    """Bytes of temporaries that are alive at each node."""
    lives = lifetimes(buffers, nodes)
    return _heights(lives, {name: _aligned(buffers[name]) for name in lives})[1:-1]


def _heights(lives: dict[str, tuple[int, int]], need: dict[str, int]) -> list[int]:
    """Bytes that are alive at each time."""
    changes = [0] * (max((last for _, last in lives.values()), default=-1) + 2)
    for name, (first, last) in lives.items():
        changes[first] += need[name]
        changes[last + 1] -= need[name]
    return list(accumulate(changes))


def _placed(
    order: list[str], lives: dict[str, tuple[int, int]], need: dict[str, int]
) -> tuple[dict[str, int], int]:
    """Offsets, each the first gap that is wide enough, and the arena that they take."""
    offsets: dict[str, int] = {}
    for name in order:
        first, last = lives[name]
        at = 0
        for start, end in sorted(
            (offset, offset + need[other])
            for other, offset in offsets.items()
            if lives[other][0] <= last and first <= lives[other][1]
        ):
            if start - at >= need[name]:
                break
            at = max(at, end)
        offsets[name] = at
    return offsets, max((offset + need[name] for name, offset in offsets.items()), default=0)


def lifetimes(buffers: dict[str, Buffer], nodes: tuple[Node, ...]) -> dict[str, tuple[int, int]]:
    """First and last use of each temporary; what a loop or sections touch lives all through them."""
    found: dict[str, tuple[int, int]] = {}
    clock = 0

    def use(name: str, first: int, last: int) -> None:
        if buffers[name].role == "temp":
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
