"""The RTL learns what the program learns: scores, losses, weights and cycles, under Verilator."""

from pathlib import Path
from typing import Any

import pytest

from hwtrain.config import make_config
from hwtrain.errors import HwtrainError
from hwtrain.export.cosim import RtlSettings, golden
from hwtrain.export.rtl import cycles, module_text, rtl_net
from hwtrain.nets.base import mlp
from hwtrain.program.lower import lower
from hwtrain.sim import verilator
from hwtrain.training.trial import Spec, place
from tests.hardware.rtl_nets import RTL, made, run, samples
from tests.hardware.test_rtl_mutants import NETS, STEPS


@pytest.mark.parametrize(
    ("card", "net", "lanes", "lr", "loss"),
    [
        ("shift4", "5-7-6-3", 4, 0.02, "softmax2"),
        ("fixed16", "9-5-3", 8, 0.02, "squared-error"),
        ("fixed8", "6-4", 2, 0.125, "softmax2"),
    ],
)
def test_what_is_written_is_clean_for_verilator(
    card: str, net: str, lanes: int, lr: float, loss: str, tmp_path: Path
) -> None:
    _, made_net = made(card, net, lanes, lr, loss)
    (tmp_path / "hwt_net.sv").write_text(module_text(made_net))
    assert verilator.lint([tmp_path / "hwt_net.sv", *sorted(RTL.glob("*.sv"))], "hwt_net") == ""


@pytest.mark.parametrize("lanes", [2, 4, 16])
def test_every_weight_has_a_place_of_its_own(lanes: int) -> None:
    program, net = made("shift4", "11-7-3", lanes, 0.02)
    places = list(net.places())
    names = [layer.weights for layer in net.layers] + [layer.biases for layer in net.layers]
    assert len(places) == sum(program.buffers[name].size for name in names)
    assert len({(place, lane) for _, _, place, lane in places}) == len(places)
    weights = [place & 0xFFFF for _, _, place, _ in places if not place >> 31]
    assert max(weights) == sum(layer.words for layer in net.layers) - 1
    assert max(lane for *_, lane in places) < lanes


def test_a_step_of_784_128_10_takes_at_most_1700_cycles_with_128_lanes() -> None:
    _, net = made("shift4", "784-128-10", 128, 0.02)
    assert [layer.along for layer in net.layers] == [True, False]
    assert cycles(net) <= 1700


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lanes": 6}, "lanes = 6: choose a power of two"),
        ({"batch": 2}, "train with --batch 1"),
        ({"lr": 1e-15}, "changes would be cut by"),
        ({"lanes": 2, "net": "600-300-10"}, "take more --lanes"),
    ],
)
def test_what_the_rtl_cannot_be_is_refused_with_a_way_out(change: dict[str, Any], message: str) -> None:
    with pytest.raises(HwtrainError, match=message):
        made(**{"card": "shift4", "net": "8-6-4", "lanes": 4, "lr": 0.02, **change})


def test_real_numbers_are_refused() -> None:
    bound, _ = place(Spec("device", "backprop", "float32", seed=0, lr=0.1), make_config(), mlp("4-3"))
    with pytest.raises(HwtrainError, match="train on a device of kind fixed or shift"):
        rtl_net(lower(bound, shape=(4,), batch=1), 4, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("card", "net", "lanes", "lr", "loss", "steps"),
    [
        ("shift4", "37-23-11-5", 8, 0.02, "softmax2", 1000),
        ("fixed8", "8-6-4", 4, 0.015625, "softmax2", 300),  # noise of a few bits
        ("fixed8", "6-4", 2, 0.25, "softmax2", 300),  # one layer; changes shifted up, no noise
        ("fixed16", "9-5-3", 8, 0.02, "squared-error", 300),
    ],
)
def test_every_value_equals_the_interpreter(
    card: str, net: str, lanes: int, lr: float, loss: str, steps: int, tmp_path: Path
) -> None:
    program, made_net = made(card, net, lanes, lr, loss)
    found = run(program, made_net, lr, steps, tmp_path)
    assert (found.mismatches, found.first_wrong) == (0, -1)
    weights = sum(layer.in_ * layer.out + layer.out for layer in made_net.layers)
    # twice: scores and loss with TLAST, all weights, and the registers
    assert found.compared == 2 * (2 * steps * (made_net.classes + 1) + weights + 7)
    assert found.changed > 0.5
    assert found.wrong_frames > steps // 10
    assert found.cycles_per_step == found.model


def test_the_faults_are_planted_where_codes_come_to_their_ends() -> None:
    reached = []
    for card, net, lanes, lr, loss in (NETS["whole"], ("fixed8", "6-4", 2, 0.25, "softmax2")):
        program, made_net = made(card, net, lanes, lr, loss)
        settings = RtlSettings(lanes=lanes, lr=lr)
        *_, ends = golden(program, made_net, samples(program, STEPS), settings)
        assert len(ends) == 2 * (4 * len(made_net.layers) - 1)  # forward, backward, weights, biases
        reached.append(sum(ends) / len(ends))
    assert reached[0] >= 0.1
    assert reached[1] == 0  # a mild training comes to none
