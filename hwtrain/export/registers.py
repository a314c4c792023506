"""The registers of the block, once: for hwt_registers.sv, the C header, SystemRDL and docs/rtl.md.

The printed forms lie in the tree; a test holds each to ``REGISTERS``, and --update-golden writes it anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Field:
    """Bits ``low`` .. ``low + bits - 1`` of a register. ``pulse``: reads 0, and acts when 1 is written."""

    name: str
    low: int
    bits: int
    about: str
    access: Literal["r", "rw", "clear", "pulse"] = "rw"


@dataclass(frozen=True)
class Register:
    """A word of 32 bits at a byte address; one without fields is a number of its own."""

    name: str
    address: int
    about: str
    access: Literal["r", "rw"] = "rw"
    fields: tuple[Field, ...] = ()


ID = 0x48575431
"""What the first register says: "HWT1"."""

REGISTERS = (
    Register("id", 0x00, f"0x{ID:08x}", "r"),
    Register("hash", 0x04, "of net, lanes, formats and rate: which build this is", "r"),
    Register(
        "control",
        0x08,
        "what the block does",
        fields=(
            Field("learn", 0, 1, "samples are learned, not predicted alone"),
            Field("soft_reset", 1, 1, "drops samples on their way; weights and registers stay", "pulse"),
        ),
    ),
    Register(
        "status",
        0x0C,
        "what it is at",
        fields=(
            Field("busy", 0, 1, "a sample or a weight is at work", "r"),
            Field("error", 1, 1, "a frame was wrong; sticky, write 1 to clear", "clear"),
        ),
    ),
    Register("step", 0x10, "number of the next learned step: it addresses the noise"),
    Register("samples", 0x14, "samples done", "r"),
    Register("errors", 0x18, "frames dropped", "r"),
    Register("cycles", 0x1C, "of the last sample", "r"),
    Register(
        "place",
        0x20,
        "of a weight",
        fields=(
            Field("word", 0, 16, "of the layer's memory"),
            Field("layer", 16, 4, "0 is the first"),
            Field("bias", 31, 1, "a bias, not a weight"),
        ),
    ),
    Register("lane", 0x24, "of a weight"),
    Register("weight", 0x28, "the weight at place and lane, sign-extended; waits until no sample is at work"),
    Register("hits", 0x2C, "samples learned by a guess, since the last reset or soft reset", "r"),
    Register("misses", 0x30, "samples learned exactly by a block that guesses, likewise", "r"),
)
ADDRESS = {register.name: register.address for register in REGISTERS}


def place(register: str, field: str) -> tuple[int, int]:
    """The address of a register, and the lowest bit of one of its fields."""
    found = next(one for one in REGISTERS if one.name == register)
    return found.address, next(one.low for one in found.fields if one.name == field)


def sv_text() -> str:
    """What stands between the marks in hwt_registers.sv: word addresses."""
    lines = [f"    {_camel(one.name)} = 6'h{one.address >> 2:02x}" for one in REGISTERS]
    return (
        "  localparam logic [5:0]\n"
        + ",\n".join(lines)
        + ";\n"
        + f"  localparam logic [31:0] IdWord = 32'h{ID:x};\n"
    )


def header_text() -> str:
    """hwt_registers.h."""
    lines = [
        "/* Registers of an exported block, by byte offset: written by hwtrain, not to be edited. */",
        "#ifndef HWT_REGISTERS_H",
        "#define HWT_REGISTERS_H",
        "",
        f"#define HWT_ID_VALUE 0x{ID:08x}u",
    ]
    for one in REGISTERS:
        name = f"HWT_{one.name.upper()}"
        lines += ["", f"/* {one.about} */", f"#define {name} 0x{one.address:02x}u"]
        for field in one.fields:
            mask = (1 << field.bits) - 1 << field.low
            lines += [
                f"#define {name}_{field.name.upper()} 0x{mask:08x}u /* {field.about} */",
                f"#define {name}_{field.name.upper()}_SHIFT {field.low}",
            ]
    return "\n".join([*lines, "", "#endif"]) + "\n"


def rdl_text() -> str:
    """hwt_registers.rdl, SystemRDL 2.0."""
    lines = [
        "// Registers of an exported block: written by hwtrain, not to be edited.",
        "addrmap hwt_registers {",
        "  default regwidth = 32;",
    ]
    for one in REGISTERS:
        fields = one.fields or (Field("value", 0, 32, one.about, one.access),)
        lines += ["  reg {", f'    desc = "{_quoted(one.about)}";']
        for field in fields:
            how = {
                "r": "sw = r; hw = w;",
                "rw": "sw = rw; hw = rw;",
                "clear": "sw = rw; hw = rw; onwrite = woclr;",
                "pulse": "sw = w; hw = r; singlepulse;",
            }[field.access]
            end = field.low + field.bits - 1
            reset = " = 0" if field.access in ("clear", "pulse") else ""
            about = f'desc = "{_quoted(field.about)}";'
            lines.append(f"    field {{ {how} {about} }} {field.name}[{end}:{field.low}]{reset};")
        lines.append(f"  }} {one.name} @ 0x{one.address:02x};")
    return "\n".join([*lines, "};"]) + "\n"


def table_text() -> str:
    """The table of docs/rtl.md."""
    lines = ["| address | name | access | meaning |", "|---|---|---|---|"]
    for one in REGISTERS:
        parts = [f"{_bits(field)}: `{field.name}`, {field.about}" for field in one.fields]
        told = ". ".join([one.about, *parts])
        lines.append(f"| 0x{one.address:02x} | {one.name.upper()} | {one.access} | {told} |")
    return "\n".join(lines) + "\n"


def _bits(field: Field) -> str:
    end = field.low + field.bits - 1
    return f"bit {field.low}" if field.bits == 1 else f"{end}..{field.low}"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
