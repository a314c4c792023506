"""What is cheap to make is made again where it is read later, instead of being kept; not a bit changes.

An image that a gradient reads waits from the forward pass on. One that comes value by value out of an image
that waits anyway (scale, offset and ReLU of a normalised one) need not: the same calls make it anew. And
gradients of weights, where they are what takes most, are summed in fewer columns at a time. Either is done
only at the call that needs most room, and only while it helps: what is not tight stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hwtrain.kernels import conv
from hwtrain.program.in_place import in_place, renamed, whole
from hwtrain.program.ir import Buffer, Call
from hwtrain.program.plan import heights
from hwtrain.program.strips import LOCAL

SMALL = 8
"""What is smaller by this factor than an image that it helps to make may wait for it."""
LEAST_COLUMNS = 16
"""Of a weight's gradient at a time."""
Made = tuple[list[Call], dict[str, Buffer]]


def recomputed(calls: list[Call], buffers: dict[str, Buffer]) -> Made:
    """The calls of an entry, and all buffers."""
    best = calls, dict(buffers)
    room = _room(*best)
    while room:  # an entry may have no temporaries
        tight = room.index(max(room))
        tried = [(made, _room(*made)) for made in _others(*best, tight)]
        made, found = min(tried, key=lambda one: _most(one[1]), default=(best, room))
        if _most(found) >= _most(room):
            break
        best, room = made, found
    return best


def _room(calls: list[Call], buffers: dict[str, Buffer]) -> list[int]:
    """Bytes that are alive at each call, once results lie over operands."""
    return heights(buffers, tuple(in_place(calls, buffers)))


def _most(room: list[int]) -> tuple[int, int]:
    """The most bytes, and at how many calls."""
    return max(room), room.count(max(room))


def _others(calls: list[Call], buffers: dict[str, Buffer], tight: int) -> Iterator[Made]:
    """With less scratch for that call; or with one of the images that only wait there made again after it."""
    smaller = narrower(calls[tight])
    if smaller is not None:
        yield [*calls[:tight], smaller, *calls[tight + 1 :]], with_scratch_of(smaller, buffers)
    uses: dict[str, list[int]] = {}
    for place, call in enumerate(calls):
        for ref in (*call.reads(), *call.writes()):
            uses.setdefault(ref.buffer, []).append(place)
    for name, places in uses.items():
        gaps = [late for early, late in pairwise(places) if early < tight < late]
        if not gaps or buffers[name].role != "temp":
            continue
        place = gaps[0]
        chain = _chain(calls, buffers, uses, name, place)
        if chain is None:
            continue
        copies, made = dict(buffers), {}
        for call in chain:
            old = call.results[0].buffer
            made[old] = f"{old}.again"
            while made[old] in copies:
                made[old] += "_"
            copies[made[old]] = buffers[old]
        later = {name: made[name]}
        anew = [renamed(call, made) for call in chain]
        yield [*calls[:place], *anew, *(renamed(call, later) for call in calls[place:])], copies


def _chain(
    calls: list[Call], buffers: dict[str, Buffer], uses: dict[str, list[int]], name: str, place: int
) -> list[Call] | None:
    """The calls that make this image before ``place`` out of what is there; None if there are none."""
    number = uses[name][0]
    call = calls[number]
    written = [ref for other in calls[number + 1 : place] for ref in other.writes()]
    if (
        call.kernel not in LOCAL
        or list(call.writes()) != list(call.results)
        or [ref.buffer for ref in call.results] != [name]
        or not whole(call.results[0], buffers)
        or any(ref.buffer == name for ref in written)
        or any(ref.overlaps(other) for ref in call.reads() for other in written)
    ):
        return None
    chain: list[Call] = []
    for ref in call.tensors.values():
        there = buffers[ref.buffer].role != "temp" or uses[ref.buffer][-1] >= place
        if there or SMALL * buffers[ref.buffer].size <= buffers[name].size:
            continue
        before = _chain(calls, buffers, uses, ref.buffer, place)
        if before is None:
            return None
        chain += [call for call in before if call not in chain]
    return [*chain, call]


def narrower(call: Call) -> Call | None:
    """A gradient of weights in fewer columns at a time; None for what has no fewer, or is something else."""
    if not call.kernel.startswith("conv.add_"):
        return None
    sizes = call.sizes()
    columns = conv.columns_at_a_time(sizes) - LEAST_COLUMNS
    if columns < LEAST_COLUMNS:
        return None
    count = conv.sums(sizes["out"], columns, sizes["batch"], sizes["positions"])
    *others, scratch = call.results
    results = (*others, scratch.model_copy(update={"shape": (count,)}))
    return call.model_copy(update={"results": results, "numbers": call.numbers | {"scratch": count}})


def with_scratch_of(call: Call, buffers: dict[str, Buffer]) -> dict[str, Buffer]:
    """The buffers, the call's scratch being as large as it says."""
    scratch = call.results[-1]
    return buffers | {scratch.buffer: buffers[scratch.buffer].model_copy(update={"shape": scratch.shape})}
