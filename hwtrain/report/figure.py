"""What every figure of the report shares: its looks, its files, and the table that it shows."""

from __future__ import annotations

import csv
import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.style import context as style_context
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

INK, RULE, PAPER = "#1d2126", "#d5d9de", "#ffffff"
"""Text and axes, grid, ground: the page puts its own light or dark colours in their place."""
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#b5659a", "#7d838b"
"""Okabe and Ito's colours that keep a contrast of 3 on white and on near-black."""

_STYLE = {
    "figure.figsize": (4.6, 3.2),
    "figure.constrained_layout.use": True,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "font.family": "DejaVu Sans",  # it comes with matplotlib, so that every machine draws alike
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a layer's name is no formula
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.left": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.borderpad": 0.0,
    "legend.borderaxespad": 0.3,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.4,
}

_LINE, _HANDLE, _ROW_INCHES = 66, 9, 0.17
"""Of a legend: characters that fit a line, those that a handle takes, and the height of a row."""

Table = dict[str, list[Any]]
"""Columns by name, all equally long."""


@dataclass(frozen=True)
class Plot:
    """A figure, the columns that it shows, and what it says in words."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure
    table: Table

    @cached_property
    def svg(self) -> str:
        """The figure as SVG, the same bytes every time."""
        return self._saved("svg", {"Date": None}).decode()

    def pdf(self) -> bytes:
        """The figure as PDF, the same bytes every time."""
        return self._saved("pdf", {"CreationDate": None})

    def png(self) -> bytes:
        """The figure as PNG, the same bytes every time."""
        return self._saved("png", {"Software": None})

    def csv(self) -> str:
        """The columns, numbers in full."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(self.table)
        rows.writerows(zip(*self.table.values(), strict=True))
        return text.getvalue()

    def _saved(self, kind: str, metadata: dict[str, None]) -> bytes:
        content = io.BytesIO()
        # An SVG's ids are salted hashes, and a page holds several figures.
        with house_style(), rc_context({"svg.hashsalt": self.name}):
            self.figure.savefig(content, format=kind, metadata=metadata, dpi=150)
        return content.getvalue()


def house_style() -> AbstractContextManager[None]:
    """The report's own looks, whatever style the user has set."""
    return style_context(["default", _STYLE])


def blank(title: str) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes."""
    figure = Figure()
    figure.suptitle(title, x=0.002, ha="left", fontsize=10, fontweight="bold")
    return figure, figure.add_subplot()


def legend(figure: Figure, axes: Axes) -> None:
    """Above the axes, where it never hides data; more rows make the figure taller, not the axes lower."""
    labels = axes.get_legend_handles_labels()[1]
    widths = [len(label) + _HANDLE for label in labels]
    columns = len(labels) if sum(widths) <= _LINE else max(1, _LINE // max(widths))
    rows = -(-len(labels) // columns)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + (rows - 1) * _ROW_INCHES)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)


def epochs_on(axes: Axes, epochs: int) -> None:
    """Whole epochs on the horizontal axis; a short run keeps some air about its points."""
    air = 0.5 if epochs < 3 else 0.02 * epochs
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(1 - air, epochs + air)


def percent(axis: Axis) -> None:
    """Fractions as percent, with no more digits than they need."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g} %"))


def siemens(axis: Axis) -> None:
    """Conductances with engineering prefixes."""
    axis.set_major_formatter(EngFormatter(unit="S"))
