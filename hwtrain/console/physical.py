"""What ``hwtrain physical`` prints."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from hwtrain.analysis.estimate import estimate
from hwtrain.analysis.physical_study import CONTROLS, Budget, Row
from hwtrain.analysis.physical_study import study as run_study
from hwtrain.console.base import progress_bar
from hwtrain.errors import DataError
from hwtrain.physical.twin import DigitalTwin
from hwtrain.report.quantities import accuracy, interval, quantity, signed


def study(found: argparse.Namespace) -> int:
    """The rows as a table or as JSON lines."""
    budget = Budget(
        found.data,
        found.samples,
        found.epochs,
        0 if found.no_controls else 2,
        seeds=tuple(range(found.seeds)),
    )
    with progress_bar(None) as tell:
        rows = run_study(
            found.rules.split(",") if found.rules else None,
            found.emulators.split(",") if found.emulators else None,
            budget,
            controls=not found.no_controls,
            workers=found.workers,
            tick=lambda done, total: tell("study", done, total),
        )
    if found.json:
        for row in rows:
            print(json.dumps(row.as_dict()))
        return 0
    console = Console()
    console.print(_table(rows, found.data))
    for row in rows:
        if row.refused:
            console.print(f"refused: {row.rule} on {row.emulator}: {row.refused}", highlight=False)
    for row in rows:
        if row.found and row.difference("zero").mean <= 0:
            console.print(
                f"not above its control without physics: {row.rule} on {row.emulator}", highlight=False
            )
    return 0


def _table(rows: list[Row], data: str) -> Table:
    table = Table(title=f"rules on physics, {data}: accuracy on test, and points above each control")
    shown = [name for name in CONTROLS if any(name in row.controls for row in rows)]
    for column in ("rule", "physics", "accuracy %", *shown, "passes", "digital MACs", "energy"):
        table.add_column(column, overflow="fold", no_wrap=column in ("rule", "physics"))
    for row in rows:
        if row.found is None:
            continue
        gaps = [row.difference(name) for name in shown]
        table.add_row(
            row.rule,
            row.emulator,
            accuracy(estimate(row.found.accuracies)),
            *(f"{signed(gap.mean)} {interval(gap)}".rstrip() for gap in gaps),
            quantity(row.found.passes, ""),
            quantity(row.found.macs, ""),
            quantity(row.found.energy_J, "J"),
        )
    return table


def twin(inputs: Path, outputs: Path, *, as_json: bool) -> int:
    """R² of each kind of twin, and how linear the layer is."""
    x, y = _table_of(inputs), _table_of(outputs)
    if len(x) != len(y):
        raise DataError(f"{outputs}: {len(y)} rows for {len(x)} inputs: give one row a pair")
    torch.set_num_threads(1)
    report = DigitalTwin.fit(x, y).report()
    if as_json:
        print(json.dumps({"r2": report.r2, "chosen": report.chosen}))
    else:
        print(report.text())
    return 0


def _table_of(path: Path) -> torch.Tensor:
    try:
        with path.open(encoding="utf-8") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is empty is said by those who count the rows
            values = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    except OSError as problem:
        raise DataError(f"{path}: {problem.strerror or problem}: check the path") from None
    except ValueError as problem:
        first = str(problem).partition(";")[0]  # what follows is advice to who calls NumPy
        raise DataError(f"{path}: not a table of numbers: {first}") from None
    if not np.isfinite(values).all():
        raise DataError(f"{path}: holds a value that is no finite number: mend or drop that row")
    return torch.from_numpy(values)
