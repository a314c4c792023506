"""How large an accumulator can get, and so how wide it must be: proved, never hoped for.

Weights that no entry writes count as they are; those that learn count as the largest code of their
format. A signal may be any code.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hwtrain.errors import ProgramError
from hwtrain.program.ir import Call, Format, Program, Ref, powers, walk

_MAKERS = {
    "dense.read",
    "dense.read_t",
    "pot.read",
    "pot.read_t",
    "bias.add",
    "im2col.col2im",
    "fixed.correct",
}
"""Kernels whose results are accumulators."""
_BITS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64}


def accumulator(program: Program) -> Program:
    """The same program with accumulators of 32 bits if they prove enough, else of 64.

    Raises:
        ProgramError: 64 bits are not enough; names the call.
    """
    most = max(bounds(program).values(), default=0)
    acc: Format = "i32" if most < 1 << 31 else "i64"
    listing = program.listing
    buffers = {
        name: made.model_copy(update={"format": acc})
        if made.format == "i64" and made.role == "temp"
        else made
        for name, made in listing.buffers.items()
    }
    return Program(listing.model_copy(update={"acc": acc, "buffers": buffers}), program.contents)


def bounds(program: Program) -> dict[str, int]:
    """By accumulator: the largest magnitude that it can reach; nothing where signals are floats."""
    if program.listing.numbers is None:
        return {}
    calls = [call for nodes in program.entries.values() for call in walk(nodes)]
    trained = {ref.buffer for call in calls for ref in call.writes()}
    learning = powers(program)
    found: dict[str, int] = {}

    def weights(ref: Ref, axis: int) -> int:
        """The largest sum of magnitudes along an axis of (groups, out, in_)."""
        if ref.buffer in trained:
            bits = _BITS[program.buffers[ref.buffer].format]
            return ref.shape[axis] << (learning.get(ref.buffer, bits - 1))
        held: Any = abs(program.contents[ref.buffer].astype(np.int64))
        if ref.buffer.endswith("/codes"):
            held = np.where(held > 0, 1 << np.maximum(held - 1, 0), 0)
        return int(held.sum(axis).max())

    def signal(ref: Ref) -> int:
        return 1 << (_BITS[program.buffers[ref.buffer].format] - 1)

    def reach(call: Call) -> int:
        tensors = call.tensors
        match call.kernel:
            case "dense.read" | "pot.read":
                matrix, vector = tensors.values()
                return weights(matrix, 2) * signal(vector)
            case "dense.read_t" | "pot.read_t":
                matrix, vector = tensors.values()
                return weights(matrix, 1) * signal(vector)
            case "bias.add":
                shift = int(call.numbers["shift"])  # type: ignore[arg-type]
                bias = found[tensors["b"].buffer]
                return found[tensors["y"].buffer] + (bias << -shift if shift < 0 else (bias >> shift) + 1)
            case "fixed.correct":
                return found[tensors["y"].buffer] + (1 << 30)
            case "im2col.col2im":
                overlaps = int(call.numbers["filter_"]) ** 2  # type: ignore[arg-type]
                return found[tensors["columns"].buffer] * overlaps
        raise ProgramError(f"{call.kernel}: makes an accumulator whose size nobody can prove")

    for call in calls:
        for result in call.results:
            if call.kernel in _MAKERS or program.buffers[result.buffer].format == "i64":
                found[result.buffer] = reach(call)
                if found[result.buffer] >= 1 << 62:
                    raise ProgramError(
                        f"layer {call.where}: {call.kernel} may reach 2^{found[result.buffer].bit_length()}, "
                        "beyond 64 bits: use fewer bits or a narrower layer"
                    )
    return found
