"""Rules without backpropagation: exact identities, and gradients found by hand.

Every rule's training, state, ledger and ports are in tests/conformance/test_rules.py.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hwtrain.api import train
from hwtrain.arith.threefry import Streams
from hwtrain.cards import PhysicalCard, card
from hwtrain.direction import Adam
from hwtrain.errors import ConfigError, HwtrainWarning, IncompatibleRule
from hwtrain.layers.dense import Dense
from hwtrain.layers.physical import Physical
from hwtrain.layers.relu import Relu
from hwtrain.layers.tanh import Tanh
from hwtrain.net import Add, Graph, Net
from hwtrain.nets import resnet8
from hwtrain.registry import lookup, names
from hwtrain.rules._blocks import blocks, labelled, wrong
from hwtrain.rules.backprop import Backprop
from hwtrain.rules.base import Bound
from hwtrain.rules.dfa import Dfa
from hwtrain.rules.forward_forward import ForwardForward
from hwtrain.rules.mono_forward import MonoForward
from hwtrain.rules.phyll import Phyll
from hwtrain.rules.shallow import Shallow
from hwtrain.rules.spsa import Spsa
from hwtrain.substrates.base import Options, Trial, substrate_of

F64 = torch.float64
X = torch.rand(12, 6, generator=torch.Generator().manual_seed(1), dtype=F64)
Y = torch.arange(12) % 3
SOFTWARE = substrate_of(card("float32"), Options())


def placed(children: dict[str, Any], device: str = "fibre", **physics: Any) -> Net:
    net = Net(children)
    values = card(device).model_dump(by_alias=True, exclude_unset=True)
    values["physics"] |= physics
    home = substrate_of(PhysicalCard.model_validate(values), Options())
    trial = Trial(Streams(0), dtype=F64)
    net.place(trial, lambda path: home if path.startswith("phi") else SOFTWARE, SOFTWARE)
    trial.ledger.clock.phase = "train"
    return net


def two_layers(bias: bool = False) -> Net:
    return placed({"fc1": Dense(6, 5, bias=bias), "tanh": Tanh(), "fc2": Dense(5, 3, bias=bias)})


def weights(net: Net) -> list[Tensor]:
    return [array.peek()[0].clone() for _, array in net.arrays()]


def moved(net: Net, bound: Bound, lr: float = 0.1) -> list[Tensor]:
    before = weights(net)
    bound.step(X, Y, lr)
    return [after - b for after, b in zip(weights(net), before, strict=True)]


def test_dfa_whose_feedback_is_the_next_layer_is_backpropagation() -> None:
    one, other = two_layers(), two_layers()
    bound = Dfa().bind(one)
    bound.feedback[0].load(one.children["fc2"].arrays["weight"].peek().transpose(1, 2))  # type: ignore[union-attr, attr-defined]
    changes = moved(one, bound)
    for mine, expected in zip(changes, moved(other, Backprop().bind(other)), strict=False):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-14)
    assert float(changes[0].norm()) > 1e-3
    assert not changes[2].any()  # feedback is fixed


def test_mono_forward_whose_head_is_the_last_layer_is_backpropagation() -> None:
    one, other = two_layers(), two_layers()
    bound = MonoForward().bind(one)
    bound.heads[0].load(one.children["fc2"].arrays["weight"].peek())  # type: ignore[union-attr, attr-defined]
    rule = Backprop().bind(other)
    for _ in range(3):
        bound.step(X, Y, 0.5)
        rule.step(X, Y, 0.5)
    for mine, expected in zip(weights(one), weights(other), strict=False):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-14)


def test_spsa_over_all_signs_is_the_gradient() -> None:
    """With z in {-1, 1}^n in every combination the mean of c z is the gradient itself, but for eps^2."""
    net = placed({"fc": Dense(2, 3, bias=False)})
    x, way = X[:, :2], Backprop().bind(placed({"fc": Dense(2, 3, bias=False)}))
    expected_before = weights(way.net)[0]
    way.step(x, Y, 1.0)
    expected = weights(way.net)[0] - expected_before
    (array,) = (array for _, array in net.arrays())
    first, bound = array.peek(), Spsa(eps=1e-4).bind(net)
    total = torch.zeros(1, 3, 2, dtype=F64)
    for signs in product((-1.0, 1.0), repeat=6):
        z = torch.tensor(signs, dtype=F64).view(1, 3, 2)
        array._normal = lambda _, z=z: z  # type: ignore[attr-defined]
        array.load(first)
        bound.step(x, Y, 1.0)
        total += array.peek() - first
    torch.testing.assert_close(total[0] / 64, expected, rtol=1e-6, atol=1e-9)


def test_spsa_looks_along_other_directions_on_the_same_batch() -> None:
    """k directions a step are k steps of one direction on the batch."""
    many, single = (placed({"fc": Dense(6, 3)}) for _ in range(2))
    bound, one = Spsa(directions=3).bind(many), Spsa().bind(single)
    for step in range(2):
        next(many.arrays())[1].trial.ledger.clock.step = step
        loss = bound.step(X, Y, 0.1)
        losses = []
        for turn in range(3):
            next(single.arrays())[1].trial.ledger.clock.step = 3 * step + turn
            losses.append(one.step(X, Y, 0.1))
        assert torch.equal(loss, losses[0])
    for mine, expected in zip(weights(many), weights(single), strict=True):
        assert torch.equal(mine, expected)


@pytest.mark.parametrize("rule", ["node-perturbation", "forward-gradient"])
def test_the_mean_of_many_perturbations_is_the_gradient(rule: str) -> None:
    net, other = two_layers(True), two_layers(True)
    expected = moved(other, Backprop().bind(other), 1.0)
    kind = lookup("rules", rule)
    bound = (kind(sigma=0.01) if rule == "node-perturbation" else kind()).bind(net)
    before = weights(net)
    bound.step(X.repeat(4000, 1), Y.repeat(4000), 1.0)  # every sample has noise of its own
    total = [after - b for after, b in zip(weights(net), before, strict=True)]
    for mine, part in zip(total, expected, strict=True):
        cosine = (mine * part).sum() / mine.norm() / part.norm()
        assert cosine > 0.97
        assert float(mine.norm() / part.norm()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("rule", [Phyll(theta=3.0, inner=1), ForwardForward(theta=1.0)])
def test_a_local_step_is_the_gradient_of_its_loss_by_autograd(rule: Any) -> None:
    net = placed({"phi": Physical(6, 8), "fc1": Dense(8, 5), "tanh": Tanh(), "fc2": Dense(5, 3)})
    bound = rule.bind(net)
    w, b = (part.requires_grad_() for part in weights(net)[1:3])
    right, other = (net.children["phi"].fw(h)[0] for h in bound.contrasted(X, Y))
    z, n = (torch.tanh(h @ w.T + b[:, 0]) for h in (right, other))
    if isinstance(rule, Phyll):
        p = bound.p[0].double()
        g = [torch.nn.functional.cosine_similarity(h.abs(), p[None]) for h in (z, n)]
        loss = torch.log(1 + torch.exp(-3.0 * (g[0] - g[1])))
    else:
        g = [(h**2).mean(1) for h in (z, n)]
        loss = torch.log(1 + torch.exp(1 - g[0])) + torch.log(1 + torch.exp(g[1] - 1))
    expected = torch.autograd.grad(loss.mean(), (w, b))
    before = weights(net)
    found = bound.step(X, Y, 1.0)
    torch.testing.assert_close(found, loss.detach())
    changes = [after - b for after, b in zip(weights(net), before, strict=True)]
    for change, gradient in zip(changes[1:3], expected, strict=True):
        torch.testing.assert_close(-change, gradient, rtol=1e-6, atol=1e-9)
    assert not any(part.any() for part in changes[3:])  # the last layer takes no part


def test_labels_are_written_over_the_first_values_and_wrong_ones_are_wrong() -> None:
    found = labelled(X, Y, 3)
    assert torch.equal(found[:, 3:], X[:, 3:])
    assert ((found[:, :3] != 0).sum(1) == 1).all()
    assert torch.equal(found[:, :3].argmax(1), Y)
    labels = torch.zeros(30_000, dtype=torch.long) + 4
    other = wrong(labels, 10, Streams(0).stream(22), 0)  # type: ignore[arg-type]
    counts = np.bincount(other, minlength=10)
    assert counts[4] == 0
    assert np.delete(counts, 4) == pytest.approx(30_000 / 9, rel=0.06)


def test_ridge_is_the_closed_form() -> None:
    net = placed({"phi": Physical(6, 20), "fc": Dense(20, 3)})
    bound = lookup("rules", "ridge")().bind(net)
    for part in (slice(0, 5), slice(5, 12)):
        bound.step(X[part], Y[part], 0.1)
    a = net.children["phi"].fw(X)[0].numpy()
    y = np.eye(3)[Y]
    off = a - a.mean(0)
    gram = off.T @ off
    w = np.linalg.solve(gram + 0.1 * np.trace(gram) / 20 * np.eye(20), off.T @ (y - y.mean(0)))
    np.testing.assert_allclose(bound.predict(X), off @ w + y.mean(0), atol=1e-9)


def test_in_situ_takes_the_step_of_autograd_with_intensities_alone() -> None:
    net = placed({"phi": Physical(6, 6), "fc": Dense(6, 3)}, "mesh", dac_bits=0, phase_error_rad=0.1)
    bound = lookup("rules", "in-situ")().bind(net)
    medium = net.children["phi"].arrays["medium"]  # type: ignore[union-attr]
    controls = medium.controls.clone().requires_grad_()  # type: ignore[attr-defined]
    w, b = weights(net)[1:]
    z = medium.source.respond(X, controls) @ w.T + b[:, 0]  # type: ignore[attr-defined]
    (expected,) = torch.autograd.grad(torch.nn.functional.cross_entropy(z, Y), controls)
    before = medium.peek()
    bound.step(X, Y, 0.5)
    change = (medium.peek() - before)[0, 0]
    assert float((change / -0.5 - expected).norm() / expected.norm()) < 1e-6


def test_coupled_learning_takes_the_step_of_its_contrast() -> None:
    net = placed({"phi": Physical(6, 3)}, "resistor-network", hidden=2)
    rule = lookup("rules", "coupled-learning")(eta=0.2, high=0.5)
    bound = rule.bind(net)
    medium = net.children["phi"].arrays["medium"]  # type: ignore[union-attr]
    source, first = medium.source, medium.peek()[0, 0]  # type: ignore[attr-defined]
    volts = source.respond(X, first)
    held = volts + 0.2 * (0.5 * torch.nn.functional.one_hot(Y, 3) - volts)

    def contrast(g: Tensor) -> Tensor:
        """Co-content held minus free, by eta, of networks that settle under each."""
        return ((source.strain(X, g, held) - source.strain(X, g)) @ g).mean() / 0.2

    bound.step(X, Y, 0.01)
    change = medium.peek()[0, 0] - first
    for at in (0, 5, 30, len(first) - 1):
        way = torch.zeros_like(first)
        way[at] = 1e-5
        slope = (contrast(first + way) - contrast(first - way)) / 2e-5
        assert float(change[at]) == pytest.approx(-0.01 * float(slope), rel=1e-4, abs=1e-9)


def test_inner_updates_reuse_a_measurement() -> None:
    """PhyLL's passes do not grow with its updates."""
    passes, writes = [], []
    for inner in (1, 10):
        net = placed({"phi": Physical(6, 8), "fc1": Dense(8, 5), "fc2": Dense(5, 3)})
        Phyll(inner=inner).bind(net).step(X, Y, 0.1)
        ledger = next(net.arrays())[1].trial.ledger
        passes.append(ledger.of("train", "phi.medium", "read")["passes"])
        writes.append(ledger.of("train", "fc1.weight", "write")["writes"])
    assert passes == [24, 24]
    assert writes == [1, 10]


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        ("phyll", 2), ("forward-forward", 2), ("mono-forward", 1), ("dfa", 1), ("spsa", 2),
        ("node-perturbation", 2), ("forward-gradient", 1), ("ridge", 1),
    ],
)  # fmt: skip
def test_passes_of_a_training_sample_are_what_the_rule_says(rule: str, passes: int) -> None:
    net = placed({"phi": Physical(6, 8), "fc1": Dense(8, 5), "fc2": Dense(5, 3)})
    lookup("rules", rule)().bind(net).step(X, Y, 0.01)
    ledger = next(net.arrays())[1].trial.ledger
    assert ledger.of("train", "phi.medium", "read")["passes"] == 12 * passes


