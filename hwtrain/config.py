"""The settings of a run: one typed model for the command line, the configuration file and Python."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, field_validator

from hwtrain.errors import ConfigError, RunError
from hwtrain.registry import names, unknown
from hwtrain.strict_toml import Strict, dump, read_toml, validate

SOFTWARE = "float32"
"""The card of the software baseline."""


def _registered(kind: str) -> AfterValidator:
    def check(name: str | None) -> str | None:
        if name is not None and name not in names(kind):
            raise ValueError(unknown(kind, name))
        return name

    return AfterValidator(check)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Positive = Annotated[float, AfterValidator(_finite), Field(gt=0)]


class TrainConfig(Strict):
    """What to train, on what, and how."""

    data: str = Field(
        "digits", description="digits, fashion-mnist, spoken-digits, or the path of IDX, npz, csv or zip"
    )
    net: str | None = Field(
        None,
        description="widths such as 784-128-10, or cnn, resnet20 ..., FILE.onnx, module:factory; "
        "default: one hidden layer that fits the data",
    )
    activation: Literal["relu", "tanh", "sigmoid"] | None = Field(
        None, description="between layers; default: tanh, or relu where signals are whole numbers"
    )
    loss: Annotated[str | None, _registered("losses")] = Field(
        None, description="loss; default: softmax-ce, or softmax2 where signals are whole numbers"
    )
    device: str | dict[str, str] = Field(
        "taox-tio2",
        description="card id or file of the weights; or pattern=card,... by layer name",
    )
    rule: Annotated[str, _registered("rules")] = Field("backprop", description="training rule")
    rule_options: str | dict[str, str | int | float] | None = Field(
        None, description="settings of the rule's own: key=value,..."
    )
    update: Annotated[str, _registered("updates")] = Field(
        "sign-pulse", description="how a synapse turns a wanted change into pulses"
    )
    cell: Annotated[str | None, _registered("cells")] = Field(
        None, description="how conductances make a weight; default: the card's advice"
    )
    refresh: Literal["threshold", "periodic", "full-init", "none"] | None = Field(
        None, description="when unidirectional pairs are rewritten; default: the card's advice"
    )
    refresh_every: int = Field(
        1000, ge=1, description="updates between refreshes, for periodic and full-init"
    )
    conductances: int = Field(4, ge=2, le=64, description="conductances of a weight, for the cell vector")
    weight_range: Positive = Field(
        6.0, description="largest weight of a synapse, in standard deviations of the first weights"
    )
    epochs: int = Field(5, ge=1, le=100_000, description="passes over the training set")
    batch: int = Field(1, ge=1, description="samples a step; each is its own update, in order")
    summed: bool = Field(False, description="write the sum of a batch as one update instead")
    lr: Positive = Field(0.02, description="learning rate")
    lr_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        0.7, description="the learning rate is multiplied by this after each epoch"
    )
    baseline_lr: Positive | None = Field(
        None, description="learning rate of the software controls; default: lr"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="momentum")
    clip: Positive | None = Field(
        None, description="largest norm of an array's change, before momentum; default: no limit"
    )
    seeds: int = Field(3, ge=1, le=1000, description="how many seeds")
    seed: int = Field(0, ge=0, lt=1 << 63, description="the first seed")
    evaluate: Literal["test", "validation"] = Field(
        "test",
        description="what accuracy is measured on; validation holds out a sixth of the training set",
    )
    engine: Literal["torch", "native", "reference"] = Field(
        "torch", description="what computes: native is the rule's program in C, reference the same in NumPy"
    )
    threads: int = Field(1, ge=1, le=16, description="threads of one trial, for --engine native")
    torch_device: str = Field("cpu", description="torch's device for the arithmetic")
    checkpoint_every_s: Positive = Field(60.0, description="seconds between checkpoints")

    @field_validator("data", "net", "device", "torch_device")
    @classmethod
    def _writable(cls, value: Any) -> Any:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # a file name that is not UTF-8; config.toml must hold it
            raise ValueError("not UTF-8: rename the file") from None
        return value

    def device_of(self, path: str) -> str:
        """The card of the layer at ``path``."""
        return device_of(self.device, path)


def device_of(device: str | dict[str, str], path: str) -> str:
    """The card of a layer: the device, or the first pattern of a map that fits the layer's name."""
    from fnmatch import fnmatchcase

    for pattern, card in device_map(device).items():
        if fnmatchcase(path, pattern):
            return card
    raise ConfigError(f"device: no pattern fits layer {path}: add one, such as '*={SOFTWARE}'")


