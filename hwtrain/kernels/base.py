"""What a kernel is: one piece of arithmetic with an eager, a NumPy and a C meaning; and control flow.

Layers, substrates, losses and rules compute with kernels alone. Running a rule once under a recorder
(hwtrain/program/lower.py) therefore gives the program of its step.

    @kernel(port="read")
    def read(w: Real[Tensor, "groups out in_"], x: Real[Tensor, "batch groups in_"]) -> ...:
        ...                                 the eager meaning, in torch

    @read.numpy
    def _(w, x): ...                        the slow, specified meaning: what interprets a program

The C function is ``hwt_<module>_<name>`` in fpga/include. Its arguments follow from the signature:
the named sizes in the order of their first appearance, then the numbers, then the tensors, then the
results. A shape ``*shape`` is one size, ``n``.
"""

from __future__ import annotations

import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.fp16 import narrow

P = ParamSpec("P")
R = TypeVar("R")
Body = Callable[[], None]
Halves = Literal["own", "through-float32", "to-float32"]


class Recorder(ABC):
    """What hears of every kernel and of control flow while a rule is lowered."""

    @abstractmethod
    def call(self, kernel: Kernel[..., Any], arguments: dict[str, Any]) -> Any:
        """Record a kernel's call; its eager result."""

    @abstractmethod
    def current(self, copies: Tensor, turn: Tensor, other: bool) -> Tensor:
        """Stand for one of two copies."""

    @abstractmethod
    def when(self, flag: Tensor, then: Body, otherwise: Body) -> None:
        """Record both branches."""

    @abstractmethod
    def repeat(self, times: int, body: Body) -> None:
        """Record the body once."""

    @abstractmethod
    def sections(self, bodies: Sequence[Body], join: Body) -> None:
        """Record bodies that may run side by side, and what follows them."""


@dataclass
class _Active:
    recorder: Recorder | None = None


_active = _Active()


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Let ``recorder`` hear of everything until the end; None silences the one that listens."""
    before, _active.recorder = _active.recorder, recorder
    try:
        yield
    finally:
        _active.recorder = before


class Kernel(Generic[P, R]):
    """A function of tensors and numbers that knows its name, its shapes and its other meanings.

    Attributes:
        name: ``<module>.<function>``, what a program calls it by.
        tensors: shape string by parameter, of the tensors that it takes.
        numbers: the other parameters, in order.
        results: shape strings of what it returns.
        writes: the tensors that it changes in place.
        port: the port whose counts a call adds to when its first tensor is a weight.
        host: whether it has a meaning in C alone, and is for this machine alone.
        halves: what it does with FP16. ``through-float32``: the same in float32, what it returns rounded
            to FP16 at the end; ``to-float32``: without that rounding; ``own``: it has a meaning for them.
    """

    def __init__(
        self,
        eager: Callable[P, R],
        *,
        port: str | None,
        writes: tuple[str, ...],
        host: bool,
        halves: Halves,
    ) -> None:
        self._eager, self.halves = eager, halves
        self.name = f"{eager.__module__.rpartition('.')[2]}.{eager.__name__}"
        self.c_name = "hwt_" + self.name.replace(".", "_")
        self.port, self.writes, self.host = port, writes, host
        self.signature = inspect.signature(eager)
        shapes = {name: _shapes(p.annotation) for name, p in self.signature.parameters.items()}
        self.tensors = {name: found[0] for name, found in shapes.items() if found}
        self.numbers = tuple(name for name, found in shapes.items() if not found)
        self.results = _shapes(self.signature.return_annotation)
        self.meaning: Callable[..., Any] | None = None
        self.__doc__ = eager.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The eager meaning; a recorder that listens hears of it."""
        if _active.recorder is None:
            return self.eager(*args, **kwargs)
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        result: R = _active.recorder.call(self, bound.arguments)
        return result

    def eager(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The torch meaning; of FP16 the NumPy one, for its bits are specified and torch's are not."""
        given = (*args, *kwargs.values())
        if self.halves == "own" or not any(isinstance(a, Tensor) and a.dtype == torch.float16 for a in given):
            return self._eager(*args, **kwargs)
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        assert self.meaning is not None
        # As ``mean``, but for the conversions: torch's are the same to the bit, in vectors.
        tensors = {key: bound.arguments[key] for key in self.tensors}
        wide = {key: t.float() if t.dtype == torch.float16 else t for key, t in tensors.items()}
        numbers = {key: bound.arguments[key] for key in self.numbers}
        with np.errstate(all="ignore"):  # halves overflow in good order
            found = _many(self.meaning(**{key: t.numpy() for key, t in wide.items()}, **numbers))
        for key in self.writes:
            if wide[key] is not tensors[key]:
                tensors[key].copy_(wide[key])
        made = [torch.from_numpy(np.ascontiguousarray(part)) for part in found]
        if self.halves != "to-float32":
            made = [part.half() if part.dtype == torch.float32 else part for part in made]
        result: Any = None if not made else made[0] if len(made) == 1 else tuple(made)
        return cast("R", result)

    def mean(self, tensors: dict[str, NDArray[Any]], numbers: dict[str, Any]) -> tuple[NDArray[Any], ...]:
        """What the NumPy meaning makes of these; it changes in place what it writes."""
        assert self.meaning is not None
        if self.halves == "own" or not any(array.dtype == np.float16 for array in tensors.values()):
            return _many(self.meaning(**tensors, **numbers))
        wide = {
            key: array.astype(np.float32) if array.dtype == np.float16 else array
            for key, array in tensors.items()
        }
        with np.errstate(all="ignore"):  # halves overflow in good order
            found = _many(self.meaning(**wide, **numbers))
        for key in self.writes:
            if wide[key] is not tensors[key]:
                tensors[key][...] = narrow(wide[key])
        if self.halves == "to-float32":
            return found
        return tuple(narrow(part) if part.dtype == np.float32 else part for part in found)

    def numpy(self, meaning: Callable[..., Any]) -> Callable[..., Any]:
        """Register the NumPy meaning: the same parameters, arrays for tensors."""
        self.meaning = meaning
        return meaning

    def sizes(self, shapes: Sequence[Sequence[int]]) -> dict[str, int]:
        """The named sizes of a call, from the shapes of its tensors and results in order.

        Raises:
            ValueError: the shapes do not fit the signature.
        """
        found: dict[str, int] = {}
        for text, shape in zip([*self.tensors.values(), *self.results], shapes, strict=True):
            names = text.split()
            if names == ["*shape"]:
                names, shape = ["n"], [math.prod(shape)]
            elif names[-1].startswith("*"):  # whatever else a sample has
                names, shape = names[:-1], shape[: len(names) - 1]
            if len(names) != len(shape):
                raise ValueError(f"{self.name} takes ({text}), not {tuple(shape)}")
            for name, size in zip(names, shape, strict=True):
                if int(name) != size if name.isdigit() else found.setdefault(name, size) != size:
                    raise ValueError(f"{self.name}: {name} is both {found.get(name, name)} and {size}")
        return found


def kernel(
    *,
    port: str | None = None,
    writes: tuple[str, ...] = (),
    host: bool = False,
    halves: Halves = "through-float32",
) -> Callable[[Callable[P, R]], Kernel[P, R]]:
    """Make a kernel of its eager meaning."""
    return lambda eager: Kernel(eager, port=port, writes=writes, host=host, halves=halves)


def _many(found: Any) -> tuple[NDArray[Any], ...]:
    return () if found is None else found if isinstance(found, tuple) else (found,)


def _shapes(annotation: Any) -> list[str]:
    """The shape strings in an annotation, which is text or, once resolved, a type."""
    if isinstance(annotation, str):
        return re.findall(r"\[Tensor, ['\"]([^'\"]*)['\"]\]", annotation)
    if hasattr(annotation, "dim_str"):
        return [annotation.dim_str]
    return [found for part in getattr(annotation, "__args__", ()) for found in _shapes(part)]


@dataclass(frozen=True)
class Table:
    """Numbers that kernels look things up in; a program carries them as a constant."""

    name: str
    values: NDArray[Any]
    tensor: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensor", torch.from_numpy(self.values))
        TABLES[self.name] = self

    def on(self, device: torch.device) -> Tensor:
        """The table where it is needed."""
        return self.tensor.to(device)


TABLES: dict[str, Table] = {}
"""Every table by name, so that a recorder knows one when it sees it."""


class Rate(float):
    """A number that is ``factor`` times the learning rate, whatever that will be at run time."""

    factor: float

    def __new__(cls, value: float, factor: float = 1.0) -> Rate:
        made = super().__new__(cls, value)
        made.factor = factor
        return made

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, float | int):
            return float(self) * other  # a tensor's product knows of no learning rate
        return Rate(float(self) * other, self.factor * other)

    __rmul__ = __mul__

    def __truediv__(self, other: float | int) -> Rate:
        return Rate(float(self) / other, self.factor / other)

    def __neg__(self) -> Rate:
        return Rate(-float(self), -self.factor)


