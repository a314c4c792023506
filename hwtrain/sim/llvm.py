"""C to LLVM's intermediate language by the clang inside the ziglang wheel, and its text read back, strictly.

What is read is what clang makes of the C of an export: one function, whole numbers, pointers that are
arguments. A line that is anything else is refused with its text.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from hwtrain.errors import NativeError, ProgramError

_INLINE = "100000"  # all that a function calls becomes part of it: hardware has no calls
FLAGS = (
    *("-target", "x86_64-freestanding", "-std=c99", "-O1", "-S", "-emit-llvm", "-g0", "-ffreestanding"),
    *("-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops", "-fno-discard-value-names"),
    *("-fno-sanitize=all", "-mllvm", f"-inline-threshold={_INLINE}", "-mllvm", "-disable-loop-idiom-all"),
)
"""Free-standing, so that no loop becomes a call of memcpy; no vectors, for the reader knows none."""
_NAME = r"%[\w.$-]+"
_VALUE = rf"(?:{_NAME}|-?\d+|true|false|undef|poison)"
_TYPE = r"(?:i\d+|ptr)"
_FLAGS = r"(?:(?:nuw|nsw|exact|disjoint|samesign|nneg|inbounds|nusw) )*"
_BINARY = "add|sub|mul|and|or|xor|shl|lshr|ashr"
_FORMS = {
    "binary": rf"(?P<op>{_BINARY}) {_FLAGS}(?P<type>i\d+) (?P<a>{_VALUE}), (?P<b>{_VALUE})",
    "cast": rf"(?P<op>zext|sext|trunc) {_FLAGS}(?P<type>i\d+) (?P<a>{_VALUE}) to (?P<to>i\d+)",
    "compare": rf"icmp {_FLAGS}(?P<op>\w+) (?P<type>i\d+) (?P<a>{_VALUE}), (?P<b>{_VALUE})",
    "select": rf"select i1 (?P<flag>{_VALUE}), (?P<type>{_TYPE}) (?P<a>{_VALUE}), {_TYPE} (?P<b>{_VALUE})",
    "phi": rf"phi (?P<type>{_TYPE}) (?P<ways>\[.*\])",
    "load": rf"load (?P<type>i\d+), ptr (?P<a>{_NAME})(?:, align \d+)?",
    "store": rf"store (?P<type>i\d+) (?P<a>{_VALUE}), ptr (?P<b>{_NAME})(?:, align \d+)?",
    "element": rf"getelementptr {_FLAGS}(?P<type>i\d+), ptr (?P<a>{_NAME}), i64 (?P<b>{_VALUE})",
    "freeze": rf"freeze (?P<type>i\d+) (?P<a>{_VALUE})",
    "call": r"(?:tail )?call (?:[\w()]+ )*?(?P<type>i\d+|void) @(?P<op>[\w.]+)\((?P<given>.*)\)(?: #\d+)?",
    "go": rf"br label (?P<a>{_NAME})",
    "branch": rf"br i1 (?P<flag>{_VALUE}), label (?P<a>{_NAME}), label (?P<b>{_NAME})",
    "switch": rf"switch (?P<type>i\d+) (?P<a>{_NAME}), label (?P<b>{_NAME}) \[(?P<ways>.*)\]",
    "nothing": r"unreachable",
    "return": rf"ret (?P<type>void|i\d+)(?: (?P<a>{_VALUE}))?",
}


@dataclass(frozen=True)
class Line:
    """One instruction: its form, what it names, and what it defines ("" if nothing)."""

    form: str
    made: str
    said: dict[str, str]

    def ways(self) -> list[tuple[str, str]]:
        """Of a phi: value and block for each way in."""
        return re.findall(rf"\[ ({_VALUE}), ({_NAME}) \]", self.said["ways"])

    def given(self) -> list[str]:
        """Of a call: its arguments."""
        return [value for _, value in self.typed()]

    def typed(self) -> list[tuple[str, str]]:
        """The same with the type of each."""
        return re.findall(rf"(i\d+) (?:[a-z]+(?:\([^)]*\))? )*?({_VALUE})(?:,|$)", self.said["given"])


@dataclass
class Function:
    """Arguments as (type, name), blocks by name in the order of the text; the first is the entry."""

    arguments: list[tuple[str, str]]
    blocks: dict[str, list[Line]] = field(default_factory=dict)


def compile_c(source: Path, *include: Path) -> str:
    """The text of a C file.

    Raises:
        NativeError: the compiler is not installed, refuses the file or takes too long.
    """
    if find_spec("ziglang") is None:
        raise NativeError("no clang for C to RTL: install it (PyPI: pip install ziglang)")
    made = source.with_suffix(".ll")
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *(f"-I{folder}" for folder in include)]
    command += [str(source), "-o", str(made)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except subprocess.TimeoutExpired:
        raise NativeError(f"{source}: clang is not done after 300 s") from None
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise NativeError(f"clang refuses {source}: {said}")
    return made.read_text()


def read_function(text: str, name: str) -> Function:
    """One function of a module.

    Raises:
        ProgramError: there is none of that name, or it says something that is not understood.
    """
    found = re.search(
        rf"^define [^\n]*?@{re.escape(name)}\(([^\n]*?)\)[^()\n]*\{{\n(.*?)^\}}", text, re.M | re.S
    )
    if found is None:
        raise ProgramError(f"{name}: clang made no such function")
    function = Function(re.findall(rf"({_TYPE}) (?:[^,%()]|\([^)]*\))*({_NAME})", found[1]))
    block = function.blocks.setdefault("%entry", [])
    text = re.sub(r"(switch .*\[)([^]]*)\]", lambda said: re.sub(r"\s*\n\s*", " ", said[0]), found[2])
    for line in text.splitlines():
        if label := re.match(r"([\w.$-]+):", line):
            if label[1] != "entry":
                block = function.blocks.setdefault(f"%{label[1]}", [])
        elif line.strip():
            block.append(_line(line, name))
    _ask(function.blocks)
    return function


def _ask(blocks: dict[str, list[Line]]) -> None:
    """Every switch as one question after the other."""
    never = {name for name, lines in blocks.items() if lines[-1].form == "nothing"}
    for name, lines in list(blocks.items()):
        if lines[-1].form != "switch":
            continue
        said = lines.pop().said
        ways = re.findall(rf"i\d+ (-?\d+), label ({_NAME})", said["ways"])
        otherwise = said["b"] if said["b"] not in never else ways.pop()[1]
        here = name
        for number, (value, to) in enumerate(ways):
            last = number == len(ways) - 1
            beyond = otherwise if last else f"{name}.case{number + 1}"
            flag = f"{name}.is{number}"
            asked = {"op": "eq", "type": said["type"], "a": said["a"], "b": value}
            blocks.setdefault(here, []).extend(
                [Line("compare", flag, asked), Line("branch", "", {"flag": flag, "a": to, "b": beyond})]
            )
            _arrive(blocks[to], name, here)
            if last:
                _arrive(blocks[otherwise], name, here)
            here = beyond
    for name in never:
        del blocks[name]


def _arrive(lines: list[Line], name: str, here: str) -> None:
    """One of the ways from a block comes from another one."""
    for at, line in enumerate(lines):
        if line.form == "phi":
            moved = re.sub(rf", {re.escape(name)} \]", f", {here} ]", line.said["ways"], count=1)
            lines[at] = Line("phi", line.made, line.said | {"ways": moved})


def _line(line: str, name: str) -> Line:
    plain = re.sub(r"(, ![\w.]+ !\d+)+$", "", line.strip())
    made = re.match(rf"({_NAME}) = ", plain)
    rest = plain[made.end() :] if made else plain
    for form, pattern in _FORMS.items():
        if match := re.fullmatch(pattern, rest):
            return Line(form, made[1] if made else "", match.groupdict())
    raise ProgramError(f"{name}: no hardware is known for `{plain}`")
