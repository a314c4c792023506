"""hwtrain compare: cards side by side, and what a net learns on each."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError
from hwtrain.flags import flag, verb

_TRAINED = ("data", "net", "epochs", "seeds", "seed", "lr", "rule")
"""Settings of ``train`` that ``--train`` takes."""


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "compare", _compare, "cards side by side, and what a net learns on each")
    one.add_argument("card", nargs="+", help="card ids or files; the first is what others are held against")
    flag(one, "--json", action="store_true", help="one JSON object")
    flag(one, "--out", type=Path, metavar="DIR", help="folder for the figures and compare.json")
    flag(
        one, "--fit-samples", type=int, default=0, metavar="N", help="cards drawn from the intervals of a fit"
    )
    flag(one, "--train", action="store_true", help="train on each card, beside the software controls")
    flag(one, "--update", metavar="A,B", help="updates to train with (sign-pulse)")
    for name in _TRAINED:
        flag(one, f"--{name}", metavar=name.upper(), help=f"as of train, with --train: {name}")
    flag(one, "--workers", type=int, help="processes (1)")


def _compare(found: argparse.Namespace) -> int:
    settings = {name: value for name in _TRAINED if (value := getattr(found, name)) is not None}
    if not found.train and (settings or found.update or found.workers is not None):
        raise ConfigError(f"--{next(iter(settings), 'update or --workers')} needs --train: add it")
    from hwtrain.console.compare import compare

    updates = found.update.split(",") if found.update else []
    options = {
        "train": found.train,
        "fit_samples": found.fit_samples,
        "updates": updates,
        "workers": os.cpu_count() or 1 if found.workers is None else found.workers,
    }
    options |= settings
    return compare(found.card, found.out, options, as_json=found.json)
