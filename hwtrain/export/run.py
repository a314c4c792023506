"""Runs programs: through the C compiler, or in NumPy; both work on the same memory."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwtrain.errors import ProgramError
from hwtrain.export.host_c import host_c, refuse_missing
from hwtrain.export.integer import IntegerMachine
from hwtrain.kernels import xbar
from hwtrain.kernels.fixed import halvings
from hwtrain.native import FLAGS, build
from hwtrain.program.interpret import Interpreter, rate_refusal
from hwtrain.program.ir import DTYPES, Entry, Program
from hwtrain.program.schedule import scheduled
from hwtrain.shipped import shipped

Memory = dict[str, NDArray[Any]]


class Runner(ABC):
    """A program that can be run, window after window, on memory that the caller owns."""

    def __init__(self, program: Program) -> None:
        self.program = program

    @abstractmethod
    def run(self, entry: Entry, n: int, memory: Memory, lr: float = 0.0, step: int = 0) -> None:
        """n runs of an entry; ``memory`` holds every buffer but temporaries, windowed ones n times over."""

    def memory(self, n: int, given: Memory) -> Memory:
        """Room for n runs: what is given as it is, contents copied, the rest zeros."""
        found: Memory = {}
        for name, buffer in self.program.buffers.items():
            if buffer.role == "temp":
                continue
            shape = (n, *buffer.shape) if buffer.windowed else buffer.whole
            kind = DTYPES[buffer.format]
            if name in given:
                values = given[name]
                if (
                    values.dtype != kind
                    or values.size != int(np.prod(shape))
                    or not values.flags.c_contiguous
                ):
                    raise ValueError(
                        f"{name}: {values.dtype}{list(values.shape)} for {buffer.format}{list(shape)}"
                    )
                found[name] = values
            elif name in self.program.contents:
                found[name] = _room(shape, kind)
                found[name][...] = self.program.contents[name]
            else:
                found[name] = _room(shape, kind)
        return found


def _room(shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """Zeros that begin on a line of the cache, as torch's do: vectors across two of them are slow."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    room: NDArray[Any] = raw[start : start + size].view(kind).reshape(shape)
    return room


class InterpretRunner(Runner):
    """The oracle."""

    machine: type[Interpreter] = Interpreter

    def run(self, entry: Entry, n: int, memory: Memory, lr: float = 0.0, step: int = 0) -> None:
        """One window after the other, in NumPy."""
        interpreter = self.machine(self.program)
        windowed = {name for name, buffer in self.program.buffers.items() if buffer.windowed}
        for name, values in memory.items():
            if name not in windowed:
                interpreter.memory[name] = values
        for k in range(n):
            for name in windowed:
                rows = memory[name].reshape(n, *self.program.buffers[name].shape)
                interpreter.memory[name] = rows[k]
            interpreter.run(entry, {}, lr=lr, step=step + k)


class IntegerRunner(InterpretRunner):
    """Whole numbers by torch's matrix products: fast without a compiler, exact in every bit."""

    machine = IntegerMachine


class NativeRunner(Runner):
    """The program in C, compiled on first use; with ``threads``, its sections run side by side.

    The kernels of a crossbar divide their own work among the threads. ``clock`` tells when
    each of ``timed_calls`` ran in each of the last ``keep_steps`` steps.
    """

    def __init__(
        self,
        program: Program,
        threads: int = 1,
        flags: tuple[str, ...] = FLAGS,
        cc: str | None = None,
        *,
        keep_steps: int = 0,
    ) -> None:
        super().__init__(program)
        if threads > xbar.THREADS and any(name.endswith("/wear") for name in program.buffers):
            raise ProgramError(
                f"threads = {threads}: a crossbar works on up to {xbar.THREADS}: ask for fewer"
            )
        printed = host_c(scheduled(program, threads), threads, keep_steps=keep_steps)
        self.source, self.timed_calls = printed.source, printed.timed_calls
        self._clock = keep_steps, threads, len(printed.timed_calls), 2
        if threads > 1:
            flags = (*flags, "-std=c11", "-pthread")
        if program.halves:
            refuse_missing(program)
            flags = (*flags, "-std=c11")
        kernels, devices = shipped("fpga"), shipped("devices")
        include = kernels / "include", kernels / "host", devices / "synapse" / "src", devices / "mcu" / "src"
        self._library = build(printed.source, include, flags, cc)
        self._order = printed.order
        self._arena = np.zeros(printed.arena + 64, np.uint8)
        self._integer = program.listing.numbers is not None

    def clock(self) -> NDArray[np.int64]:
        """(last steps, threads, calls, 2): nanoseconds of a call's begin and end, 0 where it did not run.

        Steps lie by their number modulo how many are kept. To forget, write zeros.
        """
        held = (ctypes.c_int64 * int(np.prod(self._clock))).in_dll(self._library, "hwt_clock")
        return np.ctypeslib.as_array(held).reshape(self._clock)

    def run(self, entry: Entry, n: int, memory: Memory, lr: float = 0.0, step: int = 0) -> None:
        """All windows in one call."""
        if self._integer and entry == "step" and not lr > 0:
            raise rate_refusal(lr)
        start = self._arena.ctypes.data
        pointers = [memory[name].ctypes.data for name in self._order] + [start + -start % 64]
        buffers = (ctypes.c_void_p * len(pointers))(*pointers)
        rate = ctypes.c_int32(halvings(lr) if lr > 0 else 0) if self._integer else ctypes.c_double(lr)
        function = self._library[f"hwt_{entry}_many"]
        function.restype = None
        function(ctypes.c_int64(n), buffers, rate, ctypes.c_uint32(step))
