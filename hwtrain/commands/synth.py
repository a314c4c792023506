"""hwtrain synth: what exported RTL takes of an FPGA, and how fast it can be clocked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.flags import flag, json_flag, verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "synth", _synth, "exported RTL through Yosys and nextpnr, beside its multiplying twins")
    one.add_argument("folder", type=Path, metavar="DIR", help="folder of hwtrain export --to rtl")
    flag(one, "--target", default="ecp5", help="xc7, ecp5 or ice40 (ecp5)")
    flag(
        one,
        "--seeds",
        type=int,
        default=3,
        help="placements a design; their median counts (3; 0: none)",
    )
    json_flag(one, "one JSON object a design")


def _synth(found: argparse.Namespace) -> int:
    from hwtrain.console.synth import print_synth

    print_synth(found.folder, found.target, found.seeds, as_json=found.json)
    return 0
