"""Mode speculative as RTL: what the rule's program learns, guess by guess; it counts hits and misses."""

from pathlib import Path
from typing import Any

import pytest

from hwtrain.cli import main
from hwtrain.errors import HwtrainError
from hwtrain.export.printers.rtl import at_reset
from hwtrain.export.rtl import cycles, module_text, speculative_cycles
from hwtrain.sim import verilator
from tests.hardware.rtl_nets import RTL, half_up, made, run


def test_what_is_written_is_clean_for_verilator(tmp_path: Path) -> None:
    for card, sizes, lanes, lr in (("shift4", "5-9-6-3", 4, 0.02), ("fixed8", "6-4", 2, 0.25)):
        _, net = made(card, sizes, lanes, lr, mode="speculative", options={"store": "sticky"})
        (tmp_path / "hwt_net.sv").write_text(module_text(net))
        assert verilator.lint([tmp_path / "hwt_net.sv", *sorted(RTL.glob("*.sv"))], "hwt_net") == ""


def test_a_hit_of_784_128_10_is_1_9_times_as_fast_as_a_sequential_step() -> None:
    _, net = made("shift4", "784-128-10", 128, 0.02, mode="speculative")
    _, plain = made("shift4", "784-128-10", 128, 0.02)
    hit, miss, _ = speculative_cycles(net)
    assert cycles(plain) >= 1.9 * hit
    assert miss > cycles(plain)  # what a wrong guess costs


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"prototypes": 2}, "slots.pick"),
        ({"hit_share": 0.5}, "slots.follow"),
        ({"warm_up": 9}, "slots.warm"),
        ({"shadow": True, "miss": "correct"}, "vector.subtract"),
    ],
)
def test_what_the_block_cannot_guess_by_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(HwtrainError, match=f"{named} has no RTL"):
        made("fixed16", "8-6-4", 4, 0.02, mode="speculative", options=options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("card", "sizes", "lanes", "lr", "loss", "steps", "options", "stalls"),
    [
        ("half-up", "37-23-11-5", 4, 0.02, "softmax2", 1000, {"threshold": 0.1, "shadow": True}, (40,)),
        (
            "fixed16",
            "6-4-3",
            2,
            0.02,
            "squared-error",
            60,
            {"threshold": 0.3, "store": "sticky"},
            (10, 30, 50, 70, 90),
        ),
    ],
)
def test_every_value_equals_the_interpreter(
    card: str,
    sizes: str,
    lanes: int,
    lr: float,
    loss: str,
    steps: int,
    options: dict[str, Any],
    stalls: tuple[int, ...],
    tmp_path: Path,
) -> None:
    device = half_up(tmp_path) if card == "half-up" else card
    program, net = made(device, sizes, lanes, lr, loss, mode="speculative", options=options)
    found = run(program, net, lr, steps, tmp_path, stalls=stalls)
    assert (found.mismatches, found.first_wrong) == (0, -1)
    assert min(found.hits, found.misses) >= steps // 10
    assert found.hits + found.misses == steps
    weights = sum(layer.in_ * layer.out + layer.out for layer in net.layers)
    assert found.compared == (1 + len(stalls)) * (2 * steps * (net.classes + 1) + weights + 9)
    assert found.cycles_per_step == found.model


def test_the_block_begins_with_learned_weights_and_nothing_kept_of_a_label() -> None:
    program, _ = made("fixed16", "9-5-3", 4, 0.02, mode="speculative", options={"shadow": True})
    for values in program.contents.values():
        values += 1
    found = at_reset(program).contents
    assert {name for name, values in found.items() if not values.any()} == {
        *("rule/errors", "rule/known", "rule/counts", "rule/hidden1")
    }
    assert all((found[name] == program.contents[name]).all() for name in found if found[name].any())


@pytest.mark.slow
def test_a_trained_run_is_exported_and_guesses_on(tmp_path: Path) -> None:
    run_, out = str(tmp_path / "run"), str(tmp_path / "rtl")
    given = [
        "--net",
        "64-10-10",
        "--device",
        "fixed16",
        "--rule",
        "speculative",
        "--batch",
        "1",
        "--lr",
        "0.0078125",
    ]
    assert main(["train", *given, "--epochs", "1", "--seeds", "1", "--out", run_]) == 0
    assert main(["export", run_, "--to", "rtl", "--lanes", "4", "--out", out]) == 0


BUGS = [
    ("hwt_speculative", "if (!own_q) bank_q <= !bank_q;", "bank_q <= !bank_q;"),  # a miss changes copies
    ("hwt_speculative", "!Sticky || own_q", "!Sticky && own_q"),  # what is kept grows old
    ("hwt_speculative", "$signed(gap_q) < Limit", "$signed(gap_q) > Limit"),
    ("hwt_speculative", "read_row = own_q ? own_row : kept_row", "read_row = own_q ? kept_row : own_row"),
    ("hwt_speculative", "state_q == Both ? !bank_q : bank_q", "state_q == Both ? bank_q : bank_q"),
    ("hwt_speculative", "known_q[class_at] <= 1'b1;", "known_q[class_at] <= !hit;"),  # a hit is forgotten
    ("hwt_engine", "(Banks > 1 && bank_q ? 17'(OutWords)", "(Banks > 1 && !bank_q ? 17'(OutWords)"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "right", "wrong"), BUGS)
def test_a_planted_bug_is_a_mismatch(file: str, right: str, wrong: str, tmp_path: Path) -> None:
    assert planted(file, right, wrong, tmp_path) > 0


def planted(file: str, right: str, wrong: str, folder: Path) -> int:
    """Mismatches of 60 steps with this bug."""
    options = {"threshold": 0.3}
    program, net = made("fixed16", "9-5-3", 4, 0.02, mode="speculative", options=options)
    rtl = folder / "rtl"
    rtl.mkdir()
    for source in RTL.glob("*.sv"):
        text = source.read_text()
        if source.stem == file:
            assert text.count(right) == 1
            text = text.replace(right, wrong)
        (rtl / source.name).write_text(text)
    (folder / "hwt_net.sv").write_text(module_text(net))
    return run(program, net, 0.02, 60, folder, rtl).mismatches
