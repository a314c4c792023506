"""Training through a program against training through torch: the same run, engine by engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hwtrain.config import make_config
from hwtrain.data import load
from hwtrain.errors import HwtrainError
from hwtrain.training.loop import run
from hwtrain.training.metrics import Result
from tests.helpers import assert_equal, write_csv


def trained(tmp_path: Path, engine: str, **settings: Any) -> Result:
    """A net on a small table: the last batch of an epoch is a small one."""
    data = write_csv(tmp_path / "data.csv", 61)
    given = {"net": "4-6-3", "epochs": 2, "seeds": 1, "batch": 7, "lr": 0.1, "activation": "relu"} | settings
    assert len(load(str(data), evaluate="test").train_y) % given["batch"] > 0
    return run(make_config(data=str(data), engine=engine, **given), controls=False)


@pytest.mark.parametrize("device", ["fixed16", "fixed8", "shift4"])
def test_integer_devices_end_with_the_same_bits_on_every_engine(device: str, tmp_path: Path) -> None:
    expected = trained(tmp_path, "torch", device=device)
    for engine in ("native", "reference"):
        found = trained(tmp_path, engine, device=device)
        assert found.as_dict()["engine"] == engine
        assert found.accuracy == expected.accuracy
        for name, tensors in expected.tensors.items():
            assert_equal(found.tensors[name], tensors)


def test_float_weights_of_c_and_the_interpreter_are_the_same_bits_and_close_to_torchs(tmp_path: Path) -> None:
    native, reference, eager = (
        trained(tmp_path, engine, device="float32") for engine in ("native", "reference", "torch")
    )
    for name, tensors in native.tensors.items():
        assert_equal(reference.tensors[name], tensors)
        for key, value in tensors.items():
            torch.testing.assert_close(eager.tensors[name][key], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("device", ["ag-si", pytest.param("ideal-envm", marks=pytest.mark.slow)])
def test_a_crossbar_counts_the_same_on_both_engines(device: str, tmp_path: Path) -> None:
    native, eager = (trained(tmp_path, engine, device=device) for engine in ("native", "torch"))
    assert native.pulses == eager.pulses > 0
    assert native.clipped_share == eager.clipped_share
    assert native.energy_J == eager.energy_J
    for name, tensors in eager.tensors.items():
        assert torch.equal(native.tensors[name]["fc1.weight/wear"], tensors["fc1.weight/wear"])


def test_a_native_run_that_is_stopped_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = trained(tmp_path, "native", device="ag-si", epochs=3)
    out = tmp_path / "run"
    stops = iter([False] * 2 + [True] * 100)

    def stop_once(*_: object) -> None:
        if next(stops, False):
            raise KeyboardInterrupt

    settings = {"net": "4-6-3", "epochs": 3, "seeds": 1, "batch": 7, "lr": 0.1, "activation": "relu"}
    config = make_config(data=str(tmp_path / "data.csv"), engine="native", device="ag-si", **settings)
    with pytest.raises((KeyboardInterrupt, HwtrainError)):
        run(config, out=out, controls=False, progress=stop_once)
    again = run(config, out=out, resume=True, controls=False)
    for name, tensors in whole.tensors.items():
        assert_equal(again.tensors[name], tensors)
