"""The figures of a run of rule ``speculative``: hits by label, a step in time, speedup by hits, threshold."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from hwtrain.analysis.speculation import Miss, Phases, phases
from hwtrain.config import rule_options
from hwtrain.report.figure import BLUE, GREEN, GREY, ORANGE, Plot, Table, blank, legend, percent
from hwtrain.report.run_folder import RunFolder, Trial

MULTIPLIERS = 16
"""Of the engines in the model of cycles."""
_MOST_LABELS, _MOST_EPOCHS = 20, 12
"""Up to which every field of the table of hits has its number."""


def speculation_plots(run: RunFolder) -> list[Plot]:
    """Nothing for a run that does not speculate; without a model of the net, its hits alone."""
    devices = run.of("device")
    if any(epoch.speculation is None for trial in devices for epoch in trial.epochs):
        return []
    counts = _each_epoch(devices)
    wasted = sum(t.epochs[-1].speculation.wasted_macs for t in devices if t.epochs[-1].speculation)
    found = [hits_by_label(counts, wasted)]
    options = rule_options(run.config.rule_options)
    if options.get("mode", "speculative") == "speculative" and re.fullmatch(
        r"\d+(-\d+)+", str(run.config.net)
    ):
        widths = [int(width) for width in str(run.config.net).split("-")]
        miss: Miss = "correct" if options.get("miss") == "correct" else "redo"
        model = phases(widths, MULTIPLIERS, int(options.get("prototypes", 1)), miss)
        shares = [float(epoch[:, 0].sum() / epoch[:, :3].sum()) for epoch in counts]
        found += [timeline(model, shares[-1]), speedup_by_hits(model, shares)]
    if float(options.get("hit_share", 0)) > 0:
        found.append(accuracy_by_threshold(devices))
    return found


def _each_epoch(trials: list[Trial]) -> np.ndarray[Any, Any]:
    """[epoch][label][hits, misses, cold, right], over all seeds; a run counts from its first step on."""
    so_far = [[e.speculation.counts for e in trial.epochs if e.speculation] for trial in trials]
    return np.diff(np.sum(so_far, axis=0), axis=0, prepend=0)


def hits_by_label(counts: np.ndarray[Any, Any], wasted: int) -> Plot:
    """Share of samples that are hits, a field for each label and epoch."""
    epochs, labels = counts.shape[:2]
    seen = counts[:, :, :3].sum(2)
    shares = counts[:, :, 0] / np.maximum(seen, 1)
    figure, axes = blank("Hits by label and epoch")
    axes.pcolormesh(shares.T, cmap="cividis", vmin=0, vmax=1)  # no imshow: a page's policy lets no pixels in
    axes.invert_yaxis()
    axes.grid(visible=False)
    for axis, number, first in ((axes.xaxis, epochs, 1), (axes.yaxis, labels, 0)):
        every = range(0, number, -(-number // _MOST_LABELS))
        axis.set_ticks([n + 0.5 for n in every], [str(n + first) for n in every])
    axes.set_xlabel("epoch")
    axes.set_ylabel("label")
    if labels <= _MOST_LABELS and epochs <= _MOST_EPOCHS:
        for epoch in range(epochs):
            for label in range(labels):
                share = shares[epoch, label]
                ink = (
                    "#000000" if share > 0.5 else "#fffffe"
                )  # not the page's own, which the dark page changes
                axes.text(
                    epoch + 0.5,
                    label + 0.5,
                    f"{100 * share:.0f}",
                    ha="center",
                    va="center",
                    color=ink,
                    fontsize=7,
                )
    wide = np.repeat(np.arange(epochs), labels)
    table: Table = {"epoch": (wide + 1).tolist(), "label": np.tile(np.arange(labels), epochs).tolist()}
    for place, name in enumerate(("hits", "misses", "cold", "right")):
        table[name] = counts[:, :, place].reshape(-1).tolist()
    last, right = counts[-1].sum(0), counts[-1, :, 3].sum()
    whole = f"{100 * last[0] / last[:3].sum():.0f} %"
    said = (
        f"{100 * right / last[0]:.0f} % of the hits were classified right" if last[0] else "there were none"
    )
    caption = f"Of the last epoch's samples {whole} were hits; {said}. In percent, over all seeds."
    if wasted:
        caption += f" Guesses that were not used took {wasted:.3g} multiplications."
    alt = f"Table of the share of hits by label and epoch. In the last epoch {whole}; {said}."
    return Plot("speculation-hits", "Hits by label and epoch", caption, alt, figure, table)


def timeline(model: Phases, hits: float) -> Plot:
    """Who does what when: a plain step, a hit and a miss."""
    figure, axes = blank("A step in time")
    begun = model.choice + model.back + model.update
    joined = max(model.forward, begun)
    done = joined + model.test
    bars = [
        ("plain", 0.0, model.forward, "forward"),
        ("plain", model.forward, model.back, "back"),
        ("plain", model.forward + model.back, model.update, "update"),
    ]
    for what in ("hit", "miss"):
        bars += [
            (f"{what}, engine 1", 0.0, model.forward, "forward"),
            (f"{what}, engine 2", model.choice, model.back, "back"),
            (f"{what}, engine 2", model.choice + model.back, model.update, "update"),
            (f"{what}, engine 1", joined, model.test, "test"),
        ]
        if model.choice:
            bars.append((f"{what}, engine 2", 0.0, model.choice, "choice"))
    bars.append(("miss, engine 2", done, model.again, "again"))
    rows = ["plain", "hit, engine 1", "hit, engine 2", "miss, engine 1", "miss, engine 2"]
    colours = {
        "forward": BLUE,
        "back": ORANGE,
        "update": GREEN,
        "choice": "#b5659a",
        "test": "#e69f00",
        "again": GREY,
    }
    for kind, colour in colours.items():
        own = [bar for bar in bars if bar[3] == kind]
        if own:
            lefts, widths = [bar[1] for bar in own], [bar[2] for bar in own]
            axes.barh(
                [rows.index(bar[0]) for bar in own], widths, left=lefts, color=colour, label=kind, height=0.6
            )
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_xlabel(f"cycles of the model, {MULTIPLIERS} multipliers an engine")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.25, 1), ncols=6, columnspacing=0.8, handlelength=1)
    table: Table = dict(
        zip(("row", "start", "cycles", "phase"), map(list, zip(*bars, strict=True)), strict=True)
    )
    caption = (
        f"By the model, not measured: a plain step takes {model.plain:,.0f} cycles, a hit {done:,.0f}, "
        f"a miss {done + model.again:,.0f}; at the last epoch's {100 * hits:.0f} % hits a step takes "
        f"{model.speculative(hits):,.0f}."
    )
    return Plot("speculation-timeline", "A step in time", caption, f"Bars. {caption}", figure, table)


def speedup_by_hits(model: Phases, shares: list[float]) -> Plot:
    """The model's speedup over the plain step, and where the epochs stand."""
    figure, axes = blank("Speedup by share of hits")
    line = np.linspace(0, 1, 101)
    axes.plot(line, [model.plain / model.speculative(h) for h in line], color=GREY, label="model")
    found = [model.plain / model.speculative(h) for h in shares]
    axes.plot(shares, found, "o", color=ORANGE, label="epochs")
    for number in {0, len(shares) - 1}:
        axes.annotate(str(number + 1), (shares[number], found[number]), (5, -10), textcoords="offset points")
    axes.set_xlabel("share of hits")
    axes.set_ylabel("times as fast as plain")
    percent(axes.xaxis)
    legend(figure, axes)
    table: Table = {"epoch": list(range(1, len(shares) + 1)), "hits": shares, "speedup": found}
    caption = (
        f"Two engines of {MULTIPLIERS} multipliers, by a model of cycles, over one such engine. "
        "The dots are this run's epochs."
    )
    alt = f"Speedup by share of hits. In the last epoch {100 * shares[-1]:.0f} % hits: {found[-1]:.2f} times."
    return Plot("speculation-speedup", "Speedup by share of hits", caption, alt, figure, table)


