"""What the commands print: progress and tables for people, JSON lines for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from hwtrain.analysis.estimate import estimate
from hwtrain.cards import Card, SynapseCard, card_id
from hwtrain.config import TrainConfig
from hwtrain.errors import ConfigError, DataError, NativeError
from hwtrain.registry import lookup, names
from hwtrain.report.quantities import UNKNOWN, accuracy, duration, interval, quantity, share, signed

if TYPE_CHECKING:
    from hwtrain.analysis.compare import Comparison, Facts

_UNITS = {"S": "S", "V": "V", "A": "A", "J": "J", "s": "s", "ohm": "Ω", "bits": "bit"}
"""By what a card's key ends in; all other numbers are shares or counts."""

STOPPED = 130
"""Exit code of a run that was asked to stop: the shell's own for Ctrl-C."""


def train(
    config: TrainConfig,
    out: Path | None,
    resume: Path | None,
    workers: int | None,
    *,
    as_json: bool,
) -> int:
    """Train, report, and print what came out."""
    from hwtrain.report import write_report
    from hwtrain.training.loop import run
    from hwtrain.training.trial import Stopped, specs

    folder = resume or out or default_folder(config)
    planned = len(specs(config))
    with _progress(planned) as progress:
        try:
            result = run(
                config,
                out=folder,
                resume=resume is not None,
                workers=workers or min(os.cpu_count() or 1, planned),
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
    for line in result.warnings:
        console.print(f"[yellow]warning[/]: {line}", highlight=False)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)
    return 0


def default_folder(config: TrainConfig) -> Path:
    """runs/<time>-<rule>-<device>."""
    device = config.device if isinstance(config.device, str) and "=" not in config.device else "mixed"
    now = datetime.now(UTC).astimezone().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{now}-{config.rule}-{card_id(device)}"


