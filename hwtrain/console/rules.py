"""The training rules as tables."""

from __future__ import annotations

import json
import re
import sys

from rich.console import Console
from rich.table import Table

from hwtrain.registry import lookup, names


def print_rules(*, as_json: bool) -> None:
    """Every rule with the first line of its module."""
    table = Table()
    table.add_column("rule")
    table.add_column("what it does")
    for name in names("rules"):
        text = (sys.modules[lookup("rules", name).__module__].__doc__ or "").strip().partition("\n")[0]
        if as_json:
            print(json.dumps({"rule": name, "what": text}))
        table.add_row(name, text)
    if as_json:
        return
    Console().print(table)


def print_matrix(*, as_json: bool) -> None:
    """Devices that take the same rules in a row, the rules that run, the others with the port they miss."""
    from hwtrain.analysis.matrix import matrix

    if as_json:
        for device, row in matrix().items():
            print(json.dumps({"device": device, "rules": row}))
        return
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for device, row in matrix().items():
        alike.setdefault(tuple((rule, _short(said)) for rule, said in row.items()), []).append(device)
    table = Table()
    for column in ("devices", "runs", "does not (the port that is missing)"):
        table.add_column(column, overflow="fold")
    for answers, devices in alike.items():
        runs = [rule for rule, said in answers if said == "runs"]
        others = [f"{rule} ({said})" if said else rule for rule, said in answers if said != "runs"]
        table.add_row(", ".join(devices), ", ".join(runs), ", ".join(others))
    Console().print(table)


def _short(said: str) -> str:
    """The port that a refusal names; nothing where it is for another reason."""
    port = re.search(r"needs port (\w+)", said)
    return said if said == "runs" else port[1] if port else ""
