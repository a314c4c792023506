"""hwtrain cosim: exported RTL, or exported C as a circuit, under Verilator."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError
from hwtrain.flags import flag, json_flag, verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = verb(verbs, "cosim", _cosim, "exported RTL beside the interpreter, under Verilator")
    one.add_argument(
        "folder", type=Path, metavar="DIR", help="folder of hwtrain export --to rtl, or --to hls"
    )
    flag(one, "--steps", type=int, help="consecutive training steps (1000 of RTL, 20 of a circuit of the C)")
    flag(one, "--out", type=Path, metavar="DIR", help="folder for cosim.json and the timeline of the engines")
    json_flag(one)


def _cosim(found: argparse.Namespace) -> int:
    from hwtrain.console.cosim import print_circuit, print_cosim

    if (found.folder / "hwt_net.c").is_file():
        if found.out is not None:
            raise ConfigError(
                f"--out {found.out}: a timeline is of RTL, {found.folder} is of C: leave it out"
            )
        print_circuit(found.folder, 20 if found.steps is None else found.steps, as_json=found.json)
        return 0
    steps = 1000 if found.steps is None else found.steps
    return 0 if print_cosim(found.folder, steps, found.out, as_json=found.json) else 1
