"""The contract of a physical layer, its conditioner and its twins."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from hwtrain.arith.threefry import Streams
from hwtrain.cards import PhysicalCard, card, card_files, cards
from hwtrain.cards.physical import Drive
from hwtrain.direction import Controls, Seeded
from hwtrain.errors import CardError, ConfigError, HwtrainError, IncompatibleRule
from hwtrain.layers.physical import Physical
from hwtrain.net import Net
from hwtrain.nets.base import mlp
from hwtrain.physical.conditioner import Conditioner
from hwtrain.physical.twin import Copy, DigitalTwin, Linear, Mlp, Quadratic, Zero, explained
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
from hwtrain.substrates.physical import PhysicalArray

CARDS = [name for name, its in cards() if its.kind == "physical"]
X = torch.rand(20, 12, generator=torch.Generator().manual_seed(3))
FIBRE = {"emulator": "fibre", "modulation": "amplitude", "detection": "modulus"}
SMALL = {"modes": 60, "hidden": 2}


def physical(name: str, in_: int = 12, out: int = 12, seed: int = 0, **tables: Any) -> PhysicalArray:
    """An array on a shipped card, its rooms made small, other tables replaced."""
    values = card(name).model_dump(by_alias=True, exclude_unset=True)
    values["physics"] |= {key: small for key, small in SMALL.items() if key in values["physics"]}
    for table, keys in tables.items():
        values[table] = values.get(table, {}) | keys
    its = PhysicalCard.model_validate(values)
    made = substrate_of(its, Options()).array(
        Geometry("phi.medium", 1, 1, out, in_, 1.0), Trial(Streams(seed), dtype=torch.float64)
    )
    assert isinstance(made, PhysicalArray)
    return made


@pytest.fixture(params=CARDS)
def array(request: pytest.FixtureRequest) -> PhysicalArray:
    return physical(request.param)


def test_there_are_nine_emulators_and_a_card_of_each() -> None:
    used = {its.physics["emulator"] for _, its in cards() if isinstance(its, PhysicalCard)}
    assert len(used) >= 9
    assert all(card_files()[name].parent.name == "physical" for name in CARDS)


def test_a_measurement_is_reproducible_and_belongs_to_no_graph(array: PhysicalArray) -> None:
    y = array.measure(X)
    assert y.shape == (20, 12)
    assert y.dtype == torch.float64
    assert not y.requires_grad
    assert y.grad_fn is None
    again = physical(next(n for n in CARDS if card(n) and _same(n, array)))
    assert torch.equal(again.measure(X), y)
    assert array.trial.ledger.of("init", "phi.medium", "read")["passes"] == 20
    assert array.trial.ledger.of("init", "phi.medium", "read")["macs"] == 0


def _same(name: str, array: PhysicalArray) -> bool:
    return card(name).device == array.card.device


def test_autograd_through_a_measurement_raises(array: PhysicalArray) -> None:
    with pytest.raises(IncompatibleRule, match="autograd cannot pass through a measurement"):
        array.measure(X.clone().requires_grad_())
    with pytest.raises(IncompatibleRule, match="autograd cannot pass"):
        array.measure(X.clone().requires_grad_() * 2)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, as it loads these
def test_other_doors_to_gradients_are_shut_too() -> None:
    array = physical("fibre")
    with pytest.raises(IncompatibleRule, match="autograd cannot pass"):
        torch.func.vjp(array.measure, X)
    with forward_ad.dual_level(), pytest.raises(IncompatibleRule, match="autograd cannot pass"):
        array.measure(forward_ad.make_dual(X, X))


def test_evaluation_advances_nothing_and_training_drifts() -> None:
    made = physical("drifting-fibre")
    clock = made.trial.ledger.clock
    clock.phase = "eval"
    first = made.measure(X)
    made.rewind()
    assert torch.equal(made.measure(X), first)
    clock.phase, kept = "train", made.state()
    for _ in range(5):
        made.measure(X)
    clock.phase = "eval"
    made.rewind()
    assert not torch.allclose(made.measure(X), first, atol=0.02)
    assert made.capabilities.stateful
    other = physical("drifting-fibre")
    other.restore(kept)
    other.trial.ledger.clock.phase = "train"
    for _ in range(5):
        other.measure(X)
    other.trial.ledger.clock.phase = "eval"
    made.rewind()
    assert torch.equal(other.measure(X), made.measure(X))
    assert all(torch.equal(value, other.state()[name]) for name, value in made.state().items())


def test_noise_of_a_sample_does_not_depend_on_its_batch() -> None:
    made = physical("drifting-fibre")
    clock = made.trial.ledger.clock
    clock.phase = "eval"
    whole = made.measure(X)
    made.rewind()
    clock.sample = 10
    assert torch.equal(made.measure(X[10:]), whole[10:])


def test_detector_adds_the_noise_that_it_says() -> None:
    x = X[:1].repeat(4000, 1)
    plain = {"decode": "none"}
    quiet = physical("fibre", drive=plain).measure(x)[0]
    made = physical("fibre", drive=plain, detector={"noise": 0.1})
    noisy = made.measure(x)
    assert abs(float(((noisy - quiet) * (made.measure(x) - quiet)).mean())) < 0.001  # new noise every pass
    np.testing.assert_allclose(noisy.std(0), 0.1, rtol=0.1)
    np.testing.assert_allclose(noisy.mean(0), quiet, atol=0.01)
    shot = physical("fibre", drive=plain, detector={"shot_counts": 50.0}).measure(x)
    np.testing.assert_allclose(shot.var(0), quiet / 50, rtol=0.15)
    for full in (2.0, 0.5):
        rounded = physical("fibre", drive=plain, detector={"adc_bits": 4, "full_scale": full}).measure(x[:1])
        expected = np.minimum(np.round(quiet.numpy() * 16 / full) * full / 16, full)
        np.testing.assert_allclose(rounded[0], expected, rtol=1e-12)
    assert float(quiet.max()) > 0.5
    dead = physical("fibre", out=400, drive=plain, detector={"dead": 0.25}).measure(x[:1])
    assert float((dead == 0).double().mean()) == pytest.approx(0.25, abs=0.08)


def test_ports_dead_by_a_disturbance_stay_dead() -> None:
    made = physical("fibre", out=400, drive={"decode": "none"})
    made.disturb("dead-port", 0.3)
    y = made.measure(X[:1])
    assert float((y == 0).double().mean()) == pytest.approx(0.3, abs=0.08)
    other = physical("fibre", out=400, drive={"decode": "none"})
    other.restore(made.state())
    assert torch.equal(other.measure(X[:1]), y)
    made.disturb("dead-port", 0.3)
    later = made.measure(X[:1])
    assert not later[y == 0].any()
    assert float((later == 0).double().mean()) == pytest.approx(0.51, abs=0.08)
    with pytest.raises(ConfigError, match="disturb: 'drft': did you mean 'drift'"):
        made.disturb("drft", 0.1)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        made.disturb("drift", 2.0)


def test_controls_are_perturbed_written_and_kept_within_limits() -> None:
    made = physical("mesh")
    before, y = made.peek(), made.measure(X)
    made.perturb(7, 0.1)
    assert not torch.allclose(made.measure(X), y)
    made.perturb(7, 0.0)
    assert torch.equal(made.measure(X), y)
    made.write(Seeded(7, 0.1))
    moved = made.measure(X)
    made.restore(made.state() | {"controls": before[0, 0]})
    made.perturb(7, 0.1)
    assert torch.equal(made.measure(X), moved)  # the perturbation is what the write adds
    net = physical("resistor-network")
    net.write(Controls(torch.full_like(net.controls, -1e6)))
    assert float(net.controls.min()) == pytest.approx(0.01)


def test_a_port_that_it_lacks_is_named() -> None:
    made = physical("fibre")
    assert made.ports == {"read"}
    for port, call in (
        ("read_t", lambda: made.read_t(X[:, None], at=X[:, None])),
        ("write", lambda: made.write(Seeded(0, 1.0))),
        ("perturb", lambda: made.perturb(0, 1.0)),
        ("load", lambda: made.load(torch.zeros(1, 12, 12))),
        ("taps", lambda: made.taps(X[:, None], X[:, None])),
        ("clamp", lambda: made.clamp(X[:, None], X[:, None], 0.1)),
    ):
        with pytest.raises(IncompatibleRule, match=f"layer phi.medium: .* port {port}"):
            call()
    net, home = mlp("4-3-2"), substrate_of(card("fibre"), Options())
    with pytest.raises(IncompatibleRule, match=r"layer fc1.weight: .* port load"):
        net.place(Trial(Streams(0)), lambda _: home, _software())


def _software() -> Any:
    return substrate_of(card("float32"), Options())


def test_a_mesh_passes_gradients_back_by_reciprocity() -> None:
    made = physical("mesh")
    d = torch.rand(20, 12).double()
    found = made.read_t(d[:, None], at=X.double()[:, None])[:, 0]
    x = X.double()
    slope = [
        ((made.measure(x + 1e-6 * e) - made.measure(x - 1e-6 * e)) / 2e-6 * d).sum(1) for e in torch.eye(12)
    ]
    torch.testing.assert_close(found, torch.stack(slope, 1), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("encode", ["none", "norm", "min-max"])
@pytest.mark.parametrize("decode", ["none", "standard"])
def test_a_copy_as_twin_gives_the_slope_of_what_the_layer_sees(encode: str, decode: str) -> None:
    made = physical(
        "fibre", drive={"encode": encode, "decode": decode, "low": -1e6, "high": 1e6}, detector={"dead": 0.2}
    )
    made.attach(Copy(made.source, made.controls))  # type: ignore[arg-type]
    assert {"read_t", "model"} <= made.ports
    x, d = X.double(), torch.rand(20, 12).double()
    found = made.read_t(d[:, None], at=x[:, None])[:, 0]
    way = torch.rand(20, 12).double()
    if encode == "min-max":  # straight through its own minimum and maximum
        way[torch.arange(20), x.argmax(1)] = way[torch.arange(20), x.argmin(1)] = 0
    slope = (made.measure(x + 1e-6 * way) - made.measure(x - 1e-6 * way)) / 2e-6
    expected = (slope * d).sum(1)
    torch.testing.assert_close((found * way).sum(1), expected, rtol=1e-5, atol=1e-6)


def test_conditioner_encodes_as_it_says() -> None:
    x = torch.tensor([[0.0, 1.0, 2.0, 3.0], [-3.0, 0.0, 4.0, 0.0]]).double()
    norm, cut = Conditioner(Drive(encode="norm", gain=2.0)).encode(x)
    np.testing.assert_allclose(norm.norm(dim=1), 4.0, rtol=1e-5)
    assert cut == 0
    kept = x.clone()
    stretched, _ = Conditioner(Drive(encode="min-max", low=-1.0, high=1.0)).encode(x)
    np.testing.assert_allclose(stretched[0], [-1, -1 / 3, 1 / 3, 1])
    coded, _ = Conditioner(Drive(encode="code", bits=2)).encode(x)
    assert coded.tolist() == [[0, 0, 0, 1, 1, 0, 1, 1], [0, 0, 0, 1, 1, 1, 0, 1]]
    mirrors, _ = Conditioner(Drive(encode="dmd")).encode(x)
    assert mirrors.tolist() == [[0, 0, 1, 1], [0, 0, 1, 0]]
    plain, cut = Conditioner(Drive(low=0.0, high=2.0)).encode(x)
    assert plain.tolist() == [[0, 1, 2, 2], [0, 0, 2, 0]]
    assert cut == 3
    assert torch.equal(x, kept)  # nothing in place


def test_a_coded_drive_is_as_wide_as_its_code() -> None:
    made = physical("programmable-cavity", drive={"encode": "code", "bits": 2})
    assert made.source.in_ == 24  # type: ignore[union-attr]
    assert made.measure(X).shape == (20, 12)


# --- twins ---


def measured(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """A cubic map of 5 to 3 numbers."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=draw).double()
    ways = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    return x, x @ ways[0] + 0.3 * (x @ ways[1]) * (x @ ways[2])


