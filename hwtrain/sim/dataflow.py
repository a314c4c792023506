"""A function of LLVM as CIRCT reads it: blocks of ``cf``, numbers of ``arith``, one ``memref`` an array.

Three forms of control flow hang in CIRCT's elastic circuits, so none is written: a block that follows itself
gets an empty block on its way back, and a block with more than two ways in gets them two at a time. Division
is not written either: CIRCT makes the signed one of the unsigned.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hwtrain.errors import ProgramError
from hwtrain.sim.llvm import Function, Line

_BINARY = {"add": "addi", "sub": "subi", "mul": "muli", "and": "andi", "or": "ori", "xor": "xori"}
_BINARY |= {"shl": "shli", "lshr": "shrui", "ashr": "shrsi"}
_CASTS = {"zext": "extui", "sext": "extsi", "trunc": "trunci"}
_CHOICES = {"smin": "slt", "smax": "sgt", "umin": "ult", "umax": "ugt"}


@dataclass(frozen=True)
class Array:
    """An argument that is an array: its name in C, how many values of how many bits."""

    name: str
    size: int
    bits: int


@dataclass(frozen=True)
class _Place:
    """Where a pointer points: into an array, at an index (an i64 of LLVM)."""

    array: str
    index: str


@dataclass
class _Writer:
    function: Function
    arrays: dict[str, Array]
    types: dict[str, str] = field(default_factory=dict)
    places: dict[str, _Place] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    made: int = 0

    def fresh(self) -> str:
        self.made += 1
        return f"%n{self.made}"

    def say(self, operation: str) -> str:
        """Write an operation; the name of what it makes."""
        name = self.fresh()
        self.lines.append(f"  {name} = {operation}")
        return name

    def value(self, said: str, kind: str) -> str:
        """An operand; a constant is made where it is used."""
        if said.startswith("%"):
            return _name(said)
        number = {"true": "1", "false": "0", "undef": "0", "poison": "0"}.get(said, said)
        if kind == "i1":
            number = "true" if number != "0" else "false"
        return self.say(f"arith.constant {number}{'' if kind == 'i1' else f' : {kind}'}")


def _name(said: str) -> str:
    """A name of LLVM as one of MLIR's."""
    return "%v_" + said[1:].replace(".", "_d_").replace("-", "_m_")


def to_cf(function: Function, name: str, arrays: list[Array]) -> str:
    """The text of the function; arrays are its pointers, in order.

    Raises:
        ProgramError: it has a pointer that may point into one array or another, or a call.
    """
    pointers = [argument for kind, argument in function.arguments if kind == "ptr"]
    if len(pointers) != len(arrays):
        raise ProgramError(f"{name}: {len(pointers)} pointers for {len(arrays)} arrays")
    function = _unmixed(function)
    writer = _Writer(function, dict(zip(pointers, arrays, strict=True)))
    head = []
    for kind, argument in function.arguments:
        if kind == "ptr":
            array = writer.arrays[argument]
            writer.places[argument] = _Place(argument, "0")
            kind = f"memref<{array.size}xi{array.bits}>"
        head.append(f"{_name(argument)}: {kind}")
    _find_places(writer)
    for block, lines in function.blocks.items():
        if block != "%entry":
            phis = [f"{_name(line.made)}: {_kind(line)}" for line in lines if line.form == "phi"]
            writer.lines.append(f"^{_name(block)[1:]}{'(' + ', '.join(phis) + ')' if phis else ''}:")
        for line in lines:
            if line.form != "phi":
                _write(writer, line, block)
    (kind,) = {
        line.said["type"] for block in function.blocks.values() for line in block if line.form == "return"
    }
    result = "" if kind == "void" else f" -> {kind}"
    return f"func.func @{name}({', '.join(head)}){result} {{\n" + "\n".join(writer.lines) + "\n}\n"


def _kind(line: Line) -> str:
    return "i64" if line.said["type"] == "ptr" else line.said["type"]


def _ways_out(line: Line) -> list[str]:
    return [line.said[key] for key in ("a", "b") if key in line.said] if line.form in ("go", "branch") else []


