"""The tornado of a sensitivity: each property from twice as bad to ideal, the longest bar on top."""

from __future__ import annotations

from hwtrain.analysis.sensitivity import Sensitivity
from hwtrain.report.figure import BLUE, GREY, INK, ORANGE, Plot, Table, blank, house_style, percent


def tornado(found: Sensitivity, card: str) -> Plot:
    """Accuracies as bars about the card's own; the target is the dashed line."""
    with house_style():
        figure, axes = blank(f"What limits {card}")
        rows, own = found.properties, found.accuracy.mean
        figure.set_size_inches(5.6, 1.2 + 0.32 * len(rows))
        for at, row in enumerate(rows):
            axes.barh(at, row.accuracy_ideal - own, left=own, height=0.6, color=BLUE)
            if row.accuracy_worse is not None:
                axes.barh(at, row.accuracy_worse - own, left=own, height=0.35, color=ORANGE)
        axes.axvline(own, color=INK, linewidth=0.8)
        axes.axvline(found.target, color=GREY, linestyle="--")
        axes.set_yticks(range(len(rows)), [f"{row.name}: {row.value}" for row in rows], fontsize=7)
        axes.invert_yaxis()
        percent(axes.xaxis)
        axes.set_xlabel("accuracy (blue: ideal, orange: twice as bad, dashed: target)")
    table: Table = {
        "property": [row.name for row in rows],
        "value": [row.value for row in rows],
        "accuracy_ideal": [row.accuracy_ideal for row in rows],
        "accuracy_worse": [row.accuracy_worse for row in rows],
        "gain": [row.difference.mean for row in rows],
        "gain_low": [row.difference.low for row in rows],
        "gain_high": [row.difference.high for row in rows],
        "needed": [row.needed for row in rows],
    }
    said = ", ".join(f"{row.name} {100 * row.difference.mean:+.1f} points" for row in rows)
    caption = f"Accuracy of {card} as it is: {100 * own:.1f} %; each property is moved by itself."
    return Plot("sensitivity", f"What limits {card}", caption, f"{said}.", figure, table)
