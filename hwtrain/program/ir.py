"""What a program is: entries of kernel calls and control flow over static buffers; JSON and text.

    program = buffers + constants + numbers + entries {init | step | flush | predict}
    an entry = call | repeat | when | sections, in order

A buffer has a shape, a format, a role and, if it holds one sample after another, a window. The roles
say how long it lives: a ``temp`` for one run of an entry, a ``state`` and a ``weight`` as long as the
program; a ``counter`` counts the runs that a runner makes of it. Saved as ``program.json`` (``format = 1``)
with ``contents.safetensors`` beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

from hwtrain.arith.fixed import Numbers
from hwtrain.errors import ProgramError
from hwtrain.files import cannot, make_folder, write_file
from hwtrain.kernels.base import Kernel
from hwtrain.registry import lookup
from hwtrain.strict_toml import Strict

Format = Literal["f16", "f32", "u8", "i8", "i16", "i32", "i64"]
Role = Literal["input", "label", "weight", "state", "const", "temp", "output", "counter"]
Entry = Literal["step", "flush", "predict"]

DTYPES: dict[str, Any] = {
    "f16": np.float16,
    "f32": np.float32,
    "u8": np.uint8,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
}


class Buffer(Strict):
    """Dense and row-major. ``windowed``: each run of an entry works on the next ``shape`` of many.

    ``copies`` of it lie one after another: while one is read the other is written, and then they change
    places.
    """

    shape: tuple[int, ...]
    format: Format
    role: Role
    windowed: bool = False
    copies: Literal[1, 2] = 1

    @property
    def whole(self) -> tuple[int, ...]:
        """The shape of all copies."""
        return (self.copies, *self.shape) if self.copies > 1 else self.shape

    @property
    def size(self) -> int:
        """Values in it."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of one window."""
        return self.size * int(np.dtype(DTYPES[self.format]).itemsize)


class Ref(Strict):
    """A part of a buffer, from ``offset`` on, seen in a shape of its own.

    Of a buffer with copies it is the current one, which the i32 in ``turn`` names, or the ``other``.
    """

    buffer: str
    shape: tuple[int, ...]
    offset: int = 0
    turn: str | None = None
    other: bool = False

    def __str__(self) -> str:
        place = f"+{self.offset}" if self.offset else ""
        copy = "" if self.turn is None else "~" if self.other else "@"
        return f"{self.buffer}{copy}{place}[{','.join(map(str, self.shape))}]"

    def overlaps(self, other: Ref) -> bool:
        """Whether the two may have a value in common."""
        if self.buffer != other.buffer or (self.turn == other.turn and self.other != other.other):
            return False
        begins, ends = (
            max(self.offset, other.offset),
            (ref.offset + math.prod(ref.shape) for ref in (self, other)),
        )
        return begins < min(ends)


class Scalar(Strict):
    """A number known at run time: the number of the step, or a multiple of the learning rate."""

    scalar: Literal["lr", "step"]
    factor: float = 1.0
    back: int = 0
    """Of the step: so many before this one."""

    def __str__(self) -> str:
        ago = f" - {self.back}" if self.back else ""
        return self.scalar + ago if self.factor == 1 else f"{self.factor:g} {self.scalar}"


Number = int | float | str | Scalar


@cache
def _kernel(name: str) -> Kernel[..., Any]:
    family, _, function = name.partition(".")
    found = getattr(lookup("kernels", family.replace("_", "-")), function, None)
    if not isinstance(found, Kernel):
        raise ProgramError(f"no kernel is called {name!r}")
    return found


