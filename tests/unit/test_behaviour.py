"""What a user relies on, seen from outside: scale, warnings, controls, costs, seeds, looking.

All on 200 digits, scored on the validation part, with one seed and small budgets.
"""

from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hwtrain import HwtrainWarning, Net, train
from hwtrain.arith.threefry import Point, Purpose, Stream, Streams
from hwtrain.cards import SynapseCard, card, card_files
from hwtrain.config import make_config
from hwtrain.data import load
from hwtrain.direction import Dense as DenseDirection
from hwtrain.direction import Outer
from hwtrain.errors import ConfigError
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.ledger import Ledger
from hwtrain.nets.base import mlp
from hwtrain.strict_toml import dump
from hwtrain.substrates.base import Array, Geometry, Options, Trial, substrate_of
from hwtrain.substrates.crossbar import CrossbarArray
from hwtrain.training import engine
from hwtrain.training.cost import pulse_cost
from hwtrain.training.loop import prepare
from hwtrain.training.metrics import Result, warnings_of
from hwtrain.training.trial import Outcome, Runner, Spec, specs

SETTINGS: dict[str, Any] = {
    "net": "64-16-10", "device": "ideal-envm", "cell": "single", "seeds": 1,
    "batch": 10, "summed": True, "epochs": 4, "lr": 0.3,
}  # fmt: skip
Variant = Callable[..., str]


def digits(n: int = 200) -> tuple[Any, Any, Any, Any]:
    """The first n training digits, and the validation part."""
    split = load("digits", evaluate="validation")
    return split.train_x[:n, 0], split.train_y[:n], split.eval_x[:, 0], split.eval_y


DATA = digits()


def runner(data: Any = DATA, net: Net | None = None, **settings: Any) -> Runner:
    config = make_config(**(SETTINGS | settings))
    job = prepare(config, net, data, None, False)
    assert isinstance(config.device, str)
    spec = Spec("device", config.rule, config.device, config.seed, config.lr)
    return Runner(spec, config, job.net, job.data)


def finish(made: Runner) -> Outcome:
    return made.run(None, "", lambda _: None, lambda: False)


def accuracy(outcome: Outcome) -> float:
    return float(outcome.position.rows[-1]["accuracy"])


def layers(outcome: Outcome) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = outcome.position.rows[-1]["layers"]
    return found


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def weights(made: Runner) -> dict[str, Tensor]:
    return {path: array.peek().clone() for path, array in made.bound.net.arrays() if path.endswith("weight")}


@pytest.fixture
def variant(tmp_path: Path) -> Variant:
    """``variant("ideal-envm", **{"range.g_max_S": 1e-5})``: the path of a card with other values."""

    def write(base: str, **changes: Any) -> str:
        values = tomllib.loads(card_files()[base].read_text(encoding="utf-8"))
        values.pop("expect", None)
        for key, value in changes.items():
            table, _, name = key.partition(".")
            values.setdefault(table, {})[name] = value
        file = tmp_path / f"{base}-{len(list(tmp_path.iterdir()))}.toml"
        file.write_text(dump(values), encoding="utf-8")
        return str(file)

    return write


def scaled(variant: Variant, g_max: float, **read: Any) -> str:
    reads = {f"read.{name}": value for name, value in ({"adc_bits": 8} | read).items()}
    return variant("ideal-envm", **{"range.g_max_S": g_max, "range.g_min_S": g_max / 50, **reads})


G_MAX = (1e-9, 1e-7, 1e-5, 1e-2)


def test_the_scale_of_conductance_does_not_matter_when_the_adc_scales_with_it(variant: Variant) -> None:
    runs = [finish(runner(device=scaled(variant, g_max))) for g_max in G_MAX]
    assert accuracy(runs[0]) > 0.6
    for other in runs[1:]:
        assert accuracy(other) == accuracy(runs[0])
        assert same(other.tensors, runs[0].tensors)
    assert not any(warnings_of(run) for run in runs)


