"""What verbs are made of: a parser that answers in one line, and flags that it can name the nearest of."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hwtrain.errors import ConfigError, nearest

TRAINED = (
    *("data", "net", "epochs", "seeds", "seed", "lr", "lr_decay", "baseline_lr"),
    *("rule", "update", "cell", "engine"),
)
"""Settings of ``train`` that verbs take which train on cards."""


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


def verb(verbs: Any, name: str, command: Callable[..., int] | None, text: str) -> Parser:
    """A verb, or one with verbs of its own where there is no command."""
    made: Parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    if command is not None:
        made.set_defaults(command=command, flags=["--help"])
    return made


def run_verb(verbs: Any, name: str, command: Callable[..., int], text: str) -> Parser:
    """A verb about a run."""
    made = verb(verbs, name, command, text)
    made.add_argument("run", type=Path, metavar="RUN", help="run folder (its main trial), or RUN/trials/NAME")
    return made


def flag(parser: Parser, name: str, **options: Any) -> None:
    """A flag, known to the answer to a misspelt one."""
    parser.add_argument(name, **options)
    parser.get_default("flags").append(name)


def json_flag(parser: Parser, text: str = "one JSON object") -> None:
    """``--json``."""
    flag(parser, "--json", action="store_true", help=text)


def workers_flag(parser: Parser, default: int | None = None) -> None:
    """``--workers``, the same of every verb that trains; one a core, where the trainings are not short."""
    flag(parser, "--workers", type=int, default=default, help=f"processes ({default or 'one a core'})")


def workers(found: argparse.Namespace) -> int:
    """How many processes; ConfigError for fewer than one."""
    asked: int | None = found.workers
    if asked is not None and asked < 1:
        raise ConfigError(f"workers = {asked}: at least 1")
    return asked or os.cpu_count() or 1


def train_flags(parser: Parser, note: str = "") -> None:
    """The settings of ``TRAINED``."""
    for name in TRAINED:
        flag(parser, f"--{name.replace('_', '-')}", metavar=name.upper(), help=f"as of train{note}: {name}")


def trained_with(found: argparse.Namespace) -> dict[str, Any]:
    """Those of ``TRAINED`` that were given."""
    return {name: value for name in TRAINED if (value := getattr(found, name)) is not None}
