"""hwtrain sweep: settings and card values searched by accuracy on the validation split."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hwtrain.flags import flag, verb


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
    flag(one, "--workers", type=int, default=1, help="processes (1)")


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

    try:
        done = sweep(
            read_config(found.config),
            parse(found.over),
            found.out,
            trials=found.trials,
            workers=found.workers,
            progress=told,
        )
    except Stopped:
        print("stopped: the same command goes on with it", file=sys.stderr)
        return STOPPED
    for tried in done[:10]:
        print(_line(tried))
    print(f"{found.out / 'best.toml'}: the settings of the first line; on validation, of {len(done)} choices")
    return 0
