"""hwtrain cosim: exported RTL beside the interpreter, under Verilator."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.flags import flag, json_flag, verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "cosim", _cosim, "exported RTL beside the interpreter, under Verilator")
    one.add_argument("folder", type=Path, metavar="DIR", help="folder of hwtrain export --to rtl")
    flag(one, "--steps", type=int, default=1000, help="consecutive training steps (1000)")
    json_flag(one)


def _cosim(found: argparse.Namespace) -> int:
    from hwtrain.console.cosim import print_cosim

    return 0 if print_cosim(found.folder, found.steps, as_json=found.json) else 1
