"""hwtrain fpga: what on-chip learning takes of an FPGA, before any export."""

from __future__ import annotations

import argparse
from typing import Any

from hwtrain.flags import flag, json_flag, verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    fpga = verb(verbs, "fpga", None, "on-chip learning on FPGAs, planned before any export")
    inner = fpga.add_subparsers(required=True, metavar="VERB")
    one = verb(inner, "plan", _plan, "memory blocks, multipliers, tables and cycles, and the best lane count")
    flag(one, "--net", required=True, help="as of train: widths, such as 64-32-10")
    flag(one, "--target", required=True, metavar="FPGA", help="card of an FPGA (hwtrain devices list)")
    flag(one, "--device", default="shift4", metavar="CARD", help="arithmetic, fixed or shift (shift4)")
    flag(one, "--rule", default="backprop", help="as of train; backprop and speculative have RTL (backprop)")
    flag(one, "--rule-options", metavar="K=V", help="as of train: mode=lookahead, mode=speculative")
    flag(one, "--lanes", type=int, metavar="P", help="a power of two (all that make sense)")
    json_flag(one)


def _plan(found: argparse.Namespace) -> int:
    from hwtrain.analysis.fpga_plan import Ask
    from hwtrain.analysis.mcu_plan import shape_of
    from hwtrain.console.fpga import print_plan

    shape, classes = shape_of(found.net, None, None)
    ask = Ask(found.net, shape, classes, found.device, found.rule, found.lanes, found.rule_options)
    print_plan(ask, found.target, as_json=found.json)
    return 0
