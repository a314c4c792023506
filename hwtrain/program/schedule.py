"""Rearranges a program for the machine that runs it, without changing a bit: sweeps, and rows to threads.

fuse    W += scale d x'^T and then y = W x become one sweep through W
split   the rows of a large sweep become sections, one a thread
hand on what a step keeps of its input is the next step's input of before: in a loop over samples, no copy
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from hwtrain.program.ir import Call, Listing, Node, Program, Ref, Repeat, Sections, When, refs, walk

LEAST = 4096
"""Weights below which a sweep is not worth a second thread."""


def scheduled(program: Program, threads: int) -> Program:
    """The same program, fused, and split where its rule allows it."""
    listing = program.listing
    parts = threads if listing.parallel else 1
    entries = {entry: _arranged(nodes, parts) for entry, nodes in listing.entries.items()}
    if entries == listing.entries:
        return program
    changed: Listing = listing.model_copy(update={"entries": entries})
    return Program(changed, program.contents)


def _arranged(nodes: tuple[Node, ...], parts: int) -> tuple[Node, ...]:
    return tuple(split(_inside(node, parts), parts) for node in fuse(nodes))


def _inside(node: Node, parts: int) -> Node:
    def again(body: tuple[Node, ...]) -> tuple[Node, ...]:
        return _arranged(body, 1 if isinstance(node, Sections) else parts)

    match node:
        case Repeat():
            return node.model_copy(update={"body": again(node.body)})
        case When():
            return node.model_copy(update={"then": again(node.then), "otherwise": again(node.otherwise)})
        case Sections():
            bodies = tuple(map(again, node.bodies))
            return node.model_copy(update={"bodies": bodies, "join": _arranged(node.join, parts)})
    return node


def fuse(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Each float write that a read of the same weights follows becomes one sweep, at the read's place."""
    found: list[Node | None] = list(nodes)
    for place, write in enumerate(nodes):
        if not isinstance(write, Call) or write.kernel != "dense.add_outer":
            continue
        weights = write.tensors["w"]
        for later in range(place + 1, len(nodes)):
            node = nodes[later]
            touched = list(refs((node,)))
            if isinstance(node, Call) and node.kernel == "dense.read" and node.tensors["w"] == weights:
                found[later] = _sweep(write, node)
                found[place] = None
                break
            if any(ref.overlaps(weights) for ref in touched) or _writes(node, write):
                break
    return tuple(node for node in found if node is not None)


def _writes(node: Node, write: Call) -> bool:
    """Whether it may change what the write reads; of control flow everything counts."""
    changed = node.writes() if isinstance(node, Call) else refs((node,))
    return any(ref.overlaps(given) for ref in changed for given in write.tensors.values())


def _sweep(write: Call, read: Call) -> Call:
    given: dict[str, Any] = {
        "w": write.tensors["w"],
        "before": write.tensors["x"],
        "d": write.tensors["d"],
        "x": read.tensors["x"],
    }
    numbers = {"scale": write.numbers["scale"]}
    return Call(kernel="dense.sweep", tensors=given, numbers=numbers, results=read.results, where=read.where)


def split(node: Node, parts: int) -> Node:
    """A large sweep of one sample as sections of its rows."""
    if parts == 1 or not isinstance(node, Call) or node.kernel != "dense.sweep":
        return node
    sizes = node.sizes()
    out, in_ = sizes["out"], sizes["in_"]
    if sizes["groups"] * sizes["batch"] * sizes["pairs"] > 1 or out * in_ < LEAST or out < parts:
        return node
    edges = [out * part // parts for part in range(parts + 1)]
    return Sections(bodies=tuple((_rows(node, first, last),) for first, last in pairwise(edges)))


def handed_on(program: Program) -> dict[str, Call]:
    """States that are a copy of an input from the end of a step on, and the call that copies it."""
    found: dict[str, Call] = {}
    nodes = program.entries.get("step", ())
    for place, call in enumerate(nodes):
        if not isinstance(call, Call) or call.kernel != "vector.copy":
            continue
        into, given = (program.buffers[call.tensors[name].buffer] for name in ("into", "a"))
        whole = into.size == given.size == math.prod(call.tensors["a"].shape) and into.copies == 1
        if not whole or (into.role, given.role) != ("state", "input"):
            continue
        name, others = call.tensors["into"].buffer, (*nodes[:place], *nodes[place + 1 :])
        changed = (ref for other in walk(others) for ref in other.writes())
        after = refs(nodes[place + 1 :])
        if name not in {ref.buffer for ref in (*changed, *after)}:
            found[name] = call
    return found


def without(program: Program, calls: Mapping[str, Call]) -> Program:
    """The same program but for these calls at the top of its step."""
    gone = {id(call) for call in calls.values()}
    entries = dict(program.entries)
    if gone:
        entries["step"] = tuple(node for node in entries["step"] if id(node) not in gone)
    return Program(program.listing.model_copy(update={"entries": entries}), program.contents)


def _rows(sweep: Call, first: int, last: int) -> Call:
    def part(ref: Ref, shape: tuple[int, ...], each: int) -> Ref:
        return ref.model_copy(update={"shape": shape, "offset": ref.offset + first * each})

    rows, in_ = last - first, sweep.sizes()["in_"]
    tensors = sweep.tensors | {
        "w": part(sweep.tensors["w"], (1, rows, in_), in_),
        "d": part(sweep.tensors["d"], (1, 1, rows), 1),
    }
    results = tuple(part(ref, (1, 1, rows), 1) for ref in sweep.results)
    return sweep.model_copy(update={"tensors": tensors, "results": results})