def _unmixed(function: Function) -> Function:
    """The same with no block that has more than two ways in, or itself among them."""
    blocks = {name: list(lines) for name, lines in function.blocks.items()}
    for name in list(function.blocks):
        ways = [
            (other, way) for other, lines in blocks.items() for way in _ways_out(lines[-1]) if way == name
        ]
        for other in {other for other, _ in ways if other == name or ways.count((other, name)) > 1}:
            if ways.count((other, name)) > 1:
                raise ProgramError(f"{other}: both ways of a branch lead to {name}")
            _between(blocks, name, [other])
        ways_in = [o for o, lines in blocks.items() if name in _ways_out(lines[-1])]
        while len(ways_in) > 2:
            made = _between(blocks, name, ways_in[:2])
            ways_in = [made, *ways_in[2:]]
    return Function(function.arguments, blocks)


def _between(blocks: dict[str, list[Line]], name: str, others: list[str]) -> str:
    """A new block on the ways from others to a block; what differs by the way is chosen there."""
    made = f"{name}.in{len(blocks)}"
    phis: list[Line] = []
    for at, line in enumerate(blocks[name]):
        if line.form != "phi":
            continue
        ways = {block: value for value, block in line.ways()}
        inner = f"{line.made}.{made[1:]}"
        text = ", ".join(f"[ {ways.pop(other)}, {other} ]" for other in others)
        phis.append(Line("phi", inner, {"type": line.said["type"], "ways": text}))
        kept = "".join(f"[ {value}, {block} ], " for block, value in ways.items())
        blocks[name][at] = Line("phi", line.made, line.said | {"ways": f"{kept}[ {inner}, {made} ]"})
    for other in others:
        last = blocks[other][-1]
        said = {key: made if value == name else value for key, value in last.said.items()}
        blocks[other][-1] = Line(last.form, last.made, said)
    blocks[made] = [*phis, Line("go", "", {"a": name})]
    return made


def _find_places(writer: _Writer) -> None:
    """Into which array each pointer points; its index has the pointer's name with a mark."""
    lines = [line for block in writer.function.blocks.values() for line in block if line.made]
    while True:
        before = len(writer.places)
        for line in lines:
            if line.made in writer.places or line.form not in ("element", "phi", "select"):
                continue
            if line.form == "element":
                origins = [line.said["a"]]
            elif line.said["type"] != "ptr":
                continue
            elif line.form == "phi":
                origins = [value for value, _ in line.ways()]
            else:
                origins = [line.said["a"], line.said["b"]]
            known = {writer.places[origin].array for origin in origins if origin in writer.places}
            if len(known) > 1:
                raise ProgramError(f"{line.made}: points into one array or another: index one array instead")
            if known:
                writer.places[line.made] = _Place(known.pop(), line.made)
        if len(writer.places) == before:
            return


def _index(writer: _Writer, pointer: str) -> str:
    place = writer.places[pointer]
    return writer.value(place.index, "i64")


def _write(writer: _Writer, line: Line, block: str) -> None:
    said, made = line.said, _name(line.made) if line.made else ""

    def make(operation: str) -> None:
        writer.lines.append(f"  {made} = {operation}")

    match line.form:
        case "binary":
            kind = said["type"]
            a, b = writer.value(said["a"], kind), writer.value(said["b"], kind)
            make(f"arith.{_BINARY[said['op']]} {a}, {b} : {kind}")
        case "cast":
            kind, a = said["type"], writer.value(said["a"], said["type"])
            make(f"arith.{_CASTS[said['op']]} {a} : {kind} to {said['to']}")
        case "compare":
            kind = said["type"]
            a, b = writer.value(said["a"], kind), writer.value(said["b"], kind)
            make(f"arith.cmpi {said['op']}, {a}, {b} : {kind}")
        case "select":
            kind, flag = _kind(line), writer.value(said["flag"], "i1")
            of = _index if said["type"] == "ptr" else lambda w, v: w.value(v, kind)
            make(f"arith.select {flag}, {of(writer, said['a'])}, {of(writer, said['b'])} : {kind}")
        case "freeze":
            zero = writer.value("0", said["type"])
            make(f"arith.ori {writer.value(said['a'], said['type'])}, {zero} : {said['type']}")
        case "element":
            _element(writer, line, made)
        case "load" | "store":
            _access(writer, line, made)
        case "call":
            _call(writer, line, made)
        case "go":
            writer.lines.append(f"  cf.br {_to(writer, said['a'], block)}")
        case "branch":
            flag = writer.value(said["flag"], "i1")
            ways = _to(writer, said["a"], block), _to(writer, said["b"], block)
            writer.lines.append(f"  cf.cond_br {flag}, {ways[0]}, {ways[1]}")
        case "return":
            kind = said["type"]
            value = "" if kind == "void" else f" {writer.value(said['a'], kind)} : {kind}"
            writer.lines.append(f"  return{value}")