def accuracy_by_threshold(trials: list[Trial]) -> Plot:
    """Where a threshold that moves stood at the end of each epoch, and what the net could do then."""
    figure, axes = blank("Accuracy by threshold")
    table: Table = {"seed": [], "epoch": [], "threshold": [], "accuracy": []}
    for trial in trials:
        stood = [e.speculation.threshold for e in trial.epochs if e.speculation]
        reached = [e.accuracy for e in trial.epochs]
        axes.plot(stood, reached, "-o", color=BLUE, alpha=0.7)
        for epoch, (x, y) in enumerate(zip(stood, reached, strict=True), start=1):
            for name, value in zip(table, (trial.row.seed, epoch, x, y), strict=True):
                table[name].append(value)
            if trial is trials[0]:
                axes.annotate(str(epoch), (x or 0.0, y), (4, 4), textcoords="offset points")
    axes.set_xlabel("threshold at the end of the epoch")
    axes.set_ylabel("accuracy")
    percent(axes.yaxis)
    caption = "A line for each seed; the numbers are epochs of the first one."
    last = table["threshold"][-1]
    alt = f"Accuracy by threshold, epoch after epoch. The last seed ends at a threshold of {last:.3f}."
    return Plot("speculation-threshold", "Accuracy by threshold", caption, alt, figure, table)
