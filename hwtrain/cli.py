"""The command line: the verbs of ``hwtrain/commands``, and what each may end in.

Nothing heavy is imported before a verb is known.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence

from hwtrain.errors import HwtrainError
from hwtrain.flags import Parser
from hwtrain.registry import lookup, names


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 the run failed, 2 bad input, 130 stopped and resumable."""
    try:
        # Threads that spin while they wait take the core of the one they wait for, if anybody else has work;
        # OpenMP reads this as torch loads it.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        try:
            return _run(argv)
        finally:
            if sys.stdout:  # None where it was closed before we began
                sys.stdout.flush()  # Python's own at the end could only show a traceback
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        sys.stderr.close()
        return 1
    except OSError as problem:
        if problem.filename is not None:  # nothing that we print to: a fault of ours
            raise
        with contextlib.suppress(OSError):
            sys.stdout.close()  # with what it still holds
        print(f"hwtrain: cannot write the output: {problem.strerror}", file=sys.stderr)
        return 2


def _run(argv: Sequence[str] | None) -> int:
    try:
        found = parser().parse_args(argv)
        command: Callable[[argparse.Namespace], int] = found.command
        return command(found)
    except HwtrainError as problem:
        print(f"hwtrain: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # outside training, which answers Ctrl-C itself
        print("hwtrain: interrupted", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as problem:
        if isinstance(problem, RuntimeError) and "allocate" not in str(problem):
            raise  # torch's allocators have no error of their own
        print("hwtrain: out of memory: take a smaller net, less data or fewer --workers", file=sys.stderr)
        return 2


def parser() -> Parser:
    """Every verb with its flags."""
    top = Parser(prog="hwtrain", description="Hardware-aware training emulator for edge devices.")
    verbs = top.add_subparsers(required=True, metavar="VERB")
    for name in names("commands"):
        lookup("commands", name).add(verbs)
    return top
