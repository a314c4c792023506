"""What verbs are made of: a parser that answers in one line, and flags that it can name the nearest of."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hwtrain.errors import ConfigError, nearest


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
