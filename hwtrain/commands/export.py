"""hwtrain export: a trial's program in another language, tried before it is done."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError
from hwtrain.flags import flag, verb
from hwtrain.registry import names

_OPTIONS = ("opset", "target", "lanes")
"""Flags that a printer may take."""


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "export", _export, "a trial's program in another language, tried before it is done")
    one.add_argument("run", type=Path, nargs="?", help="run folder, or RUN/trials/NAME of one")
    flag(one, "--to", default="c", help=f"{', '.join(names('printers'))} (c)")
    flag(one, "--out", type=Path, help="folder or file to write")
    flag(one, "--steps", type=int, default=20, help="batches in its test (20)")
    flag(one, "--check", type=Path, metavar="DIR", help="check pragmas and C of a folder made with --to hls")
    flag(one, "--target", help="of mcu: the core it is for, m55, rvv or v2f16 (m55)")
    flag(one, "--opset", help="of qonnx and qcdq: version of the ONNX operators, 18 or 20 (18)")
    flag(one, "--lanes", help="of rtl: products a cycle, a power of two (8)")


def _export(found: argparse.Namespace) -> int:
    if found.check is not None:
        from hwtrain.export.hls_check import check_export

        print(f"{found.check}: {check_export(found.check)} pragmas and functions checked, nothing found")
        return 0
    if found.run is None or found.out is None:
        raise ConfigError("export needs RUN and --out, or --check DIR")
    from hwtrain.analysis.programs import export, printer

    options = {name: value for name in _OPTIONS if (value := getattr(found, name)) is not None}
    to = printer(found.to, **options)
    compared = export(found.run, found.out, to, found.steps)
    print(f"{found.out}: its test compared {compared:,} values, 0 differ; {to.then}")
    return 0
