"""How often each instruction of a simulated program ran, and which trip count that is.

Simulators list every instruction that they execute. Those of a function that ran equally often at every size
are one group; a group's counts over the sizes are then looked for among the products of what
hwtrain/program/trips.py counts of k, n and m, and where none is the same, among sums and differences of two.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hwtrain.program.trips import Form, Term, Tiling, trips
from hwtrain.sim import qemu
from hwtrain.sim.base import Core

Size = tuple[int, int, int]
_QEMU = re.compile(r"^Trace 0: \S+ \[\w+/(\w+)/")
_SPIKE = re.compile(r"^core +0: 0x(\w+) \(")
_PLAIN = ("once", "chunk", "strip", "term", "whole", "part", "row")


def symbols(nm: str, elf: Path) -> dict[str, int]:
    """Addresses of functions."""
    listed = subprocess.run([nm, str(elf)], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return {row[2]: int(row[0], 16) & ~1 for row in rows if len(row) == 3 and row[1] in "tT"}


def histograms(core: Core, elf: Path, starts: dict[int, str], stop: int) -> dict[str, list[Counter[int]]]:
    """Of each call of a function that starts at one of the addresses, until ``stop`` is called: how often the
    instruction at each address ran. Calls in order, by the name of the function."""
    log = elf.with_suffix(".log")
    command = core.command(elf)
    if isinstance(core, qemu.M55):
        command += ["-singlestep", "-d", "exec,nochain", "-D", str(log)]
        pattern = _QEMU
    else:
        command[1:1] = ["-l", f"--log={log}"]
        pattern = _SPIKE
    subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=300, check=False)
    found: dict[str, list[Counter[int]]] = {name: [] for name in starts.values()}
    now: Counter[int] | None = None
    at = 0
    with log.open() as lines:
        for line in lines:
            match = pattern.match(line)
            if match is None:
                if now is not None and line.startswith("Stopped"):
                    now[at] -= 1  # it was not executed yet
                continue
            at = int(match[1], 16)
            if now is None and at in starts:
                now = Counter()
                found[starts[at]].append(now)
            if at == stop:
                now = None
            if now is not None:
                now[at] += 1
    log.unlink()
    return found


class Counted:
    """Trip counts of a form at some sizes, by what they are at those."""

    def __init__(self, tiling: Tiling, form: Form, sizes: Sequence[Size]) -> None:
        at = [trips(tiling, form, *size) for size in sizes]
        names = [(a, b, c) for a in at[0].chunks for b in at[0].strips for c in at[0].rows]
        names.sort(key=lambda name: sum(map(_oddity, name)))
        self.names: dict[tuple[int, ...], tuple[str, str, str]] = {}
        for name in names:
            a, b, c = name
            counts = tuple(each.chunks[a] * each.strips[b] * each.rows[c] for each in at)
            if any(counts):
                self.names.setdefault(counts, name)
        self.order = {name: place for place, name in enumerate(self.names.values())}

    def find(self, counts: tuple[int, ...]) -> list[tuple[int, tuple[str, str, str]]]:
        """The simplest trip count that is the same, or sum or difference of two; with signs."""
        if counts in self.names:
            return [(1, self.names[counts])]
        best: list[tuple[int, tuple[str, str, str]]] = []
        least = 1 << 60
        for other, name in self.names.items():
            for sign in (1, -1):
                rest = tuple(a - sign * b for a, b in zip(counts, other, strict=True))
                if rest in self.names:
                    place = self.order[name] + self.order[self.names[rest]]
                    if place < least:
                        least, best = place, [(sign, name), (1, self.names[rest])]
        return best


def _oddity(name: str) -> int:
    """Simple ones first."""
    if name in _PLAIN:
        return 0
    if name.startswith("tile"):
        return 1
    return 2 if "/" in name or "%" in name else 3


def fitted(
    tiling: Tiling, form: Form, sizes: Sequence[Size], ran: Sequence[Counter[int]], beside: int
) -> tuple[list[Term], int]:
    """The closed form, with ``beside`` instructions of a call; how many instructions no trip count fits."""
    counted = Counted(tiling, form, sizes)
    groups = Counter(tuple(one[at] for one in ran) for at in set[int]().union(*ran))
    found: Counter[tuple[str, str, str]] = Counter({("once", "once", "once"): beside})
    lost = 0
    for counts, length in groups.items():
        names = counted.find(counts)
        lost += length * (not names)
        for sign, name in names:
            found[name] += sign * length
    return [(each, *name) for name, each in found.items() if each], lost


class M55(qemu.M55):
    """Eight ticks and a bit to an instruction: none is lost in rounding."""

    per_instruction = 8.192

    def command(self, elf: Path) -> list[str]:
        """With another clock."""
        return [part.replace("shift=5", "shift=8") for part in super().command(elf)]


class M4f(qemu.M55):
    """The Cortex-M4F's code, on QEMU's Cortex-M55: its instructions are a part of that one's."""

    def compiler(self) -> list[str]:
        """As for the M55, but for the choice of instructions."""
        command = super().compiler()
        swapped = ["-mcpu=cortex-m4" if part == "-mcpu=cortex-m55" else part for part in command]
        return [*swapped, "-mfpu=fpv4-sp-d16"]
