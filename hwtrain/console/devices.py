"""The cards as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from hwtrain.cards import Card, Constant, PhysicalCard, SynapseCard

_UNITS = {"S": "S", "V": "V", "A": "A", "J": "J", "s": "s", "ohm": "Ω", "bits": "bit"} | {
    "Hz": "Hz",
    "W": "W",
}
"""By what a card's key ends in; all other numbers are shares or counts."""


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
            "law": card.response.get("law"),
            "levels_up": card.response.get("levels_up"),
            "levels_down": card.response.get("levels_down"),
            "label_up": card.response.get("label_up"),
            "label_down": card.response.get("label_down"),
            "on_off": None if card.range.on_off is None else round(card.range.on_off, 4),
            "c2c_rel_range": card.variation.c2c_rel_range,
            "c2c_rel_step": card.variation.c2c_rel_step,
            "cell": card.cell.kind,
        }
    if isinstance(card, PhysicalCard):
        row["emulator"] = card.physics.get("emulator", "instrument")
    return row


def print_cards(rows: list[dict[str, Any]]) -> None:
    """The cards, a table for each kind; ``--json`` has all of it."""
    for kind in sorted({row["kind"] for row in rows}):
        of_kind = [row for row in rows if row["kind"] == kind]
        Console().print(_synapses(of_kind) if kind == "synapse" else _others(kind, of_kind))


def _synapses(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="synapse", title_justify="left")
    for column in ("id", "title", "law", "labels", "on/off", "c2c", "verified"):
        side: Any = "right" if column in ("on/off", "c2c") else "left"
        width = 16 if column == "title" else None
        table.add_column(column, justify=side, no_wrap=column == "id", overflow="fold", min_width=width)
    for row in rows:
        table.add_row(
            row["id"],
            row["title"],
            row["law"] or "none: for deploy",
            _pair(row, "label"),
            f"{row['on_off']:.3g}" if row.get("on_off") else "-",
            _scatter(row),
            "yes" if row["verified"] else "no",
        )
    return table


def _others(kind: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=kind, title_justify="left")
    table.add_column("id", no_wrap=True)
    for column in ("title", "technology"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row["id"], row["title"], row["technology"])
    return table


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
    if isinstance(card, SynapseCard) and card.response:
        parts.append(("response.", card.law().params))
    if isinstance(card, PhysicalCard) and card.physics:
        parts.append(("physics.", card.emulator()[1]))
    for prefix, part in parts:
        for row in _rows(part, prefix):
            table.add_row(*row)
    Console().print(table)


def _rows(part: BaseModel, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in type(part).model_fields.items():
        value, shown_name = getattr(part, name), f"{prefix}{field.alias or name}"
        if isinstance(value, Constant):
            low, high = value.ends
            span = f", {low:g} to {high:g}" if low < high else ""
            unit = _UNITS.get(name.rpartition("_")[2], "")
            shown = f"{value.value:g} {unit}".rstrip() + f" ({value.status}{span})"
            yield shown_name, shown, field.description or "", value.source
        elif isinstance(value, BaseModel):
            yield from _rows(value, f"{shown_name}.")
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            for place, one in enumerate(value):
                yield from _rows(one, f"{shown_name}[{place}].")
        elif isinstance(value, dict):
            for key, what, how in (
                ("law", "the conductance law", "compare fits"),
                ("emulator", "the kind of physics", "know it"),
            ):
                if key in value:
                    yield f"{shown_name}.{key}", str(value[key]), what, how
        else:
            extra = field.json_schema_extra
            measured = str(extra["measured"]) if isinstance(extra, dict) else "set it"
            unit = _UNITS.get(name.rpartition("_")[2], "")
            shown = "not given" if value is None else f"{value} {unit}".rstrip()
            if isinstance(value, list) and value and isinstance(value[0], list):
                shown = f"{len(value)} rows of {len(value[0])}"
            yield shown_name, shown, field.description or "", measured
