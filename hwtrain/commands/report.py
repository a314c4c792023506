"""hwtrain report: the page of a run, written anew."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.flags import verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "report", _report, "write the report of a run anew")
    one.add_argument("run", type=Path, help="run folder")


def _report(found: argparse.Namespace) -> int:
    from hwtrain.report import write_report

    print(write_report(found.run))
    return 0