@pytest.mark.parametrize(
    ("rule", "port"),
    [("in-situ", "taps"), ("coupled-learning", "clamp"), ("backprop", "read_t"), ("physics-aware", "read_t"),
     ("in-silico", "model")],
)  # fmt: skip
def test_a_rule_that_physics_cannot_serve_is_refused_with_the_port(rule: str, port: str) -> None:
    net = placed({"phi1": Physical(6, 6), "fc1": Dense(6, 6), "phi2": Physical(6, 6), "fc2": Dense(6, 3)})
    if rule == "coupled-learning":
        net = placed({"phi1": Physical(6, 3)})
    with pytest.raises(IncompatibleRule, match=rf"layer phi\d.medium: \S+ needs port {port}"):
        lookup("rules", rule)().bind(net)


def test_nets_that_are_no_row_of_layers_are_refused() -> None:
    inner = placed({"block": Net({"fc1": Dense(6, 3)})})
    for rule in ("phyll-unsupervised", "dfa", "node-perturbation", "forward-gradient"):
        with pytest.raises(IncompatibleRule, match=f"{rule} .*one after another"):
            lookup("rules", rule)().bind(inner)
    with pytest.raises(IncompatibleRule, match="behind the last physics"):
        blocks(placed({"fc1": Dense(6, 3), "phi": Physical(3, 3)}), "dfa")


