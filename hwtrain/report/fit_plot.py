"""The figure of a fit: every sweep with its curve."""

from __future__ import annotations

import numpy as np

from hwtrain.analysis.fit import Fit
from hwtrain.report.figure import BLUE, GREY, ORANGE, Plot, Table, blank, house_style, legend, siemens

_DRAWN = 2000
"""Points a direction, evenly thinned out of more."""


def fit_plot(found: Fit, name: str) -> Plot:
    """Data as dots, fitted curves as lines, LTP and LTD side by side."""
    with house_style():
        figure, axes = blank(f"Fit of {name}")
        table: Table = {key: [] for key in ("device", "cycle", "direction", "pulse", "data", "fit")}
        every = found.response.every
        longest = max(len(sweep.g) for sweep, _ in found.curves if sweep.direction == "up") - 1
        for sweep, path in found.curves:
            pulses = every * np.arange(len(path))
            for values, key in ((sweep.g, "data"), (path, "fit"), (pulses, "pulse")):
                table[key] += values.tolist()
            for text, key in (
                (sweep.device, "device"),
                (sweep.direction, "direction"),
                (sweep.cycle, "cycle"),
            ):
                table[key] += [text] * len(path)
        for way, colour in (("up", BLUE), ("down", ORANGE)):
            at = np.array([said == way for said in table["direction"]])
            shift = 0 if way == "up" else every * longest
            x, y = np.array(table["pulse"])[at] + shift, np.array(table["data"])[at]
            thin = slice(None, None, -(-len(x) // _DRAWN))
            axes.plot(x[thin], y[thin], ".", color=GREY, markersize=2, label="data" if way == "up" else None)
            label: str | None = f"fit, {way}: R² {found.r2[way]:.3f}"
            for path in {s.device: p for s, p in found.curves if s.direction == way}.values():
                axes.plot(every * np.arange(len(path)) + shift, path, color=colour, label=label)
                label = None
        if found.response.unit == "S":
            siemens(axes.yaxis)
        axes.set_ylabel("conductance" if found.response.unit == "S" else "arbitrary units")
        axes.set_xlabel(f"pulse number (LTP up to {every * longest}, then LTD)")
        legend(figure, axes)
    caption = f"{found.law}; {found.devices} device(s), {found.cycles} cycle(s)."
    return Plot("fit", f"Fit of {name}", caption, f"Measured response of {name} and its fit.", figure, table)
