"""The page: a run's tables and figures in one HTML file that asks the network for nothing."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from hwtrain.cards import card_id
from hwtrain.report.figure import INK, PAPER, RULE, Plot
from hwtrain.report.run_folder import RunFolder
from hwtrain.report.tables import (
    HARDWARE_COLUMNS,
    LAYER_COLUMNS,
    RESULT_COLUMNS,
    card_facts,
    hardware,
    layers,
    results,
    settings,
)


def page(run: RunFolder, plots: list[Plot]) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        title=" + ".join(card.device.title for card in run.cards.values()),
        technology="; ".join(dict.fromkeys(card.device.technology for card in run.cards.values())),
        summary=_summary(run),
        warnings=run.result.warnings,
        config=run.config,
        seeds=len(run.of("device")),
        eval_name=run.result.eval_name,
        own_control=not run.of("baseline"),
        result_columns=RESULT_COLUMNS,
        results=results(run),
        figures=[(plot, inlined(plot)) for plot in plots],
        software=[name for name in run.cards if name not in run.synapses],
        synapses=list(run.synapses),
        layer_columns=LAYER_COLUMNS,
        layers=layers(run),
        hardware_columns=HARDWARE_COLUMNS,
        hardware=hardware(run),
        constants=[
            f"{card_id(name)}: {its.periphery.source}" for name, its in run.synapses.items() if its.periphery
        ],
        cards=card_facts(run),
        settings=settings(run.config),
        environment={key: value for key, value in run.environment.items() if key != "format"},
    )


def _summary(run: RunFolder) -> list[tuple[str, str]]:
    """What was trained, in short."""
    config = run.config
    pairs = [("rule", config.rule)]
    if run.synapses:
        pairs += [("update", config.update), ("cell", _cells(run))]
    # A net that was handed over in Python has no name; its layers tell it from another.
    net = config.net or "not named in the settings"
    pairs += [("data", config.data), ("net", net), ("epochs", str(config.epochs))]
    return [*pairs, ("seeds", str(len(run.of("device"))))]


def _cells(run: RunFolder) -> str:
    kinds = (run.config.cell or card.cell.kind for card in run.synapses.values())
    return ", ".join(dict.fromkeys(kinds))


def inlined(plot: Plot) -> Markup:
    """The figure's SVG for inside the page: its alt text, the page's colours, ids of its own."""
    svg = plot.svg
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{_id(plot.name)}-", svg)
    for colour, name in ((INK, "--ink"), (RULE, "--rule"), (PAPER, "--paper")):
        svg = svg.replace(colour, f"var({name})")
    described = f'<svg role="img" aria-label="{escape(plot.alt)}"'
    return Markup(svg.replace("<svg", described, 1))


def _id(name: str) -> str:
    return re.sub(r"[^\w-]", "-", name)
