"""Mode lookahead as RTL: what the rule's program learns, one result late, at half the cycles."""

from pathlib import Path
from typing import Any

import pytest

from hwtrain.errors import HwtrainError
from hwtrain.export.rtl import cycles, module_text
from hwtrain.sim import verilator
from tests.hardware.rtl_nets import RTL, made, run
from tests.hardware.test_rtl_cycles import measured


def test_what_is_written_is_clean_for_verilator(tmp_path: Path) -> None:
    for card, sizes, lanes, lr in (("fixed16", "5-9-6-3", 4, 0.02), ("fixed8", "6-2-4", 2, 0.25)):
        _, net = made(card, sizes, lanes, lr, mode="lookahead")
        (tmp_path / "hwt_net.sv").write_text(module_text(net))
        assert verilator.lint([tmp_path / "hwt_net.sv", *sorted(RTL.glob("*.sv"))], "hwt_net") == ""


def test_a_step_of_784_128_10_is_1_9_times_as_fast_as_the_sequential_one() -> None:
    _, net = made("fixed16", "784-128-10", 128, 0.02, mode="lookahead")
    _, plain = made("fixed16", "784-128-10", 128, 0.02)
    _, wide = made("fixed16", "784-128-10", 256, 0.02)
    assert net.layers[0].along
    assert cycles(plain) >= 1.9 * cycles(net)
    assert cycles(wide) > cycles(net)  # the sequential one with as many lanes as both of its engines have


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "delayed"}, "vector.copy has no RTL: .* mode=lookahead"),
        ({"mode": "fused-sweep"}, "vector.copy has no RTL: .* mode=lookahead"),
        ({"net": "5-3"}, "one layer has nothing beside it"),
        ({"card": "shift4"}, "needs plain weights: use --device"),
    ],
)
def test_a_mode_that_the_rtl_lacks_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(HwtrainError, match=message):
        made(**{"card": "fixed16", "net": "8-6-4", "lanes": 4, "lr": 0.02, "mode": "lookahead", **change})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("card", "sizes", "lanes", "lr", "loss", "steps", "stalls"),
    [
        ("fixed16", "37-23-11-5", 4, 0.02, "softmax2", 1000, (40,)),
        ("fixed8", "6-5-3", 2, 0.25, "squared-error", 60, tuple(range(10, 100, 10))),
    ],
)
def test_every_value_equals_the_interpreter(
    card: str,
    sizes: str,
    lanes: int,
    lr: float,
    loss: str,
    steps: int,
    stalls: tuple[int, ...],
    tmp_path: Path,
) -> None:
    program, net = made(card, sizes, lanes, lr, loss, mode="lookahead")
    found = run(program, net, lr, steps, tmp_path, stalls=stalls)
    assert (found.mismatches, found.first_wrong) == (0, -1)
    weights = sum(layer.in_ * layer.out + layer.out for layer in net.layers)
    assert found.compared == (1 + len(stalls)) * (2 * steps * (net.classes + 1) + weights + 7)
    assert found.changed > 0.9
    assert found.wrong_frames > len(stalls) * (steps // 10)
    assert found.cycles_per_step == found.model


@pytest.mark.slow
def test_the_model_of_the_cycles_is_exact(tmp_path: Path) -> None:
    asked = [
        ("fixed8", sizes, lanes, 0.25, loss)  # no noise
        for sizes in ("2-3-2", "40-3-2", "3-2-25", "5-9-4-3")
        for lanes, loss in ((2, "softmax2"), (8, "squared-error"))
    ]
    asked += [("fixed16", sizes, 2, 0.02, "softmax2") for sizes in ("60-2-3",)]
    nets = [made(*one, mode="lookahead")[1] for one in asked]
    assert measured(nets, tmp_path) == [cycles(net) for net in nets]


BUGS = [
    ("hwt_lookahead", "1) << (2 * SignalFrac)", "1) << SignalFrac"),  # the bias is not corrected as it learns
    ("hwt_lookahead", "phase_q == 6'd2 ? -", "phase_q == 6'd3 ? -"),  # another bit as the sign
    ("hwt_lookahead", ".wdata_i(x1_q)", ".wdata_i(x_q)"),  # the update of i - 1 by the sample before it
    ("hwt_lookahead", "{bias_key_q, weight_key_q} <=", "{weight_key_q, bias_key_q} <="),
    (
        "hwt_engine",
        "sum1_layer == '0;",
        "sum1_layer != '0;",
    ),  # gradients by another mask
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "right", "wrong"), BUGS)
def test_a_planted_bug_is_a_mismatch(file: str, right: str, wrong: str, tmp_path: Path) -> None:
    found = planted(file, right, wrong, tmp_path)
    assert found > 0


def planted(file: str, right: str, wrong: str, folder: Path) -> int:
    """Mismatches of 40 steps with this bug."""
    program, net = made("fixed16", "7-6-5-3", 4, 0.02, mode="lookahead")
    rtl = folder / "rtl"
    rtl.mkdir()
    for source in RTL.glob("*.sv"):
        text = source.read_text()
        if source.stem == file:
            assert text.count(right) == 1
            text = text.replace(right, wrong)
        (rtl / source.name).write_text(text)
    (folder / "hwt_net.sv").write_text(module_text(net))
    assert verilator.lint([folder / "hwt_net.sv", *sorted(rtl.glob("*.sv"))], "hwt_net") == ""
    return run(program, net, 0.02, 40, folder, rtl).mismatches
