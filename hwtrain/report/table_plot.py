"""The figure of a table of steps: the distribution by conductance, LTP and LTD."""

from __future__ import annotations

import numpy as np

from hwtrain.analysis.table_card import Steps
from hwtrain.report.figure import BLUE, ORANGE, Plot, Table, blank, house_style, legend, siemens


def table_plot(steps: Steps, name: str) -> Plot:
    """Median, and the band in which four of five steps lie; those of LTD below zero."""
    table: Table = {
        key: [] for key in ("direction", "conductance", "lowest tenth", "median", "highest tenth")
    }
    with house_style():
        figure, axes = blank(f"Steps of {name}")
        for way, rows, sign, colour in (("up", steps.up, 1, BLUE), ("down", steps.down, -1, ORANGE)):
            low, middle, high = (
                sign * np.array([np.interp(p, steps.p, column) for column in rows.T]) for p in (0.1, 0.5, 0.9)
            )
            axes.fill_between(steps.g, low, high, color=colour, alpha=0.25, linewidth=0)
            axes.plot(steps.g, middle, color=colour, label=f"{way}: median, and four of five steps")
            table["direction"] += [way] * len(steps.g)
            for key, values in (
                ("conductance", steps.g),
                ("lowest tenth", low),
                ("median", middle),
                ("highest tenth", high),
            ):
                table[key] += values.tolist()
        for axis in (axes.xaxis, axes.yaxis):
            siemens(axis)
        axes.set_xlabel("conductance before the pulse")
        axes.set_ylabel("step")
        legend(figure, axes)
    caption = f"{len(steps.g)} conductances, {len(steps.p)} points of the distribution."
    return Plot(
        "steps", f"Steps of {name}", caption, f"Measured steps of {name} by conductance.", figure, table
    )
