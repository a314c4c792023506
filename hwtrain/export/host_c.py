"""A program as C99 for this machine: one function an entry, all state as array arguments."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hwtrain.errors import ProgramError
from hwtrain.kernels.fixed import halvings
from hwtrain.program.ir import (
    Buffer,
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
    bodies,
    refs,
    walk,
)
from hwtrain.program.plan import Plan, plan
from hwtrain.program.schedule import handed_on, without
from hwtrain.shipped import shipped

TYPES = {
    "f16": "hwt_half",
    "f32": "float",
    "u8": "uint8_t",
    "i8": "int8_t",
    "i16": "int16_t",
    "i32": "int32_t",
    "i64": "int64_t",
}
NO_END = (1 << 32) - 1
"""Of a budget: UINT32_MAX."""
_BITS = {"f32": 0, "u8": 8, "i8": 8, "i16": 16, "i32": 32, "i64": 64}


@dataclass(frozen=True)
class HostC:
    """C source, and the buffers in the order of its arguments; the arena comes last.

    ``timed_calls``: those of ``step`` in the order of ``hwt_clock``, where they are.
    """

    source: str
    order: tuple[str, ...]
    arena: int
    timed_calls: tuple[Call, ...] = ()


def host_c(
    program: Program,
    threads: int = 1,
    *,
    many: bool = True,
    rate: Literal["double", "float"] = "double",
    slices: Sequence[int] = (),
    keep_steps: int = 0,
) -> HostC:
    """Print every entry; with ``many``, for each a loop over many windows that a runner calls.

    ``rate`` is the type of a learning rate that is no shift; in float its multiples must be powers of two.
    With ``slices``, the cost of every node of ``step``, that one stops when a budget is used up. In
    ``hwt_clock``, by thread, stands when each call of the last ``keep_steps`` steps began and ended, in ns.
    """
    handed = handed_on(program) if many else {}
    program = without(program, handed)
    layout = plan(program)
    order = tuple(name for name, buffer in program.buffers.items() if buffer.role != "temp")
    printer = _Printer(program, layout, order, threads, rate=rate, handed=handed, keep_steps=keep_steps)
    parts = [
        f"/* {in_comment(program.listing.name)}: a program of hwtrain; the kernels are in fpga/include. */",
        *(["#define _POSIX_C_SOURCE 200809L"] if threads > 1 or keep_steps else []),
        *printer.macros(),
        '#include "hwt_net16.h"' if program.halves else '#include "hwt.h"',
        *printer.extra(),
    ]
    for entry in program.entries:
        parts += [*printer.entry(entry, slices if entry == "step" else ()), ""]
        if many:
            parts += [*printer.many(entry), ""]
    return HostC("\n".join(parts), order, layout.size, printer.timed_calls)


def arrays_c(program: Program) -> dict[Entry, list[str]]:
    """The lines of every entry as a function of arrays alone, its temporaries among them.

    What hardware is made of: no arena, no cast, no state.
    """
    printer = _Printer(program, plan(program), tuple(program.buffers), 1, arrays=True)
    return {entry: list(printer.entry(entry)) for entry in program.entries}


def macros(program: Program) -> list[str]:
    """The number format of a program, as its kernels want to be told it."""
    return list(_Printer(program, plan(program), (), 1).macros())


def missing(program: Program) -> list[str]:
    """Kernels of a program that have no form for halves in devices/mcu/src yet."""
    return sorted({call.kernel for call in _unprinted(program)})


def refuse_missing(program: Program) -> None:
    """ProgramError for a kernel that has no form for halves in devices/mcu/src yet."""
    for call in _unprinted(program):
        raise ProgramError(
            f"layer {call.where or 'loss'}: {call.kernel} has no FP16 form in C yet: "
            "use another layer, or --engine torch"
        )


def _unprinted(program: Program) -> Iterator[Call]:
    folder = shipped("devices") / "mcu" / "src"
    text = "".join((folder / name).read_text() for name in ("hwt_net16.h", "hwt_conv16.h"))
    for nodes in program.entries.values():
        for call in walk(nodes):
            if f"{call.meaning.c_name}(" not in text:
                yield call


def identifiers(names: Iterator[str]) -> dict[str, str]:
    """A C name for each name, all different."""
    found: dict[str, str] = {}
    for name in names:
        made = re.sub(r"\W", "_", name.removesuffix("/weights"), flags=re.ASCII)
        made = f"b_{made}" if not made[0].isalpha() else made
        while made in found.values() or made in _KEYWORDS:
            made += "_"
        found[name] = made
    return found


def in_comment(name: str) -> str:
    """A name that its user chose, as a comment may hold it."""
    return re.sub(r"[^\w .,:=+-]", "_", name, flags=re.ASCII)


_KEYWORDS = {
    *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum"),
    *("extern", "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return"),
    *("short", "signed", "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void"),
    *("volatile", "while", "arena", "buffers", "lr", "step", "n", "k"),
    *("alignas", "alignof", "and", "asm", "bool", "catch", "class", "compl", "concept", "constexpr"),
    *("decltype", "delete", "explicit", "export", "false", "friend", "mutable", "namespace", "new"),
    *("noexcept", "not", "nullptr", "operator", "or", "private", "protected", "public", "requires"),
    *("template", "this", "throw", "true", "try", "typeid", "typename", "using", "virtual", "xor"),
    *("in", "out", "beat", "count", "last", "expected", "samples", "classes", "STEPS", "LR"),
    *("main", "room", "compare", "failed", "puts", "printf", "memcpy", "memcmp", "turn", "exp2", "log"),
}


class _Printer:
    def __init__(
        self,
        program: Program,
        layout: Plan,
        order: tuple[str, ...],
        threads: int,
        *,
        arrays: bool = False,
        rate: str = "double",
        handed: Mapping[str, Call] = {},
        keep_steps: int = 0,
    ) -> None:
        self.program, self.layout, self.order, self.threads = program, layout, order, threads
        self.arrays, self.handed = arrays, handed
        self.names = identifiers(iter(program.buffers))
        self.integer = program.listing.numbers is not None
        self.scalars = f"{'int32_t' if self.integer else rate} lr, uint32_t step"
        self.suffix = "f" if rate == "float" else ""
        self.loops = 0
        self.kept = keep_steps
        self.timed_calls = tuple(walk(program.entries["step"])) if keep_steps else ()
        self.places = {id(call): place for place, call in enumerate(self.timed_calls)}

    def macros(self) -> Iterator[str]:
        numbers = self.program.listing.numbers
        if numbers is not None:
            yield f"#define HWT_SIGNAL_BITS {numbers.signal_bits}"
            yield f"#define HWT_WEIGHT_BITS {numbers.weight_bits}"
            yield f"#define HWT_ACC_BITS {_BITS[self.program.listing.acc]}"

    def extra(self) -> Iterator[str]:
        """Kernels that only the host has."""
        calls = [call for nodes in self.program.entries.values() for call in walk(nodes)]
        if self.threads > 1:
            yield '#include "hwt_team.h"'
        if any(call.kernel.startswith("xbar.") for call in calls):
            yield '#include "hwt_synapse.h"'
        if any(call.kernel.startswith("periphery.") for call in calls):
            yield '#include "hwt_periphery.h"'
        if any(call.kernel.startswith("transfer.") for call in calls):
            yield '#include "hwt_transfer.h"'
        if self.timed_calls:
            yield "#include <time.h>"
            yield f"int64_t hwt_clock[{self.kept}][{self.threads}][{len(self.timed_calls)}][2];"
            yield from _CLOCK
        yield ""

    def entry(self, entry: Entry, slices: Sequence[int] = ()) -> Iterator[str]:
        nodes = self.program.entries[entry]
        used = {ref.buffer for ref in refs(nodes)}
        given = [name for name in self.order if name in used] if self.arrays else self.order
        yield f"{'uint32_t' if slices else 'void'} hwt_{entry}("
        yield from (f"    {self._argument(name, self.program.buffers[name])}," for name in given)
        team = ", hwt_team *team, int32_t me" if self.threads > 1 else ""
        goes_on = ", uint32_t at, uint32_t budget" if slices else ""
        yield f"    {'' if self.arrays else 'unsigned char *arena, '}{self.scalars}{team}{goes_on})"
        yield "{"
        if not self.arrays:
            yield from self._arena(used)
        yield "    (void)lr; (void)step;"
        if self.timed_calls and self.threads == 1:
            yield "    const int32_t me = 0;"
            yield "    (void)me;"
        if self.threads > 1:
            yield "    (void)team; (void)me;"
            yield from self._together(nodes, "    ")
        elif slices:
            yield from self._slices(nodes, slices)
        else:
            yield from self._nodes(nodes, "    ")
        yield "}"

    def _slices(self, nodes: tuple[Node, ...], slices: Sequence[int]) -> Iterator[str]:
        """The nodes from number ``at`` on, until the budget is used up; what is next, 0 at the end.

        A budget of UINT32_MAX has no end.
        """
        for number, (node, cycles) in enumerate(zip(nodes, slices, strict=True)):
            yield f"    if (at <= {number}u) {{"
            yield from self._nodes((node,), "        ")
            if number + 1 < len(nodes):
                spent = min(cycles, NO_END - 1)
                yield f"        if (budget <= {spent}u)"
                yield f"            return {number + 1}u;"
                yield f"        budget -= budget == UINT32_MAX ? 0u : {spent}u;"
            yield "    }"
        yield "    return 0u;"

    def _arena(self, used: set[str]) -> Iterator[str]:
        """Where in the arena each temporary lies; and what this entry has no use for."""
        for name in sorted(used & self.layout.offsets.keys(), key=lambda name: self.layout.offsets[name]):
            buffer, at = self.program.buffers[name], self.layout.offsets[name]
            kind = TYPES[buffer.format]
            yield f"    {kind} *const {self.names[name]} = ({kind} *)(arena + {at}); /* {_shape(buffer)} */"
        yield from (f"    (void){self.names[name]};" for name in self.order if name not in used)
        yield "    (void)arena;"

    def many(self, entry: Entry) -> Iterator[str]:
        """The loop over windows: the runner's, not the program's."""
        head = f"void hwt_{entry}_many(int64_t n, void *const *buffers, {self.scalars})"
        if self.threads == 1:
            yield from (head, "{", *self._windows(entry, "n", "buffers", "lr", "step", ""))
            yield from (*self._handed_on(entry), "}")
            return
        kind = self.scalars.split()[0]
        job = f"hwt_{entry}_job"
        yield f"typedef struct {{ int64_t n; void *const *buffers; {kind} lr; uint32_t step; }} {job};"
        yield f"static void hwt_{entry}_work(void *given, hwt_team *team, int32_t me)"
        yield "{"
        yield f"    const {job} *job = given;"
        yield from self._windows(entry, "job->n", "job->buffers", "job->lr", "job->step", ", team, me")
        yield "}"
        yield from (head, "{", f"    {job} job = {{n, buffers, lr, step}};")
        yield f"    hwt_team_run({self.threads}, hwt_{entry}_work, &job);"
        yield from (*self._handed_on(entry), "}")

    def _windows(self, entry: Entry, n: str, buffers: str, lr: str, step: str, team: str) -> Iterator[str]:
        yield f"    for (int64_t k = 0; k < {n}; k++)"
        yield f"        hwt_{entry}("
        for place, name in enumerate(self.order):
            buffer = self.program.buffers[name]
            kind = TYPES[buffer.format]
            move = f" + k * {buffer.size}" if buffer.windowed else ""
            given = f"({kind} *){buffers}[{place}]{move}"
            if entry == "step" and name in self.handed:
                source = self.order.index(self.handed[name].tensors["a"].buffer)
                given = f"k > 0 ? ({kind} *){buffers}[{source}] + (k - 1) * {buffer.size} : {given}"
            yield f"            {given},"
        yield f"            (unsigned char *){buffers}[{len(self.order)}], {lr}, {step} + (uint32_t)k{team});"

    def _handed_on(self, entry: Entry) -> Iterator[str]:
        """What the windows did not copy, for it was the window before: the last one, for the next call."""
        for name, call in self.handed.items() if entry == "step" else ():
            into, source = self.order.index(name), self.order.index(call.tensors["a"].buffer)
            size, kind = self.program.buffers[name].size, TYPES[self.program.buffers[name].format]
            last = f"({kind} *)buffers[{source}] + (n - 1) * {size}"
            yield "    if (n > 0)"
            yield f"        {call.meaning.c_name}({size}, buffers[{into}], {last});"

    def _argument(self, name: str, buffer: Buffer) -> str:
        const = "const " if buffer.role in ("input", "label", "const") else ""
        if self.arrays:
            return f"{const}{TYPES[buffer.format]} {self.names[name]}[{buffer.size * buffer.copies}]"
        return f"{const}{TYPES[buffer.format]} *{self.names[name]} /* {_shape(buffer)} */"

    def _nodes(self, nodes: tuple[Node, ...], indent: str) -> Iterator[str]:
        where = ""
        for node in nodes:
            match node:
                case Call():
                    if node.where != where:
                        where = node.where
                        yield f"{indent}/* {in_comment(where or 'loss')} */"
                    yield f"{indent}{self._line(node)}"
                case Repeat():
                    yield f"{indent}{self._loop(node)}"
                    yield from self._nodes(node.body, indent + "    ")
                    yield f"{indent}}}"
                case When():
                    taken = self.names[node.taken]
                    yield f"{indent}if ({self._value(node.flag)}) {{"
                    yield f"{indent}    {taken}[0]++;"
                    yield from self._nodes(node.then, indent + "    ")
                    yield f"{indent}}} else {{"
                    yield f"{indent}    {taken}[1]++;"
                    yield from self._nodes(node.otherwise, indent + "    ")
                    yield f"{indent}}}"
                case Sections():
                    for number, body in enumerate(node.bodies):
                        yield f"{indent}{{ /* section {number} */"
                        yield from self._nodes(body, indent + "    ")
                        yield f"{indent}}}"
                    yield from self._nodes(node.join, indent)

    def _together(self, nodes: tuple[Node, ...], indent: str) -> Iterator[str]:
        """What a team does: sections and divided kernels side by side, and the first thread all else."""
        alone: list[Node] = []
        for node in (*nodes, None):
            if node is not None and not _divided(node):
                alone.append(node)
                continue
            if alone:
                yield f"{indent}if (me == 0) {{"
                yield from self._nodes(tuple(alone), indent + "    ")
                yield f"{indent}}}"
                alone = []
            match node:
                case Call():
                    yield f"{indent}hwt_meet(team, me);"
                    yield f"{indent}{self._line(node, together=True)}"
                    yield f"{indent}hwt_meet(team, me);"
                case Sections():
                    yield f"{indent}hwt_meet(team, me);"
                    for number, body in enumerate(node.bodies):
                        yield f"{indent}if (me == hwt_whose(team, {number})) {{"
                        yield from self._nodes(body, indent + "    ")
                        yield f"{indent}}}"
                    yield f"{indent}hwt_meet(team, me);"
                    yield from self._together(node.join, indent)
                case Repeat():
                    yield f"{indent}{self._loop(node)}"
                    yield from self._together(node.body, indent + "    ")
                    yield f"{indent}}}"
                case When():  # every thread has looked at the flag before any goes on
                    self.loops += 1
                    flag, taken = f"flag{self.loops}", self.names[node.taken]
                    yield f"{indent}hwt_meet(team, me);"
                    yield f"{indent}const int32_t {flag} = {self._value(node.flag)};"
                    yield f"{indent}hwt_meet(team, me);"
                    for word, place, body in (("if", 0, node.then), ("if not", 1, node.otherwise)):
                        yield f"{indent}if ({'!' if place else ''}{flag}) {{ /* {word} */"
                        yield f"{indent}    if (me == 0)"
                        yield f"{indent}        {taken}[{place}]++;"
                        yield from self._together(body, indent + "    ")
                        yield f"{indent}}}"

    def _loop(self, node: Repeat) -> str:
        self.loops += 1
        turn = f"turn{self.loops}"
        return f"for (int32_t {turn} = 0; {turn} < {node.times}; {turn}++) {{"

    def _line(self, call: Call, *, together: bool = False) -> str:
        line, place = self._call(call, together=together), self.places.get(id(call))
        return line if place is None else f"HWT_TIMED({place}, {line})"

    def _call(self, call: Call, *, together: bool = False) -> str:
        kernel, sizes = call.meaning, call.sizes()
        arguments = [str(size) for name, size in sizes.items() if not name.isdigit()]
        numbers = [self._number(call.numbers[name]) for name in kernel.numbers if name not in sizes]
        if not kernel.host:  # the others take what no float could hold
            numbers = [f"(float)({text})" if text.endswith("* lr") else text for text in numbers]
        arguments += numbers
        arguments += [self._ref(call.tensors[name]) for name in kernel.tensors]
        arguments += [self._ref(ref) for ref in call.results]
        if self.threads > 1 and kernel.host:
            arguments += ["team", "me"] if together else ["0", "0"]
        return f"{kernel.c_name}({', '.join(arguments)});"

    def _ref(self, ref: Ref) -> str:
        name = self.names[ref.buffer]
        if ref.turn is not None:
            size = self.program.buffers[ref.buffer].size
            places = (ref.offset + size, ref.offset) if not ref.other else (ref.offset, ref.offset + size)
            return f"{name} + (*{self.names[ref.turn]} ? {places[0]} : {places[1]})"
        return f"{name} + {ref.offset}" if ref.offset else name

    def _value(self, ref: Ref) -> str:
        return f"{self.names[ref.buffer]}[{ref.offset}]" if ref.offset else f"*{self._ref(ref)}"

    def _number(self, value: Number) -> str:
        match value:
            case Scalar(scalar="step", back=back):
                return f"step - {back}u" if back else "step"
            case Scalar(factor=factor):
                if self.integer:  # the rate as a sign and a shift
                    return f"{1 if factor > 0 else -1}, lr + {halvings(abs(factor))}"
                return f"{_float(factor)}{self.suffix} * lr"
            case str():
                return "HWT_" + value.upper().replace("-", "_")
            case float():  # whole numbers lie below a limit if they lie below the next whole one
                return str(math.ceil(value)) if self.integer else _float(value)
            case int():
                return f"{value}u" if value >= 1 << 31 else str(value)


_CLOCK = (
    "static inline int64_t hwt_now(void)",
    "{",
    "    struct timespec now;",
    "    clock_gettime(CLOCK_MONOTONIC, &now);",
    "    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;",
    "}",
    "#define HWT_KEPT (int32_t)(sizeof hwt_clock / sizeof *hwt_clock)",
    "#define HWT_TIMED(place, call) \\",
    "    do { \\",
    "        int64_t *const at = hwt_clock[step % HWT_KEPT][me][place]; \\",
    "        at[0] = hwt_now(); \\",
    "        call \\",
    "        at[1] = hwt_now(); \\",
    "    } while (0);",
)
"""A call in a loop keeps the times of its last turn."""


def _divided(node: Node) -> bool:
    """Whether there is something in it for more threads than one."""
    if isinstance(node, Call):
        return node.meaning.host
    return isinstance(node, Sections) or any(_divided(inner) for body in bodies(node) for inner in body)


def _float(value: float) -> str:
    """A literal to the bit; where a kernel takes a float, the compiler rounds it as Python would."""
    return value.hex()


def _shape(buffer: Buffer) -> str:
    return f"[{', '.join(map(str, buffer.shape))}]"
