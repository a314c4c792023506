"""Weights on a device that forgets, as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hwtrain.analysis.deploy import deploy
from hwtrain.analysis.estimate import estimate
from hwtrain.console.base import progress_bar
from hwtrain.files import make_folder, write_file
from hwtrain.report.deploy_plot import deploy_plot
from hwtrain.report.quantities import accuracy
from hwtrain.report.quantities import age as since


def print_deployed(
    run: Path, device: str, times_s: Sequence[float] | None, writings: int, out: Path | None, *, as_json: bool
) -> None:
    """Accuracy by time, as a table or JSON; picture and JSON in ``out``."""
    with progress_bar(1) as progress:
        found = deploy(run, device, times_s, writings, progress)
    if out is not None:
        make_folder(out)
        write_file(out / "deploy.json", json.dumps(found.as_dict(), indent=1) + "\n")
        plot = deploy_plot(found)
        write_file(out / f"{plot.name}.png", plot.png())
        write_file(out / f"{plot.name}.svg", plot.svg)
        write_file(out / f"{plot.name}.csv", plot.csv())
    if as_json:
        print(json.dumps(found.as_dict()))
        return
    table = Table(
        title=f"{found.trial} on {found.card}, {found.samples:,} samples, written {writings} times; "
        f"{found.software:.1%} as trained",
        title_justify="left",
    )
    for column in ("since writing", "accuracy %", "compensated %", "weights that are left"):
        table.add_column(column)
    for age in found.ages:
        cells = [accuracy(estimate(age.accuracies)), accuracy(estimate(age.compensated))]
        table.add_row(since(age.time_s), *cells, f"{age.left:.1%}")
    Console().print(table)
