"""Runs a program in NumPy, slowly and obviously: the oracle of every back end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwtrain.errors import ProgramError
from hwtrain.kernels.base import Rate
from hwtrain.program.ir import (
    DTYPES,
    Call,
    Entry,
    Node,
    Number,
    Program,
    Ref,
    Repeat,
    Scalar,
    Sections,
    When,
)

Arrays = dict[str, NDArray[Any]]


class Interpreter:
    """A program at work: ``memory`` holds every buffer, weights and states from run to run."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.memory: Arrays = {}
        for name, buffer in program.buffers.items():
            held = program.contents.get(name)
            empty = np.zeros(buffer.whole, DTYPES[buffer.format])
            self.memory[name] = empty if held is None else held.copy()
        self._lr, self._step = 0.0, 0

    def run(self, entry: Entry, inputs: Arrays, *, lr: float = 0.0, step: int = 0) -> Arrays:
        """One run of an entry; every output that it wrote."""
        for name, values in inputs.items():
            self.memory[name] = values.astype(DTYPES[self.program.buffers[name].format])
        self._lr, self._step = lr, step
        self._nodes(self.program.entries[entry])
        outputs = [name for name, buffer in self.program.buffers.items() if buffer.role == "output"]
        return {name: self.memory[name].copy() for name in outputs}

    def _nodes(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            match node:
                case Call():
                    self._call(node)
                case Repeat():
                    for _ in range(node.times):
                        self._nodes(node.body)
                case When():
                    flag = bool(self._view(node.flag).item())
                    self.memory[node.taken][0 if flag else 1] += 1
                    self._nodes(node.then if flag else node.otherwise)
                case Sections():
                    for body in (*node.bodies, node.join):
                        self._nodes(body)

    def _call(self, call: Call) -> None:
        kernel = call.meaning
        if kernel.meaning is None:
            raise ProgramError(f"layer {call.where}: {call.kernel} runs in C alone: use the native engine")
        tensors = {key: self._view(ref) for key, ref in call.tensors.items()}
        numbers = {key: self._number(value) for key, value in call.numbers.items()}
        for ref, values in zip(call.results, kernel.mean(tensors, numbers), strict=True):
            into = self._view(ref)
            if into.dtype.kind != "f" and not np.array_equal(values.astype(into.dtype), values):
                raise ProgramError(f"layer {call.where}: {call.kernel} makes numbers that {ref} cannot hold")
            into[...] = values.reshape(into.shape)

    def _view(self, ref: Ref) -> NDArray[Any]:
        flat = self.memory[ref.buffer].reshape(-1)
        if ref.turn is not None:
            current = int(self.memory[ref.turn].item()) != 0
            flat = flat.reshape(2, -1)[int(current ^ ref.other)]
        return flat[ref.offset : ref.offset + int(np.prod(ref.shape))].reshape(ref.shape)

    def _number(self, value: Number) -> Any:
        if not isinstance(value, Scalar):
            return value
        if value.scalar == "step":
            return (self._step - value.back) % 2**32
        if self.program.listing.numbers is not None:  # rounded to powers of two by the kernel
            if not self._lr > 0:
                raise rate_refusal(self._lr)
            return Rate(self._lr * value.factor, value.factor)
        return float(np.float32(value.factor * self._lr))


def rate_refusal(lr: float) -> ProgramError:
    """The error for a learning rate that is no shift."""
    return ProgramError(f"lr = {lr}: weights that are codes take a learning rate above 0: choose one")