def test_a_fixed_adc_range_hurts_far_off_scales_and_says_so(variant: Variant) -> None:
    fixed = {"adc_range_A": 12 * 1e-5 * 0.98 * 0.1, "v_read_V": 0.1}
    fits, lost, beyond = (scaled(variant, g_max, **fixed) for g_max in (1e-5, 1e-9, 1e-2))
    good = finish(runner(device=fits))
    assert not warnings_of(good)
    for device, what in ((lost, "below one step of the ADC"), (beyond, "beyond the ADC's range")):
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            result = train(data=DATA, **(SETTINGS | {"device": device}))
        lines = [str(line.message) for line in heard if line.category is HwtrainWarning]
        assert lines == result.warnings
        assert any(line.startswith(f"layer fc1.weight on device {device}") and what in line for line in lines)
        assert result.accuracy < accuracy(good) - 0.15


def test_a_layer_of_which_most_pulses_are_clipped_is_named() -> None:
    settings = {"cell": "unidirectional-ltp", "refresh": "none", "update": "stochastic-pulse", "lr": 3.0}
    outcome = finish(runner(**settings))
    clipped = [path for path, layer in layers(outcome).items() if layer["clipped"] > layer["pulses"] / 2]
    said = warnings_of(outcome)
    assert clipped
    assert len(said) == len(clipped)
    for path, line in zip(clipped, said, strict=True):
        assert line.startswith(f"layer {path} on device ideal-envm:")
        assert "of the pulses were clipped" in line


def test_scatter_of_pulses_that_nobody_sends_is_said_to_have_no_effect() -> None:
    (said,) = warnings_of(finish(runner(rule="ridge", device="ag-si")))
    assert said.startswith(
        "device ag-si: no effect: scatter of pulses and ageing, for rule ridge writes none"
    )
    assert not warnings_of(finish(runner(rule="ridge")))  # a card without scatter
    assert not any("no effect" in line for line in warnings_of(finish(runner(device="ag-si"))))


def test_a_healthy_run_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = train(data=DATA, **SETTINGS)
    assert result.warnings == []
    assert result.accuracy > 0.6
    assert result.clipped_share is not None
    assert result.clipped_share < 0.2


@pytest.mark.parametrize("device", ["float32", "ideal-envm"])
def test_permuted_labels_give_chance(device: str) -> None:
    found = []  # their mean: samples of one digit go wrong together, so one net scatters by 5 %
    for seed in range(4):
        x, y, xt, yt = DATA
        y = np.random.default_rng(seed).permutation(y)
        found.append(accuracy(finish(runner((x, y, xt, yt), device=device, seed=seed))))
    error = np.sqrt(0.1 * 0.9 / len(DATA[3]))
    assert abs(np.mean(found) - 0.1) < 4 * error
    assert accuracy(finish(runner(device=device))) > 0.1 + 4 * error


def test_stuck_cells_learn_nothing(variant: Variant) -> None:
    device = variant("ideal-envm", **{"faults.stuck_random": 1.0})
    net = Net({"fc1": Dense(64, 16, bias=False), "fc2": Dense(16, 10, bias=False)})
    made = runner(net=net, device=device)
    before, first = weights(made), made.engine.evaluate(*made.eval, 0)
    outcome = finish(made)
    assert same(weights(made), before)
    assert accuracy(outcome) == first.correct / first.samples
    assert all(layer["clipped"] == layer["pulses"] > 0 for layer in layers(outcome).values())
    assert accuracy(finish(runner(net=net))) > first.correct / first.samples + 0.3  # and free ones do


def test_twice_the_pulse_voltage_is_four_times_the_energy(variant: Variant) -> None:
    one, two = (
        finish(runner(device=variant("ag-si", **{"pulse.v_up_V": 3.2 * k, "pulse.v_down_V": -2.8 * k})))
        for k in (1, 2)
    )
    for path, layer in layers(one).items():
        other = layers(two)[path]
        assert other["pulses"] == layer["pulses"] > 0
        assert other["energy_J"] == 4 * layer["energy_J"] > 0
        assert other["time_s"] == layer["time_s"]


