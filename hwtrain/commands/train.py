"""hwtrain train: its flags are the keys of TrainConfig, so that no setting is written twice.

Values stay text until the settings are validated as one, which is how a flag, a file and Python get
the same one-line errors.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError
from hwtrain.flags import flag, json_flag, verb, workers, workers_flag


def add(verbs: Any) -> None:
    """The verb and its flags."""
    from hwtrain.config import TrainConfig, flag_help

    parser = verb(verbs, "train", _train, "train a net on a device, beside software controls")
    parser.add_argument("config", nargs="?", type=Path, help="TOML file with any of these settings")
    for name, field in TrainConfig.model_fields.items():
        long, text = f"--{name.replace('_', '-')}", flag_help(name)
        if field.annotation is bool:
            flag(parser, long, dest=name, action="store_const", const="true", help=text.split(" ", 1)[1])
        else:
            flag(parser, long, dest=name, metavar=text.split(" ", 1)[0], help=text.split(" ", 1)[1])
    flag(parser, "--out", type=Path, help="folder of the run (runs/<time>-<rule>-<device>)")
    flag(parser, "--resume", type=Path, metavar="RUN", help="go on with a run that was stopped")
    workers_flag(parser)
    json_flag(parser, "JSON lines on stdout; the last is the result")


def _train(found: argparse.Namespace) -> int:
    from hwtrain.config import TrainConfig, make_config, read_config, with_run_cards

    given = {name: value for name in TrainConfig.model_fields if (value := getattr(found, name)) is not None}
    processes = workers(found)
    if found.resume is not None:
        if given or found.config or found.out:
            raise ConfigError("--resume takes its settings from the run: leave the others out")
        config = with_run_cards(read_config(found.resume / "config.toml"), found.resume)
    else:
        config = read_config(found.config, **given) if found.config else make_config(**given)

    from hwtrain.console.train import train

    return train(config, found.out, found.resume, processes, as_json=found.json)