class StepNumber(int):
    """The number of the training step, or of the one so many ``back``, whatever it will be at run time."""

    back: int

    def __new__(cls, value: int) -> StepNumber:
        made = super().__new__(cls, value)
        made.back = getattr(value, "back", 0)
        return made

    def __sub__(self, steps: int) -> StepNumber:
        made = StepNumber(int(self) - steps)
        made.back = self.back + steps
        return made


def is_recording() -> bool:
    """Whether a recorder listens."""
    return _active.recorder is not None


def current(copies: Tensor, turn: Tensor, *, other: bool = False) -> Tensor:
    """Of two copies the one that ``turn`` names, 0 or 1, or the other."""
    if _active.recorder is not None:
        return _active.recorder.current(copies, turn, other)
    return copies[int(turn) ^ other]


def when(flag: Tensor, then: Body, otherwise: Body = lambda: None) -> None:
    """Run ``then`` if the flag is not 0, else ``otherwise``; both work by changing state in place."""
    if _active.recorder is not None:
        _active.recorder.when(flag, then, otherwise)
    elif bool(flag):
        then()
    else:
        otherwise()


def repeat(times: int, body: Body) -> None:
    """Run the body this many times; what it carries on is state, changed in place."""
    if _active.recorder is not None:
        _active.recorder.repeat(times, body)
    else:
        for _ in range(times):
            body()


def sections(bodies: Sequence[Body], join: Body = lambda: None) -> None:
    """Run bodies that do not touch what another one writes, side by side where it pays, then ``join``."""
    if _active.recorder is not None:
        _active.recorder.sections(bodies, join)
    else:
        for body in (*bodies, join):
            body()


def lanes16(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum over the last axis in the specified order: 16 lanes, then a fixed tree."""
    n = terms.shape[-1]
    padded = np.zeros((*terms.shape[:-1], -(-n // 16) * 16), np.float32)
    padded[..., :n] = terms
    lanes = np.zeros((*terms.shape[:-1], 16), np.float32)
    for start in range(0, padded.shape[-1], 16):
        lanes = lanes + padded[..., start : start + 16]
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    total: NDArray[np.float32] = lanes[..., 0]
    return total
