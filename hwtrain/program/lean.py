"""A program of FP16 with fewer bytes of temporaries and not a bit changed, for microcontrollers.

patches   a convolution reads the image itself; the patches of a few positions at a time lie in ``scratch``
turned    channels stay first: no image is turned round for a product and back
sooner    weights learn as soon as nothing still has to read them, so that their gradients need not wait
strips    images that no gradient needs are made some rows at a time (hwtrain/program/strips.py)
again     what is cheap to make is made anew where it is read late (hwtrain/program/recompute.py)
in place  a result lies over an operand that nobody reads again (hwtrain/program/in_place.py)

The kernels that are put in are hwtrain/kernels/conv.py, affine.py and strip.py.

Entries with control flow stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hwtrain.kernels import conv
from hwtrain.program.in_place import in_place, renamed, whole
from hwtrain.program.ir import Buffer, Call, Entry, Format, Program, Ref, refs
from hwtrain.program.plan import alive
from hwtrain.program.recompute import recomputed
from hwtrain.program.strips import strips

PATCH_VALUES = 1 << 13
"""Values of patches that a convolution may keep at a time, unless LANES positions take more."""
LANES = 16
STRIPS = 8, 4, 2
"""Rows of a strip that are tried. Each must save a quarter, for strips are code and take time to start."""
SUMS = 1 << 11
"""Sums of an input's gradient that are kept at a time, unless one channel has more."""
CHANNELS = 16
"""Channels of an input's gradient at a time: beside their sums lie products of 32 positions."""
CONV_COLUMNS = 48
"""Columns of a weight's gradient that are summed at a time, unless memory is tight."""
POSITIONS = 32
"""HWT_POSITIONS of devices/mcu/src."""


def lean(program: Program) -> Program:
    """The same program in fewer bytes; itself, where its signals are no halves."""
    if not program.halves:
        return program
    program = _turned(program)
    uncut, best = program, _laid(program)
    for rows in STRIPS:
        cut = _in_strips(uncut, rows)
        found = _laid(cut)
        if 4 * alive(found) <= 3 * alive(best):
            program, best = cut, found
    tight = _laid(_again(program))
    return tight if 10 * alive(tight) <= 9 * alive(best) else best


def _turned(program: Program) -> Program:
    """Without patches, turned images and gradients that wait."""
    for entry, calls in _straight(program):
        turned = _Turned(program, calls)
        made = _sooner(_needed(turned.made, turned.buffers))
        program = _with(program, entry, made, turned.buffers)
    return program


def _in_strips(program: Program, rows: int) -> Program:
    for entry, calls in _straight(program):
        found = strips(program, calls, rows)
        if found is not None:
            program = _with(program, entry, *found)
    return program


def _again(program: Program) -> Program:
    """Less kept, where most is alive."""
    for entry, calls in _straight(program):
        program = _with(program, entry, *recomputed(calls, program.buffers))
    return program


def _laid(program: Program) -> Program:
    """Results over operands."""
    for entry, calls in _straight(program):
        program = _with(program, entry, in_place(calls, program.buffers), program.buffers)
    return program


def _straight(program: Program) -> Iterator[tuple[Entry, list[Call]]]:
    """The entries without control flow."""
    for entry, nodes in program.entries.items():
        calls = [node for node in nodes if isinstance(node, Call)]
        if len(calls) == len(nodes):
            yield entry, calls


def _with(program: Program, entry: Entry, calls: list[Call], buffers: dict[str, Buffer]) -> Program:
    """With this entry, and of these buffers those that are used."""
    entries = program.entries | {entry: tuple(calls)}
    used = {ref.buffer for body in entries.values() for ref in refs(body)}
    kept = {
        name: buffer
        for name, buffer in buffers.items()
        if name in used or (name in program.buffers and buffer.role != "temp")
    }
    listing = program.listing.model_copy(update={"entries": entries, "buffers": kept})
    return Program(listing, program.contents)


@dataclass(frozen=True)
class _Patches:
    """What an ``im2col`` would have made."""

    image: Ref
    numbers: dict[str, Any]


