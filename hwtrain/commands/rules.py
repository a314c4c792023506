"""hwtrain rules: the training rules, and which runs where."""

from __future__ import annotations

import argparse
from typing import Any

from hwtrain.flags import json_flag, verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    rules = verb(verbs, "rules", None, "the training rules").add_subparsers(required=True, metavar="VERB")
    one = verb(rules, "list", _rules_list, "every rule in a line")
    json_flag(one, "one JSON object a rule")
    one = verb(rules, "matrix", _rules_matrix, "which rule runs on which device, from their ports")
    json_flag(one, "one JSON object a device: rule to what is missing, or runs")


def _rules_list(found: argparse.Namespace) -> int:
    from hwtrain.console.rules import print_rules

    print_rules(as_json=found.json)
    return 0


def _rules_matrix(found: argparse.Namespace) -> int:
    from hwtrain.console.rules import print_matrix

    print_matrix(as_json=found.json)
    return 0