@pytest.mark.parametrize("kind", [Linear, Quadratic, Mlp])
def test_slope_of_a_twin_is_its_slope(kind: Any) -> None:
    x, y = measured(300, 1)
    twin = kind(x, y, epochs=3) if kind is Mlp else kind(x, y)
    at, d, way = torch.randn(3, 4, 5).double()[0], torch.randn(4, 3).double(), torch.randn(4, 5).double()
    found = (twin.respond_t(d, at) * way).sum()
    slope = (twin.respond(at + 1e-6 * way) - twin.respond(at - 1e-6 * way)) / 2e-6
    assert float(found) == pytest.approx(float((slope * d).sum()), rel=1e-5)


def test_the_best_twin_by_held_out_pairs_is_chosen_and_reported() -> None:
    x, y = measured(2000, 1)
    twin = DigitalTwin.fit(x, y, kinds=("quadratic",))
    found = twin.report()
    assert found.chosen == "quadratic"
    assert found.r2["quadratic"] > 0.999 > 0.95 > found.linear_share
    held = np.arange(2000) % 10 == 9
    columns = np.c_[x.numpy(), np.ones(2000)]
    line = np.linalg.lstsq(columns[~held], y.numpy()[~held], rcond=None)[0]
    off = y.numpy()[held] - columns[held] @ line
    spread = y.numpy()[held] - y.numpy()[held].mean(0)
    assert found.linear_share == pytest.approx(1 - (off**2).sum() / (spread**2).sum(), abs=1e-4)
    held_x, held_y = measured(5000, 2)
    assert f"this layer is {found.linear_share:.1%} linear" in found.text()
    assert explained(twin.respond(held_x), held_y) > 0.999
    straight = DigitalTwin.fit(x, x[:, :2] @ torch.eye(2).double(), kinds=("mlp",)).report()
    assert straight.linear_share > 0.999999
    with pytest.raises(ConfigError, match="at least 20"):
        DigitalTwin.fit(x[:19], y[:19])
    with pytest.raises(ConfigError, match="did you mean 'quadratic'"):
        DigitalTwin.fit(x, y, kinds=("quadrat",))


