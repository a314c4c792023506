"""Figures about physical layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.ticker import StrMethodFormatter

from hwtrain.analysis.estimate import estimate
from hwtrain.report.figure import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    Plot,
    Table,
    blank,
    house_style,
    legend,
    percent,
)

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)


def drift_plot(
    curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], every: str, samples: int
) -> Plot:
    """Accuracy by time of each method on physics that stays (dashed) and that drifts (solid).

    ``curves``: method to "stays" and "drifts" to a curve a seed, in shares; ``every``: how fast it drifts;
    ``samples``: how many lie between two points of a curve.
    """
    table: Table = {}
    with house_style():
        figure, axes = blank(f"Physics that drifts by {every}")
        for colour, (method, its) in zip(_COLOURS, curves.items(), strict=False):
            for fibre, style, marker in (("stays", "--", None), ("drifts", "-", "o")):
                mean = [estimate(values).mean for values in zip(*its[fibre], strict=True)]
                seen = [samples * place for place in range(1, len(mean) + 1)]
                label = method if fibre == "drifts" else None
                axes.plot(seen, mean, style, color=colour, marker=marker, label=label)
                table.setdefault("training samples", seen)
                table[f"{method}, {fibre}"] = mean
        axes.plot([], [], "--", color=INK, label="no drift")
        axes.set_xticks(table["training samples"])
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_xlabel("training samples")
        percent(axes.yaxis)
        axes.set_ylabel("accuracy on test")
        legend(figure, axes)
    seeds = len(next(iter(curves.values()))["stays"])
    caption = f"Solid: the physics drifts by {every}. Dashed: it stays as it is. Means over {seeds} seeds."
    return Plot("physical-drift", "Physics that drifts", caption, caption, figure, table)
