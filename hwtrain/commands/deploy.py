"""hwtrain deploy: trained weights written to a device that forgets, looked at again and again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError
from hwtrain.flags import flag, run_verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    one = run_verb(verbs, "deploy", _deploy, "accuracy of a trial's weights against the time since writing")
    flag(one, "--device", default="pcm-gst", help="card with a [retention] or [relaxation] (pcm-gst)")
    flag(
        one,
        "--times",
        metavar="A,B",
        help="seconds after writing (0 s, then a minute to a year, as far as the card says)",
    )
    flag(one, "--writings", type=int, default=5, help="how often the weights are written anew (5)")
    flag(one, "--out", type=Path, metavar="DIR", help="folder for deploy.json and the picture")
    flag(one, "--json", action="store_true", help="one JSON object")


def _deploy(found: argparse.Namespace) -> int:
    from hwtrain.console.deploy import print_deployed

    try:
        times = [float(text) for text in found.times.split(",")] if found.times else None
    except ValueError:
        raise ConfigError(f"--times {found.times}: write seconds, such as 0,3600,86400") from None
    print_deployed(found.run, found.device, times, found.writings, found.out, as_json=found.json)
    return 0
