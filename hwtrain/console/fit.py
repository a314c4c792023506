"""A card from a measurement, with a plot of fit against data beside it."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hwtrain.cards import card_id
from hwtrain.errors import ConfigError


def fit_card(
    data: Path,
    down: Path | None,
    out: Path | None,
    unit: str | None,
    v_read: float | None,
    ends: tuple[float, float] | None,
    title: str | None,
    *,
    table: bool,
    as_json: bool,
) -> int:
    """Fit a card to a measurement; write it with a plot (PNG and SVG) beside it, and print the figures.

    ``table``: keep the distribution of steps instead.
    """
    from hwtrain.analysis.fit import fit, fit_tables
    from hwtrain.analysis.fit_card import card_text, summary
    from hwtrain.data.crosssim import read_tables
    from hwtrain.data.response import read_response

    card = out or Path(f"{data.stem}.toml")
    if card.suffix != ".toml":
        raise ConfigError(f"{card}: a card's name ends in .toml: mend --out")
    if out is None and card.exists():
        raise ConfigError(f"{card}: is there already: name the card with --out")
    if table:
        return _keep(data, down, card, unit, v_read, ends, title, as_json=as_json)
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
    if as_json:
        figures = {name: vars(value) for name, value in found.figures.items()}
        print(json.dumps({"card": str(card), "plot": str(card.with_suffix(".png")), "figures": figures}))
        return 0
    rows = Table(show_header=False, title=f"{card_id(str(card))}, 95 % intervals", title_justify="left")
    for row in summary(found):
        rows.add_row(*row)
    console = Console()
    console.print(rows)
    console.print(f"card: {card}, plot: {card.with_suffix('.png')}", highlight=False, soft_wrap=True)
    return 0


def _keep(
    data: Path,
    down: Path | None,
    card: Path,
    unit: str | None,
    v_read: float | None,
    ends: tuple[float, float] | None,
    title: str | None,
    *,
    as_json: bool,
) -> int:
    from hwtrain.analysis.fit_card import check_card
    from hwtrain.analysis.table_card import steps_of_response, steps_of_tables, table_text
    from hwtrain.data.crosssim import read_steps
    from hwtrain.data.response import read_response
    from hwtrain.files import make_folder, write_file
    from hwtrain.report.table_plot import table_plot

    if down is None:
        steps = steps_of_response(read_response(data, unit=unit, v_read=v_read), ends)
    else:
        steps = steps_of_tables(*read_steps(data, down, unit), str(data))
    text, said = table_text(steps, title)
    check_card(text, steps.source)
    plot = table_plot(steps, card_id(str(card)))
    make_folder(card.parent)
    write_file(card, text)
    write_file(card.with_suffix(".png"), plot.png())
    write_file(card.with_suffix(".svg"), plot.svg)
    if as_json:
        print(json.dumps({"card": str(card), "plot": str(card.with_suffix(".png")), **dict(said)}))
        return 0
    rows = Table(show_header=False, title=f"{card_id(str(card))}, steps as measured", title_justify="left")
    for row in said:
        rows.add_row(*row)
    console = Console()
    console.print(rows)
    console.print(f"card: {card}, plot: {card.with_suffix('.png')}", highlight=False, soft_wrap=True)
    return 0