class _Turned:
    """The calls of an entry, once no patches are kept and no image is turned round.

    Calls that may turn out to be of no use wait in ``_lazy`` under the buffer that they would make.
    ``_first`` has, by the buffer with one row a position, the same image with channels first.
    """

    def __init__(self, program: Program, calls: list[Call]) -> None:
        self.made: list[Call] = []
        self.buffers = dict(program.buffers)
        self.x = Ref(buffer="x", shape=program.buffers["x"].shape)
        self._lazy: dict[str, Call] = {}
        self._first: dict[str, Ref] = {}
        self._patches: dict[str, _Patches] = {}
        self._names: dict[str, str] = {}
        writes = [ref.buffer for call in calls for ref in call.writes()]
        self._still = {
            name
            for name, buffer in program.buffers.items()
            if buffer.role == "input" or (buffer.role == "temp" and writes.count(name) == 1)
        }
        for call in calls:
            if not self._fused(renamed(call, self._names)):
                self._emit(renamed(call, self._names))

    def _emit(self, call: Call) -> None:
        """As it is, after those that it waits for, and those that wait to read what it changes."""
        changed = [ref for ref in call.writes() if ref.buffer not in self._still]
        for name, lazy in list(self._lazy.items()):
            reads = any(ref.buffer == name for ref in call.reads())
            if reads or any(ref.overlaps(other) for ref in changed for other in lazy.reads()):
                self._now(name)
        self.made.append(call)

    def _now(self, name: str) -> None:
        """Make the buffer after all."""
        lazy = self._lazy.pop(name, None)
        if lazy is not None:
            self._emit(lazy)

    def _fused(self, call: Call) -> bool:
        """Whether it is dealt with."""
        name = call.kernel
        tensors = call.tensors
        if not all(self._whole(ref) for ref in (*tensors.values(), *call.results)):
            return False
        if name == "layout.channels_last" and tensors["d"].buffer in self._still:
            self._first[call.results[0].buffer] = tensors["d"]
        elif name == "im2col.im2col" and tensors["x"].buffer in self._still:
            self._patches[call.results[0].buffer] = _Patches(tensors["x"], dict(call.numbers))
        elif name == "dense.read_t" and tensors["d"].buffer in self._first:
            if self._scales(tensors["w"], tensors["d"]):
                return self._scale(call, tensors["d"])
        else:
            return self._made(call)
        self._lazy[call.results[0].buffer] = call
        return True

    def _made(self, call: Call) -> bool:
        """Whether calls that waited have become one with it."""
        tensors = call.tensors
        match call.kernel:
            case "dense.read" if tensors["x"].buffer in self._patches:
                return self._forward(call, self._patches[tensors["x"].buffer])
            case "dense.read" if self._scales(tensors["w"], tensors["x"]):
                return self._scale(call, tensors["x"])
            case "bias.add" if tensors["y"].buffer in self._first:
                image = self._first[tensors["y"].buffer]
                if tensors["b"].shape != (image.shape[0], 1, image.shape[1]):
                    return False
                self._image(call, "affine.add", {"x": image, "b": tensors["b"]}, image.shape)
                return True
            case "layout.channels_first" if tensors["y"].buffer in self._first:
                image, made = self._first[tensors["y"].buffer], call.results[0]
                if made.shape != image.shape or self.buffers[made.buffer].role != "temp":
                    return False
                self._names[made.buffer] = image.buffer
                return True
            case "bias.ones" if tensors["like"].shape[0] == self.x.shape[0]:
                self._emit(
                    call.model_copy(update={"tensors": {"like": self.x}})
                )  # an image need not live for it
                return True
            case "bias.ones" if tensors["like"].buffer in self._first:
                like = tensors["like"]
                image = self._first[like.buffer]
                shape = like.shape[0], math.prod(like.shape[1:])
                like = image.model_copy(update={"shape": shape})
                self._emit(call.model_copy(update={"tensors": {"like": like}}))
                return True
            case "im2col.col2im" if self._waits(tensors["columns"], "dense.read_t"):
                return self._input_gradient(call, self._lazy[tensors["columns"].buffer])
            case name if name.startswith("half.add_") and tensors["d"].buffer in self._first:
                return self._update(call)
        return False

    def _forward(self, call: Call, patches: _Patches) -> bool:
        sizes = call.sizes()
        batch = patches.image.shape[0]
        positions = sizes["batch"] // batch
        most = max(LANES, min(PATCH_VALUES // sizes["in_"], -(-positions // LANES) * LANES) // LANES * LANES)
        window = _window(patches.numbers)
        count = 1 if window == ONE else most * sizes["in_"]
        image = batch, sizes["groups"] * sizes["out"], positions
        given = {"w": call.tensors["w"], "x": patches.image}
        self._image(call, "conv.forward", given, image, window | {"scratch": count})
        return True

    def _input_gradient(self, call: Call, product: Call) -> bool:
        sizes, image = product.sizes(), self._first[product.tensors["d"].buffer]
        numbers = {name: value for name, value in call.numbers.items() if name != "batch"}
        channels, plane = (
            int(str(call.numbers["channels"])) // sizes["groups"],
            math.prod(call.results[0].shape[2:]),
        )
        block = max(1, min(SUMS // plane, CHANNELS, channels))
        count = block * (plane + sizes["in_"] // channels * POSITIONS // 2)
        self._scratched(
            call, "conv.input_gradient", {"w": product.tensors["w"], "d": image}, numbers, "f32", count
        )
        return True

    def _update(self, call: Call) -> bool:
        w, x, image = call.tensors["w"], call.tensors["x"], self._first[call.tensors["d"].buffer]
        batch, _, positions = image.shape
        if x.buffer in self._patches:
            found = self._patches[x.buffer]
            of, window = found.image, _window(found.numbers)
        elif self._scales(w, x):
            of, window = self._first[x.buffer], ONE
        elif w.shape[::2] == (1, 1) and x.buffer not in self._first and x.shape[1:] == (1, 1):
            of, window = x.model_copy(update={"shape": (batch, 1, positions)}), ONE
        else:
            return False
        if len(of.shape) == 3:
            of = of.model_copy(update={"shape": (*of.shape, 1)})
        count = conv.sums(w.shape[1], min(w.shape[2], CONV_COLUMNS), batch, positions)
        tensors = call.tensors | {"x": of, "d": image}
        name = call.kernel.replace("half.", "conv.")
        self._scratched(call, name, tensors, call.numbers | window, "f32", count)
        return True

    def _scale(self, call: Call, rows: Ref) -> bool:
        image = self._first[rows.buffer]
        self._image(call, "affine.scale", {"w": call.tensors["w"], "x": image}, image.shape)
        return True

    def _scales(self, w: Ref, rows: Ref) -> bool:
        """Whether it is one weight for each channel of an image whose rows these are."""
        image = self._first.get(rows.buffer)
        return image is not None and w.shape == (image.shape[1], 1, 1) and rows.shape[1:] == w.shape[:2]

    def _waits(self, ref: Ref, kernel: str) -> bool:
        return ref.buffer in self._lazy and self._lazy[ref.buffer].kernel == kernel

    def _image(
        self,
        call: Call,
        kernel: str,
        tensors: dict[str, Ref],
        shape: tuple[int, ...],
        numbers: dict[str, Any] | None = None,
    ) -> None:
        """Emit what makes an image with channels first; whoever wants rows has to wait for them."""
        rows = call.results[0]
        made = self._new(f"{rows.buffer}.image", shape, "f16")
        numbers = numbers or {}
        results = [made]
        if "scratch" in numbers:
            results.append(self._new(f"{rows.buffer}.scratch", (numbers["scratch"],), "f16"))
        self._emit(call.model_copy(update=_changes(kernel, tensors, numbers, results)))
        self._first[rows.buffer] = made
        turned = rows.model_copy(update={"shape": (shape[0], shape[2], shape[1])})
        self._lazy[rows.buffer] = Call(
            kernel="layout.channels_last", tensors={"d": made}, results=(turned,), where=call.where
        )

    def _scratched(
        self,
        call: Call,
        kernel: str,
        tensors: dict[str, Ref],
        numbers: dict[str, Any],
        format_: Format,
        count: int,
    ) -> None:
        owner = call.results[0].buffer if call.results else call.tensors["w"].buffer
        scratch = self._new(f"{owner}.scratch", (count,), format_)
        changes = _changes(kernel, tensors, numbers | {"scratch": count}, [*call.results, scratch])
        self._emit(call.model_copy(update=changes))

    def _new(self, name: str, shape: tuple[int, ...], format_: Format) -> Ref:
        while name in self.buffers:
            name += "_"
        self.buffers[name] = Buffer(shape=shape, format=format_, role="temp")
        self._still.add(name)
        return Ref(buffer=name, shape=shape)

    def _whole(self, ref: Ref) -> bool:
        return whole(ref, self.buffers)


ONE = {"filter_": 1, "stride": 1, "padding": 0}
"""Of a filter of one value."""


def _window(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: numbers[name] for name in ONE}


def _changes(
    kernel: str, tensors: dict[str, Ref], numbers: dict[str, Any], results: list[Ref]
) -> dict[str, Any]:
    return {"kernel": kernel, "tensors": tensors, "numbers": numbers, "results": tuple(results)}


def _needed(calls: list[Call], buffers: dict[str, Buffer]) -> list[Call]:
    """Without those of whose results nobody takes notice."""
    wanted: set[str] = set()
    found = []
    for call in reversed(calls):
        if any(buffers[ref.buffer].role != "temp" or ref.buffer in wanted for ref in call.writes()):
            found.append(call)
            wanted |= {ref.buffer for ref in call.reads()}
    return found[::-1]


def _sooner(calls: list[Call]) -> list[Call]:
    """Each write of weights right after what it depends on; in the same order among themselves."""
    found: list[Call] = []
    for call in calls:
        place = len(found)
        if call.kernel.startswith(("half.add_", "conv.add_")):
            while place and not _depend(found[place - 1], call):
                place -= 1
        found.insert(place, call)
    return found


def _depend(first: Call, second: Call) -> bool:
    """Whether their order matters."""

    def meet(some: Iterator[Ref], others: Iterator[Ref]) -> bool:
        known = list(others)
        return any(one.overlaps(other) for one in some for other in known)

    return (
        meet(first.writes(), second.reads())
        or meet(first.writes(), second.writes())
        or meet(first.reads(), second.writes())
    )