class Call(Strict):
    """One kernel. ``tensors`` and ``numbers`` are its parameters by name, ``results`` what it makes."""

    kind: Literal["call"] = "call"
    kernel: str
    tensors: dict[str, Ref]
    numbers: dict[str, Number] = Field(default_factory=dict)
    results: tuple[Ref, ...] = ()
    where: str = ""

    @property
    def meaning(self) -> Kernel[..., Any]:
        """The kernel that it names."""
        return _kernel(self.kernel)

    def sizes(self) -> dict[str, int]:
        """The named sizes of the kernel in this call."""
        return self.meaning.sizes([ref.shape for ref in (*self.tensors.values(), *self.results)])

    def reads(self) -> Iterator[Ref]:
        """What it looks at."""
        yield from self.tensors.values()
        for turn in {ref.turn for ref in (*self.tensors.values(), *self.results) if ref.turn is not None}:
            yield Ref(buffer=turn, shape=(1,))

    def writes(self) -> Iterator[Ref]:
        """What it changes."""
        yield from (self.tensors[name] for name in self.meaning.writes)
        yield from self.results


class Repeat(Strict):
    """The body, so many times."""

    kind: Literal["repeat"] = "repeat"
    times: int = Field(ge=1)
    body: tuple[Node, ...]


class When(Strict):
    """One of two bodies, by a flag that an earlier call has set; ``taken`` counts both ways."""

    kind: Literal["when"] = "when"
    flag: Ref
    taken: str
    then: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


class Sections(Strict):
    """Bodies that may run side by side, for none touches what another one writes; then the join."""

    kind: Literal["sections"] = "sections"
    bodies: tuple[tuple[Node, ...], ...]
    join: tuple[Node, ...] = ()


Node = Annotated[Call | Repeat | When | Sections, Field(discriminator="kind")]
for _node in (Repeat, When, Sections):
    _node.model_rebuild()


class Listing(Strict):
    """A program without what its buffers hold; what ``program.json`` says."""

    format: Literal[1] = 1
    name: str
    numbers: Numbers | None
    acc: Format
    buffers: dict[str, Buffer]
    entries: dict[Entry, tuple[Node, ...]]
    tape_bytes: int = 0
    parallel: bool = False


class Program:
    """A listing that has been checked, and what weights, states and constants hold at first."""

    def __init__(self, listing: Listing, contents: dict[str, NDArray[Any]]) -> None:
        self.listing, self.contents = listing, contents
        self.buffers, self.entries = listing.buffers, listing.entries
        check(self)

    @property
    def halves(self) -> bool:
        """Whether its signals are FP16."""
        return self.buffers["x"].format == "f16"

    def save(self, folder: Path) -> None:
        """Write ``program.json`` and ``contents.safetensors``."""
        make_folder(folder)
        write_file(folder / "contents.safetensors", write_tensors(self.contents))
        write_file(folder / "program.json", json.dumps(self.listing.model_dump(), indent=1) + "\n")

    def text(self) -> str:
        """The program for people: buffers, then each entry, one call a line."""
        lines = [f"program {self.listing.name}"]
        for name, buffer in self.buffers.items():
            many = " a sample" if buffer.windowed else ""
            shape = "x".join(map(str, buffer.whole))
            lines.append(f"  {buffer.role:7}{buffer.format:4} {name}[{shape}]{many}")
        for entry, nodes in self.entries.items():
            lines.append(f"{entry}:")
            lines += _lines(nodes, "  ")
        return "\n".join(lines) + "\n"


def load_program(folder: Path) -> Program:
    """The program saved in a folder.

    Raises:
        ProgramError: a file is missing, is no program, or holds one that contradicts itself.
    """
    try:
        listing = Listing.model_validate_json((folder / "program.json").read_text())
        contents = read_tensors((folder / "contents.safetensors").read_bytes())
    except OSError as problem:
        raise cannot(folder, "read the program", problem) from None
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProgramError(f"{folder / 'program.json'}: {place}: {first['msg']}: export it again") from None
    except (SafetensorError, UnicodeDecodeError) as problem:
        raise ProgramError(f"{folder}: not a program: {problem}: export it again") from None
    return Program(listing, dict(contents))


