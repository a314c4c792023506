"""Which rule runs on which device: found by binding, so that it cannot be out of date."""

from __future__ import annotations

from hwtrain.cards import card_files
from hwtrain.config import make_config
from hwtrain.errors import IncompatibleRule
from hwtrain.nets.base import mlp
from hwtrain.registry import names
from hwtrain.training.trial import Spec, place


def matrix() -> dict[str, dict[str, str]]:
    """By card and rule: "runs", or the message that says which port is missing."""
    found: dict[str, dict[str, str]] = {}
    for device in sorted(card_files()):
        found[device] = {}
        for rule in names("rules"):
            spec = Spec("device", rule, device, 0, 0.1)
            try:
                place(spec, make_config(), mlp("4-3-2"))
                found[device][rule] = "runs"
            except IncompatibleRule as problem:
                found[device][rule] = str(problem)
    return found
