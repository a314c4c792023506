"""A rule's step as a program: the rule runs once under a recorder, which writes down every kernel.

A tensor is known by its storage, so views need no names. Between kernels only views are allowed:
whatever else torch is asked to do would be lost, so it is refused by name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hwtrain.errors import HwtrainError, IncompatibleRule, ProgramError
from hwtrain.kernels.base import TABLES, Body, Kernel, Rate, Recorder, StepNumber, recording
from hwtrain.ledger import Clock
from hwtrain.program.bounds import accumulator
from hwtrain.program.ir import (
    DTYPES,
    Buffer,
    Call,
    Entry,
    Format,
    Listing,
    Node,
    Number,
    Program,
    Ref,
    Repeat,
    Role,
    Scalar,
    Sections,
    When,
    refs,
)
from hwtrain.rules.base import Bound

_FORMATS: dict[torch.dtype, Format] = {
    torch.float16: "f16",
    torch.float32: "f32",
    torch.uint8: "u8",
    torch.int8: "i8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
}
_VIEWS = {
    *("view", "transpose", "t", "permute", "select", "slice", "unsqueeze", "squeeze", "expand"),
    *("alias", "detach", "as_strided", "_unsafe_view", "_reshape_alias"),
}


def lower(bound: Bound, shape: tuple[int, ...], batch: int = 1, name: str = "net") -> Program:
    """The program of a rule at work on a net, for samples of this shape and batches of this size.

    Raises:
        ProgramError: something that is no kernel was computed; names layer and rule.
        ConfigError: the samples do not fit the net; names the layer.
        IncompatibleRule: a substrate has no kernels in C.
    """
    if batch < 1:
        raise ProgramError(f"batch = {batch}: a program works on one sample or more")
    bound.net.out_shape(shape)
    bound = copy.deepcopy(bound)
    net = bound.net
    numbers = net.loss.numbers
    recorder = _Recorder(type(bound).__name__.removesuffix("Bound").lower())
    for path, array in net.arrays():
        if array.transforms:
            raise IncompatibleRule(f"layer {path}: momentum, clip and summed have no kernels: leave them out")
        for key, tensor in array.live().items():
            recorder.declare(f"{path}/{key}", tensor, "weight", copies=1 if array.turn is None else 2)
    for path, layer in net.layers():
        for key, tensor in layer.running.items():
            recorder.declare(f"{path}/{key}", tensor, "state")
    for key, tensor in bound.live().items():
        recorder.declare(f"rule/{key}", tensor, "state")
    for table in TABLES.values():
        recorder.declare(table.name, table.tensor, "const")
    x = net.encode(torch.zeros(batch, *shape))
    labels = torch.zeros(batch, dtype=torch.int64)
    recorder.declare("x", x, "input", windowed=True)
    recorder.declare("labels", labels, "label", windowed=True)
    _, array = next(net.arrays())
    ledger = array.trial.ledger
    ledger.counts, ledger.clock = {}, Clock(step=StepNumber(0), phase="train")
    entries: dict[Entry, tuple[Node, ...]] = {}
    with _located(net, recorder):
        runs: dict[Entry, tuple[str, Callable[[], Tensor | None]]] = {
            "step": ("loss", lambda: bound.step(x, labels, Rate(0.01))),
            "flush": ("owed", lambda: bound.flush(Rate(0.01))),
            "predict": ("z", lambda: bound.predict(x)),
        }
        if type(bound).flush is Bound.flush:
            del runs["flush"]
        for entry, (result, run) in runs.items():
            ledger.clock.phase = "eval" if entry == "predict" else "train"
            for _, array in net.arrays():
                array.rewind()
            entries[entry] = recorder.entry(result, run)
    used = {ref.buffer for nodes in entries.values() for ref in refs(nodes)}
    buffers = {key: made for key, made in recorder.buffers.items() if key in used or made.role == "weight"}
    contents = {
        key: recorder.contents[key].numpy().astype(DTYPES[made.format])
        for key, made in buffers.items()
        if made.role in ("weight", "state", "const")
    }
    listing = Listing(
        name=name,
        numbers=numbers,
        acc="i64" if numbers else "f32",
        buffers=buffers,
        entries=entries,
        tape_bytes=ledger.of("train", "net", "tape")["bytes_held"],
        parallel=bound.parallel,
    )
    return accumulator(Program(listing, contents)) if numbers else Program(listing, contents)


@contextmanager
def _located(net: Any, recorder: _Recorder) -> Iterator[None]:
    """Tell the recorder which layer is at work; ``net`` is a copy that nobody else will use."""

    def telling(path: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def told(*args: Any, **kwargs: Any) -> Any:
            recorder.where = path
            found = method(*args, **kwargs)
            recorder.where = ""  # but what fails leaves it, for the refusal to name
            return found

        return told

    for path, layer in net.layers():
        for name in ("fw", "igrad", "wgrad"):
            setattr(layer, name, telling(path, getattr(layer, name)))
    for path, array in net.arrays():
        array.write = telling(path, array.write)
    yield


@dataclass
class _Recorder(Recorder, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Names buffers by their storage and appends to the body that is being recorded."""

    rule: str
    buffers: dict[str, Buffer] = field(default_factory=dict)
    contents: dict[str, Tensor] = field(default_factory=dict)
    where: str = ""

    def __post_init__(self) -> None:
        TorchDispatchMode.__init__(self)  # type: ignore[no-untyped-call]
        self._names: dict[int, Ref] = {}
        self._kept: list[Tensor] = []  # a storage that were freed could come back under another name
        self._body: list[Node] = []
        self._quiet = True

    def declare(
        self, name: str, tensor: Tensor, role: Role, *, windowed: bool = False, copies: Literal[1, 2] = 1
    ) -> None:
        """Name a tensor; from now on it and its views are a buffer. Copies are its first axis."""
        format_: Format = "i32" if role == "label" else _FORMATS[tensor.dtype]
        shape = tuple(tensor.shape) if copies == 1 else tuple(tensor.shape[1:])
        self.buffers[name] = Buffer(shape=shape, format=format_, role=role, windowed=windowed, copies=copies)
        self._name(tensor, Ref(buffer=name, shape=shape))
        if role in ("weight", "state", "const"):
            self.contents[name] = tensor.clone()

    def _name(self, tensor: Tensor, ref: Ref) -> None:
        self._names[tensor.untyped_storage()._cdata] = ref
        self._kept.append(tensor)

    def current(self, copies: Tensor, turn: Tensor, other: bool) -> Tensor:
        """A tensor that stands for one of the copies."""
        of, says = self._ref(copies), self._ref(turn)
        quiet, self._quiet = self._quiet, True
        stand_in = copies[0].clone()
        self._quiet = quiet
        self._name(stand_in, of.model_copy(update={"turn": says.buffer, "other": other}))
        return stand_in

    def entry(self, name: str, run: Callable[[], Tensor | None]) -> tuple[Node, ...]:
        """The calls of one run; what it returns, if anything, is the output of this name."""
        self._body = []
        with recording(self), self:
            self._quiet = False
            try:
                result = run()
            except HwtrainError:
                raise
            except (RuntimeError, TypeError, ValueError, NotImplementedError) as problem:
                raise self._refusal(str(problem)) from problem
            finally:
                self._quiet = True
        if result is None:
            return tuple(self._body)
        ref = self._ref(result)
        made = self.buffers.pop(ref.buffer)
        if ref.offset or made.role != "temp":
            raise self._refusal("what it returns is no kernel's result")
        output = made.model_copy(update={"role": "output", "windowed": True, "shape": ref.shape})
        self.buffers[name] = output
        return _renamed(tuple(self._body), ref.buffer, name)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Outside of kernels, let views through and nothing else."""
        name = func.overloadpacket.__name__
        if not self._quiet and name not in _VIEWS:
            raise self._refusal(
                f"torch's {name} is computed between kernels: put it into one (hwtrain/kernels), or use "
                "--engine torch"
            )
        return func(*args, **(kwargs or {}))

    def call(self, kernel: Kernel[..., Any], arguments: dict[str, Any]) -> Any:
        """Run a kernel once and write it down."""
        if kernel.meaning is None and not kernel.host:
            raise self._refusal(f"kernel {kernel.name} has no meaning in NumPy yet: use --engine torch")
        tensors = {key: self._ref(arguments[key]) for key in kernel.tensors}
        numbers = {key: self._number(arguments[key]) for key in kernel.numbers}
        quiet, self._quiet = self._quiet, True
        try:
            with recording(None):
                found = kernel.eager(**arguments) if kernel.results or not kernel.host else None
            made = [] if found is None else [found] if isinstance(found, Tensor) else list(found)
            made = [self._own(tensor) for tensor in made]
        finally:
            self._quiet = quiet
        results = tuple(self._ref(tensor) for tensor in made)
        self._body.append(
            Call(kernel=kernel.name, tensors=tensors, numbers=numbers, results=results, where=self.where)
        )
        return None if found is None else made[0] if isinstance(found, Tensor) else tuple(made)

    def when(self, flag: Tensor, then: Body, otherwise: Body) -> None:
        """Both branches."""
        taken = f"taken{sum(made.role == 'counter' for made in self.buffers.values())}"
        self.buffers[taken] = Buffer(shape=(2,), format="i64", role="counter")
        one, other = self._recorded(then), self._recorded(otherwise)
        self._body.append(When(flag=self._ref(flag), taken=taken, then=one, otherwise=other))

    def repeat(self, times: int, body: Body) -> None:
        """The body once."""
        self._body.append(Repeat(times=times, body=self._recorded(body)))

    def sections(self, bodies: Sequence[Body], join: Body) -> None:
        """Every body, then the join."""
        recorded = tuple(self._recorded(body) for body in bodies)
        self._body.append(Sections(bodies=recorded, join=self._recorded(join)))

    def _recorded(self, body: Body) -> tuple[Node, ...]:
        outer, self._body = self._body, []
        body()
        inner, self._body = self._body, outer
        return tuple(inner)

    def _own(self, tensor: Tensor) -> Tensor:
        """A result with a storage of its own, dense and row-major, named as a temporary."""
        tensor = tensor.contiguous()
        if (
            tensor.untyped_storage()._cdata in self._names
            or tensor.untyped_storage().nbytes() != tensor.nbytes
        ):
            tensor = tensor.clone()
        self.declare(f"t{len(self.buffers)}", tensor, "temp")
        return tensor

    def _ref(self, tensor: Tensor) -> Ref:
        found = self._names.get(tensor.untyped_storage()._cdata)
        if found is None:
            raise self._refusal("a tensor comes from outside of the net: keep it in the rule's state")
        if not tensor.is_contiguous():
            raise self._refusal(
                f"a view of {found.buffer} is not row-major: use a kernel of hwtrain/kernels/layout.py"
            )
        part = {"shape": tuple(tensor.shape), "offset": int(tensor.storage_offset())}
        return found.model_copy(update=part)

    def _number(self, value: Any) -> Number:
        match value:
            case Rate():
                return Scalar(scalar="lr", factor=value.factor)
            case StepNumber():
                return Scalar(scalar="step", back=value.back)
            case bool() | np.generic():
                return int(value)
            case int() | float() | str():
                return value
        raise self._refusal(f"a kernel takes {value!r}, which no program can hold")

    def _refusal(self, what: str) -> ProgramError:
        layer = f"layer {self.where}: " if self.where else ""
        return ProgramError(f"{layer}rule {self.rule} cannot become a program: {what}")


def _renamed(nodes: tuple[Node, ...], old: str, new: str) -> tuple[Node, ...]:
    def ref(found: Ref) -> Ref:
        return found.model_copy(update={"buffer": new}) if found.buffer == old else found

    def node(found: Node) -> Node:
        match found:
            case Call():
                tensors = {key: ref(value) for key, value in found.tensors.items()}
                results = tuple(map(ref, found.results))
                return found.model_copy(update={"tensors": tensors, "results": results})
            case Repeat():
                return found.model_copy(update={"body": _renamed(found.body, old, new)})
            case When():
                then, otherwise = _renamed(found.then, old, new), _renamed(found.otherwise, old, new)
                parts = {"flag": ref(found.flag), "then": then, "otherwise": otherwise}
                return found.model_copy(update=parts)
            case Sections():
                inner = tuple(_renamed(body, old, new) for body in found.bodies)
                return Sections(bodies=inner, join=_renamed(found.join, old, new))

    return tuple(map(node, nodes))
