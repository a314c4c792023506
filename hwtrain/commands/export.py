"""hwtrain export: a trial's program in another language, tried before it is done."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.flags import flag, verb
from hwtrain.registry import names


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "export", _export, "a trial's program in another language, tried before it is done")
    one.add_argument("run", type=Path, help="run folder, or RUN/trials/NAME of one")
    flag(one, "--to", default="c", help=f"{', '.join(names('printers'))} (c)")
    flag(one, "--out", type=Path, required=True, help="folder or file to write")
    flag(one, "--steps", type=int, default=20, help="batches in its test (20)")


def _export(found: argparse.Namespace) -> int:
    from hwtrain.analysis.programs import export, printer

    to = printer(found.to)
    compared = export(found.run, found.out, to, found.steps)
    print(f"{found.out}: its test compared {compared:,} values, 0 differ; {to.then}")
    return 0
