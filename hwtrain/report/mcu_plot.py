"""The picture of a training step's memory: what lies where in the arena, and when."""

from __future__ import annotations

from matplotlib.collections import PatchCollection
from matplotlib.patches import Patch, Rectangle

from hwtrain.analysis.mcu_plan import Planned
from hwtrain.report.figure import BLUE, GREEN, GREY, ORANGE, PAPER, Plot, Table, blank, house_style

_LONG = 0.2
"""Share of a step from which on a temporary counts as kept."""


def memory_map(found: Planned, net: str) -> Plot:
    """Temporaries as rectangles of time and place, above all that the step keeps for ever."""
    calls = max(life.last for life in found.lives)
    times = [0.0, *(1e3 * end for end in found.ends)] if found.ends else [float(n) for n in range(calls + 1)]
    base = found.ram["weights and state"]
    table: Table = {"buffer": [], "from": [], "to": [], "offset": [], "bytes": []}
    with house_style():
        figure, axes = blank(f"Memory of a training step: {net} on {found.card}")
        boxes: dict[str, list[Rectangle]] = {BLUE: [], ORANGE: []}
        for life in found.lives:
            begins, ends = times[life.first - 1], times[life.last]
            colour = BLUE if life.last - life.first > _LONG * calls else ORANGE
            place = (begins, (base + life.offset) / 1024)
            boxes[colour].append(Rectangle(place, ends - begins, life.nbytes / 1024))
            row = (life.buffer, begins, ends, life.offset, life.nbytes)
            for column, value in zip(table.values(), row, strict=True):
                column.append(value)
        for colour, rectangles in boxes.items():
            axes.add_collection(PatchCollection(rectangles, facecolor=colour, edgecolor=PAPER, linewidth=0.3))
        axes.add_patch(Rectangle((0, 0), times[-1], base / 1024, facecolor=GREY, alpha=0.5))
        above = (base + found.ram["temporaries"]) / 1024
        rest = sum(
            size for name, size in found.ram.items() if name not in ("weights and state", "temporaries")
        )
        axes.add_patch(Rectangle((0, above), times[-1], rest / 1024, facecolor=GREEN, alpha=0.5))
        top = 1.15 * max(found.needs, found.ram_bytes if found.ram_bytes < 3 * found.needs else 0) / 1024
        room = min(found.ram_bytes / 1024, 0.93 * top)
        says = f"RAM: {found.ram_bytes / 1024:,.0f} kB"
        if room < found.ram_bytes / 1024:
            says += ", far above"
        else:
            axes.axhline(room, color=GREY, linestyle=":", linewidth=1.2)
        axes.annotate(says, (times[-1], room), ha="right", va="bottom", fontsize=8)
        axes.set_xlim(0, times[-1])
        axes.set_ylim(0, top)
        axes.set_xlabel("ms" if found.ends else "calls")
        axes.set_ylabel("kB")
        labels = (
            (GREY, "weights and state"),
            (BLUE, "kept for the way back"),
            (ORANGE, "short-lived"),
            (GREEN, "stack and input"),
        )
        handles = [Patch(facecolor=colour, label=label) for colour, label in labels]
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    said = (
        f"A step needs {found.needs / 1024:.0f} kB of {found.ram_bytes / 1024:.0f}: "
        + ", ".join(f"{name} {size / 1024:.1f} kB" for name, size in found.ram.items())
        + "."
    )
    caption = "Each rectangle is a temporary, from the call that makes it to the last one that reads it."
    return Plot(f"memory-{found.card}", "Memory of a training step", caption, said, figure, table)
