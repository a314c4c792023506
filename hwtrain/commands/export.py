"""hwtrain export: a trial's program in another language, tried before it is done."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.flags import flag, verb
from hwtrain.registry import names

_OPTIONS = ("opset",)
"""Flags that a printer may take."""


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "export", _export, "a trial's program in another language, tried before it is done")
    one.add_argument("run", type=Path, help="run folder, or RUN/trials/NAME of one")
    flag(one, "--to", default="c", help=f"{', '.join(names('printers'))} (c)")
    flag(one, "--out", type=Path, required=True, help="folder or file to write")
    flag(one, "--steps", type=int, default=20, help="batches in its test (20)")
    flag(one, "--opset", help="of qonnx and qcdq: version of the ONNX operators, 18 or 20 (18)")


def _export(found: argparse.Namespace) -> int:
    from hwtrain.analysis.programs import export, printer

    options = {name: value for name in _OPTIONS if (value := getattr(found, name)) is not None}
    to = printer(found.to, **options)
    compared = export(found.run, found.out, to, found.steps)
    print(f"{found.out}: its test compared {compared:,} values, 0 differ; {to.then}")
    return 0
