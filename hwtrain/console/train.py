"""Training: what came out, the device beside its controls."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hwtrain.analysis.estimate import estimate
from hwtrain.cards import card_id
from hwtrain.config import TrainConfig
from hwtrain.console.base import STOPPED, progress_bar
from hwtrain.report.quantities import UNSEEN, accuracy, duration, quantity, share, surface


def train(
    config: TrainConfig,
    out: Path | None,
    resume: Path | None,
    workers: int,
    *,
    as_json: bool,
) -> int:
    """Train, report, and print what came out."""
    from hwtrain.report import write_report
    from hwtrain.training.loop import run
    from hwtrain.training.trial import Stopped, specs

    folder = resume or out or default_folder(config)
    planned = len(specs(config))
    with progress_bar(planned) as progress:
        try:
            result = run(
                config,
                out=folder,
                resume=resume is not None,
                workers=workers,
                progress=progress,
            )
        except Stopped:
            print(f"stopped: go on with: hwtrain train --resume {folder}", file=sys.stderr)
            return STOPPED
    page = write_report(folder)
    if as_json:
        for line in result.warnings:
            print(json.dumps({"event": "warning", "message": line}))
        print(json.dumps({"event": "result", **result.as_dict()}))
        return 0
    console = Console()
    console.print(result_table(result.as_dict()))
    if (said := hardware_line(result.hardware)) is not None:
        console.print(said, highlight=False)
    for line in result.warnings:
        console.print(f"[yellow]warning[/]: {line}", highlight=False)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)
    return 0


def default_folder(config: TrainConfig) -> Path:
    """runs/<time>-<rule>-<device>."""
    device = config.device if isinstance(config.device, str) and "=" not in config.device else "mixed"
    now = datetime.now(UTC).astimezone().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{now}-{config.rule}-{card_id(device)}"


def hardware_line(found: dict[str, float | None]) -> str | None:
    """Energy, time and area in a line; None where no card says anything."""
    if all(value is None for value in found.values()):
        return None
    return (
        f"an inference: {quantity(found['inference_J'], 'J')}, {duration(found['inference_s'])}; "
        f"a training step: {quantity(found['step_J'], 'J')}, {duration(found['step_s'])}; "
        f"area of the arrays: {surface(found['area_m2'])}"
    )


def result_table(result: dict[str, Any]) -> Table:
    """The device beside its controls."""
    table = Table(
        title=f"{result['device']} on {result['data']}: accuracy on {result['eval_name']}, "
        f"{result['seeds']} seeds, {result['epochs']} epochs",
        title_justify="left",
    )
    columns = ("", "accuracy %", "pulses", "clipped", "pulse energy", "pulse time", "endurance")
    for column in columns:
        table.add_column(column, justify="left" if column == "" else "right")
    rows = {"device": f"{result['rule']} on {result['device']}", "baseline": "software backprop"}
    for role, label in (rows | {"shallow": "shallow: hidden layers frozen"}).items():
        found = [trial["accuracy"] for trial in result["trials"] if trial["role"] == role]
        if not found:
            continue  # a run of the software baseline itself has no second one
        pulsed = [""] * 5
        if role == "device":
            pulsed = [
                quantity(result["pulses"], ""),
                share(result["clipped_share"]),
                quantity(result["energy_J"], "J"),
                duration(result["pulse_time_s"]),
                UNSEEN if result["endurance_used"] is None else share(result["endurance_used"]),
            ]
        table.add_row(label, accuracy(estimate(found)), *pulsed)
    return table
