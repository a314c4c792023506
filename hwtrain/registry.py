"""Names to things: a registered name is a file name, and adding a thing is adding its module.

Listing reads file names and imports nothing; a lookup imports one module and takes the class whose
name is the file's name in CamelCase (``rules/shallow.py`` holds ``Shallow``). Third parties add
theirs through the entry-point groups ``hwtrain.rules``, ``hwtrain.updates``, ``hwtrain.laws``,
``hwtrain.cells``, ``hwtrain.layers``, ``hwtrain.losses``, ``hwtrain.kernels``, ``hwtrain.nets``,
``hwtrain.printers``, ``hwtrain.emulators`` and ``hwtrain.commands``.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from hwtrain.errors import UnknownNameError, nearest

_FOLDERS = {
    "commands": "commands",
    "rules": "rules",
    "updates": "synapse/updates",
    "laws": "synapse/laws",
    "cells": "synapse/cells",
    "substrates": "substrates",
    "layers": "layers",
    "losses": "losses",
    "nets": "nets",
    "kernels": "kernels",
    "printers": "export/printers",
    "emulators": "physical/emulators",
}
"""Kind to folder below ``hwtrain/``. ``base.py`` and names with a leading underscore are not things."""


def names(kind: str) -> list[str]:
    """Every registered name of a kind, in alphabetical order; imports nothing."""
    return sorted({*_own(kind), *_foreign(kind)})


def lookup(kind: str, name: str) -> Any:
    """The class registered under ``name``; imports its module and no other."""
    module = name.replace("-", "_")
    if name in _own(kind):
        path = _FOLDERS[kind].replace("/", ".")
        found = importlib.import_module(f"hwtrain.{path}.{module}")
        return getattr(found, _camel(module), found)
    foreign = _foreign(kind)
    if name in foreign:
        return foreign[name].load()
    raise UnknownNameError(unknown(kind, name))


def unknown(kind: str, name: str) -> str:
    """The message for a name that is not registered, with the nearest one."""
    one = "loss" if kind == "losses" else kind.removesuffix("s")
    return f"no {one} is called {name!r}: {nearest(name, names(kind))}"


def _own(kind: str) -> list[str]:
    folder = Path(__file__).resolve().parent / _FOLDERS[kind]
    return [
        file.stem.replace("_", "-")
        for file in folder.glob("*.py")
        if file.stem != "base" and not file.stem.startswith("_")
    ]


def _foreign(kind: str) -> dict[str, EntryPoint]:
    return _entry_points(kind, tuple(sys.path))


@cache
def _entry_points(kind: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """By name; a scan takes milliseconds, so there is one for each ``sys.path``."""
    return {point.name: point for point in entry_points(group=f"hwtrain.{kind}")}


def _camel(module: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in module.split("_"))
