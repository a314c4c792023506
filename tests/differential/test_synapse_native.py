"""The pulsed update in C against the same update in Python: equal integers, conductances to float32."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.arith.threefry import Streams
from hwtrain.cards import SynapseCard, card
from hwtrain.errors import IncompatibleRule, ProgramError
from hwtrain.kernels.xbar import KNOWN
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.tanh import Tanh
from hwtrain.ledger import Ledger
from hwtrain.net import Net
from hwtrain.nets.base import mlp
from hwtrain.program.lower import lower
from hwtrain.rules.backprop import Backprop
from hwtrain.rules.speculative import Speculative
from hwtrain.substrates.base import Options, Trial, substrate_of
from hwtrain.substrates.crossbar import CrossbarArray
from hwtrain.training.engine import engine_of
from tests.helpers import JUMPS, synapse_card
from tests.programs import bound_on

STEPS = 40
ONE_NOW = [
    "stochastic-pulse",
    *(pytest.param(u, marks=pytest.mark.slow) for u in KNOWN["update"] if u != "stochastic-pulse"),
]
SCATTERS_NOW = [("stochastic-pulse", "add"), ("stochastic-pulse", "mult"), ("rounded-pulse", "fine")]
"""Of every kind, an update that sends trains; single pulses scatter by their first step alone."""
FAMILY = ("symmetry-shift", "tiki-taka", "tiki-taka-v2", "chopped-tiki-taka", "agad")
"""Updates whose pulses are of another one, on weights that are shifted or after what a fast array says."""
FAMILY_NOW = [("symmetry-shift", "alternating-pair"), ("chopped-tiki-taka", "single")]
ALL = list(itertools.product(KNOWN["update"], (*KNOWN["cell"], "half-reference")))
ROUGH = {
    "variation": {"c2c_rel_range": 0.02, "step_dtod": 0.3, "bias_dtod": 0.2, "c2c_rel_step": 0.3},
    "range": {"g_min_dtod": 0.05, "g_max_dtod": 0.1},
    "faults": {"stuck_on": 0.02, "stuck_off": 0.02, "stuck_random": 0.02},
}
SOFT = {"law": "affine", "step_up": 0.02, "step_down": 0.03, "curvature_up": 1.0, "curvature_down": 0.9}
LABELS = {"law": "affine", "levels_up": 60, "levels_down": 40, "label_up": 2.4, "label_down": -4.9}
GROWING = {"law": "affine", "levels_up": 64, "levels_down": 32, "label_up": 1.75, "label_down": 6.0}
ABRUPT = {"law": "affine", "step_up": 0.4, "step_down": 0.3, "curvature_up": 1.0, "curvature_down": -3.0}
STRAIGHT = {"law": "linear", "levels_up": 50, "levels_down": 30}
WALKED = {
    "exp-step": {
        "law": "exp-step",
        **{"dw_min": 0.05, "up_down": 0.2, "w_min": -1.0, "w_max": 1.0, "a": 0.5, "b": 0.1},
        **{"gamma_up": 5.0, "gamma_down": 4.0, "amp_up": 0.04, "amp_down": 0.04},
    },
    "pow-step": {
        "law": "pow-step",
        **{"step_up": 0.03, "step_down": 0.05, "power_up": 0.4, "power_down": 2.3},
    },
    "piecewise": {
        "law": "piecewise",
        **{"step_up": 0.03, "step_down": 0.02, "up": [1.5, 0.4, 0.9, 0.2], "down": [0.3, 1.0, 2.0]},
    },
    "cdf-table": {
        "law": "cdf-table",
        **{"g": [0.0, 0.1, 0.7, 1.0], "up": [0.05, 0.03, 0.02, 0.01], "down": [0.02, 0.01, 0.04, 0.03]},
    },
    "drawn-table": JUMPS,
}
WALKS_NOW = [
    ("drawn-table", "add", "alternating-pair"),
    ("exp-step", "mult", "single"),
    ("pow-step", "add", "alternating-pair"),
    ("piecewise", "mult", "alternating-pair"),
    ("cdf-table", "add", "single"),
]

WIRES = {
    "noise": {"noise_rel": 0.2},
    "converters": {"dac_bits": 7, "adc_bits": 6, "adc_range_cells": 2.0},
    "whole-scale": {"adc_bits": 6, "adc_range_share": 0.4, "lines": 7},
    "tiles": {"noise_rel": 0.1, "dac_bits": 8, "adc_bits": 7, "adc_range_cells": 0.5, "lines": 7},
}


def cnn() -> Net:
    return Net(
        {"c1": Conv2d(2, 4, 3, padding=1, groups=2), "a1": Tanh(), "f": Flatten(), "fc": Dense(100, 4)}
    )


def trained(
    engine: str,
    device: SynapseCard,
    options: Options,
    net: Net,
    shape: tuple[int, ...],
    batch: int,
    threads: int = 1,
    steps: int = STEPS,
) -> Any:
    """A net after some steps on the same samples, and its ledger."""
    ledger, placed = Ledger(), net.copy()
    substrate = substrate_of(device, options)
    placed.place(Trial(Streams(3), ledger), lambda _: substrate, substrate_of(card("float32"), options))
    bound = Backprop().bind(placed)
    # Rounded pulses decide by a threshold, which conductances that agree to 5e-7 may pass on either side;
    # with the samples of this seed none does.
    rng = np.random.default_rng(1)
    samples = steps * batch + 1
    x = rng.random((samples, *shape)) * (rng.random((samples, *shape)) > 0.4)
    labels = torch.from_numpy(rng.integers(0, 4, samples))
    engine_of(engine, bound, ledger, batch, shape, threads).run(torch.from_numpy(x).float(), labels, 0, 0.1)
    return placed, ledger


def assert_same(
    device: SynapseCard,
    options: Options,
    net: Net,
    shape: tuple[int, ...],
    batch: int = 1,
    steps: int = STEPS,
) -> None:
    (ours, counted), (theirs, expected) = (
        trained(engine, device, options, net, shape, batch, steps=steps) for engine in ("native", "torch")
    )
    assert counted.rows() == expected.rows()
    moved = 0
    for (path, array), (_, other) in zip(ours.arrays(), theirs.arrays(), strict=True):
        if isinstance(array, CrossbarArray):
            assert torch.equal(array.cells.wear, other.cells.wear), path
            torch.testing.assert_close(array.cells.g, other.cells.g, atol=STEPS * 1e-7, rtol=0)
            torch.testing.assert_close(array.peek(), other.peek(), atol=STEPS * 1e-6, rtol=0)
            moved += int((array.cells.wear > 0).sum())
    assert moved > 100


@pytest.mark.parametrize(("update", "cell"), ALL)
@pytest.mark.parametrize(
    "response",
    [SOFT, *(pytest.param(law, marks=pytest.mark.slow) for law in (LABELS, STRAIGHT))],
    ids=["soft", "labels", "straight"],
)
def test_a_rough_device_takes_the_same_pulses(response: dict[str, Any], update: str, cell: str) -> None:
    device = synapse_card(response, **ROUGH)
    assert_same(device, Options(update, cell), mlp("20-12-4", "tanh"), (20,))


@pytest.mark.parametrize(
    ("update", "kind"),
    [
        pytest.param(*case, marks=() if case in SCATTERS_NOW else pytest.mark.slow)
        for case in itertools.product(KNOWN["update"], ("add", "mult", "fine"))
    ],
)
def test_scatter_of_every_kind_is_the_same(update: str, kind: str) -> None:
    # Fine, and yet so large in trains that the scatter of later steps is felt by its first order.
    felt = (update, kind) == ("stochastic-pulse", "fine")
    size, step = (10.0, 0.0005) if felt else (0.5, 0.002)
    scatter = {"c2c_rel_step": size, "c2c_kind": "add" if kind == "add" else "mult", "step_dist": "lognormal"}
    rough = ROUGH | {"variation": scatter, "pulse": {"endurance": 12}}  # and some cells wear out
    steps = {"step_up": step, "step_down": 1.5 * step} if kind == "fine" else {}
    device = synapse_card(SOFT | steps, **rough)
    options = Options(update, "bidirectional-pair", weight_range=1.0)  # so that trains are long
    net, _ = trained("native", device, options, mlp("20-12-4", "tanh"), (20,), 1, steps=1)
    assert {array._for_c.kind for _, array in net.arrays() if isinstance(array, CrossbarArray)} == {kind}
    assert_same(device, options, mlp("20-12-4", "tanh"), (20,))


@pytest.mark.parametrize("update", ["stochastic-pulse", "rounded-pulse"])  # the latter's trains have no limit
@pytest.mark.parametrize(
    "response", [LABELS, GROWING, ABRUPT, STRAIGHT], ids=["labels", "growing", "abrupt", "straight"]
)
def test_where_scatter_is_fine_any_curvature_moves_alike(response: dict[str, Any], update: str) -> None:
    variation = {"c2c_rel_range": 0.02, "step_dtod": 0.3, "bias_dtod": 0.2}
    device = synapse_card(response, **ROUGH | {"variation": variation, "pulse": {"endurance": 40}})
    options = Options(update, "single", weight_range=0.5)  # so that trains are long
    net, _ = trained("native", device, options, mlp("20-12-4", "tanh"), (20,), 1, steps=1)
    assert {array._for_c.kind for _, array in net.arrays() if isinstance(array, CrossbarArray)} == {"fine"}
    assert_same(device, options, mlp("20-12-4", "tanh"), (20,))


def test_cells_that_one_pulse_carries_past_the_end_are_not_fine() -> None:
    far = {"step_up": 0.9, "step_down": 0.7, "curvature_up": 1.0, "curvature_down": 1.0}
    variation = {"c2c_rel_range": 0.02, "step_dtod": 0.3}
    device, options = (
        synapse_card({"law": "affine"} | far, variation=variation),
        Options("sign-pulse", "single"),
    )
    net, _ = trained("native", device, options, mlp("20-12-4", "tanh"), (20,), 1, steps=1)
    assert "fine" not in {array._for_c.kind for _, array in net.arrays() if isinstance(array, CrossbarArray)}
    assert_same(device, options, mlp("20-12-4", "tanh"), (20,))


@pytest.mark.parametrize(
    ("update", "cell"),
    [
        pytest.param(*case, marks=() if case in FAMILY_NOW else pytest.mark.slow)
        for case in itertools.product(FAMILY, KNOWN["cell"])
    ],
)
def test_a_fast_array_and_what_passes_from_it_are_the_same(update: str, cell: str) -> None:
    # The columns of fc1 are read twenty times: choppers flip, and the reference of AGAD is renewed.
    options = Options(update, cell, "none")  # when a pair is worn is a threshold too: see ``trained``
    assert_same(synapse_card(LABELS, **ROUGH), options, mlp("4-12-20", "tanh"), (4,), steps=80)


@pytest.mark.parametrize(
    "update", [pytest.param(u, marks=() if u == "tiki-taka-v2" else pytest.mark.slow) for u in FAMILY]
)
def test_a_fast_array_is_read_through_its_periphery(update: str) -> None:
    device = synapse_card(LABELS, **ROUGH, read={**WIRES["tiles"], "adc_bits": 10, "lines": 18})
    assert_same(device, Options(update, "bidirectional-pair"), mlp("8-12-20", "tanh"), (8,), batch=3)


@pytest.mark.parametrize(
    "update", [pytest.param(u, marks=() if u == "agad" else pytest.mark.slow) for u in FAMILY]
)
def test_a_family_on_groups_passes_columns_in_order(update: str) -> None:
    net = Net({"c": Conv2d(4, 6, 3, groups=2), "a": Tanh(), "f": Flatten(), "fc": Dense(6, 4)})
    assert_same(synapse_card(LABELS, **ROUGH), Options(update, "single"), net, (4, 3, 3), batch=2, steps=120)


def test_pairs_one_by_one_are_too_many_for_a_program() -> None:
    options, net = Options("tiki-taka", "single"), mlp("5-4", "tanh")
    with pytest.raises(IncompatibleRule, match=r"tiki-taka writes 300 pairs a step .*smaller batch"):
        trained("native", synapse_card(SOFT), options, net, (5,), 300, steps=1)


@pytest.mark.parametrize(
    ("law", "kind", "cell"),
    [
        pytest.param(*case, marks=() if case in WALKS_NOW else pytest.mark.slow)
        for case in itertools.product(WALKED, ("add", "mult"), ("single", "alternating-pair"))
    ],
)
def test_a_law_without_a_closed_form_walks_the_same(law: str, kind: str, cell: str) -> None:
    scatter = ROUGH["variation"] | {"c2c_kind": kind}
    if law == "drawn-table":
        del scatter["c2c_rel_step"]  # steps are drawn
    device = synapse_card(WALKED[law], **ROUGH | {"variation": scatter, "pulse": {"endurance": 40}})
    options = Options("stochastic-pulse", cell, weight_range=1.0)  # so that trains are long
    assert_same(device, options, mlp("20-12-4", "tanh"), (20,))


@pytest.mark.parametrize(
    "cell", ["unidirectional-ltp", pytest.param("unidirectional-ltd", marks=pytest.mark.slow)]
)
def test_pairs_of_a_law_without_a_closed_form_are_refreshed_alike(cell: str) -> None:
    device, options = synapse_card(WALKED["piecewise"], **ROUGH), Options("sign-pulse", cell, "full-init", 7)
    assert_same(device, options, mlp("20-12-4", "tanh"), (20,))


@pytest.mark.parametrize(
    ("law", "update", "cell", "said"),
    [
        ("exp-step", "rounded-pulse", "single", "rounded-pulse of a law that is walked"),
        ("pow-step", "sign-pulse", "unidirectional-ltd", "refreshes by more than 64 pulses"),
    ],
)
def test_trains_that_python_does_not_walk_are_refused(law: str, update: str, cell: str, said: str) -> None:
    with pytest.raises(IncompatibleRule, match=f"layer fc1.weight: {said}.*--engine torch"):
        trained("native", synapse_card(WALKED[law]), Options(update, cell), mlp("5-4", "tanh"), (5,), 1)


@pytest.mark.parametrize("refresh", ["threshold", "periodic", "full-init", "none"])
@pytest.mark.parametrize("cell", ["unidirectional-ltp", "unidirectional-ltd"])
def test_pairs_are_refreshed_alike(cell: str, refresh: str) -> None:
    device = synapse_card(LABELS | {"levels_up": 8, "levels_down": 8}, **ROUGH)
    options = Options("sign-pulse", cell, refresh, 7)
    assert_same(device, options, mlp("20-12-4", "tanh"), (20,))
    _, ledger = trained("native", device, options, mlp("20-12-4", "tanh"), (20,), 1)
    assert (ledger.of("train", "fc2.weight", "write")["resets"] > 0) == (refresh != "none")


@pytest.mark.parametrize("update", ONE_NOW)
def test_a_convolution_with_groups_and_a_batch_writes_its_pairs_in_order(update: str) -> None:
    assert_same(synapse_card(SOFT, **ROUGH), Options(update, "single"), cnn(), (2, 5, 5), batch=3, steps=8)


@pytest.mark.parametrize("update", [*ONE_NOW, *(pytest.param(u, marks=pytest.mark.slow) for u in FAMILY)])
def test_any_number_of_threads_leaves_the_same_bits(update: str) -> None:
    options = Options(update, "unidirectional-ltp")
    device = synapse_card(SOFT, **ROUGH, read=WIRES["tiles"])
    (one, expected), *others = (
        trained("native", device, options, mlp("40-30-4", "tanh"), (40,), 2, n, 10) for n in (1, 3)
    )
    for found, counted in others:
        assert counted.rows() == expected.rows()
        for (_, array), (_, other) in zip(one.arrays(), found.arrays(), strict=True):
            assert all(torch.equal(value, other.state()[name]) for name, value in array.state().items())


@pytest.mark.parametrize(
    ("wires", "cell"),
    [
        pytest.param("noise", "single", marks=pytest.mark.slow),
        pytest.param("converters", "half-reference", marks=pytest.mark.slow),
        ("whole-scale", "half-reference"),
        ("tiles", "bidirectional-pair"),
    ],
)
def test_a_periphery_reads_the_same(wires: str, cell: str) -> None:
    device = synapse_card(SOFT, **ROUGH, read=WIRES[wires])
    assert_same(device, Options("stochastic-pulse", cell), mlp("20-12-4", "tanh"), (20,))


@pytest.mark.slow
def test_a_convolution_with_groups_reads_through_its_periphery() -> None:
    device = synapse_card(SOFT, **ROUGH, read=WIRES["tiles"])
    assert_same(device, Options("stochastic-pulse", "single"), cnn(), (2, 5, 5), batch=3, steps=8)


def test_an_evaluation_reads_every_sample_with_noise_of_its_own() -> None:
    device = synapse_card(SOFT, **ROUGH, read=WIRES["tiles"])
    rng = np.random.default_rng(5)
    x, labels = torch.from_numpy(rng.random((50, 20))).float(), torch.from_numpy(rng.integers(0, 4, 50))
    found = []
    for engine in ("native", "torch"):
        net, ledger = trained(engine, device, Options(), mlp("20-12-4", "tanh"), (20,), 1)
        looked = engine_of(engine, Backprop().bind(net), ledger, 1, (20,))
        looks = ((50, 41), (7, 41), (50, 3))
        found.append([looked.evaluate(x[:n], labels[:n], step).loss for n, step in looks])
        found.append(ledger.of("eval", "fc1.weight", "adc"))
    assert found[0] == pytest.approx(found[2], rel=1e-6)
    assert found[1] == found[3]
    assert found[1]["outputs"] == 3 * 12 * (50 + 7 + 50)  # three tiles
    assert found[1]["adc_lost"] > 0
    assert found[1]["adc_clipped"] > 0
    assert found[0][0] != found[0][2]


def test_a_crossbar_takes_no_more_threads_than_its_scratch_is_made_for() -> None:
    with pytest.raises(ProgramError, match="threads = 17: a crossbar works on up to 16"):
        trained("native", synapse_card(SOFT), Options(), mlp("5-4", "tanh"), (5,), 1, threads=17)


def test_what_is_put_off_reads_with_the_noise_of_its_own_step() -> None:
    device, found = synapse_card(SOFT, **ROUGH, read=WIRES["tiles"]), []
    draw = torch.Generator().manual_seed(2)
    x, labels = torch.rand(6, 20, generator=draw), torch.randint(0, 4, (6,), generator=draw)
    for name in ("native", "torch"):
        bound = bound_on(mlp("20-12-4", "tanh"), device, Speculative(mode="delayed"))
        _, array = next(bound.net.arrays())
        engine = engine_of(name, bound, array.trial.ledger, 1, (20,))
        engine.run(x, labels, 0, 0.1)
        engine.flush(6, 0.1)
        found.append({path: array.peek() for path, array in bound.net.arrays()})
    for path, weights in found[0].items():
        torch.testing.assert_close(weights, found[1][path], atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["delayed", "delayed-reuse"])
def test_a_read_and_a_transposed_read_side_by_side_share_no_scratch(mode: str) -> None:
    rule = Speculative(mode=mode)
    lower(bound_on(mlp("5-4-3", "tanh"), synapse_card(SOFT, read=WIRES["tiles"]), rule), (5,))


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"read": {"line_ohm": 1.0}}, "resistive lines"),
        ({"ageing": {"lifetime_steps": 50.0}}, "ageing"),
    ],
)
def test_what_has_no_kernel_is_refused_by_layer(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(IncompatibleRule, match=f"layer fc1.weight: .*{said}.*--engine torch"):
        trained("native", synapse_card(SOFT, **tables), Options(), mlp("20-12-4", "tanh"), (20,), 1)