def test_cost_of_a_ledger_filled_by_hand(variant: Variant) -> None:
    found = card("ag-si")
    assert isinstance(found, SynapseCard)
    ledger = Ledger()
    ledger.clock.phase = "train"
    ledger.add("fc1.weight", "write", pulses_up=300, pulses_down=100, clipped=7, slots=50)
    ledger.add("fc2.weight", "write", pulses_up=999, slots=999)
    ledger.clock.phase = "init"
    ledger.add("fc1.weight", "write", pulses_up=12345)
    cost = pulse_cost(ledger, "fc1.weight", found)
    middle = (3.0769e-9 + 3.8462e-8) / 2
    assert (cost.pulses, cost.clipped) == (400, 7)
    assert cost.energy_J == pytest.approx(middle * 300e-6 * (300 * 3.2**2 + 100 * 2.8**2), rel=1e-12)
    assert cost.time_s == pytest.approx(50 * 300e-6, rel=1e-12)
    measured = card(variant("ag-si", **{"pulse.energy_J": 2e-12}))
    assert isinstance(measured, SynapseCard)
    assert pulse_cost(ledger, "fc1.weight", measured).energy_J == pytest.approx(400 * 2e-12)


def test_a_refresh_costs_pulses_of_the_other_branch() -> None:
    cells = {"cell": "unidirectional-ltp", "update": "stochastic-pulse", "weight_range": 4.0, "lr": 1.0}
    kept, redone = (runner(device="ag-si", refresh=how, **cells) for how in ("none", "threshold"))
    found = layers(finish(redone))["fc1.weight"]
    finish(kept)
    assert kept.ledger.of("train", "fc1.weight", "write")["pulses_down"] == 0
    counts = redone.ledger.of("train", "fc1.weight", "write")
    assert counts["pulses_down"] >= counts["resets"] / 2 > 0
    middle = (3.0769e-9 + 3.8462e-8) / 2
    by_hand = middle * 300e-6 * (counts["pulses_up"] * 3.2**2 + counts["pulses_down"] * 2.8**2)
    assert found["energy_J"] == pytest.approx(by_hand, rel=1e-12)


def test_a_card_without_voltages_has_no_energy_or_time() -> None:
    result: Result = train(data=DATA, **(SETTINGS | {"epochs": 1, "device": "epiram"}))
    plain = json.loads(json.dumps(result.as_dict()))
    assert plain["energy_J"] is None
    assert plain["pulse_time_s"] is None
    assert plain["endurance_used"] is None
    assert plain["pulses"] > 0


def test_endurance_used_is_that_of_the_most_pulsed_cell(variant: Variant) -> None:
    device = variant("ag-si", **{"pulse.endurance": 1e4})
    result = train(data=DATA, **(SETTINGS | {"device": device, "epochs": 1}))
    (trial,) = [trial for trial in result.trials if trial["role"] == "device"]
    final = result.tensors[trial["name"]]
    most = max(int(value.max()) for name, value in final.items() if name.endswith("/wear"))
    assert most > 1
    assert trial["endurance_used"] == result.endurance_used == most / 1e4


NOISY = {"read.noise_rel": 0.1, "read.adc_bits": 8}


def test_looking_changes_nothing(variant: Variant) -> None:
    device = variant("target-envm", **NOISY)
    one, other = runner(device=device), runner(device=device)
    finish(one)

    def look(_: int) -> None:
        for rows in (50, 3):
            other.engine.evaluate(other.eval[0][:rows], other.eval[1][:rows], other.position.step)

    other.run(None, "", look, lambda: False)
    assert same(one._tensors(), other._tensors())
    assert trained_rows(one) == trained_rows(other)


def trained_rows(made: Runner) -> list[dict[str, Any]]:
    """Without the cost of a read, a mean over all that was evaluated."""
    return [
        row | {"layers": {path: layer | {"hardware": None} for path, layer in row["layers"].items()}}
        for row in made.position.rows
    ]


