"""A trial's program: its text, its prediction, its check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from hwtrain.files import make_folder, write_file

if TYPE_CHECKING:
    from hwtrain.analysis.step_time import StepTime


def print_program(run: Path, *, as_json: bool) -> None:
    """A line of figures and the program's text, or its listing."""
    from hwtrain.analysis.programs import show

    program, figures = show(run)
    if as_json:
        print(json.dumps(program.listing.model_dump()))
        return
    costs = "what a step costs depends on the data"
    if figures.macs is not None and figures.traffic is not None:
        costs = f"a step: {figures.macs:,} MACs, {figures.traffic:,} bytes of traffic"
    print(
        f"buffers {figures.buffers:,} bytes; arena {figures.arena:,} bytes "
        f"(no less than {figures.bound:,}); {costs}"
    )
    print(program.text(), end="")


def print_prediction(run: Path, engine: str, *, as_json: bool) -> None:
    """Accuracy and speed of the program, beside what the run recorded."""
    from hwtrain.analysis.programs import predict

    found = predict(run, engine)
    if as_json:
        print(json.dumps(vars(found)))
        return
    first = f"the first {found.samples} of " if found.samples < found.of else ""
    print(f"{found.trial}, {found.engine}, {first}{found.of} {found.eval_name} samples:")
    print(f"  accuracy {found.accuracy:.2%}, {found.samples_per_s:,.0f} samples/s")
    if found.recorded is None:
        print("  the run has finished no epoch and recorded no accuracy")
    else:
        since = f", and has trained on {found.since:,} samples since" if found.since else ""
        print(f"  the run recorded {found.recorded:.2%} on all of them after epoch {found.epoch}{since}")


def print_check(run: Path, steps: int, *, as_json: bool) -> bool:
    """Whether C and the interpreter agree, and on how much."""
    from hwtrain.analysis.programs import check
    from hwtrain.console.base import busy

    with busy(f"{steps:,} steps in C and in the interpreter"):
        found = check(run, steps)
    if as_json:
        print(json.dumps(vars(found)))
    else:
        print(
            f"{found.steps} steps: {found.compared:,} values compared, {found.changed:.1%} of the weights "
            f"changed, {found.mismatches:,} mismatches"
        )
    return found.mismatches == 0


def print_time(run: Path, threads: int, out: Path | None, *, as_json: bool) -> None:
    """Every kernel of a step: its thread, when it begins and how long it takes."""
    from hwtrain.analysis.step_time import step_time
    from hwtrain.console.base import busy

    if out is not None:
        make_folder(out)
    with busy("timing a training step in C"):
        found = step_time(run, threads)
    if out is not None:
        _write_time(found, out)
    if as_json:
        print(json.dumps(found.as_dict()))
        return
    print(
        f"{found.trial}: {found.untimed_us:,.2f} us a step; the median of {found.steps} "
        f"with a clock around every kernel: {found.step_us:,.2f} us"
    )
    print(f"{'start us':>9}{'us':>9}  thread  kernel")
    for span in found.spans:
        print(f"{span.start_us:9.2f}{span.us:9.2f}  {span.thread:6}  {span.where}: {span.kernel}")


def _write_time(found: StepTime, out: Path) -> None:
    from hwtrain.report.step_time_plot import threads_in_time

    plot = threads_in_time(found)
    write_file(out / f"{plot.name}.png", plot.png())
    write_file(out / f"{plot.name}.svg", plot.svg)
    write_file(out / f"{plot.name}.csv", plot.csv())
