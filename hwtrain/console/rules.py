"""The training rules as tables."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from hwtrain.registry import lookup, names


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
