"""hwtrain sweep: settings and card values searched by accuracy on the validation split."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hwtrain.flags import flag, json_flag, verb, workers, workers_flag


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "sweep", _sweep, "search settings and card values on the validation split")
    one.add_argument("config", type=Path, help="TOML file with settings of train")
    flag(
        *(one, "--over"),
        action="append",
        default=[],
        metavar="KEY=A,B",
        help="a setting, or card.SECTION.KEY, and what to try for it; once for each",
    )
    flag(one, "--trials", type=int, default=20, help="choices to try; a grid of no more is tried whole (20)")
    flag(one, "--out", type=Path, required=True, help="folder of the search; the same again goes on with it")
    workers_flag(one)
    json_flag(one, "one JSON object a choice on stdout, the best one first")


def _sweep(found: argparse.Namespace) -> int:
    from hwtrain.analysis.sweep import Tried, parse, sweep
    from hwtrain.config import read_config
    from hwtrain.console.base import STOPPED
    from hwtrain.training.trial import Stopped

    def told(number: int, of: int, tried: Tried) -> None:
        print(f"{number}/{of}: {_line(tried)}", file=sys.stderr, flush=True)

    def _line(tried: Tried) -> str:
        accuracy = "refused" if tried.accuracy is None else f"{tried.accuracy:.2%}"
        return f"{accuracy:>8}  " + "  ".join(f"{key}={value}" for key, value in tried.values.items())

    processes = workers(found)
    try:
        done = sweep(
            read_config(found.config),
            parse(found.over),
            found.out,
            trials=found.trials,
            workers=processes,
            progress=told,
        )
    except Stopped:
        print("stopped: the same command goes on with it", file=sys.stderr)
        return STOPPED
    if found.json:
        for tried in done:
            print(json.dumps(vars(tried)))
        return 0
    for tried in done[:10]:
        print(_line(tried))
    print(f"{found.out / 'best.toml'}: the settings of the first line; on validation, of {len(done)} choices")
    return 0