@contextmanager
def _progress(trials: int | None) -> Iterator[Callable[[str, int, int], None]]:
    """One bar over all trials, or over each where their number is None; only where stderr is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        samples: dict[str, int] = {}

        def hear(name: str, done: int, total: int) -> None:
            samples[name] = done
            completed = done if trials is None else sum(samples.values())
            bar.update(task, total=(trials or 1) * total, completed=completed, description=name)

        yield hear


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
                UNKNOWN if result["endurance_used"] is None else share(result["endurance_used"]),
            ]
        table.add_row(label, accuracy(estimate(found)), *pulsed)
    return table


def card_row(name: str, card: Card) -> dict[str, Any]:
    """What ``devices list`` says of a card."""
    row: dict[str, Any] = {
        "id": name,
        "kind": card.kind,
        "title": card.device.title,
        "technology": card.device.technology,
        "verified": card.provenance.verified,
        "citation": card.provenance.citation,
        "licence": card.provenance.licence,
    }
    if isinstance(card, SynapseCard):
        row |= {
            "law": card.response["law"],
            "levels_up": card.response.get("levels_up"),
            "levels_down": card.response.get("levels_down"),
            "label_up": card.response.get("label_up"),
            "label_down": card.response.get("label_down"),
            "on_off": None if card.range.on_off is None else round(card.range.on_off, 4),
            "c2c_rel_range": card.variation.c2c_rel_range,
            "c2c_rel_step": card.variation.c2c_rel_step,
            "cell": card.cell.kind,
        }
    return row


def print_cards(rows: list[dict[str, Any]]) -> None:
    """The cards as a table; ``--json`` has all of it."""
    table = Table()
    for column in ("id", "title", "law", "labels", "on/off", "c2c", "verified"):
        side: Any = "right" if column in ("on/off", "c2c") else "left"
        width = 16 if column == "title" else None
        table.add_column(column, justify=side, no_wrap=column == "id", overflow="fold", min_width=width)
    for row in rows:
        table.add_row(
            row["id"],
            row["title"],
            row.get("law", "-"),
            _pair(row, "label"),
            f"{row['on_off']:.3g}" if row.get("on_off") else "-",
            _scatter(row),
            "yes" if row["verified"] else "no",
        )
    Console().print(table)


def _scatter(row: dict[str, Any]) -> str:
    """Scatter from pulse to pulse in the convention that the card uses."""
    found = [f"{row[f'c2c_rel_{of}']:.3g} of {of}" for of in ("range", "step") if row.get(f"c2c_rel_{of}")]
    return ", ".join(found) or "-"


def _pair(row: dict[str, Any], name: str) -> str:
    up, down = row.get(f"{name}_up"), row.get(f"{name}_down")
    return "-" if up is None else f"{up}/{down}"


def print_card(name: str, card: Card) -> None:
    """Every key of a card: value with its unit, meaning, and how one measures it."""
    table = Table(title=name, title_justify="left")
    table.add_column("key", no_wrap=True)  # whole in a narrow window and for grep
    for column in ("value", "meaning", "measured by"):
        table.add_column(column, overflow="fold")
    parts: list[tuple[str, BaseModel]] = [("", card)]
    if isinstance(card, SynapseCard):
        parts.append(("response.", card.law().params))
    for prefix, part in parts:
        for row in _rows(part, prefix):
            table.add_row(*row)
    Console().print(table)


def _rows(part: BaseModel, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _rows(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            yield f"{prefix}{name}.law", str(value["law"]), "the conductance law", "compare fits"
        else:
            extra = field.json_schema_extra
            measured = str(extra["measured"]) if isinstance(extra, dict) else "set it"
            unit = _UNITS.get(name.rpartition("_")[2], "")
            shown = "not given" if value is None else f"{value} {unit}".rstrip()
            yield f"{prefix}{field.alias or name}", shown, field.description or "", measured


def compare(cards: list[str], out: Path | None, options: dict[str, Any], *, as_json: bool) -> int:
    """Cards side by side, as a table or JSON; figures and JSON in ``out``."""
    from hwtrain.analysis.compare import compare_cards
    from hwtrain.files import make_folder, write_file
    from hwtrain.report.compare_plots import compare_plots
    from hwtrain.training.trial import Stopped

    if out is not None:  # before the training, which may take long
        make_folder(out)
    with _progress(None) as progress:
        try:
            found = compare_cards(cards, progress=progress, **options)
        except Stopped:
            print("stopped: nothing was kept, start it anew", file=sys.stderr)
            return STOPPED
    text = json.dumps(found.as_dict(), indent=None if as_json else 1)
    if out is not None:
        write_file(out / "compare.json", text + "\n")
        for plot in compare_plots(found, cards):
            write_file(out / f"{plot.name}.png", plot.png())
            write_file(out / f"{plot.name}.svg", plot.svg)
            write_file(out / f"{plot.name}.csv", plot.csv())
    if as_json:
        print(text)
        return 0
    console = Console()
    table = Table()
    table.add_column("")
    for one in found.facts:
        table.add_column(one.id, overflow="fold")
    for label, cells in _compared(found.facts):
        table.add_row(label, *cells)
    console.print(table)
    if found.trained:
        console.print(_trained(found))
    return 0


def _compared(facts: list[Facts]) -> Iterator[tuple[str, list[str]]]:
    """Rows of the table of facts."""

    def row(shown: Callable[[Facts], str]) -> list[str]:
        return [shown(one) for one in facts]

    def number(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:.3g}"

    def levels(value: float | None) -> str:
        return "never arrives" if value is None else f"{value:g}"

    def bent(value: float | None) -> str:
        return "none: soft bounds" if value is None else f"{value:.3g}"

    yield "law", row(lambda one: one.law)
    yield "on/off", row(lambda one: number(one.on_off))
    yield "levels up, down", row(lambda one: f"{levels(one.levels_up)}, {levels(one.levels_down)}")
    yield "label up, down", row(lambda one: f"{bent(one.label_up)}, {bent(one.label_down)}")
    yield "asymmetry", row(lambda one: bent(one.asymmetry))
    yield (
        "symmetry point",
        row(lambda one: "none" if one.symmetry_point is None else number(one.symmetry_point)),
    )
    yield "c2c, of the range", row(lambda one: UNKNOWN if one.c2c is None else share(one.c2c))
    yield "d2d", row(lambda one: ", ".join(f"{k} {v:.3g}" for k, v in (one.d2d or {}).items()) or UNKNOWN)
    yield "energy of a pulse up", row(lambda one: quantity(one.energy_up_J, "J"))
    yield "energy of a pulse down", row(lambda one: quantity(one.energy_down_J, "J"))
    yield "provenance", row(lambda one: f"{one.provenance}{'' if one.verified else ', not verified'}")


def _trained(found: Comparison) -> Table:
    """Accuracies; differences are paired over seeds, with 95 % intervals."""
    config = found.config
    assert config is not None
    table = Table(
        title=f"{config.data}, {config.net}, {config.seeds} seeds, {config.epochs} epochs",
        title_justify="left",
    )
    for column in ("card", "update", "accuracy %", "points from the first card", "pulses", "pulse energy"):
        table.add_column(column, overflow="fold")
    for one in found.trained:
        other = "" if one.difference is None else f"{signed(one.difference.mean)} {interval(one.difference)}"
        pulsed = ["", ""] if one.update is None else [quantity(one.pulses, ""), quantity(one.energy_J, "J")]
        table.add_row(one.id, one.update or "software", accuracy(one.accuracy), other.rstrip(), *pulsed)
    return table


def fit_card(
    data: Path,
    down: Path | None,
    out: Path | None,
    unit: str | None,
    v_read: float | None,
    ends: tuple[float, float] | None,
    title: str | None,
) -> int:
    """Fit a card to a measurement; write it with a plot (PNG and SVG) beside it, and print the figures."""
    from hwtrain.analysis.fit import fit, fit_tables
    from hwtrain.analysis.fit_card import card_text, summary
    from hwtrain.data.crosssim import read_tables
    from hwtrain.data.response import read_response

    card = out or Path(f"{data.stem}.toml")
    if card.suffix != ".toml":
        raise ConfigError(f"{card}: a card's name ends in .toml: mend --out")
    if out is None and card.exists():
        raise ConfigError(f"{card}: is there already: name the card with --out")
    if down is None:
        found = fit(read_response(data, unit=unit, v_read=v_read), g_range=ends)
    else:
        found = fit_tables(*read_tables(data, down, unit))
    text = card_text(found, title=title, v_read=v_read)

    from hwtrain.files import make_folder, write_file
    from hwtrain.report.fit_plot import fit_plot

    plot = fit_plot(found, card_id(str(card)))
    make_folder(card.parent)
    write_file(card, text)
    write_file(card.with_suffix(".png"), plot.png())
    write_file(card.with_suffix(".svg"), plot.svg)
    table = Table(show_header=False, title=f"{card_id(str(card))}, 95 % intervals", title_justify="left")
    for row in summary(found):
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(f"card: {card}, plot: {card.with_suffix('.png')}", highlight=False, soft_wrap=True)
    return 0


def print_rules() -> None:
    """Every rule with the first line of its module."""
    table = Table()
    table.add_column("rule")
    table.add_column("what it does")
    for name in names("rules"):
        text = sys.modules[lookup("rules", name).__module__].__doc__ or ""
        table.add_row(name, text.strip().splitlines()[0])
    Console().print(table)


def print_matrix() -> None:
    """Rule by card: whether it runs, or the port that is missing; computed by binding."""
    from hwtrain.analysis.matrix import matrix

    found = matrix()
    rules = names("rules")
    table = Table()
    table.add_column("device", no_wrap=True)
    for rule in rules:
        table.add_column(rule)
    for device, row in found.items():
        table.add_row(device, *(row[rule] for rule in rules))
    Console().print(table)


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


def print_prediction(run: Path, engine: str) -> None:
    """Accuracy and speed of the program, beside what the run recorded."""
    from hwtrain.analysis.programs import predict

    found = predict(run, engine)
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

    found = check(run, steps)
    if as_json:
        print(json.dumps(vars(found)))
    else:
        print(
            f"{found.steps} steps: {found.compared:,} values compared, {found.changed:.1%} of the weights "
            f"changed, {found.mismatches:,} mismatches"
        )
    return found.mismatches == 0


def print_doctor() -> None:
    """Versions, processors, compilers and data sets that hwtrain would use here."""
    import torch

    from hwtrain.data import load
    from hwtrain.native import cache_folder, compiler

    table = Table(show_header=False)
    for name in ("hwtrain", "torch", "numpy", "pydantic", "safetensors", "matplotlib"):
        table.add_row(name, version(name))
    table.add_row("python", sys.version.split()[0])
    table.add_row("processors", str(os.cpu_count()))
    table.add_row("torch computes with", torch.backends.cpu.get_cpu_capability())
    try:
        table.add_row("C compiler", f"{compiler()}, keeps what it builds in {cache_folder()}")
    except NativeError as problem:
        table.add_row("C compiler", str(problem))
    for data in ("digits", "fashion-mnist"):
        try:
            table.add_row(f"data {data}", f"{len(load(data).train_y)} training samples")
        except DataError as problem:
            table.add_row(f"data {data}", str(problem))
    Console().print(table)
