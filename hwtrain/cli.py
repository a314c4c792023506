"""The command line: verbs and their flags, no logic.

The flags of ``train`` are the keys of ``TrainConfig``, so that no setting is written twice. Values
stay text until the settings are validated as one, which is how a flag, a file and Python get the
same one-line errors. Nothing heavy is imported before a verb is known.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hwtrain.errors import ConfigError, HwtrainError, nearest
from hwtrain.registry import names

_COMPARED = ("data", "net", "epochs", "seeds", "seed", "lr", "rule")
"""Settings of ``train`` that ``compare --train`` takes."""


class Parser(argparse.ArgumentParser):
    """argparse that raises ConfigError, names the nearest flag or verb, and takes no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """One line instead of a usage page."""
        raise ConfigError(f"{message}: see {self.prog} --help")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As usual; an unknown flag is answered with the nearest one."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise ConfigError(f"unknown argument {unknown[0]}: {nearest(unknown[0], found.flags)}")
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Verbs alone have choices; what flags may be is known to the settings."""
        if action.choices is not None and value not in action.choices:
            raise ConfigError(f"unknown verb {value!r}: {nearest(value, action.choices)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 the run failed, 2 bad input, 130 stopped and resumable."""
    try:
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
    _train_flags(_verb(verbs, "train", _train, "train a net on a device, beside software controls"))

    devices = _verb(verbs, "devices", None, "the device cards").add_subparsers(required=True, metavar="VERB")
    one = _verb(devices, "list", _devices_list, "every card in a line")
    _flag(one, "--json", action="store_true", help="one JSON object a card")
    one = _verb(devices, "show", _devices_show, "every key of a card, its unit and how to measure it")
    one.add_argument("card", help="card id or file")
    one = _verb(devices, "check", _devices_check, "validate cards and hold them to what was published")
    one.add_argument("card", nargs="+", help="card ids or files")
    one = _verb(devices, "trace", _devices_trace, "the response to a train of pulses, as CSV")
    one.add_argument("card", help="card id or file")
    _flag(one, "--up", type=int, default=300, help="LTP pulses (300)")
    _flag(one, "--down", type=int, default=300, help="LTD pulses after them (300)")
    _flag(one, "--start", type=float, default=0.0, help="first weight, -1 (g_min) to 1 (g_max) (0)")
    _flag(one, "--noise-free", action="store_true", help="the typical device, without scatter")
    _flag(one, "--seed", type=int, default=0, help="which device and scatter (0)")

    one = _verb(devices, "fit", _devices_fit, "a card from a measured response, with a plot beside it")
    one.add_argument("data", type=Path, help="CSV: up,down; pulse,G; or device,cycle,pulse,direction,G")
    _flag(one, "--out", type=Path, metavar="CARD", help="card to write (the data's name with .toml, here)")
    _flag(one, "--down", type=Path, metavar="TABLE", help="LTD table of CrossSim, DATA being the LTP table")
    _flag(one, "--unit", metavar="UNIT", help="S, mS, uS, nS, ohm or A; 1 for arbitrary units")
    _flag(one, "--v-read", type=float, metavar="V", help="read voltage, for currents")
    _flag(
        one, "--g-min", type=float, metavar="S", help="of arbitrary units: what the lowest value stands for"
    )
    _flag(
        one, "--g-max", type=float, metavar="S", help="of arbitrary units: what the highest value stands for"
    )
    _flag(one, "--title", help="name of the device (the file's name)")

    one = _verb(verbs, "compare", _compare, "cards side by side, and what a net learns on each")
    one.add_argument("card", nargs="+", help="card ids or files; the first is what others are held against")
    _flag(one, "--json", action="store_true", help="one JSON object")
    _flag(one, "--out", type=Path, metavar="DIR", help="folder for the figures and compare.json")
    _flag(one, "--train", action="store_true", help="train on each card, beside the software controls")
    _flag(one, "--update", metavar="A,B", help="updates to train with (sign-pulse)")
    for name in _COMPARED:
        _flag(one, f"--{name}", metavar=name.upper(), help=f"as of train, with --train: {name}")
    _flag(one, "--workers", type=int, help="processes (1)")

    rules = _verb(verbs, "rules", None, "the training rules").add_subparsers(required=True, metavar="VERB")
    _verb(rules, "list", _rules_list, "every rule in a line")
    _verb(rules, "matrix", _rules_matrix, "which rule runs on which device, from their ports")

    program = _verb(verbs, "program", None, "the program of a trial: its step as kernels, and in C")
    programs = program.add_subparsers(required=True, metavar="VERB")
    one = _program_verb(programs, "show", _program_show, "buffers, kernels and what they cost")
    _flag(one, "--json", action="store_true", help="the listing as JSON")
    one = _program_verb(programs, "run", _program_run, "predict what the run was evaluated on, in C")
    _flag(one, "--engine", default="native", help="native, or reference: the slow interpreter (native)")
    one = _program_verb(programs, "check", _program_check, "train in C and in the interpreter, bit for bit")
    _flag(one, "--steps", type=int, default=20, help="consecutive training steps (20)")
    _flag(one, "--json", action="store_true", help="one JSON object")

    one = _verb(verbs, "export", _export, "a trial's program in another language, tried before it is done")
    one.add_argument("run", type=Path, help="run folder, or RUN/trials/NAME of one")
    _flag(one, "--to", default="c", help=f"{', '.join(names('printers'))} (c)")
    _flag(one, "--out", type=Path, required=True, help="folder or file to write")
    _flag(one, "--steps", type=int, default=20, help="batches in its test (20)")

    one = _verb(verbs, "report", _report, "write the report of a run anew")
    one.add_argument("run", type=Path, help="run folder")
    _verb(verbs, "doctor", _doctor, "what this machine offers")
    return top