def test_adam_is_torchs_and_follows_the_rate() -> None:
    net = placed({"fc": Dense(6, 3, bias=False)})
    (array,) = (array for _, array in net.arrays())
    clock = array.trial.ledger.clock
    array.transforms = [Adam(clock)]
    w = array.peek()[0].requires_grad_()
    optimiser = torch.optim.Adam([w], lr=0.01)
    rule = Backprop().bind(net)
    for step in range(20):
        clock.rate = 0.01 if step < 10 else 0.003
        optimiser.param_groups[0]["lr"] = clock.rate
        rule.step(X, Y, clock.rate)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(X @ w.T, Y).backward()
        optimiser.step()
    torch.testing.assert_close(array.peek()[0], w.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", names("rules"))
def test_options_come_as_text_and_an_unknown_one_is_refused(rule: str) -> None:
    made = lookup("rules", rule)
    for name, field in made.Options.model_fields.items():
        assert getattr(made(**{name: str(field.default)}).options, name) == field.default
    with pytest.raises(ConfigError, match="rule_options"):
        made(thetta="5")


def test_mixtures_need_two_samples() -> None:
    with pytest.raises(ConfigError, match="phyll-unsupervised takes 2 samples"):
        train("64-16-10", rule="phyll-unsupervised", device="float32", seeds=1, epochs=1)


@pytest.mark.parametrize("rule", ["speculative", "dfa"])
def test_a_skip_around_dense_layers_is_refused(rule: str) -> None:
    inputs = {"add": ("fc1", "fc2")}
    nodes = {"fc1": Dense(6, 6), "relu": Relu(), "fc2": Dense(6, 6), "add": Add(), "fc3": Dense(6, 3)}
    net = Graph(nodes, inputs)
    net.place(Trial(Streams(0)), lambda _: SOFTWARE, SOFTWARE)
    with pytest.raises(IncompatibleRule, match=r"skips|graph"):
        lookup("rules", rule)().bind(net)


def test_a_readout_that_is_solved_for_costs_the_pulses_that_write_it() -> None:
    with pytest.warns(HwtrainWarning, match="no effect: scatter of pulses and ageing"):
        result = train("64-8-10", rule="ridge", device="ag-si", seeds=1, epochs=1)
    (row,) = (row for row in result.trials if row["role"] == "device")
    assert row["pulses"] > 80
    assert row["energy_J"] > 0
    assert row["pulse_time_s"] is None


@pytest.mark.parametrize(
    ("options", "learn", "move"),
    [
        ({}, ("fc.",), True),
        ({"last": 2}, ("block3_1.", "fc."), True),
        ({"last": 2, "still": "true"}, ("block3_1.", "fc."), False),
    ],
)
def test_shallow_trains_the_last_parts(options: dict[str, Any], learn: tuple[str, ...], move: bool) -> None:
    net = placed(resnet8.make((3, 8, 8), 3, Relu, width=2).children)
    before = net.state()
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=F64)
    Shallow(**options).bind(net).step(x, Y[:4], 0.1)
    moved = {name for name, value in net.state().items() if not torch.equal(value, before[name])}
    running = {f"{path}/{name}" for path, layer in net.layers() for name in layer.running}
    assert running & moved == (running if move else set())
    arrays = {path for path, _ in net.arrays() if path.startswith(learn)}
    assert {name.partition("/")[0] for name in moved - running} == arrays


def test_shallow_refuses_more_parts_than_there_are() -> None:
    with pytest.raises(ConfigError, match="last = 3: only 2 layers or blocks"):
        Shallow(last=3).bind(two_layers())


def test_shallow_refuses_to_hold_still_what_is_not_there() -> None:
    with pytest.raises(ConfigError, match="still = true: the net has no normalisation"):
        Shallow(still=True).bind(two_layers())
