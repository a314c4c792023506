"""Settings: one model for command line, file and Python; what is wrong is told in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hwtrain.cli import parser
from hwtrain.config import TrainConfig, device_map, device_of, make_config, read_config, to_toml
from hwtrain.errors import ConfigError

FULL: dict[str, Any] = {
    "data": "some/data.csv",
    "net": "4-3-3",
    "activation": "relu",
    "loss": "mse",
    "device": {"fc1": "pcmo", "*": "float32"},
    "rule": "shallow",
    "rule_options": {"mode": "neuron"},
    "update": "stochastic-pulse",
    "cell": "single",
    "refresh": "periodic",
    "refresh_every": 7,
    "conductances": 3,
    "weight_range": 2.5,
    "epochs": 2,
    "batch": 3,
    "summed": True,
    "lr": 1e-7,
    "lr_decay": 0.25,
    "baseline_lr": 3e22,
    "momentum": 0.1,
    "clip": 1e300,
    "seeds": 4,
    "seed": 2**63 - 1,
    "evaluate": "validation",
    "engine": "torch",
    "threads": 2,
    "torch_device": "cpu",
    "checkpoint_every_s": 5e-324,
}


def test_the_full_example_has_every_setting() -> None:
    assert FULL.keys() == TrainConfig.model_fields.keys()


@pytest.mark.parametrize(
    "given",
    [
        {},
        FULL,
        {"data": "a \"b\" \\ 'c' \t\n\r\x00\x1f\x7f.csv"},
        {"data": "数据/é/😀.csv"},
        {"device": {"f\x7f😀c*": "a=b.toml", "": "x"}},
        {"device": "fc1=pcmo,*=float32"},
    ],
    ids=range(6),
)
def test_the_resolved_file_reads_back_as_the_same_settings(tmp_path: Path, given: dict[str, Any]) -> None:
    config = make_config(**given)
    file = tmp_path / "config.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    assert read_config(file) == config
    assert to_toml(read_config(file)) == to_toml(config)


def test_what_is_given_by_name_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("epochs = 2\nlr = 0.5\n")
    assert read_config(file, epochs="7") == make_config(epochs=7, lr=0.5)


@pytest.mark.parametrize("name", TrainConfig.model_fields)
def test_every_setting_is_a_flag_and_a_misspelt_one_is_known_again(tmp_path: Path, name: str) -> None:
    flag = f"--{name.replace('_', '-')}"
    value = [] if TrainConfig.model_fields[name].annotation is bool else ["x"]
    assert getattr(parser().parse_args(["train", flag, *value]), name) == (value or ["true"])[0]
    wrong = f"{name}x"
    file = tmp_path / "config.toml"
    file.write_text(f"# one\n\n{wrong} = 1\n")
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    message = re.escape(f"{file}:3: unknown key {wrong}: did you mean ")
    assert re.match(message, str(caught.value))
    # The nearest of the sorted keys; two of them (seed, seeds) are one letter apart.
    assert name in str(caught.value) or name == "seed"
    with pytest.raises(ConfigError, match=f"unknown argument {flag}x: did you mean '--"):
        parser().parse_args(["train", f"{flag}x", "1"])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("epochs", [0, -1, 1.5, "x", 100_001, None, [1], float("nan")]),
        ("batch", [0, -4]),
        ("seeds", [0, 1001]),
        ("seed", [-1, 2**63]),
        ("lr", [0, -1, float("nan"), float("inf"), "", None, {}]),
        ("lr_decay", [0, 1.1, float("nan")]),
        ("baseline_lr", [0, float("inf")]),
        ("momentum", [-0.1, 1, float("nan")]),
        ("clip", [0, float("inf")]),
        ("weight_range", [0, float("inf")]),
        ("refresh_every", [0]),
        ("conductances", [1, 65]),
        ("checkpoint_every_s", [0, -1, float("inf")]),
        ("summed", ["maybe", 2]),
        ("activation", ["gelu", 3]),
        ("evaluate", ["train"]),
        ("engine", ["numpy"]),
        ("refresh", ["sometimes"]),
        ("rule", ["backprob", None, 3]),
        ("device", [3, None, ["a"], {"fc1": 2}, "\ud800"]),
        ("net", [[64, 10], 64]),
        ("data", ["\udc80.csv", None]),
    ],
)
def test_a_value_that_does_not_fit_is_named(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigError) as caught:
            make_config(**{name: value})
        message = str(caught.value)
        assert message.startswith(f"settings: {name}")
        assert len(message.splitlines()) == 1


def test_the_nearest_registered_name_is_suggested() -> None:
    for name, wrong, right in [
        ("rule", "shalow", "shallow"),
        ("update", "stochastic", "stochastic-pulse"),
        ("cell", "alternating_pair", "alternating-pair"),
        ("loss", "softmax-c", "softmax-ce"),
    ]:
        with pytest.raises(ConfigError, match=f"no {name} is called '{wrong}': did you mean '{right}'"):
            make_config(**{name: wrong})


def test_a_device_map_takes_the_first_pattern_that_fits() -> None:
    text = "fc1=pcmo, fc*=ag-si ,*=float32"
    assert device_map(text) == {"fc1": "pcmo", "fc*": "ag-si", "*": "float32"}
    assert [device_of(text, layer) for layer in ("fc1", "fc2", "conv1")] == ["pcmo", "ag-si", "float32"]
    assert make_config(device=text).device_of("fc2") == "ag-si"
    assert device_of("pcmo", "anything") == "pcmo"
    assert device_of({"fc?": "pcmo"}, "fc7") == "pcmo"
    for device in ("fc1=pcmo", {}, {"fc1": "pcmo"}):
        with pytest.raises(ConfigError, match="no pattern fits layer fc2: add one"):
            device_of(device, "fc2")
    for text in ("=", "fc1=", "=pcmo", "fc1=pcmo,", "fc1=pcmo,ag-si"):
        with pytest.raises(ConfigError, match="write pattern=card"):
            device_map(text)
