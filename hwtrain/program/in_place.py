"""Results that lie over an operand which nobody reads again."""

from __future__ import annotations

import math

from hwtrain.program.ir import Buffer, Call, Ref

OVER = {
    "affine.add": ("x",),
    "affine.scale": ("x",),
    "bias.add": ("y",),
    "norm.batch_forward": ("x",),
    "norm.batch_input_gradient": ("d",),
    "norm.frozen_forward": ("x",),
    "norm.frozen_input_gradient": ("d",),
    "relu.forward": ("x",),
    "relu.input_gradient": ("d", "y"),
    "sigmoid.forward": ("x",),
    "sigmoid.input_gradient": ("d", "y"),
    "tanh.forward": ("x",),
    "tanh.input_gradient": ("d", "y"),
    "vector.add": ("a", "b"),
}
"""Operands over which the first result may lie: each value of theirs is read before its place is written."""


def in_place(calls: list[Call], buffers: dict[str, Buffer]) -> list[Call]:
    """The same calls, such results in the buffers of such operands."""
    last = {ref.buffer: place for place, call in enumerate(calls) for ref in (*call.reads(), *call.writes())}
    names: dict[str, str] = {}
    found = []
    for place, given in enumerate(calls):
        call = renamed(given, names)
        for operand in OVER.get(call.kernel, ()):
            into, made = call.tensors[operand], call.results[0]
            one, other = buffers[into.buffer], buffers[made.buffer]
            if (
                one.role == other.role == "temp"
                and (one.format, one.size) == (other.format, other.size)
                and whole(into, buffers)
                and whole(made, buffers)
                and last[into.buffer] == place
            ):
                names[made.buffer] = into.buffer
                last[into.buffer] = last[made.buffer]
                call = renamed(call, names)
                break
        found.append(call)
    return found


def whole(ref: Ref, buffers: dict[str, Buffer]) -> bool:
    """Whether it is all of its buffer."""
    return ref.offset == 0 and ref.turn is None and math.prod(ref.shape) == buffers[ref.buffer].size


def renamed(call: Call, names: dict[str, str]) -> Call:
    """With buffers of other names."""

    def ref(found: Ref) -> Ref:
        name = found.buffer
        return found.model_copy(update={"buffer": names[name]}) if name in names else found

    tensors = {key: ref(value) for key, value in call.tensors.items()}
    return call.model_copy(update={"tensors": tensors, "results": tuple(map(ref, call.results))})
