"""Reads a finished run folder whole, and refuses a damaged one before anything is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hwtrain.cards import Card, SynapseCard, card
from hwtrain.config import TrainConfig, device_map, device_of, read_run_config, with_run_cards
from hwtrain.errors import RunError

Role = Literal["device", "baseline", "shallow"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Record(BaseModel):
    """What the report needs of a record; a run may hold more than that."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class TrialRow(_Record):
    """One trial in result.json."""

    name: str = Field(pattern=r"^[^/\\]+$")
    role: Role
    seed: int
    accuracy: Share
    pulses: Count
    clipped: Count
    energy_J: float | None
    pulse_time_s: float | None
    endurance_used: float | None
    wall_s: float


class ResultFile(_Record):
    """result.json."""

    format: Literal[1]
    eval_name: str
    warnings: list[str]
    trials: list[TrialRow] = Field(min_length=1)


class Hardware(_Record):
    """An array, an inference with it, a training step."""

    area_m2: float | None
    inference_J: float | None
    inference_s: float | None
    step_J: float | None
    step_s: float | None
    parts_J: dict[str, float | None]


class LayerCounts(_Record):
    """What the pulses of one layer came to, from the first step on."""

    pulses: Count
    clipped: Count
    resets: Count
    energy_J: float | None
    time_s: float | None
    wear: Count | None
    endurance: float | None
    hardware: Hardware | None = None


class Speculation(_Record):
    """By label hits, misses, cold and right ones, from the first step on; the threshold as it stands."""

    counts: list[tuple[Count, Count, Count, Count]]
    wasted_macs: Count
    threshold: float


class Epoch(_Record):
    """One row of metrics.jsonl."""

    epoch: int
    accuracy: Share
    layers: dict[str, LayerCounts] = {}
    speculation: Speculation | None = None


class Histogram(_Record):
    """Cells by conductance, before and after training."""

    edges_S: list[float] = Field(min_length=2)
    before: list[Count]
    after: list[Count]

    @model_validator(mode="after")
    def _one_count_a_bin(self) -> Self:
        if not len(self.before) == len(self.after) == len(self.edges_S) - 1:
            raise ValueError("a histogram has one count a bin")
        return self


class State(_Record):
    """What the report needs of state.json."""

    histograms: dict[str, Histogram]


@dataclass(frozen=True)
class Trial:
    """A trial with its epochs and histograms."""

    row: TrialRow
    epochs: list[Epoch]
    histograms: dict[str, Histogram]


@dataclass(frozen=True)
class RunFolder:
    """A finished run."""

    path: Path
    config: TrainConfig
    cards: dict[str, Card]
    environment: dict[str, Any]
    result: ResultFile
    trials: list[Trial]

    def of(self, role: Role) -> list[Trial]:
        """The trials of one role, in the order of their seeds."""
        return sorted((t for t in self.trials if t.row.role == role), key=lambda t: t.row.seed)

    @property
    def synapses(self) -> dict[str, SynapseCard]:
        """The cards that have conductances."""
        return {name: c for name, c in self.cards.items() if isinstance(c, SynapseCard)}

    def card_of(self, array: str) -> str:
        """The card of an array such as fc1.weight."""
        return device_of(self.config.device, array.rpartition(".")[0])


def read_run(path: Path) -> RunFolder:
    """Everything that the report shows; RunError for a folder that is missing, unfinished, damaged."""
    config = read_run_config(path)
    if not (path / "result.json").is_file():
        raise RunError(
            f"{path}: result.json is missing, the run is not finished: "
            f"go on with: hwtrain train --resume {path}"
        )
    environment = _json(path / "env.json")
    if not isinstance(environment, dict):
        raise _damaged(path / "env.json", "not a table")
    result = _record(ResultFile, path / "result.json", _json(path / "result.json"))
    trials = [_trial(path / "trials" / row.name, row) for row in result.trials]
    run = RunFolder(path, config, _cards(config, path), environment, result, trials)
    _check_alike(run)
    return run


def _cards(config: TrainConfig, path: Path) -> dict[str, Card]:
    """The cards under the names that the settings give them, read from the run's own copies."""
    names = device_map(config.device).values()
    kept = device_map(with_run_cards(config, path).device).values()
    return {name: card(copy) for name, copy in zip(names, kept, strict=True)}


def _trial(folder: Path, row: TrialRow) -> Trial:
    file = folder / "metrics.jsonl"
    epochs = [
        _record(Epoch, file, _parsed(file, line, number), f"line {number}: ")
        for number, line in enumerate(_text(file).splitlines(), start=1)
    ]
    state = _record(State, folder / "state.json", _json(folder / "state.json"))
    return Trial(row, epochs, state.histograms)


def _check_alike(run: RunFolder) -> None:
    """Trials that are averaged must have the same epochs, layers and bins."""
    if not (devices := run.of("device")):
        raise _damaged(run.path / "result.json", "no trial has the role device")
    first = devices[0]
    for trial in run.trials:
        folder = run.path / "trials" / trial.row.name
        found = [epoch.epoch for epoch in trial.epochs]
        if found != list(range(1, run.config.epochs + 1)):
            said = f"{len(found)} epochs where config.toml says {run.config.epochs}"
            raise _damaged(folder / "metrics.jsonl", said)
        layers = first.epochs[-1].layers.keys()
        if trial in devices and any(epoch.layers.keys() != layers for epoch in trial.epochs):
            raise _damaged(folder / "metrics.jsonl", f"other layers than {first.row.name} has")
        if trial in devices and _bins(trial) != _bins(first):
            raise _damaged(folder / "state.json", f"other histograms than {first.row.name} has")


def _bins(trial: Trial) -> dict[str, list[float]]:
    return {path: histogram.edges_S for path, histogram in trial.histograms.items()}


_Kind = TypeVar("_Kind", bound=_Record)


def _record(kind: type[_Kind], file: Path, values: Any, where: str = "") -> _Kind:
    try:
        return kind.model_validate(values)
    except ValidationError as problems:
        first = problems.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ").lower()
        raise _damaged(file, f"{where}{key}: {said}" if key else f"{where}{said}") from None


def _json(file: Path) -> Any:
    return _parsed(file, _text(file), 1)


def _parsed(file: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except ValueError as problem:
        line = first_line + getattr(problem, "lineno", 1) - 1
        raise _damaged(file, f"line {line} is not JSON") from None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise _damaged(file, f"byte {problem.start} is not UTF-8") from None
    except OSError as problem:
        raise _damaged(file, problem.strerror or str(problem)) from None


def _damaged(file: Path, what: str) -> RunError:
    return RunError(f"{file}: damaged: {what}: restore the file, or train the run anew")