def _verb(verbs: Any, name: str, command: Callable[..., int] | None, text: str) -> Parser:
    made: Parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    if command is not None:
        made.set_defaults(command=command, flags=["--help"])
    return made


def _program_verb(verbs: Any, name: str, command: Callable[..., int], text: str) -> Parser:
    made = _verb(verbs, name, command, text)
    made.add_argument("run", type=Path, metavar="RUN", help="run folder (its main trial), or RUN/trials/NAME")
    return made


def _flag(parser: Parser, name: str, **options: Any) -> None:
    parser.add_argument(name, **options)
    parser.get_default("flags").append(name)


def _train_flags(parser: Parser) -> None:
    from hwtrain.config import TrainConfig, flag_help

    parser.add_argument("config", nargs="?", type=Path, help="TOML file with any of these settings")
    for name, field in TrainConfig.model_fields.items():
        flag, text = f"--{name.replace('_', '-')}", flag_help(name)
        if field.annotation is bool:
            _flag(parser, flag, dest=name, action="store_const", const="true", help=text.split(" ", 1)[1])
        else:
            _flag(parser, flag, dest=name, metavar=text.split(" ", 1)[0], help=text.split(" ", 1)[1])
    _flag(parser, "--out", type=Path, help="folder of the run (runs/<time>-<rule>-<device>)")
    _flag(parser, "--resume", type=Path, metavar="RUN", help="go on with a run that was stopped")
    _flag(parser, "--workers", type=int, help="processes (one a core)")
    _flag(parser, "--json", action="store_true", help="JSON lines on stdout; the last is the result")


def _train(found: argparse.Namespace) -> int:
    from hwtrain.config import TrainConfig, make_config, read_config, with_run_cards

    given = {name: value for name in TrainConfig.model_fields if (value := getattr(found, name)) is not None}
    if found.workers is not None and found.workers < 1:
        raise ConfigError(f"workers = {found.workers}: at least 1")
    if found.resume is not None:
        if given or found.config or found.out:
            raise ConfigError("--resume takes its settings from the run: leave the others out")
        config = with_run_cards(read_config(found.resume / "config.toml"), found.resume)
    else:
        config = read_config(found.config, **given) if found.config else make_config(**given)

    from hwtrain.console import train

    return train(config, found.out, found.resume, found.workers, as_json=found.json)


