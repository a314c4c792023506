"""hwtrain physical: rules on physics, twins of measured pairs, emulators as instruments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError
from hwtrain.flags import flag, json_flag, verb, workers, workers_flag


def add(verbs: Any) -> None:
    """The verb and its flags."""
    found = verb(verbs, "physical", None, "layers that are pieces of physics")
    physical = found.add_subparsers(required=True, metavar="VERB")
    one = verb(physical, "study", _study, "every rule on every physics, beside its controls")
    flag(one, "--data", default="digits", help="data set (digits)")
    flag(one, "--rules", metavar="A,B", help="rules (all)")
    flag(one, "--emulators", metavar="A,B", help="cards of physics, ids or files (all that ship)")
    flag(one, "--seeds", type=int, default=5, help="seeds (5)")
    flag(one, "--epochs", type=int, default=6, help="passes over the training set (6)")
    flag(one, "--samples", type=int, help="training samples (all)")
    flag(one, "--no-controls", action="store_true", help="no tuning, and no control but that without physics")
    workers_flag(one)
    json_flag(one, "one JSON object a row")
    one = verb(physical, "twin", _twin, "fit twins to measured pairs, and say how linear the layer is")
    one.add_argument("inputs", type=Path, help="CSV of inputs, a row a pair")
    one.add_argument("outputs", type=Path, help="CSV of outputs, a row a pair")
    json_flag(one)
    one = verb(physical, "serve", _serve, "an instrument: requests as lines on standard input")
    one.add_argument("card", help="card of physics, id or file")
    flag(one, "--in", dest="in_", type=int, required=True, help="inputs")
    flag(one, "--out", type=int, required=True, help="outputs")
    flag(one, "--log", type=Path, required=True, help="file of all answers, so that none is measured twice")
    flag(one, "--seed", type=int, default=0, help="which specimen (0)")


def _study(found: argparse.Namespace) -> int:
    found.workers = workers(found)
    for name in ("seeds", "epochs"):
        if getattr(found, name) < 1:
            raise ConfigError(f"{name} = {getattr(found, name)}: at least 1")
    if found.samples is not None and found.samples < 20:
        raise ConfigError(f"samples = {found.samples}: at least 20")
    from hwtrain.console.physical import study

    return study(found)


def _twin(found: argparse.Namespace) -> int:
    from hwtrain.console.physical import twin

    return twin(found.inputs, found.outputs, as_json=found.json)


def _serve(found: argparse.Namespace) -> int:
    from hwtrain.analysis.physical_serve import serve_card

    serve_card(found.card, found.in_, found.out, found.log, found.seed)
    return 0