def test_an_mlp_twin_learns_what_a_quadratic_cannot() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1500, 4, generator=draw).double()
    y = torch.tanh(2 * x @ torch.randn(4, 3, generator=draw).double())
    found = DigitalTwin.fit(x, y).report()
    assert found.chosen == "mlp"
    assert found.r2["mlp"] > max(0.97, found.r2["quadratic"] + 0.05)


def test_what_stands_in_answers_for_the_physics_and_costs_no_pass() -> None:
    made = physical("fibre", drive={"decode": "none"})
    made.stand_in = Zero(12)
    assert not made.measure(X).any()
    assert made.trial.ledger.of("init", "phi.medium", "read")["passes"] == 0
    drive, response = made.pairs(X)
    assert made.trial.ledger.of("init", "phi.medium", "read")["passes"] == 20
    made.stand_in = Linear(drive, response)
    torch.testing.assert_close(made.measure(X), made.stand_in.respond(drive))
    assert made.trial.ledger.of("init", "phi.medium", "model")["macs"] == 20 * 144


# --- the layer, and cards ---


def test_the_layer_measures_and_its_skip_goes_past() -> None:
    layer = Physical(12, 8, skip=True)
    net = Net({"phi": layer})
    home = substrate_of(card("fibre"), Options())
    net.place(Trial(Streams(0)), lambda _: home, _software())
    assert net.out_shape((12,)) == (20,)
    assert net.trained() == []
    y, _, tapes = net.fw(X)
    medium = layer.arrays["medium"]
    assert torch.equal(y[:, 8:], X)
    assert torch.equal(y[:, :8], medium.read(X[:, None])[:, 0])
    medium.attach(Copy(medium.source, medium.controls))  # type: ignore[attr-defined]
    d = torch.rand(20, 20)
    through = medium.read_t(d[:, None, :8], at=X[:, None])[:, 0]
    torch.testing.assert_close(layer.igrad(d, tapes["phi"]), through + d[:, 8:])
    state = net.state()
    assert "phi.medium/hidden.T" in state