def _devices_list(found: argparse.Namespace) -> int:
    from hwtrain.cards import cards
    from hwtrain.console import card_row, print_cards

    rows = [card_row(name, card) for name, card in cards()]
    if found.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print_cards(rows)
    return 0


def _devices_show(found: argparse.Namespace) -> int:
    from hwtrain.cards import card
    from hwtrain.console import print_card

    print_card(found.card, card(found.card))
    return 0


def _devices_check(found: argparse.Namespace) -> int:
    from hwtrain.analysis.expect import check_card
    from hwtrain.cards import card

    for name in found.card:
        check_card(name, card(name))
        print(f"{name}: ok")
    return 0


def _devices_trace(found: argparse.Namespace) -> int:
    from hwtrain.cards import SynapseCard, card

    device = card(found.card)
    if not isinstance(device, SynapseCard):
        raise ConfigError(
            f"{found.card}: a card of kind {device.kind} has no pulse response: choose a synapse"
        )
    from hwtrain.analysis.trace import trace

    points = trace(
        device,
        up=found.up,
        down=found.down,
        start=found.start,
        noise_free=found.noise_free,
        seed=found.seed,
    )
    print("pulse,direction,weight,conductance_S")
    for point in points:
        print(f"{point.pulse},{point.direction},{point.weight!r},{point.conductance_S!r}")
    return 0


def _devices_fit(found: argparse.Namespace) -> int:
    from hwtrain.console import fit_card

    if found.unit != "1" and (found.g_min, found.g_max) != (None, None):
        raise ConfigError("--g-min and --g-max are for arbitrary units: add --unit 1, or leave them out")
    ends = None if found.g_min is None or found.g_max is None else (found.g_min, found.g_max)
    return fit_card(found.data, found.down, found.out, found.unit, found.v_read, ends, found.title)


def _compare(found: argparse.Namespace) -> int:
    settings = {name: value for name in _COMPARED if (value := getattr(found, name)) is not None}
    if not found.train and (settings or found.update or found.workers is not None):
        raise ConfigError(f"--{next(iter(settings), 'update or --workers')} needs --train: add it")
    from hwtrain.console import compare

    updates = found.update.split(",") if found.update else []
    options = {
        "train": found.train,
        "updates": updates,
        "workers": os.cpu_count() or 1 if found.workers is None else found.workers,
    }
    options |= settings
    return compare(found.card, found.out, options, as_json=found.json)


def _rules_list(found: argparse.Namespace) -> int:
    from hwtrain.console import print_rules

    print_rules()
    return 0


def _rules_matrix(found: argparse.Namespace) -> int:
    from hwtrain.console import print_matrix

    print_matrix()
    return 0


def _program_show(found: argparse.Namespace) -> int:
    from hwtrain.console import print_program

    print_program(found.run, as_json=found.json)
    return 0


def _program_run(found: argparse.Namespace) -> int:
    from hwtrain.console import print_prediction

    print_prediction(found.run, found.engine)
    return 0


def _program_check(found: argparse.Namespace) -> int:
    from hwtrain.console import print_check

    return 0 if print_check(found.run, found.steps, as_json=found.json) else 1


def _export(found: argparse.Namespace) -> int:
    from hwtrain.analysis.programs import export, printer

    to = printer(found.to)
    compared = export(found.run, found.out, to, found.steps)
    print(f"{found.out}: its test compared {compared:,} values, 0 differ; {to.then}")
    return 0


def _report(found: argparse.Namespace) -> int:
    from hwtrain.report import write_report

    print(write_report(found.run))
    return 0


def _doctor(found: argparse.Namespace) -> int:
    from hwtrain.console import print_doctor

    print_doctor()
    return 0
