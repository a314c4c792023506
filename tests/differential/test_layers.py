"""Layers, nets, transforms and arrays: autograd, torch.optim and plain simulations are the judges."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwtrain.arith.threefry import Streams
from hwtrain.cards import IdealCard, SynapseCard
from hwtrain.convert import from_torch
from hwtrain.direction import Clip, Dense, Momentum, Outer, Seeded, Sum, Transform
from hwtrain.layers import dense as dense_layer
from hwtrain.layers.avg_pool2d import AvgPool2d
from hwtrain.layers.base import Layer
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.layers.relu import Relu
from hwtrain.layers.sigmoid import Sigmoid
from hwtrain.layers.tanh import Tanh
from hwtrain.losses.mse import Mse
from hwtrain.losses.softmax_ce import SoftmaxCe
from hwtrain.net import Net, Residual
from hwtrain.rules.backprop import Backprop
from hwtrain.substrates.base import Geometry, Options, Substrate, Trial
from hwtrain.substrates.crossbar import Crossbar, CrossbarArray
from hwtrain.substrates.ideal import Ideal, IdealArray
from hwtrain.training import engine
from tests.helpers import NAMES, synapse_card

TIGHT = {"atol": 1e-10, "rtol": 1e-10}
SOFTWARE = Ideal(IdealCard.model_validate({"schema": 1, "kind": "ideal", **NAMES}), Options())


def normal(seed: int, *shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def draw(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def exact_trial() -> Trial:
    return Trial(Streams(5), dtype=torch.float64)


def placed(
    net: Net, weights: Substrate = SOFTWARE, transforms: Callable[[], list[Transform]] = list
) -> tuple[Net, Trial]:
    trial = exact_trial()
    net.place(trial, lambda _: weights, SOFTWARE, transforms)
    return net, trial


def as_net(layer: Layer) -> Net:
    return placed(Net({"only": layer}))[0]


def check(net: Net, module: nn.Module, x: Tensor) -> None:
    """Output and all gradients of a placed net against autograd of the torch module."""
    leaf = x.clone().requires_grad_()
    expected = module(leaf)
    d = normal(99, *expected.shape)
    expected.backward(d)
    y, _, tapes = net.fw(x)
    torch.testing.assert_close(y, expected.detach(), **TIGHT)
    assert net.out_shape(tuple(x.shape[1:])) == tuple(expected.shape[1:])
    back, directions = net.backward(d, tapes, first="")
    assert back is not None
    torch.testing.assert_close(back, leaf.grad, **TIGHT)
    parameters = list(module.parameters())
    assert len(directions) == len(parameters)
    for (path, array), parameter in zip(net.arrays(), parameters, strict=True):
        found = directions[path].summed().change  # type: ignore[union-attr]
        assert found.shape == array.geometry.shape
        torch.testing.assert_close(found.reshape(parameter.shape), parameter.grad, **TIGHT)


@pytest.mark.parametrize("seed", range(8))
def test_dense_layer_is_that_of_autograd(seed: int) -> None:
    rng = np.random.default_rng(seed)
    in_, out, bias = draw(rng, 1, 9), draw(rng, 1, 7), seed % 3 != 0
    module = nn.Linear(in_, out, bias=bias, dtype=torch.float64)
    check(placed(from_torch(nn.Sequential(module)))[0], module, normal(seed, draw(rng, 1, 5), in_))


@pytest.mark.parametrize("seed", range(24))
def test_convolution_is_that_of_autograd(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [1, draw(rng, 2, 3), 0][seed % 3]  # one, several, depthwise
    in_channels = draw(rng, 1, 4) if groups == 0 else groups * draw(rng, 1, 3)
    groups = groups or in_channels
    module = nn.Conv2d(
        in_channels,
        groups * draw(rng, 1, 3),
        draw(rng, 1, 4),
        stride=draw(rng, 1, 3),
        padding=draw(rng, 0, 2),
        groups=groups,
        bias=seed % 4 != 0,
        dtype=torch.float64,
    )
    x = normal(seed, draw(rng, 1, 3), in_channels, draw(rng, 4, 8), draw(rng, 4, 8))
    check(placed(from_torch(nn.Sequential(module)))[0], module, x)


@pytest.mark.parametrize(
    ("layer", "module"),
    [
        (Relu(), nn.ReLU()),
        (Tanh(), nn.Tanh()),
        (Sigmoid(), nn.Sigmoid()),
        (MaxPool2d(2), nn.MaxPool2d(2)),
        (MaxPool2d(3), nn.MaxPool2d(3)),
        (AvgPool2d(2), nn.AvgPool2d(2)),
        (AvgPool2d(3), nn.AvgPool2d(3)),
        (Flatten(), nn.Flatten()),
    ],
    ids=lambda thing: str(thing) if isinstance(thing, nn.Module) else "",
)
def test_layer_without_weights_is_that_of_autograd(layer: Layer, module: nn.Module) -> None:
    for seed, shape in enumerate([(2, 3, 6, 6), (1, 1, 7, 5), (3, 2, 4, 9)]):
        check(as_net(layer), module, normal(seed, *shape))


class Skip(nn.Module):
    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def cnn(seed: int) -> tuple[Net, nn.Sequential]:
    """A net with nested residual blocks, and the same in torch."""
    torch.manual_seed(seed)
    inner = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh())
    body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.ReLU(), Skip(inner))
    last = nn.Sequential(nn.Linear(36, 36, bias=False), nn.Sigmoid())
    stem = (nn.Conv2d(2, 4, 3, padding=1), nn.ReLU())
    module = nn.Sequential(
        *stem, Skip(body), nn.MaxPool2d(2), nn.Flatten(), Skip(last), nn.Linear(36, 5)
    ).double()
    inside = {**from_torch(body[:2]).children, "skip": Residual(from_torch(inner).children)}
    children = {
        **from_torch(nn.Sequential(*stem)).children,
        "block": Residual(inside),
        "pool": MaxPool2d(2),
        "flat": Flatten(),
        "tail": Residual(from_torch(last).children),
        "fc": from_torch(module[6:]).children["layer6"],
    }
    return placed(Net(children))[0], module


@pytest.mark.parametrize("seed", range(4))
def test_net_with_residual_blocks_is_that_of_autograd(seed: int) -> None:
    net, module = cnn(seed)
    check(net, module, normal(seed, 3, 2, 6, 6))


def test_walk_back_ends_at_the_first_layer_that_learns() -> None:
    net, _ = cnn(0)
    x = normal(0, 3, 2, 6, 6)
    y, _, tapes = net.fw(x)
    _, every = net.backward(torch.ones_like(y), tapes, first="")
    for first in ("block.skip.layer0", "tail.layer0", "fc"):
        back, some = net.backward(torch.ones_like(y), tapes, first)
        assert back is None
        paths = [path for path, _ in net.arrays()]
        start = next(i for i, path in enumerate(paths) if path.startswith(first))
        assert set(some) == set(paths[start:])
        for path, direction in some.items():
            expected = every[path].summed().change  # type: ignore[union-attr]
            torch.testing.assert_close(direction.summed().change, expected, **TIGHT)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("loss", "oracle"),
    [
        (SoftmaxCe(), nn.CrossEntropyLoss()),
        (Mse(), lambda z, y: nn.functional.mse_loss(z, torch.eye(5, dtype=z.dtype)[y])),
    ],
    ids=["softmax-ce", "mse"],
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training_is_that_of_torch_sgd(
    loss: Any, oracle: Callable[[Tensor, Tensor], Tensor], momentum: float
) -> None:
    """Twenty steps of forward, loss, backward, transform and write."""
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5)).double()
    net = from_torch(module, loss)
    placed(net, transforms=lambda: [Momentum(momentum)] if momentum else [])
    bound = Backprop().bind(net)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=momentum)
    before = [p.detach().clone() for p in module.parameters()]
    for step in range(20):
        x, labels = normal(step, 7, 6), torch.arange(7) * (step + 1) % 5
        ours = bound.step(x, labels, 0.3)
        optimizer.zero_grad()
        theirs = oracle(module(x), labels)
        theirs.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert float(ours.mean()) == pytest.approx(float(theirs.detach()), abs=1e-10)
    for (_, array), parameter, old in zip(net.arrays(), module.parameters(), before, strict=True):
        assert float((parameter.detach() - old).abs().max()) > 1e-3  # training really moved
        torch.testing.assert_close(array.peek().reshape(parameter.shape), parameter.detach(), **TIGHT)


def outer(seed: int, pairs: int = 5) -> Outer:
    return Outer(normal(seed, pairs, 2, 4), normal(seed + 1, pairs, 2, 3), 0.7)


def by_hand(direction: Outer) -> Tensor:
    pairs, groups, in_ = direction.x.shape
    total = torch.zeros(groups, direction.d.shape[2], in_, dtype=torch.float64)
    for pair in range(pairs):
        for group in range(groups):
            total[group] += torch.outer(direction.d[pair, group], direction.x[pair, group])
    return direction.scale * total


def test_sum_and_scale_of_pairs_are_those_by_hand() -> None:
    direction = outer(1)
    torch.testing.assert_close(direction.summed().change, by_hand(direction), **TIGHT)
    torch.testing.assert_close(Sum()(direction).change, by_hand(direction), **TIGHT)
    twice = direction.scaled(-2.0)
    torch.testing.assert_close(twice.summed().change, -2 * by_hand(direction), **TIGHT)
    dense = Dense(by_hand(direction))
    torch.testing.assert_close(dense.scaled(3.0).change, 3 * by_hand(direction), **TIGHT)
    assert dense.summed() is dense
    assert Seeded(4, 0.5).scaled(-2.0) == Seeded(4, -1.0)


@pytest.mark.parametrize("limit", [0.01, 1.0, 1e6])
def test_clip_shortens_to_the_limit_and_keeps_the_direction(limit: float) -> None:
    direction = outer(2)
    whole = by_hand(direction)
    expected = whole * min(1.0, limit / math.sqrt(float((whole**2).sum())))
    for kind in (direction, Dense(whole)):
        clipped = Clip(limit)(kind)
        assert type(clipped) is type(kind)
        torch.testing.assert_close(clipped.summed().change, expected, **TIGHT)


def test_transforms_act_in_order_before_the_write() -> None:
    array = ideal_array()
    array.transforms = [Clip(0.5), Momentum(0.5)]
    whole = by_hand(outer(2))
    short = whole * 0.5 / whole.norm()
    array.write(outer(2))
    array.write(outer(2))
    torch.testing.assert_close(array.peek(), short + 1.5 * short, **TIGHT)


def ideal_array() -> IdealArray:
    array = SOFTWARE.array(Geometry("fc.weight", 1, 2, 3, 4, 1.0), exact_trial())
    assert isinstance(array, IdealArray)
    return array


def test_ideal_writes_are_sums() -> None:
    array, total = ideal_array(), torch.zeros(2, 3, 4, dtype=torch.float64)
    for seed in range(5):
        array.write(outer(seed))
        array.write(Dense(normal(seed, 2, 3, 4)))
        total += by_hand(outer(seed)) + normal(seed, 2, 3, 4)
    torch.testing.assert_close(array.peek(), total, **TIGHT)


def test_perturbation_is_seen_by_reads_and_undone_to_the_bit() -> None:
    array, x = ideal_array(), normal(3, 6, 2, 4)
    array.load(1e-8 * normal(4, 2, 3, 4))  # tiny: adding and taking away would leave rounding
    weights, before = array.peek(), array.read(x)
    array.perturb(11, 0.25)
    seen = array.read(torch.eye(4, dtype=torch.float64)[:, None].expand(4, 2, 4))
    z = (seen.permute(1, 2, 0) - weights) / 0.25
    torch.testing.assert_close(
        array.read_t(normal(5, 6, 2, 3)),
        torch.einsum("goi,ngo->ngi", weights + 0.25 * z, normal(5, 6, 2, 3)),
        **TIGHT,
    )
    assert torch.equal(array.peek(), weights)
    array.perturb(11, 0.0)
    assert torch.equal(array.read(x), before)
    array.write(Seeded(11, -2.0))
    torch.testing.assert_close(array.peek(), weights - 2 * z, **TIGHT)


def test_perturbations_are_standard_normal_and_differ_by_seed_and_array() -> None:
    def z(seed: int, number: int) -> Tensor:
        geometry = Geometry("fc.weight", number, 1, 100, 100, 1.0)
        array = SOFTWARE.array(geometry, exact_trial())
        array.write(Seeded(seed, 1.0))
        return array.peek().flatten()

    here = z(1, 1)
    assert abs(float(here.mean())) < 4 / 100
    assert abs(float(here.var()) - 1) < 4 * math.sqrt(2) / 100
    for other in (z(2, 1), z(1, 2)):
        assert abs(float(torch.corrcoef(torch.stack([here, other]))[0, 1])) < 4 / 100


def synapse(**tables: Any) -> SynapseCard:
    response = {"law": "linear", "levels_up": 100, "levels_down": 80}
    return synapse_card(response, range={"g_min_S": 2e-7}, **tables)


def crossbar(cell: str, *, out: int = 3, in_: int = 4, **tables: Any) -> tuple[CrossbarArray, Trial]:
    trial = exact_trial()
    substrate = Crossbar(synapse(**tables), Options(cell=cell, weight_range=4.0))
    return substrate.array(Geometry("fc.weight", 1, 1, out, in_, 0.25), trial), trial


CELLS = ["single", "bidirectional-pair", "alternating-pair", "unidirectional-ltp", "unidirectional-ltd"]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_read_noise_is_that_of_noisy_cells(cell: str, transposed: bool) -> None:
    """Every conductance, G_min included, is multiplied by 1 + noise xi."""
    reads, noise = 20_000, 0.08
    array, trial = crossbar(cell, read={"noise_rel": noise})
    array.load(0.3 * normal(1, 1, 3, 4))
    trial.ledger.clock.phase = "train"
    drive = normal(2, 3 if transposed else 4)
    read = array.read_t if transposed else array.read
    ours = read(drive.expand(reads, 1, -1))[:, 0].numpy()

    siemens = array.siemens()
    assert siemens is not None
    g = siemens.numpy().reshape(-1, 3, 4) / 8e-7  # in units of the range
    rng = np.random.default_rng(0)
    noisy = g * (1 + noise * rng.standard_normal((reads, *g.shape)))
    # w_max = 4 std = 1; a single cell subtracts a quiet reference at mid-range.
    weights = noisy[:, 0] - noisy[:, 1] if len(g) == 2 else 2 * (noisy[:, 0] - 0.25) - 1
    if transposed:
        weights = weights.transpose(0, 2, 1)
    theirs = weights @ drive.numpy()
    error = theirs.std(0) / math.sqrt(reads / 2)
    assert (abs(ours.mean(0) - theirs.mean(0)) < 4 * error).all()
    spread = np.cov(ours.T), np.cov(theirs.T)
    scale = np.sqrt(np.outer(spread[1].diagonal(), spread[1].diagonal()))
    assert (
        abs(spread[0].diagonal() - spread[1].diagonal()) < 4 * scale.diagonal() * math.sqrt(4 / reads)
    ).all()
    apart = ~np.eye(len(scale), dtype=bool)
    assert (abs(spread[0] / scale)[apart] < 4 / math.sqrt(reads)).all()


def test_noise_of_two_reads_is_uncorrelated_and_evaluation_changes_nothing() -> None:
    array, trial = crossbar("single", read={"noise_rel": 0.1})
    x = normal(2, 4).expand(5000, 1, 4)
    trial.ledger.clock.phase = "train"
    one, two = array.read(x).flatten(), array.read(x).flatten()
    assert abs(float(torch.corrcoef(torch.stack([one, two]))[0, 1])) < 4 / math.sqrt(15_000)
    trial.ledger.clock.phase = "eval"
    looks = [array.read(x) for _ in range(2)]
    assert not torch.equal(looks[0], looks[1])
    other, its_trial = crossbar("single", read={"noise_rel": 0.1})
    its_trial.ledger.clock.phase = "train"
    assert torch.equal(other.read(x).flatten(), one)
    assert torch.equal(other.read(x).flatten(), two)


def noisy_net(kind: str) -> engine.TorchEngine:
    layers: dict[str, dict[str, Layer | Net]] = {
        "dense": {"layer": dense_layer.Dense(16, 5)},
        "conv": {"layer": Conv2d(1, 5, 4, stride=2, padding=1), "flat": Flatten()},
    }
    net, trial = placed(Net(layers[kind]), Crossbar(synapse(read={"noise_rel": 0.3}), Options()))
    return engine.TorchEngine(Backprop().bind(net), trial.ledger, 1)


def loss_of(judge: engine.TorchEngine, kind: str) -> float:
    x = normal(1, 12, 16) if kind == "dense" else normal(1, 12, 1, 4, 4)
    return judge.evaluate(x, torch.arange(12) % 5, 3).loss


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_evaluation_of_a_net_does_not_depend_on_the_batches(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    for batch in (12, 5, 1):
        monkeypatch.setattr(engine, "EVAL_BATCH", batch)
        losses.append(loss_of(noisy_net(kind), kind))
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-9)


def test_evaluating_twice_gives_the_same() -> None:
    judge = noisy_net("dense")
    assert loss_of(judge, "dense") == loss_of(judge, "dense")


def quantised(x: float, full: float, bits: int) -> float:
    codes = 2 ** (bits - 1) - 1
    return min(max(round(x / full * codes), -codes), codes) * full / codes


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("dac", "adc"), [(7, None), (None, 9), (4, 5)])
def test_converters_stand_before_and_behind_the_array(cell: str, dac: int | None, adc: int | None) -> None:
    wires = {"dac_bits": dac, "adc_bits": adc, "adc_range_cells": 1.5}
    array, trial = crossbar(cell, read={k: v for k, v in wires.items() if v is not None})
    array.load(0.3 * normal(1, 1, 3, 4))
    slope = 2.0 if cell == "single" else 1.0
    x = 5 * normal(2, 20, 1, 4)
    x[3] = 0
    w, y = array.peek()[0].tolist(), array.read(x)[:, 0].tolist()
    lost = clipped = 0
    for sample, row in enumerate(x[:, 0].tolist()):
        largest = max(map(abs, row)) or 1.0
        drive = [v / largest if dac is None else quantised(v / largest, 1.0, dac) for v in row]
        for out in range(3):
            current = sum(a * b for a, b in zip(w[out], drive, strict=True))
            code = current if adc is None else quantised(current, 1.5 * slope, adc)
            assert y[sample][out] == pytest.approx(code * largest, abs=1e-12)
            clipped += adc is not None and abs(current) > 1.5 * slope
            lost += adc is not None and code == 0 and current != 0
    found = trial.ledger.of("init", "fc.weight", "adc")
    assert (found["outputs"], found["adc_clipped"], found["adc_lost"]) == (
        (60, clipped, lost) if adc else (0, 0, 0)
    )


def test_fixed_full_scale_current_is_in_amperes() -> None:
    wires = {"adc_bits": 8, "adc_range_A": 4e-7, "v_read_V": 0.5}
    array, _ = crossbar("bidirectional-pair", read=wires)
    array.load(torch.full((1, 3, 4), 0.9))
    # Four cells of 0.9 x 0.8 uS at 0.5 V are 1.44 uA, beyond 0.4 uA: the weight of 1 cell at 0.5 V.
    assert array.read(torch.ones(1, 1, 4, dtype=torch.float64)).flatten().tolist() == pytest.approx([1.0] * 3)


def test_a_full_scale_of_cells_that_count_from_zero_is_as_many_amperes() -> None:
    wires = {"adc_bits": 8, "adc_range_A": 1e-7, "v_read_V": 0.5}
    array, _ = crossbar("half-reference", read=wires)
    span = array._card.range
    # A weight is 2 G / g_max - 1: a current of 0.1 uA at 0.5 V is so many of them.
    assert array._full_scale(4) == pytest.approx(2 * 1e-7 / (0.5 * span.g_max_S))


def net_2x2(weights: Tensor, substrate: Substrate) -> tuple[Net, Trial]:
    layer = dense_layer.Dense(2, 2, weights=weights, offsets=torch.zeros(2))
    return placed(Net({"fc": layer}), substrate)


def test_ledger_counts_of_an_ideal_net_are_those_by_hand() -> None:
    net, trial = net_2x2(torch.zeros(2, 2), SOFTWARE)
    bound = Backprop().bind(net)
    trial.ledger.clock.phase = "train"
    bound.step(normal(0, 3, 2), torch.tensor([0, 1, 1]), 0.1)
    trial.ledger.clock.phase = "eval"
    bound.predict(normal(0, 5, 2))
    ledger = trial.ledger
    assert ledger.of("init", "fc.weight", "load") == {"loads": 1}
    assert ledger.of("train", "fc.weight", "read") == {"reads": 3, "macs": 12}
    assert ledger.of("train", "fc.weight", "read_t") == {}  # the first layer passes nothing back
    assert ledger.of("train", "fc.weight", "write") == {"writes": 1}
    assert ledger.of("eval", "fc.weight", "read") == {"reads": 5, "macs": 20}
    x = normal(0, 3, 2)
    net.children["fc"].igrad(x, x)  # type: ignore[union-attr]
    assert ledger.of("eval", "fc.weight", "read_t") == {"reads": 3, "macs": 12}
    assert ledger.of("train", "fc.bias", "read") == {"reads": 3, "macs": 6}
    assert ledger.of("eval", "fc.bias", "read") == {"reads": 5, "macs": 10}
    assert sum(row.get("macs", 0) for row in ledger.rows()) == 60  # no other line has any


def test_ledger_counts_of_a_crossbar_are_those_by_hand() -> None:
    # A range of 1/std makes the largest weight 1; a step of the pair is 1/100 of it.
    weights = torch.tensor([[0.5, -0.25], [0.0, 0.1]], dtype=torch.float64)
    options = Options(cell="unidirectional-ltp", refresh="none", weight_range=float(1 / weights.std()))
    substrate = Crossbar(synapse(), options)
    net, trial = net_2x2(weights, substrate)
    ledger = trial.ledger
    loaded = ledger.of("init", "fc.weight", "load")
    assert (loaded["loads"], loaded["pulses_up"]) == (1, 50 + 25 + 0 + 10)
    ledger.clock.phase = "train"
    array = dict(net.arrays())["fc.weight"]
    one, d = torch.ones(2, 1, 2, dtype=torch.float64), torch.zeros(2, 1, 2, dtype=torch.float64)
    d[0, 0], d[1, 0, 0] = torch.tensor([9.0, -9.0]), 9.0  # so large that every pulse comes
    array.write(Outer(one, d))
    found = ledger.of("train", "fc.weight", "write")
    assert (found["writes"], found["pulses_up"], found["pulses_down"]) == (1, 6, 0)
    assert (found["clipped"], found["resets"]) == (0, 0)
    assert found["slots"] == 3  # two rows of one sign, then one
    assert found["randoms"] == 6
    moved = torch.tensor([[0.52, -0.23], [-0.01, 0.09]], dtype=torch.float64)
    torch.testing.assert_close(array.peek()[0], moved, **TIGHT)
    assert array.wear() == 52


def test_conv_counts_a_read_and_a_pair_for_each_position() -> None:
    net, trial = placed(Net({"conv": Conv2d(2, 4, 3, padding=1, groups=2)}))
    _, _, tapes = net.fw(normal(0, 3, 2, 5, 5))
    assert trial.ledger.of("init", "conv.weight", "read") == {"reads": 75, "macs": 75 * 2 * 2 * 9}
    _, directions = net.backward(normal(1, 3, 4, 5, 5), tapes, "conv")
    weight = directions["conv.weight"]
    assert isinstance(weight, Outer)
    assert weight.x.shape == (75, 2, 9)
    assert weight.d.shape == (75, 2, 2)


@pytest.mark.parametrize("substrate", [SOFTWARE, Crossbar(synapse(), Options())], ids=["ideal", "crossbar"])
def test_saved_state_is_not_reached_by_later_writes(substrate: Substrate) -> None:
    net, _ = net_2x2(torch.tensor([[0.5, -0.2], [0.1, 0.3]]), substrate)
    array = dict(net.arrays())["fc.weight"]
    saved, before = net.state(), array.peek()
    pairs = Outer(normal(0, 4, 1, 2), normal(1, 4, 1, 2), 2.0)
    for _ in range(2):
        array.write(pairs)
        assert not torch.equal(array.peek(), before)
        net.restore(saved)
        assert torch.equal(array.peek(), before)