def walk(nodes: tuple[Node, ...]) -> Iterator[Call]:
    """Every call of a tree, in the order of the text."""
    for node in nodes:
        if isinstance(node, Call):
            yield node
        else:
            for body in bodies(node):
                yield from walk(body)


def refs(nodes: tuple[Node, ...]) -> Iterator[Ref]:
    """Every part of a buffer that a tree names, flags and turns included."""
    for node in nodes:
        if isinstance(node, Call):
            yield from (*node.reads(), *node.results)
            continue
        if isinstance(node, When):
            yield node.flag
            yield Ref(buffer=node.taken, shape=(2,))
        for body in bodies(node):
            yield from refs(body)


def bodies(node: Repeat | When | Sections) -> tuple[tuple[Node, ...], ...]:
    """The bodies of a node, in the order of the text."""
    match node:
        case Repeat():
            return (node.body,)
        case When():
            return (node.then, node.otherwise)
        case Sections():
            return (*node.bodies, node.join)


def check(program: Program) -> None:
    """Everything that a program must be.

    Raises:
        ProgramError: names the entry, the node and what is wrong with it.
    """
    for name, buffer in program.buffers.items():
        held = program.contents.get(name)
        if (buffer.role in ("weight", "state", "const")) != (held is not None):
            raise ProgramError(f"buffer {name}: a {buffer.role} has {'no' if held is None else 'a'} content")
        if held is not None and (held.shape != buffer.whole or held.dtype != DTYPES[buffer.format]):
            raise ProgramError(f"buffer {name}: holds {held.dtype}{list(held.shape)}, not what it says")
    if program.contents.keys() - program.buffers.keys():
        raise ProgramError(
            f"contents of no buffer: {sorted(program.contents.keys() - program.buffers.keys())}"
        )
    home: dict[str, str] = {}
    for entry, nodes in program.entries.items():
        _Checker(program, entry).nodes(nodes, "", set())
        for name in {ref.buffer for ref in refs(nodes) if program.buffers[ref.buffer].role == "temp"}:
            if home.setdefault(name, entry) != entry:  # the plan places it once
                raise ProgramError(f"{entry}: uses {name}, a temp of {home[name]}: give it one of its own")
    for name, most in powers(program).items():
        if (
            name in program.contents
            and abs(program.contents[name].astype(np.int64)).max(initial=0) > most + 1
        ):
            raise ProgramError(f"{name}: a code above {most + 1} is no power of two that its kernel writes")


def powers(program: Program) -> dict[str, int]:
    """By buffer of power-of-two codes that learn: the largest exponent."""
    calls = (call for nodes in program.entries.values() for call in walk(nodes))
    encoding = (call for call in calls if call.kernel == "pot.encode")
    return {call.tensors["codes"].buffer: int(call.numbers["most"]) for call in encoding}  # type: ignore[arg-type]


