"""A program as C99 for this machine: one function an entry, all state as array arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

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
    walk,
)
from hwtrain.program.plan import Plan, plan

TYPES = {
    "f32": "float",
    "u8": "uint8_t",
    "i8": "int8_t",
    "i16": "int16_t",
    "i32": "int32_t",
    "i64": "int64_t",
}
_BITS = {"f32": 0, "u8": 8, "i8": 8, "i16": 16, "i32": 32, "i64": 64}


@dataclass(frozen=True)
class HostC:
    """C source, and the buffers in the order of its arguments; the arena comes last."""

    source: str
    order: tuple[str, ...]
    arena: int


def host_c(program: Program, threads: int = 1, *, many: bool = True) -> HostC:
    """Print every entry; with ``many``, for each a loop over many windows that a runner calls."""
    layout = plan(program)
    order = tuple(name for name, buffer in program.buffers.items() if buffer.role != "temp")
    printer = _Printer(program, layout, order)
    parts = [
        f"/* {program.listing.name}: a program of hwtrain; the kernels are in fpga/include. */",
        *printer.macros(threads),
        '#include "hwt.h"',
        *printer.extra(),
    ]
    for entry in program.entries:
        parts += [*printer.entry(entry), ""]
        if many:
            parts += [*printer.many(entry), ""]
    return HostC("\n".join(parts), order, layout.size)


def identifiers(names: Iterator[str]) -> dict[str, str]:
    """A C name for each name, all different."""
    found: dict[str, str] = {}
    for name in names:
        made = re.sub(r"\W", "_", name.removesuffix("/weights"))
        made = f"b_{made}" if not made[0].isalpha() else made
        while made in found.values() or made in _KEYWORDS:
            made += "_"
        found[name] = made
    return found


_KEYWORDS = {
    *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum"),
    *("extern", "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return"),
    *("short", "signed", "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void"),
    *("volatile", "while", "arena", "buffers", "lr", "step", "n", "k"),
    *("main", "room", "compare", "failed", "puts", "printf", "memcpy", "memcmp", "turn", "exp2", "log"),
}


class _Printer:
    def __init__(self, program: Program, layout: Plan, order: tuple[str, ...]) -> None:
        self.program, self.layout, self.order = program, layout, order
        self.names = identifiers(iter(program.buffers))
        self.integer = program.listing.numbers is not None
        self.scalars = f"{'int32_t' if self.integer else 'double'} lr, uint32_t step"
        self.loops = 0

    def macros(self, threads: int) -> Iterator[str]:
        numbers = self.program.listing.numbers
        if numbers is not None:
            yield f"#define HWT_SIGNAL_BITS {numbers.signal_bits}"
            yield f"#define HWT_WEIGHT_BITS {numbers.weight_bits}"
            yield f"#define HWT_ACC_BITS {_BITS[self.program.listing.acc]}"
        yield f"#define HWT_THREADS {threads}"

    def extra(self) -> Iterator[str]:
        """Kernels that only the host has."""
        calls = [call for nodes in self.program.entries.values() for call in walk(nodes)]
        if any(call.kernel.startswith("xbar.") for call in calls):
            yield '#include "hwt_synapse.h"'
        yield ""

    def entry(self, entry: Entry) -> Iterator[str]:
        nodes = self.program.entries[entry]
        arguments = [self._argument(name, self.program.buffers[name]) for name in self.order]
        yield f"void hwt_{entry}("
        yield from (f"    {text}," for text in arguments)
        yield f"    unsigned char *arena, {self.scalars})"
        yield "{"
        used = {ref.buffer for call in walk(nodes) for ref in (*call.reads(), *call.writes())}
        for name in sorted(used & self.layout.offsets.keys(), key=lambda name: self.layout.offsets[name]):
            buffer, at = self.program.buffers[name], self.layout.offsets[name]
            kind = TYPES[buffer.format]
            yield f"    {kind} *const {self.names[name]} = ({kind} *)(arena + {at}); /* {_shape(buffer)} */"
        yield from (f"    (void){self.names[name]};" for name in self.order if name not in used)
        yield "    (void)arena; (void)lr; (void)step;"
        yield from self._nodes(nodes, "    ")
        yield "}"

    def many(self, entry: Entry) -> Iterator[str]:
        """The loop over windows: the runner's, not the program's."""
        yield f"void hwt_{entry}_many(int64_t n, void *const *buffers, {self.scalars})"
        yield "{"
        yield "    for (int64_t k = 0; k < n; k++)"
        yield f"        hwt_{entry}("
        for place, name in enumerate(self.order):
            buffer = self.program.buffers[name]
            move = f" + k * {buffer.size}" if buffer.windowed else ""
            yield f"            ({TYPES[buffer.format]} *)buffers[{place}]{move},"
        yield f"            (unsigned char *)buffers[{len(self.order)}], lr, step + (uint32_t)k);"
        yield "}"

    def _argument(self, name: str, buffer: Buffer) -> str:
        const = "const " if buffer.role in ("input", "label", "const") else ""
        return f"{const}{TYPES[buffer.format]} *{self.names[name]} /* {_shape(buffer)} */"

    def _nodes(self, nodes: tuple[Node, ...], indent: str) -> Iterator[str]:
        where = ""
        for node in nodes:
            match node:
                case Call():
                    if node.where != where:
                        where = node.where
                        yield f"{indent}/* {where or 'loss'} */"
                    yield f"{indent}{self._call(node)}"
                case Repeat():
                    self.loops += 1
                    turn = f"turn{self.loops}"
                    yield f"{indent}for (int32_t {turn} = 0; {turn} < {node.times}; {turn}++) {{"
                    yield from self._nodes(node.body, indent + "    ")
                    yield f"{indent}}}"
                case When():
                    yield f"{indent}if (*{self._ref(node.flag)}) {{"
                    yield from self._nodes(node.then, indent + "    ")
                    yield f"{indent}}} else {{"
                    yield from self._nodes(node.otherwise, indent + "    ")
                    yield f"{indent}}}"
                case Sections():
                    yield "#if HWT_THREADS > 1"
                    yield "#pragma omp parallel sections num_threads(HWT_THREADS)"
                    yield "#endif"
                    yield f"{indent}{{"
                    for body in node.bodies:
                        yield "#if HWT_THREADS > 1"
                        yield "#pragma omp section"
                        yield "#endif"
                        yield f"{indent}    {{"
                        yield from self._nodes(body, indent + "        ")
                        yield f"{indent}    }}"
                    yield f"{indent}}}"
                    yield from self._nodes(node.join, indent)

    def _call(self, call: Call) -> str:
        kernel, sizes = call.meaning, call.sizes()
        arguments = [str(size) for name, size in sizes.items() if not name.isdigit()]
        numbers = [self._number(call.numbers[name]) for name in kernel.numbers if name not in sizes]
        if not kernel.host:  # the others take what no float could hold
            numbers = [f"(float)({text})" if text.endswith("* lr") else text for text in numbers]
        arguments += numbers
        arguments += [self._ref(call.tensors[name]) for name in kernel.tensors]
        arguments += [self._ref(ref) for ref in call.results]
        return f"{kernel.c_name}({', '.join(arguments)});"

    def _ref(self, ref: Ref) -> str:
        name = self.names[ref.buffer]
        return f"{name} + {ref.offset}" if ref.offset else name

    def _number(self, value: Number) -> str:
        match value:
            case Scalar(scalar="step"):
                return "step"
            case Scalar(factor=factor):
                if self.integer:  # the rate as a sign and a shift
                    return f"{1 if factor > 0 else -1}, lr + {halvings(abs(factor))}"
                return f"{_float(factor)} * lr"
            case str():
                return "HWT_" + value.upper().replace("-", "_")
            case float():
                return _float(value)
            case int():
                return f"{value}u" if value >= 1 << 31 else str(value)


def _float(value: float) -> str:
    """A literal to the bit; where a kernel takes a float, the compiler rounds it as Python would."""
    return value.hex()


def _shape(buffer: Buffer) -> str:
    return f"[{', '.join(map(str, buffer.shape))}]"