def test_a_net_knows_its_physics_in_mid_training() -> None:
    """Two runs from one state measure the same, noise and drift included."""
    runs = []
    for _ in range(2):
        net = Net({"phi": Physical(12, 8)})
        net.place(Trial(Streams(0)), lambda _: substrate_of(card("drifting-fibre"), Options()), _software())
        runs.append(net)
    for net in runs:
        next(net.arrays())[1].trial.ledger.clock.phase = "train"
    runs[0].fw(X)
    runs[1].restore(runs[0].state())
    assert torch.equal(runs[0].fw(X)[0], runs[1].fw(X)[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"physics": {"emulator": "fibr"}}, "did you mean 'fibre'?"),
        ({"physics": {}}, "physics.emulator is missing: name one of cavity"),
        ({"physics": {"emulator": "fibre", "modulation": "amplitude"}}, "key detection is missing"),
        (
            {"physics": {"emulator": "saturable-absorber", "depth": 2.0, "saturation": 1.0}},
            "depth = 2.0",
        ),
        ({"physics": FIBRE | {"mode_loss": 1}}, "unknown key mode_loss: did you mean"),
        ({"drive": {"low": 1.0, "high": 0.0}}, "exchange them"),
        ({"instrument": {"command": ["x"]}}, "remove one"),
        ({"physics": {}, "instrument": {}}, "give command, or folder"),
        ({"laser": {}}, "unknown key laser"),
    ],
)
def test_what_a_card_may_not_say(change: dict[str, Any], said: str, tmp_path: Any) -> None:
    values = card("fibre").model_dump(by_alias=True, exclude_unset=True) | change
    lines = [f"{key} = {value!r}" for key, value in values.items() if not isinstance(value, dict)]
    for table, keys in values.items():
        if isinstance(keys, dict):
            lines += [f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in keys.items())]
    (tmp_path / "mine.toml").write_text("\n".join(lines).replace("'", '"') + "\n")
    with pytest.raises((CardError, HwtrainError)) as found:
        card(str(tmp_path / "mine.toml"))
    assert said in str(found.value)


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def test_every_key_of_every_emulator_says_what_it_means_and_how_it_is_measured() -> None:
    from hwtrain.registry import lookup, names

    tables = [PhysicalCard, *(lookup("emulators", name).Params for name in names("emulators"))]
    for table in itertools.chain(tables, [Drive]):
        for name, field in table.model_fields.items():
            assert field.description or table is PhysicalCard, f"{table.__name__}.{name}"
