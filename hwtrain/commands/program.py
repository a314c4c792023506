"""hwtrain program: the program of a trial, shown, run and checked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.flags import flag, json_flag, run_verb, verb


def add(verbs: Any) -> None:
    """The verb and its flags."""
    program = verb(verbs, "program", None, "the program of a trial: its step as kernels, and in C")
    programs = program.add_subparsers(required=True, metavar="VERB")
    one = run_verb(programs, "show", _program_show, "buffers, kernels and what they cost")
    json_flag(one, "the listing as JSON")
    one = run_verb(programs, "run", _program_run, "predict what the run was evaluated on, in C")
    flag(
        one, "--engine", default="native", help="native, integer, or reference: the slow interpreter (native)"
    )
    json_flag(one)
    one = run_verb(programs, "check", _program_check, "train in C and in the interpreter, bit for bit")
    flag(one, "--steps", type=int, default=20, help="consecutive training steps (20)")
    json_flag(one)
    one = run_verb(programs, "time", _program_time, "where the time of a training step in C goes")
    flag(one, "--threads", type=int, default=1, help="threads that share a step (1)")
    flag(one, "--out", type=Path, help="a folder for the picture and its table")
    json_flag(one)


def _program_show(found: argparse.Namespace) -> int:
    from hwtrain.console.program import print_program

    print_program(found.run, as_json=found.json)
    return 0


def _program_run(found: argparse.Namespace) -> int:
    from hwtrain.console.program import print_prediction

    print_prediction(found.run, found.engine, as_json=found.json)
    return 0


def _program_check(found: argparse.Namespace) -> int:
    from hwtrain.console.program import print_check

    return 0 if print_check(found.run, found.steps, as_json=found.json) else 1


def _program_time(found: argparse.Namespace) -> int:
    from hwtrain.console.program import print_time

    print_time(found.run, found.threads, found.out, as_json=found.json)
    return 0