def rule_options(given: str | dict[str, Any] | None) -> dict[str, Any]:
    """The settings of a rule by name, from what was given as text or as a table."""
    if not isinstance(given, str):
        return dict(given or {})
    pairs = [part.partition("=") for part in given.split(",")]
    if any(not key.strip() or not equals for key, equals, _ in pairs):
        raise ConfigError(f"rule_options = {given!r}: write key=value,key=value")
    return {key.strip(): value.strip() for key, _, value in pairs}


def device_map(device: str | dict[str, str]) -> dict[str, str]:
    """Pattern to card; a single card is the map ``*``."""
    if isinstance(device, str):
        if "=" not in device:
            return {"*": device}
        pairs = [part.partition("=") for part in device.split(",")]
        if any(not pattern or not card for pattern, _, card in pairs):
            raise ConfigError(f"device = {device!r}: write pattern=card,pattern=card")
        device = {pattern.strip(): card.strip() for pattern, _, card in pairs}
    files = {card for card in device.values() if card.endswith(".toml")}
    if len({Path(file).name for file in files}) < len(files):
        raise ConfigError("device: two card files have the same name: rename one, a run goes by names")
    if any(Path(file).stem == SOFTWARE for file in files):
        raise ConfigError(f"device: {SOFTWARE} is the name of the software baseline: rename the file")
    return device


def with_run_cards(config: TrainConfig, run: Path) -> TrainConfig:
    """The settings with a run's own copies of the cards that it was given as files."""

    def copy(card: str) -> str:
        kept = run / "cards" / Path(card).name
        return str(kept) if card.endswith(".toml") and kept.exists() else card

    device = {pattern: copy(card) for pattern, card in device_map(config.device).items()}
    return config.model_copy(update={"device": device["*"] if list(device) == ["*"] else device})


def read_config(path: Path, **override: Any) -> TrainConfig:
    """The settings in a TOML file, those given by name taking precedence."""
    values, text = read_toml(path, ConfigError)
    return validate(TrainConfig, values | override, where=str(path), text=text, error=ConfigError)


def read_run_config(run: Path) -> TrainConfig:
    """The settings of a run folder, as they were given; RunError for a folder that is none."""
    try:
        if not run.is_dir():
            raise RunError(f"{run}: no such run folder: name the one that hwtrain train --out made")
        if not (run / "config.toml").is_file():
            raise RunError(
                f"{run}: config.toml is missing, so this is no run folder: "
                "name the one that hwtrain train --out made"
            )
        return read_config(run / "config.toml")
    except OSError as problem:
        raise RunError(f"{run}: {problem.strerror or problem}: check the path") from None
    except ConfigError as problem:
        raise RunError(f"{problem}: correct it, or train anew") from None


def make_config(**values: Any) -> TrainConfig:
    """Settings given by name."""
    return validate(TrainConfig, values, where="settings", text="", error=ConfigError)


def to_toml(config: TrainConfig) -> str:
    """Every setting, resolved, as TOML; settings that are None are left out."""
    return dump(config.model_dump())


def flag_help(name: str) -> str:
    """A setting's value and meaning for ``--help``: a metavariable, then the text with its default."""
    field = TrainConfig.model_fields[name]
    shape = field.annotation
    choices = [
        choice for part in (shape, *get_args(shape)) for choice in get_args(part) if isinstance(choice, str)
    ]
    registered = {"rule": "rules", "update": "updates", "cell": "cells", "loss": "losses"}
    if name in registered:
        choices = names(registered[name])
    value = "{" + ",".join(choices) + "}" if choices else name.upper()
    default = f" ({field.default})" if field.default is not None else ""
    return f"{value} {field.description}{default}".replace("%", "%%")
