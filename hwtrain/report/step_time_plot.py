"""The picture of a step in C: which thread is in which kernel, and when."""

from __future__ import annotations

from hwtrain.analysis.step_time import StepTime
from hwtrain.report.figure import BLUE, GREEN, GREY, ORANGE, PAPER, PURPLE, Plot, Table, blank, house_style

_COLOURS = (
    ("read_t", ORANGE),
    ("sweep", "#00868b"),
    ("read", BLUE),
    ("add_outer", GREEN),
    ("write", GREEN),
    ("softmax", PURPLE),
    ("mse", PURPLE),
    ("squared_error", PURPLE),
)
"""A part of a kernel's name, its colour; the first that fits counts."""
_WIDE = 0.05
"""Share of the step from which on a bar has room for its layer."""


def threads_in_time(found: StepTime) -> Plot:
    """A row a thread, a bar a kernel."""
    with house_style():
        figure, axes = blank(f"{found.trial}: a step in C")
        figure.set_size_inches(9, 1.4 + 0.5 * found.threads)
        shown = set()
        for span in found.spans:
            name, colour = next((one for one in _COLOURS if one[0] in span.kernel), ("other", GREY))
            axes.barh(
                span.thread,
                span.us,
                left=span.start_us,
                height=0.6,
                color=colour,
                edgecolor=PAPER,
                linewidth=0.5,
                label=None if name in shown else name,
            )
            shown.add(name)
            if span.us > _WIDE * found.step_us:
                place = span.start_us + span.us / 2, span.thread
                axes.text(*place, span.where, ha="center", va="center", color="#ffffff", fontsize=8)
        axes.set_yticks(range(found.threads), [f"thread {thread}" for thread in range(found.threads)])
        axes.set_xlim(0, found.step_us)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set_xlabel("µs; in a bar the layer")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=8, columnspacing=1, handlelength=1)
    table: Table = {
        "thread": [span.thread for span in found.spans],
        "layer": [span.where for span in found.spans],
        "kernel": [span.kernel for span in found.spans],
        "start_us": [round(span.start_us, 3) for span in found.spans],
        "us": [round(span.us, 3) for span in found.spans],
    }
    caption = (
        f"Measured: the median of {found.steps} steps, {found.step_us:.2f} µs with a clock around every "
        f"kernel; a step without takes {found.untimed_us:.2f}."
    )
    return Plot("threads", "A step in time", caption, f"Bars. {caption}", figure, table)