def _to(writer: _Writer, block: str, here: str) -> str:
    """A block with the values that it gets on the way from here."""
    values, kinds = [], []
    for line in writer.function.blocks[block]:
        if line.form == "phi":
            (value,) = (value for value, way in line.ways() if way == here)
            kinds.append(_kind(line))
            values.append(
                _index(writer, value) if line.said["type"] == "ptr" else writer.value(value, kinds[-1])
            )
    return f"^{_name(block)[1:]}" + (f"({', '.join(values)} : {', '.join(kinds)})" if values else "")


def _element(writer: _Writer, line: Line, made: str) -> None:
    """The index of a pointer and so many values more; what clang counts in bytes are whole values, too."""
    said = line.said
    array = writer.arrays[writer.places[line.made].array]
    a, b = _index(writer, said["a"]), writer.value(said["b"], "i64")
    factor = array.bits // int(said["type"][1:])
    if factor not in (1, 2, 4, 8):
        raise ProgramError(f"{line.made}: counts {array.name} of {array.bits} bits in {said['type']}")
    if factor > 1:
        b = writer.say(f"arith.shrsi {b}, {writer.value(str(factor.bit_length() - 1), 'i64')} : i64")
    writer.lines.append(f"  {made} = arith.addi {a}, {b} : i64")


def _access(writer: _Writer, line: Line, made: str) -> None:
    said = line.said
    pointer = said["a"] if line.form == "load" else said["b"]
    array = writer.places[pointer].array
    shape = writer.arrays[array]
    if said["type"] != f"i{shape.bits}":
        raise ProgramError(f"{shape.name}: its values of {shape.bits} bits are read as {said['type']}")
    index = writer.say(f"arith.index_cast {_index(writer, pointer)} : i64 to index")
    place = f"{_name(array)}[{index}] : memref<{shape.size}xi{shape.bits}>"
    if line.form == "load":
        writer.lines.append(f"  {made} = memref.load {place}")
    else:
        writer.lines.append(f"  memref.store {writer.value(said['a'], said['type'])}, {place}")


def _call(writer: _Writer, line: Line, made: str) -> None:
    """The few intrinsics that clang makes of comparisons and rotations."""
    kind, name = line.said["type"], line.said["op"].removeprefix("llvm.").split(".")[0]
    given = line.given()

    def values(count: int) -> list[str]:
        return [writer.value(said, kind) for said in given[:count]]

    if name in _CHOICES:
        a, b = values(2)
        flag = writer.say(f"arith.cmpi {_CHOICES[name]}, {a}, {b} : {kind}")
        writer.lines.append(f"  {made} = arith.select {flag}, {a}, {b} : {kind}")
    elif name == "abs":
        a, zero = values(1)[0], writer.value("0", kind)
        less = writer.say(f"arith.cmpi slt, {a}, {zero} : {kind}")
        negative = writer.say(f"arith.subi {zero}, {a} : {kind}")
        writer.lines.append(f"  {made} = arith.select {less}, {negative}, {a} : {kind}")
    elif name == "fshl" and not given[2].startswith("%"):
        a, b = values(2)
        bits, shift = int(kind[1:]), int(given[2]) % int(kind[1:])
        high = writer.say(f"arith.shli {a}, {writer.value(str(shift), kind)} : {kind}")
        low = writer.say(f"arith.shrui {b}, {writer.value(str(bits - shift), kind)} : {kind}")
        writer.lines.append(f"  {made} = arith.ori {high}, {low} : {kind}")
    elif not line.said["op"].startswith("llvm."):
        kinds = [of for of, _ in line.typed()]
        given = [writer.value(value, of) for of, value in line.typed()]
        writer.lines.append(
            f"  {made} = func.call @{line.said['op']}({', '.join(given)}) : ({', '.join(kinds)}) -> {kind}"
        )
    else:
        raise ProgramError(f"no hardware is known for a call of {line.said['op']}")
