"""The picture of weights on a device that forgets: accuracy against the time since writing."""

from __future__ import annotations

import numpy as np

from hwtrain.analysis.deploy import Deployed
from hwtrain.report.figure import BLUE, GREY, ORANGE, Plot, Table, blank, house_style, legend, percent
from hwtrain.report.quantities import age as since

_FIRST_S = 1.0
"""Where the time 0 stands on a logarithmic axis."""


def deploy_plot(found: Deployed) -> Plot:
    """Means over writings, every writing as a dot, and the weights as they were trained."""
    with house_style():
        figure, axes = blank("Accuracy since writing")
        times = [max(age.time_s, _FIRST_S) for age in found.ages]
        table: Table = {"time_s": [], "writing": [], "accuracy": [], "compensated": []}
        for label, colour, rows in (
            ("as it is", ORANGE, [age.accuracies for age in found.ages]),
            ("drift compensated", BLUE, [age.compensated for age in found.ages]),
        ):
            axes.plot(times, [float(np.mean(row)) for row in rows], color=colour, label=label)
            for at, row in zip(times, rows, strict=True):
                axes.plot([at] * len(row), row, ".", color=colour)
        for age in found.ages:
            for number, pair in enumerate(zip(age.accuracies, age.compensated, strict=True)):
                for column, value in zip(table.values(), (age.time_s, number, *pair), strict=True):
                    column.append(value)
        axes.axhline(found.software, color=GREY, linestyle=":", label="as trained")
        axes.set_xscale("log")
        axes.set_xticks(times, [since(age.time_s) for age in found.ages])
        axes.xaxis.minorticks_off()
        axes.set_xlabel("since writing")
        axes.set_ylabel("accuracy")
        percent(axes.yaxis)
        legend(figure, axes)
    said = "; ".join(
        f"{age.time_s:g} s {100 * float(np.mean(age.accuracies)):.1f} %, compensated "
        f"{100 * float(np.mean(age.compensated)):.1f} %"
        for age in found.ages
    )
    caption = "Dots are single writings, lines their means; every weight of an array is compensated alike."
    return Plot("deploy", "Accuracy since writing", caption, f"{said}.", figure, table)
