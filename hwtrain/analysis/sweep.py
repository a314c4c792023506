"""Searches settings and card values by their accuracy on the validation split; the test split is never seen.

A *space* is setting to values. ``card.SECTION.KEY`` is a value of the device's card. While there are trials
enough for the whole grid, that is tried, else what optuna's tree-structured Parzen estimator proposes. Its
journal lies in the folder, so a search that was stopped goes on; only finished trials count.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwtrain.cards import card, card_files
from hwtrain.config import TrainConfig, device_map, to_toml
from hwtrain.errors import CardError, ConfigError, IncompatibleRule, ProgramError, RunError, nearest
from hwtrain.files import make_folder, write_file
from hwtrain.strict_toml import dump, read_toml, validate
from hwtrain.training.loop import run

Space = dict[str, list[str]]

_REFUSALS = (ConfigError, CardError, IncompatibleRule, ProgramError)
"""What values that exclude each other end in. All else ends the search: a stop, missing data, no compiler."""


@dataclass(frozen=True)
class Tried:
    """One choice of values, and its mean accuracy on the validation split; None if it was refused."""

    values: dict[str, str]
    accuracy: float | None


def parse(over: list[str]) -> Space:
    """``key=a,b,c`` each.

    Raises:
        ConfigError: an unknown key, no values, or a key that is given twice.
    """
    space: Space = {}
    for text in over:
        key, _, values = text.partition("=")
        found = [value for value in dict.fromkeys(values.split(",")) if value]
        if not found:
            raise ConfigError(f"--over {text}: write KEY=VALUE,VALUE")
        if key in space:
            raise ConfigError(f"--over {key}: given twice: write all its values in one")
        if not key.startswith("card.") and key not in TrainConfig.model_fields:
            raise ConfigError(f"--over {key}: {nearest(key, TrainConfig.model_fields)}; or card.SECTION.KEY")
        if key == "evaluate":
            raise ConfigError("--over evaluate: a search looks at the validation split alone")
        space[key] = found
    return space


def sweep(
    config: TrainConfig,
    space: Space,
    out: Path,
    *,
    trials: int = 20,
    workers: int = 1,
    progress: Callable[[int, int, Tried], None] = lambda *_: None,
) -> list[Tried]:
    """Every trial so far, the best one first; its settings are written to ``out/best.toml``.

    Raises:
        ConfigError: no space, optuna is missing, or another search lies in ``out``.
        RunError: its journal is damaged.
    """
    if not space:
        raise ConfigError("nothing to search: add --over KEY=VALUE,VALUE")
    if trials < 1:
        raise ConfigError(f"trials = {trials}: at least 1")
    optuna = _optuna()
    make_folder(out)
    devices = [device_map(device).values() for device in space.get("device", [config.device])]
    cards = {name: card(name).model_dump(mode="json") for name in itertools.chain(*devices)}
    asked = json.dumps({"config": to_toml(config), "space": space, "cards": cards}, indent=1) + "\n"
    kept = out / "sweep.json"
    if kept.exists() and kept.read_bytes() != asked.encode():
        raise ConfigError(f"{out}: holds a search of other settings or cards: choose another --out DIR")
    write_file(kept, asked)
    study = _study(optuna, out / "journal.log")
    choices = {key: optuna.distributions.CategoricalDistribution(values) for key, values in space.items()}

    def finished() -> list[Any]:
        states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        return study.get_trials(deepcopy=False, states=states)  # type: ignore[no-any-return]

    tried = [trial.params for trial in finished()]
    tpe = optuna.samplers.TPESampler(seed=len(tried))  # a search that goes on does not begin its draws anew
    todo: list[dict[str, str]] = [{}] * (trials - len(tried))  # the estimator fixes nothing beforehand
    if math.prod(map(len, space.values())) <= trials:
        whole = (dict(zip(space, values, strict=True)) for values in itertools.product(*space.values()))
        todo = [values for values in whole if values not in tried]
    for number, fixed in enumerate(todo, start=1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = optuna.samplers.PartialFixedSampler(fixed, tpe)
        trial = study.ask(choices)
        accuracy = None
        try:
            chosen = configured(config, trial.params, out / "cards")
            accuracy = run(chosen, workers=workers, controls=False).accuracy
            study.tell(trial, accuracy)
        except _REFUSALS as problem:  # worse than any accuracy
            trial.set_user_attr("refused", str(problem))
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        progress(len(tried) + number, len(tried) + len(todo), Tried(trial.params, accuracy))
    done = [Tried(trial.params, trial.value) for trial in finished()]
    if all(one.accuracy is None for one in done):
        last = finished()[-1].user_attrs["refused"]
        raise ConfigError(f"every choice was refused; the last one: {last}")
    done.sort(key=lambda one: -1.0 if one.accuracy is None else one.accuracy, reverse=True)
    best = configured(config, done[0].values, out / "cards").model_copy(update={"evaluate": config.evaluate})
    write_file(out / "best.toml", to_toml(best))
    return done


def _study(optuna: Any, journal: Path) -> Any:
    """The search of this journal, without what a kill left of its last line: the next would follow on it."""
    if journal.exists():
        whole, end, _ = journal.read_bytes().rpartition(b"\n")
        write_file(journal, whole + end)
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    try:
        return optuna.create_study(
            study_name="sweep",
            storage=optuna.storages.JournalStorage(backend),
            direction="maximize",
            load_if_exists=True,
        )
    except (ValueError, KeyError, TypeError) as problem:
        raise RunError(f"{journal}: damaged ({problem}): remove it to begin anew") from None


def configured(config: TrainConfig, values: dict[str, str], cards: Path) -> TrainConfig:
    """The settings with these values, on validation; card values make a card of their own below ``cards``."""
    own = {key: value for key, value in values.items() if not key.startswith("card.")}
    changes = {key: value for key, value in values.items() if key.startswith("card.")}
    given = config.model_dump(exclude_none=True) | own | {"evaluate": "validation"}
    if changes:
        given["device"] = str(_card(given["device"], changes, cards))
    return validate(TrainConfig, given, where="--over", text="", error=ConfigError)


def _card(device: Any, changes: dict[str, str], folder: Path) -> Path:
    """A copy of the device's card with some values changed; its name says which."""
    if not isinstance(device, str) or "=" in device:
        raise ConfigError("--over card...: needs one device for all layers: name one card with --device")
    source = card_files().get(device, Path(device))
    content, _ = read_toml(source, CardError)
    name = source.stem
    for key, value in changes.items():
        _, section, last = [*key.split("."), "", ""][:3]
        if not isinstance(content.get(section), dict) or not last:
            raise ConfigError(f"--over {key}: write card.SECTION.KEY; SECTION: {nearest(section, content)}")
        content[section][last] = json.loads(value) if _is_json(value) else value
        name += f"-{section}.{last}={value}"
    make_folder(folder)
    path = folder / f"{name.replace('=', '_')}.toml"
    write_file(path, dump(content))
    return path


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ImportError:
        raise ConfigError("optuna is not installed: pip install 'hwtrain[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