class _Checker:
    """Walks one entry and knows which temporaries have been written."""

    def __init__(self, program: Program, entry: str) -> None:
        self.buffers, self.entry = program.buffers, entry

    def nodes(self, nodes: tuple[Node, ...], place: str, written: set[str]) -> None:
        for number, node in enumerate(nodes):
            here = f"{place}{number}"
            try:
                self._node(node, here, written)
            except ValueError as problem:
                name = f" {node.kernel}" if isinstance(node, Call) else f" {node.kind}"
                raise ProgramError(f"{self.entry} {here}{name}: {problem}") from None

    def _node(self, node: Node, here: str, written: set[str]) -> None:
        match node:
            case Call():
                self._call(node, written)
            case Repeat():
                self.nodes(node.body, f"{here}.", written)
            case When():
                self._look(node.flag, written)
                if self.buffers[node.flag.buffer].format != "i32":
                    raise ValueError(f"the flag {node.flag.buffer} is no i32")
                if node.taken not in self.buffers or self.buffers[node.taken].role != "counter":
                    raise ValueError(f"{node.taken} is no counter")
                branches = [set(written), set(written)]
                self.nodes(node.then, f"{here}.then.", branches[0])
                self.nodes(node.otherwise, f"{here}.otherwise.", branches[1])
                written |= branches[0] & branches[1]
            case Sections():
                self._apart(node)
                for number, body in enumerate(node.bodies):
                    self.nodes(body, f"{here}.{number}.", written)
                self.nodes(node.join, f"{here}.join.", written)

    def _call(self, call: Call, written: set[str]) -> None:
        kernel = call.meaning
        if set(call.tensors) != set(kernel.tensors) or set(call.numbers) != set(kernel.numbers):
            raise ValueError(f"takes {', '.join([*kernel.tensors, *kernel.numbers])}")
        if len(call.results) != len(kernel.results):
            raise ValueError(f"makes {len(kernel.results)} results, not {len(call.results)}")
        call.sizes()
        for ref in call.reads():
            self._look(ref, written)
        for ref in call.writes():
            self._inside(ref)
            if self.buffers[ref.buffer].role in ("input", "label", "const", "counter"):
                raise ValueError(f"writes {ref.buffer}, which is {self.buffers[ref.buffer].role}")
            written.add(ref.buffer)

    def _look(self, ref: Ref, written: set[str]) -> None:
        self._inside(ref)
        if self.buffers[ref.buffer].role in ("temp", "output") and ref.buffer not in written:
            raise ValueError(f"reads {ref.buffer} before anything has written it")

    def _inside(self, ref: Ref) -> None:
        if ref.buffer not in self.buffers:
            raise ValueError(f"no buffer is called {ref.buffer!r}")
        buffer, size = self.buffers[ref.buffer], self.buffers[ref.buffer].size
        if (buffer.copies > 1) != (ref.turn is not None):
            raise ValueError(f"{ref} names a copy, and {ref.buffer} has {buffer.copies}")
        if ref.turn is not None and (
            ref.turn not in self.buffers
            or self.buffers[ref.turn].format != "i32"
            or self.buffers[ref.turn].size != 1
        ):
            raise ValueError(f"{ref.turn} says of no copy that it is current: it is no single i32")
        if ref.offset < 0 or min(ref.shape, default=1) < 1 or ref.offset + math.prod(ref.shape) > size:
            raise ValueError(f"{ref} lies outside of its buffer, which has {size} values")

    def _apart(self, node: Sections) -> None:
        changed = [[ref for call in walk(body) for ref in call.writes()] for body in node.bodies]
        touched = [[*refs(body), *changed[place]] for place, body in enumerate(node.bodies)]
        for one, other in permutations(range(len(node.bodies)), 2):
            for ref in changed[one]:
                if any(ref.overlaps(found) for found in touched[other]):
                    raise ValueError(f"section {one} writes {ref.buffer}, which section {other} uses")


def _lines(nodes: tuple[Node, ...], indent: str) -> Iterator[str]:
    for node in nodes:
        match node:
            case Call():
                given = [str(ref) for ref in node.tensors.values()]
                given += [f"{name}={value}" for name, value in node.numbers.items()]
                where = f"  # {node.where}" if node.where else ""
                made = ", ".join(map(str, node.writes()))
                yield f"{indent}{made} = {node.kernel}({', '.join(given)}){where}"
            case Repeat():
                yield f"{indent}repeat {node.times}:"
                yield from _lines(node.body, indent + "  ")
            case When():
                yield f"{indent}when {node.flag}:"
                yield from _lines(node.then, indent + "  ")
                yield f"{indent}otherwise:"
                yield from _lines(node.otherwise, indent + "  ")
            case Sections():
                for body in node.bodies:
                    yield f"{indent}section:"
                    yield from _lines(body, indent + "  ")
                yield f"{indent}join:"
                yield from _lines(node.join, indent + "  ")
