"""hwtrain export: a trial's program as files for other tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError, nearest
from hwtrain.flags import flag, verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "export", _export, "a trial's program as a folder of C that tests itself")
    one.add_argument("run", type=Path, help="run folder, or RUN/trials/NAME of one")
    flag(one, "--to", default="c", help="c: C99 with the kernels, vectors and a Makefile (c)")
    flag(one, "--out", type=Path, required=True, help="folder to write")
    flag(one, "--steps", type=int, default=20, help="training steps in its test (20)")


def _export(found: argparse.Namespace) -> int:
    from hwtrain.analysis.programs import export

    if found.to != "c":
        raise ConfigError(f"--to {found.to}: {nearest(found.to, ['c'])}")
    compared = export(found.run, found.out, found.steps)
    print(f"{found.out}: its test compared {compared:,} values, 0 differ; build it with make")
    return 0
