"""What limits a device, as a table and a tornado."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hwtrain.analysis.compare import synapse
from hwtrain.analysis.sensitivity import Sensitivity, sensitivity, to_toml
from hwtrain.cards import SynapseCard, card_id
from hwtrain.config import make_config
from hwtrain.console.base import STOPPED, progress_bar
from hwtrain.files import make_folder, write_file
from hwtrain.report.quantities import accuracy, interval, share, signed
from hwtrain.report.tornado import tornado
from hwtrain.training.loop import run, run_quickest
from hwtrain.training.trial import Stopped

_QUICK = {"evaluate": "validation", "epochs": 3, "seeds": 3}
"""What is trained with, where nothing else is asked for: some thirty times."""


def show_sensitivity(
    card: str, target: float, out: Path | None, settings: dict[str, Any], workers: int, *, as_json: bool
) -> int:
    """Train with every property moved by itself; figures and JSON in ``out``."""
    found = synapse(card)
    make_config(**settings, device=card)  # what is wrong with the settings is said before anything is trained
    if out is not None:
        make_folder(out)
    with tempfile.TemporaryDirectory() as folder, progress_bar(None) as progress:

        def score(what: str, moved: SynapseCard) -> list[float]:
            file = Path(folder) / f"{card_id(card)}.toml"
            write_file(file, to_toml(moved))
            result = (run if "engine" in settings else run_quickest)(
                make_config(**_QUICK | settings | {"device": str(file)}),
                controls=False,
                workers=workers,
                progress=lambda _, done, total: progress(what, done, total),
            )
            return [float(row["accuracy"]) for row in result.trials if row["role"] == "device"]

        try:
            made = sensitivity(found, target / 100, score)
        except Stopped:
            print("stopped: nothing was kept, start it anew", file=sys.stderr)
            return STOPPED
    plot = tornado(made, card_id(card))
    if out is not None:
        write_file(out / "sensitivity.json", json.dumps(made.as_dict(), indent=1) + "\n")
        for kind, content in (("png", plot.png()), ("svg", plot.svg), ("csv", plot.csv())):
            write_file(out / f"{plot.name}.{kind}", content)
    if as_json:
        print(json.dumps(made.as_dict()))
    else:
        _print(made, card_id(card))
    return 0


def _print(made: Sensitivity, name: str) -> None:
    table = Table(title=f"{name}: {accuracy(made.accuracy)} % as it is, target {share(made.target)}")
    for column in ("property", "value", "ideal", "gain", "95 %", "twice as bad", "needed"):
        table.add_column(column, overflow="fold", no_wrap=column == "property")
    for row in made.properties:
        table.add_row(
            row.name,
            row.value,
            share(row.accuracy_ideal),
            signed(row.difference.mean),
            interval(row.difference),
            share(row.accuracy_worse),
            row.needed or ("reached" if made.reached else "not by this alone"),
        )
    Console().print(table)
