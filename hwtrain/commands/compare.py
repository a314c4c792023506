"""hwtrain compare: cards side by side, and what a net learns on each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError
from hwtrain.flags import flag, json_flag, train_flags, trained_with, verb, workers, workers_flag


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "compare", _compare, "cards side by side, and what a net learns on each")
    one.add_argument("card", nargs="+", help="card ids or files; the first is what others are held against")
    json_flag(one)
    flag(one, "--out", type=Path, metavar="DIR", help="folder for the figures and compare.json")
    flag(
        one, "--fit-samples", type=int, default=0, metavar="N", help="cards drawn from the intervals of a fit"
    )
    flag(one, "--train", action="store_true", help="train on each card; --update A,B tries several")
    train_flags(one, ", with --train")
    workers_flag(one)


def _compare(found: argparse.Namespace) -> int:
    settings = trained_with(found)
    if not found.train and (settings or found.workers is not None):
        raise ConfigError(f"--{next(iter(settings), 'workers').replace('_', '-')} needs --train: add it")
    from hwtrain.console.compare import compare

    updates = settings.pop("update", "").split(",") if found.update else []
    options = {
        "train": found.train,
        "fit_samples": found.fit_samples,
        "updates": updates,
        "workers": workers(found),
        **settings,
    }
    return compare(found.card, found.out, options, as_json=found.json)
