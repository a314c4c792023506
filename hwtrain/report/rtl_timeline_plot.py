"""The picture of some steps of the block: what each engine does in which cycle, and the model's cycles."""

from __future__ import annotations

from hwtrain.export.rtl_timeline import Timeline
from hwtrain.report.figure import BLUE, GREEN, GREY, ORANGE, PAPER, PURPLE, Plot, Table, blank, house_style

_COLOURS = {
    "Forward": BLUE,
    "Sweep": "#00868b",
    "Loss": PURPLE,
    "Join": "#a0522d",
    "Backward": ORANGE,
    "Update": GREEN,
    "UpdateBias": "#56b4e9",
    "Drain": GREY,
}
_WIDE = 0.03
"""Share of what is shown from which on a bar has room for its layer."""


def steps_in_time(found: Timeline) -> Plot:
    """A row for the steps, one for each engine; layers stand in the bars."""
    whole = found.steps[-1].start + found.steps[-1].cycles
    rows = ["steps", *dict.fromkeys(phase.row for phase in found.phases)]
    with house_style():
        figure, axes = blank(f"{found.sizes}, {found.lanes} lanes, {found.mode}: steps in time")
        figure.set_size_inches(9, 1.2 + 0.5 * len(rows))
        for step in found.steps:
            axes.barh(0, step.cycles, left=step.start, height=0.6, color="none", edgecolor=GREY)
            said = f"{step.outcome} " if step.outcome else ""
            text = f"{said}{step.cycles:,}, model {step.model:,}"
            axes.text(step.start + step.cycles / 2, 0, text, ha="center", va="center", fontsize=8)
            axes.axvline(step.start, color=GREY, linewidth=0.8, linestyle=":")
        for state in dict.fromkeys([*_COLOURS, *(phase.state for phase in found.phases)]):
            own = [phase for phase in found.phases if phase.state == state]
            if own:
                axes.barh(
                    [rows.index(phase.row) for phase in own],
                    [phase.cycles for phase in own],
                    left=[phase.start for phase in own],
                    height=0.6,
                    color=_COLOURS.get(state, GREY),
                    edgecolor=PAPER,
                    linewidth=0.5,
                    label=state,
                )
        for phase in found.phases:
            if phase.layer and phase.cycles > _WIDE * whole:
                place = (phase.start + phase.cycles / 2, rows.index(phase.row))
                axes.text(*place, str(phase.layer), ha="center", va="center", color="#ffffff", fontsize=8)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xlim(0, whole)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set_xlabel("cycles under Verilator; a number in a bar is a layer")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=8, columnspacing=1, handlelength=1)
    table: Table = {"row": [], "phase": [], "layer": [], "start": [], "cycles": [], "model": []}
    steps = [
        ("steps", step.outcome or "step", 0, step.start, step.cycles, step.model) for step in found.steps
    ]
    phases = [(one.row, one.state, one.layer, one.start, one.cycles, "") for one in found.phases]
    for values in [*steps, *phases]:
        for column, value in zip(table.values(), values, strict=True):
            column.append(value)
    told = "; ".join(
        f"step {step.number}{f', a {step.outcome}' if step.outcome else ''}: {step.cycles:,} cycles, "
        f"{step.model:,} by the model"
        for step in found.steps
    )
    caption = f"Measured under Verilator without stalls. {told}."
    return Plot("timeline", "Steps in time", caption, f"Bars. {caption}", figure, table)
