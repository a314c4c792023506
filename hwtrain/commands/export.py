"""hwtrain export: a trial's program in another language, tried before it is done."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError
from hwtrain.flags import flag, json_flag, verb
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
    json_flag(one)
    flag(one, "--target", help="of mcu: the core it is for, m55, rvv or v2f16 (m55)")
    flag(one, "--opset", help="of qonnx and qcdq: version of the ONNX operators, 18 or 20 (18)")
    flag(one, "--lanes", help="of rtl: products a cycle, a power of two (8)")


def _export(found: argparse.Namespace) -> int:
    if found.check is not None:
        if found.run is not None or found.out is not None:
            raise ConfigError("--check DIR looks at that folder alone: leave out RUN and --out")
        from hwtrain.export.hls_check import check_export

        checked = check_export(found.check)
        if found.json:
            print(json.dumps({"folder": str(found.check), "checked": checked}))
        else:
            print(f"{found.check}: {checked} pragmas and functions checked, nothing found")
        return 0
    if found.run is None or found.out is None:
        raise ConfigError("export needs RUN and --out, or --check DIR")
    from hwtrain.analysis.programs import export, printer
    from hwtrain.console.base import busy

    options = {name: value for name in _OPTIONS if (value := getattr(found, name)) is not None}
    to = printer(found.to, **options)
    with busy(f"writing {found.to} and trying it"):
        compared = export(found.run, found.out, to, found.steps)
    if found.json:
        print(json.dumps({"out": str(found.out), "to": found.to, "compared": compared, "mismatches": 0}))
        return 0
    print(f"{found.out}: its test compared {compared:,} values, 0 differ; {to.then}")
    return 0
