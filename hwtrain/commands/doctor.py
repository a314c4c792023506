"""hwtrain doctor: what this machine offers."""

from __future__ import annotations

import argparse
from typing import Any

from hwtrain.flags import json_flag, verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    json_flag(verb(verbs, "doctor", _doctor, "what this machine offers"))


def _doctor(found: argparse.Namespace) -> int:
    from hwtrain.console.doctor import print_doctor

    print_doctor(as_json=found.json)
    return 0
