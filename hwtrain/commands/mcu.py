"""hwtrain mcu: what training takes on a microcontroller, and exported training on a simulated one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.flags import flag, json_flag, verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    mcu = verb(verbs, "mcu", None, "training on microcontrollers: planned, and on simulated cores")
    inner = mcu.add_subparsers(required=True, metavar="VERB")
    one = verb(inner, "run", _run, "train on a core, bit for bit")
    one.add_argument("folder", type=Path, metavar="DIR", help="what hwtrain export --to mcu wrote")
    flag(one, "--sim", default="m55", help="m55, rvv or v2f16 (m55)")
    json_flag(one)

    one = verb(inner, "plan", _plan, "whether a net fits, how long a step takes, and what it costs")
    flag(one, "--net", required=True, help="as of train: widths, a name, or FILE.onnx")
    flag(one, "--target", default="all", metavar="CARD", help="card of a microcontroller, or all (all)")
    flag(
        one, "--rule", default="backprop", help="as of train; shallow trains the last layer alone (backprop)"
    )
    flag(one, "--rule-options", metavar="KEY=VALUE,...", help="as of train, such as last=2,still=true")
    flag(one, "--batch", type=int, default=1, help="samples a step (1)")
    flag(one, "--device", default="fp16", help="arithmetic where the core has FP16 (fp16)")
    flag(one, "--shape", metavar="SIDES", help="of a sample, such as 3,32,32 (what widths say, else 3,32,32)")
    flag(one, "--classes", type=int, help="outputs (what widths say, else 10)")
    flag(one, "--out", type=Path, metavar="DIR", help="folder for plan.json and the map of memory over time")
    json_flag(one, "one JSON object a card")


def _run(found: argparse.Namespace) -> int:
    from hwtrain.console.mcu import print_proof

    return 0 if print_proof(found.folder, found.sim, as_json=found.json) else 1


def _plan(found: argparse.Namespace) -> int:
    from hwtrain.analysis.mcu_plan import Ask, shape_of
    from hwtrain.console.mcu import print_plan

    shape, classes = shape_of(found.net, found.shape, found.classes)
    ask = Ask(found.net, shape, classes, found.rule, found.batch, found.device, found.rule_options)
    print_plan(ask, found.target, found.out, as_json=found.json)
    return 0