def predictions(made: Runner, x: Tensor, size: int, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """What the net says of every sample when the engine evaluates in batches of ``size``."""
    heard: list[Tensor] = []

    def predict(batch: Tensor) -> Tensor:
        heard.append(made.bound.net.fw(batch)[0])
        return heard[-1]

    with monkeypatch.context() as patch:
        patch.setattr(engine, "EVAL_BATCH", size)
        patch.setattr(made.bound, "predict", predict)
        made.engine.evaluate(x, torch.zeros(len(x), dtype=torch.long), made.position.step)
    return torch.cat(heard)


@pytest.mark.parametrize("read", [{}, NOISY], ids=["noise-free", "noisy"])
def test_predictions_do_not_depend_on_the_batch_of_evaluation(
    read: dict[str, Any], variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runner(device=variant("target-envm", **read))
    x = made.eval[0][:120]
    together = predictions(made, x, 1000, monkeypatch)
    for size in (1, 7, 60, 120):
        apart = predictions(made, x, size, monkeypatch)
        torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-5)
    assert together.unique(dim=0).shape[0] > 100


def test_noise_of_evaluation_belongs_to_the_sample(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    made = runner(device=variant("target-envm", **{"read.noise_rel": 0.1}))
    one = made.eval[0][:1]
    repeated = predictions(made, one.expand(50, -1), 1000, monkeypatch)
    assert repeated[:, 0].unique().numel() == 50  # equal samples, noise of their own
    assert torch.equal(repeated, predictions(made, one.expand(50, -1), 1000, monkeypatch))


def test_noise_of_a_convolution_does_not_depend_on_the_batch_of_evaluation(
    variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net({"conv1": Conv2d(1, 3, 3, stride=2), "flat": Flatten(), "fc": Dense(27, 10)})
    made = runner(net=net, device=variant("target-envm", **NOISY))
    together, apart = (predictions(made, made.eval[0][:40], size, monkeypatch) for size in (1000, 7))
    torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-5)


def test_predictions_without_noise_do_not_depend_on_order(monkeypatch: pytest.MonkeyPatch) -> None:
    made = runner()
    x = made.eval[0][:100]
    straight, turned = (predictions(made, part, 30, monkeypatch) for part in (x, x.flip(0)))
    torch.testing.assert_close(straight, turned.flip(0), rtol=1e-5, atol=1e-6)


def refreshed(refresh: str, every: int = 20) -> dict[str, dict[str, Any]]:
    settings = {"cell": "unidirectional-ltp", "update": "stochastic-pulse", "lr": 1.0, "weight_range": 4.0}
    return layers(finish(runner(refresh=refresh, refresh_every=every, **settings)))


def test_refresh_keeps_pairs_from_saturating() -> None:
    none, threshold = refreshed("none"), refreshed("threshold")
    for path in none:
        assert none[path]["resets"] == 0
        assert threshold[path]["resets"] > 0
    share = [sum(one["clipped"] for one in run.values()) for run in (none, threshold)]
    assert share[0] > 4 * share[1]
    assert share[0] > 100


def test_full_refresh_resets_every_cell_when_it_is_due() -> None:
    updates, cells = 4 * 200 // 10, 2 * 64 * 16
    assert refreshed("full-init", 30)["fc1.weight"]["resets"] == updates // 30 * cells
    assert refreshed("full-init", updates + 1)["fc1.weight"]["resets"] == 0


def test_periodic_refresh_resets_worn_cells_when_it_is_due() -> None:
    some = refreshed("periodic", 40)["fc1.weight"]["resets"]
    assert 0 < some < 2 * 2 * 64 * 16
    assert refreshed("periodic", 81)["fc1.weight"]["resets"] == 0


def test_torchs_default_dtype_is_never_read(variant: Variant) -> None:
    device = variant("target-envm", **NOISY, **{"variation.step_dtod": 0.1, "faults.stuck_random": 0.02})
    settings = {"device": device, "epochs": 1, "momentum": 0.5, "clip": 1.0}
    usual = {name: finish(runner(**(settings | {"device": name}))) for name in (device, "float32")}
    torch.set_default_dtype(torch.float64)
    try:
        for name, outcome in usual.items():
            again = finish(runner(**(settings | {"device": name})))
            assert same(again.tensors, outcome.tensors)
            assert again.position.rows == outcome.position.rows
    finally:
        torch.set_default_dtype(torch.float32)


class Moved(Stream):
    """A stream of which sample k is sample k + ``by`` of another; it stands for the k-th single write."""

    def __init__(self, other: Stream, by: int) -> None:
        super().__init__(other.key)
        object.__setattr__(self, "by", by)

    def at(self, step: int, sample: int = 0, pass_: int = 0) -> Point:
        return super().at(step, sample + self.by, pass_)  # type: ignore[attr-defined]


def crossbar(update: str, device: str = "target-envm") -> CrossbarArray:
    substrate = substrate_of(card(device), Options(update=update, cell="single"))
    made = substrate.array(Geometry("it", 1, 1, 5, 7, 0.4), Trial(Streams(4)))
    assert isinstance(made, CrossbarArray)
    made.load(torch.linspace(-0.5, 0.5, 35).view(1, 5, 7))
    return made


def pairs() -> Outer:
    draw = torch.Generator().manual_seed(3)
    return Outer(torch.rand(8, 1, 7, generator=draw), torch.randn(8, 1, 5, generator=draw), 0.02)


@pytest.mark.parametrize("update", ["sign-pulse", "stochastic-pulse"])
def test_n_pairs_are_n_writes_in_order(update: str) -> None:
    together, alone, reverse = crossbar(update), crossbar(update), crossbar(update)
    together.write(pairs())
    for made, order in ((alone, range(8)), (reverse, reversed(range(8)))):
        streams = made._streams.copy()
        for k in order:
            for purpose in (Purpose.UPDATE, Purpose.PULSE):
                made._streams[purpose] = Moved(streams[purpose], k)
            made.write(Outer(pairs().x[k : k + 1], pairs().d[k : k + 1], pairs().scale))
    assert torch.equal(together.peek(), alone.peek())
    assert not torch.equal(together.peek(), reverse.peek())


@pytest.mark.parametrize("update", ["sign-pulse", "stochastic-pulse"])
def test_a_summed_batch_is_one_dense_write_and_not_the_sequence(update: str) -> None:
    sequence, summed, dense = crossbar(update), crossbar(update), crossbar(update)
    sequence.write(pairs())
    summed.write(pairs().summed())
    change = pairs().scale * sum(torch.outer(d[0], x[0]) for x, d in zip(pairs().x, pairs().d, strict=True))
    assert isinstance(change, Tensor)
    dense.write(DenseDirection(change[None]))
    torch.testing.assert_close(summed.peek(), dense.peek(), rtol=0, atol=0)
    assert not torch.equal(summed.peek(), sequence.peek())


def test_the_setting_summed_changes_training() -> None:
    one, other = (finish(runner(batch=8, summed=summed, epochs=1)) for summed in (True, False))
    assert not same(one.tensors, other.tensors)


def test_same_seed_same_bits_and_another_seed_other_bits() -> None:
    one, again, other = (finish(runner(device="target-envm", seed=seed)) for seed in (3, 3, 4))
    assert same(one.tensors, again.tensors)
    assert one.position.rows == again.position.rows
    assert not same(one.tensors, other.tensors)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Every set of weights that was asked to be loaded."""
    heard: list[Tensor] = []
    before = Array.load

    def load_and_tell(self: Array, weights: Tensor) -> None:
        heard.append(weights.clone())
        before(self, weights)

    monkeypatch.setattr(Array, "load", load_and_tell)
    yield heard
    assert heard


def test_device_and_controls_begin_with_the_same_weights(loaded: list[Tensor]) -> None:
    config = make_config(**SETTINGS, seed=5)
    job = prepare(config, mlp("64-16-10"), DATA, None, False)
    firsts = []
    for spec in specs(config):
        loaded.clear()
        Runner(spec, config, job.net, job.data)
        firsts.append([value.clone() for value in loaded])
    assert len(firsts) == 3
    for other in firsts[1:]:
        assert all(torch.equal(a, b) for a, b in zip(firsts[0], other, strict=True))
    assert float(firsts[0][0].std()) > 0.01


def test_a_net_that_is_given_takes_the_loss_and_keeps_its_activations() -> None:
    def go(**settings: Any) -> Result:
        return train(mlp("64-8-10", "tanh"), device="float32", batch=32, epochs=1, seeds=1, **settings)

    first, other = go(), go(loss="mse")
    assert not torch.equal(
        *(made.tensors["backprop-float32-s0"]["fc1.weight/weights"] for made in (first, other))
    )
    with pytest.raises(ConfigError, match="activation"):
        go(activation="relu")


def test_software_has_no_second_learning_rate() -> None:
    with pytest.raises(ConfigError, match="baseline_lr"):
        train("64-8-10", device="float32", epochs=1, seeds=1, lr=0.1, baseline_lr=0.2)
