"""Lines and toggles of fpga/rtl that cosim reaches, over the union of some nets, as Verilator counts them.

A point is a branch of the text, or one bit of a signal going up or down. It counts as reached when any does,
in any instance, with results compared and none wrong. Left out are the toggles of tables that follow from
parameters, which cannot change; the share with them stands beside. What was not reached stands in the
result, by signal. Bits are those of the widest block, so every kind of block has a net of four lanes. Of the
3,754 points that are missing most are in sums of hwt_product (1,205), words of hwt_ram (427) and in
hwt_delay (276).

    ./run bench rtl_coverage
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from _study import HERE, Figures

from hwtrain.export.cosim import RtlSettings, vectors
from hwtrain.export.rtl import module_text
from hwtrain.sim import verilator

sys.path.insert(0, str(HERE.parent))
from tests.hardware.rtl_nets import HARNESS, RTL, made, samples

# Card, net, lanes, learning rate, loss, steps, number of the first step, mode.
NETS = (
    ("shift4", "5-7-6-3", 4, 0.005, "softmax2", 200, 0x7FFFFFC0, None),
    ("fixed8", "8-6-4", 4, 2**-6, "softmax2", 300, 0, None),
    ("fixed8", "6-4", 2, 0.25, "softmax2", 300, 0, None),
    ("fixed16", "9-5-3", 4, 0.02, "squared-error", 300, 0, None),
    ("fixed16", "6-4", 4, 1024.0, "softmax2", 300, 0, None),
    ("fixed8", "6-5-3", 2, 0.25, "squared-error", 300, 0, "lookahead"),
    ("fixed16", "5-9-6-3", 4, 0.02, "softmax2", 300, 0x7FFFFFC0, "lookahead"),
    ("fixed16", "6-5-4", 4, 512.0, "softmax2", 300, 0, "lookahead"),
    ("shift4", "5-7-3", 4, 0.02, "softmax2", 300, 0x7FFFFFC0, "speculative"),
    ("fixed8", "6-4", 2, 0.25, "squared-error", 300, 0, "speculative"),
    ("fixed16", "6-5-4", 4, 512.0, "softmax2", 300, 0, "speculative"),
)
CONSTANT = ("block_ends", "gen_lane.used", "out_ends", "row_starts", "seq_ends")
"""Signals of hwt_engine.sv that parameters alone drive: which bits of a net's tables are set."""
STALLS = (40, 98)


class Point(NamedTuple):
    """What is counted: where in which file, ``line`` or ``toggle``, and of what."""

    file: str
    line: int
    column: int
    kind: str
    about: str


def counts(data: str) -> Counter[Point]:
    """How often each point of a coverage file was reached, all instances together."""
    found: Counter[Point] = Counter()
    for entry, count in re.findall(r"^C '(.*)' (\d+)$", data, re.MULTILINE):
        keys = dict(part.split("\x02", 1) for part in entry.split("\x01")[1:])
        page = keys["page"].split("/")[0].removeprefix("v_")
        point = Point(Path(keys["f"]).name, int(keys["l"]), int(keys["n"]), page, keys["o"])
        found[point] += int(count)
    return found


def signal(point: Point) -> str:
    """What a point is about, all its bits and both ways together."""
    return re.sub(r"\[[\d:]*\]|:[01]->[01]", "", point.about)


def measured(
    card: str, sizes: str, lanes: int, lr: float, loss: str, steps: int, first: int, mode: str | None
) -> Counter[Point]:
    """The points of one net."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        program, net = made(card, sizes, lanes, lr, loss, mode=mode)
        (folder / "hwt_net.sv").write_text(module_text(net))
        bench = HARNESS.read_text()
        end = "return mismatches != 0;"
        assert bench.count(end) == 1
        write = "Verilated::threadContextp()->coveragep()->write((std::string(argv[1]) + argv[2]).c_str());"
        (folder / "bench.cpp").write_text(bench.replace(end, f"{write} {end}"))
        sources = [folder / "hwt_net.sv", *sorted(RTL.glob("*.sv"))]
        simulation = verilator.build(
            sources, "hwt_net", folder / "bench.cpp", "-O0", lint=False, coverage=True
        )
        settings = RtlSettings(lanes=lanes, lr=lr, first_step=first)
        words, _ = vectors(program, net, samples(program, steps), settings)
        vector_file = folder / "vectors"
        vector_file.write_bytes(words.astype("<i4").tobytes())
        found: Counter[Point] = Counter()
        for stall in STALLS:
            done = verilator.run(simulation, [str(vector_file), str(stall), "1"], 600)
            if done.returncode:
                raise SystemExit(f"{sizes}: {done.stdout}{done.stderr}")
            found.update(counts((folder / f"vectors{stall}").read_text(encoding="latin-1")))
        return found


def main() -> int:
    """All nets, and what none of them reached."""
    figures = Figures("rtl_coverage")
    found: Counter[Point] = Counter()
    for net in NETS:
        one = measured(*net)
        found.update(one)
        name = " ".join(map(str, (*net[:5], net[7] or "sequential")))
        share = sum(count > 0 for count in one.values()) / len(one)
        figures.detail.setdefault("nets", {})[name] = {"steps": net[5], "points": len(one), "reached": share}
        print(f"{name}: {share:.1%} of {len(one):,}", file=sys.stderr, flush=True)
    constant = {point for point in found if point.file == "hwt_engine.sv" and signal(point) in CONSTANT}
    fallen = [point for point in constant if point.about.endswith("1->0") and found[point]]
    assert not fallen, "a table that follows from parameters has changed"  # they rise once, at the beginning
    toggles = {point for point in found if point.kind == "toggle"}
    for points, name, target in (
        ({point for point in found if point.kind in ("line", "branch")}, "lines and branches", ">= 95"),
        (toggles - constant, "toggles", ">= 95"),
        (toggles, "toggles with the constant tables", None),
        (set(found) - constant, "all points", ">= 95"),
    ):
        reached = sum(found[point] > 0 for point in points)
        figures.add(f"{name} reached", round(100 * reached / len(points), 2), "%", target)
        figures.add(f"{name}", len(points), "")
    figures.detail["left out"] = dict(sorted(Counter(map(signal, constant)).items()))
    missed: Counter[str] = Counter()
    for point, count in found.items():
        if not count and point not in constant:
            what = signal(point)
            where = what if point.kind == "toggle" else f"{point.kind} at {point.line}: {what}"
            missed[f"{point.file}: {where}"] += 1
    figures.detail["not reached"] = dict(sorted(missed.items()))
    return figures.finish()


if __name__ == "__main__":
    raise SystemExit(main())
