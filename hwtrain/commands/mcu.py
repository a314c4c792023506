"""hwtrain mcu: exported training on simulated microcontrollers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.flags import flag, json_flag, verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    mcu = verb(verbs, "mcu", None, "exported training on simulated microcontrollers")
    one = verb(mcu.add_subparsers(required=True, metavar="VERB"), "run", _run, "train on a core, bit for bit")
    one.add_argument("folder", type=Path, metavar="DIR", help="what hwtrain export --to mcu wrote")
    flag(one, "--sim", default="m55", help="m55, rvv or v2f16 (m55)")
    json_flag(one)


def _run(found: argparse.Namespace) -> int:
    from hwtrain.console.mcu import print_proof

    return 0 if print_proof(found.folder, found.sim, as_json=found.json) else 1
