"""A plan for a microcontroller, held to hand calculation, to the exporter and to the program itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hwtrain.analysis import mcu_plan
from hwtrain.analysis.mcu_plan import Ask, planned, program_of, rank, shape_of, targets
from hwtrain.cards import Constant, McuCard, card, cards
from hwtrain.cli import main
from hwtrain.errors import ConfigError
from hwtrain.export.host_c import host_c
from hwtrain.export.mcu import _Layout
from hwtrain.program.cycles import Code, codes, costs, machine, total
from hwtrain.program.ir import Program, refs
from hwtrain.program.lean import lean
from hwtrain.program.plan import ALIGNMENT, plan
from hwtrain.program.trips import Form, trips

MLP = Ask("6-3", (6,), 3)
MCUS = [name for name, its in cards() if isinstance(its, McuCard)]
NETS = [
    ("64-32-10", (64,), "backprop"),
    ("ds-cnn", (1, 28, 28), "backprop"),
    ("resnet8", (3, 32, 32), "backprop"),
    ("resnet8", (3, 32, 32), "shallow"),
    ("resnet8", (3, 32, 32), "shallow still=true"),
    ("resnet8", (3, 32, 32), "shallow last=2,still=true"),
]


def mcu(name: str) -> McuCard:
    found = card(name)
    assert isinstance(found, McuCard)
    return found


def test_a_dense_layer_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """One read of (3, 6) by one sample: one tile of four columns, of which three are used."""
    terms = [
        *[(100, "once", "once", "once"), (10, "chunk", "strip", "once"), (3, "term", "copied", "once")],
        *[(5, "chunk", "strip", "tile"), (7, "term", "strip", "tile"), (2, "chunk", "strip", "row")],
        *[(1, "term", "strip", "row"), (0.5, "chunk", "part", "row")],
    ]
    code = Code.model_validate(
        {"rows": 2, "columns": 4, "depth": 4, "copies": "tall", "kernels": {}} | {"products": {"nt": terms}}
    )
    monkeypatch.setattr("hwtrain.program.cycles.codes", lambda: {"m55": code})
    its = mcu("cortex-m55")
    program = program_of(MLP, "fp16")
    read = costs(program, "predict", machine(its, moves=False))[0]
    assert (read.kernel, read.macs) == ("dense.read", 18)
    # 100 of the call; 2 chunks of 1 strip; 6 copied terms; 2 tiles, 6 terms; 2 rows, 6 terms; 2 parts.
    by_hand = 100 + 2 * 10 + 6 * 3 + 2 * 5 + 6 * 7 + 2 * 2 + 6 * 1 + 2 * 0.5
    assert read.issue == by_hand
    assert read.fpu == 6 * 4 / 4  # lanes that nobody needs work too; four multiply-adds a cycle
    assert read.access == 6 * 1 + 6 + 2 * 6  # a line is 8 bytes, an access; a factor, too; copied in and out
    assert read.cycles == read.compute == by_hand
    assert read.limit == "instructions"


def test_moving_costs_only_what_it_exceeds() -> None:
    its, program = mcu("gap9"), program_of(MLP, "fp16")
    still, moved = (costs(program, "predict", machine(its, moves))[0] for moves in (False, True))
    assert moved.main == moved.dma * 8 == (18 + 6 + 3) * 2
    assert moved.cycles == still.cycles == still.compute + 150
    slow = machine(its, moves=True, corner="worst")
    assert costs(program, "predict", slow)[0].dma == 2 * moved.dma


def test_the_busiest_of_eight_cores_has_an_eighth_of_the_work() -> None:
    its = mcu("gap9")
    one = its.model_copy(
        update={"core": its.core.model_copy(update={"cores": its.core.cores.model_copy(update={"value": 1})})}
    )
    program = program_of(Ask("64-64", (64,), 64, batch=64), "fp16")
    shared, alone = (costs(program, "predict", machine(on, False))[0] for on in (its, one))
    assert 4 < alone.issue / shared.issue < 8  # each packs the weights for itself
    assert shared.fork == 150
    assert alone.fork == 0


@pytest.mark.parametrize(("net", "shape", "rule"), [NETS[0]])
def test_memory_is_the_exporters(net: str, shape: tuple[int, ...], rule: str) -> None:
    ask = Ask(net, shape, 10, rule)
    found = planned(ask, "cortex-m55", mcu("cortex-m55"))
    program = lean(program_of(ask, "fp16"))
    layout = _Layout(program, host_c(program, many=False, rate="float").arena)
    assert layout.arena == found.ram["weights and state"] + found.ram["temporaries"]
    assert found.ram["input and label"] == 64 * 2 + 4


def recomputed(program: Program) -> int:
    """The liveness bound from reads and writes alone; for programs without control flow."""
    most = 0
    for nodes in program.entries.values():
        used: dict[str, list[int]] = {}
        for time, node in enumerate(nodes):
            for ref in refs((node,)):
                if program.buffers[ref.buffer].role == "temp":
                    used.setdefault(ref.buffer, []).append(time)
        for time in range(len(nodes)):
            alive = [name for name, times in used.items() if times[0] <= time <= times[-1]]
            most = max(most, sum(-(-program.buffers[name].nbytes // ALIGNMENT) * ALIGNMENT for name in alive))
    return most


AIMS = {("resnet8", "backprop"): 512, ("ds-cnn", "backprop"): 256} | {
    (net, rule): 64 for net, _, rule in NETS if rule.startswith("shallow")
}
"""kB of temporaries that a step should take."""
MISSED = {("resnet8", "shallow")}
"""The batch's statistics need whole images."""


@pytest.mark.parametrize(("net", "shape", "rule"), NETS)
def test_the_arena_is_within_5_percent_of_what_is_alive(net: str, shape: tuple[int, ...], rule: str) -> None:
    name, _, options = rule.partition(" ")
    program = lean(program_of(Ask(net, shape, 10, name, rule_options=options or None), "fp16"))
    laid, bound = plan(program), recomputed(program)
    naive = sum(program.buffers[name].nbytes for name in laid.offsets)
    most = AIMS.get((net, rule))
    aim = f", aim < {most} kB" if most else ""
    assert most is None or (laid.size < most * 1024) != ((net, rule) in MISSED)
    sys.stdout.write(
        f"{net} {rule}: arena {laid.size / 1024:.0f} kB, bound {bound / 1024:.0f}, "
        f"naive {naive / 1024:.0f}{aim}\n"
    )
    assert laid.bound == bound
    assert bound <= laid.size <= 1.05 * bound


@pytest.mark.slow
@pytest.mark.parametrize("net", ["cnn", "densenet-small", "vgg-small", "alexnet-small", "resnet20-half"])
@pytest.mark.parametrize("rule", ["backprop", "shallow"])
def test_the_arena_of_every_net_is_within_5_percent(net: str, rule: str) -> None:
    test_the_arena_is_within_5_percent_of_what_is_alive(net, (3, 32, 32), rule)


def constants(part: Any) -> Iterator[Constant]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Constant):
            yield value
        elif hasattr(type(value), "model_fields"):
            yield from constants(value)


@pytest.mark.parametrize("name", MCUS)
def test_a_card_says_what_is_known_of_each_constant(name: str) -> None:
    its = mcu(name)
    found = list(constants(its))
    assert len(found) >= 9
    assert sum(planned(MLP, name, its).statuses.values()) == len(found)
    if all(one.status != "published" for one in found):
        assert "no chip" in its.device.title
    assert not its.provenance.verified
    run = planned(MLP, name, its).step
    assert run.seconds_low <= run.seconds <= run.seconds_high
    assert (run.joule is None) == (its.energy.power_W is None)


def test_a_power_beside_a_longer_time_costs_more() -> None:
    run = planned(MLP, "gap9", mcu("gap9")).step
    assert run.joule is not None
    assert run.joule_low is not None
    assert run.joule == pytest.approx(run.seconds * 0.05)
    assert run.joule_low == pytest.approx(run.macs * 12.3e-12)


def test_cards_are_ranked_by_fit_and_then_by_time() -> None:
    ask = Ask("640-128-10", (640,), 10)
    found = rank([planned(ask, name, its) for name, its in targets("all").items()])
    assert {one.card for one in found} == set(MCUS)
    fits = [one for one in found if not one.over]
    assert 0 < len(fits) < len(found)
    assert found[: len(fits)] == fits
    assert [one.step.seconds for one in fits] == sorted(one.step.seconds for one in fits)
    full = replace(found[0], ram_bytes=found[0].needs - 1)  # the fastest, if it had a byte less
    assert [one.card for one in rank([full, *found[1:]])[: len(fits)]] == [
        *(one.card for one in fits[1:]),
        full.card,
    ]


def test_trips_count_what_the_kernel_walks_through() -> None:
    code = codes()["m55"]
    assert (code.rows, code.columns, code.depth) == (3, 16, 64)
    # 100 terms: chunks of 64 and 36. 25 columns: a whole strip and one of 9. 8 rows: tiles of 3, 3 and 2.
    chunks, strips, rows = trips(code.tiling, "nn", 8, 25, 100)
    assert (chunks["chunk"], chunks["later chunk"], chunks["term"], chunks["term/2"]) == (2, 1, 100, 50)
    assert (chunks["any%2"], chunks["none%2"]) == (0, 2)
    assert (strips["strip"], strips["whole"], strips["part"], strips["part>8"]) == (2, 1, 1, 1)
    assert (strips["copied"], trips(code.tiling, "nn", 3, 25, 100).strips["copied"]) == (2, 1)
    assert (rows["tile"], rows["tile3"], rows["tile2"], rows["tile1"], rows["no1"]) == (3, 2, 1, 0, 1)
    odd = trips(codes()["v2f16"].tiling, "gradient", 7, 15, 150)
    assert odd.chunks["chunk"] == 3  # of a gradient, 64 terms
    assert (odd.chunks["term/8"], odd.chunks["term%8"], odd.chunks["term%8>5"]) == (18, 6, 1)
    assert (odd.strips["copied"], odd.strips["ragged>2"], odd.strips["part>3"]) == (3, 3, 0)


def test_closed_forms_are_what_simulators_counted() -> None:
    """Of products of 64 x 64 x 64 (devices/mcu/sim/count16.c), a size that no form was found at."""
    counted: dict[str, dict[Form, int]] = {
        "m55": {"nn": 72457, "nt": 72488, "tn": 78012},
        "rvv": {"nn": 27535, "nt": 27362, "tn": 26359, "gradient": 25955},
        "v2f16": {"nn": 251547, "nt": 253832, "tn": 254008, "gradient": 273505},
    }
    for core, forms in counted.items():
        code = codes()[core]
        found = {form: trips(code.tiling, form, 64, 64, 64).sum(code.products[form]) for form in forms}
        off = 0.05 if core == "rvv" else 0.0  # whole strips of it are not met
        assert found == pytest.approx(forms, rel=off, abs=0), core


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--net", "64-32-10", "--target", "gap"],
            "no microcontroller is called 'gap': did you mean 'gap9'?",
        ),
        (["--net", "64-32-10", "--target", "pcmo"], "pcmo: a card of kind synapse is no microcontroller"),
        (["--net", "64-32-10", "--shape", "3,x"], "--shape 3,x: write sides of a sample"),
        (["--net", "640-128-10", "--target", "cortex-m4f"], "cortex-m4f lacks"),
        (["--net", "64-32-10", "--batch", "0"], "batch"),
        (["--net", "64-32-10", "--target", "gap9", "--device", "pcmo"], "pcmo"),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mcu", "plan", *arguments]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert len(found.strip().splitlines()) == 1


def test_what_is_said_to_fit_fits() -> None:
    ask, its = Ask("640-64-10", (640,), 10), mcu("cortex-m4f")
    small = its.model_copy(update={"core": its.core.model_copy(update={"code": "m55"})})
    found = planned(ask, "m", small)
    assert found.over == found.needs - 98304 > 0
    line = mcu_plan.refusal(ask, "m", small, found)
    assert "lacks" in line
    assert "--device fp16-stochastic would fit" in line
    for device, fits in (("fp16-compensated", False), ("fp16-stochastic", True)):
        assert (planned(Ask("640-64-10", (640,), 10, device=device), "m", small).over == 0) == fits


def test_what_is_said_to_fit_fits_in_flash_as_compiled() -> None:
    ask, its = Ask("64-32-10", (64,), 10), mcu("cortex-m4f")
    less = Ask("64-32-10", (64,), 10, device="fp16-stochastic")
    its = its.model_copy(update={"core": its.core.model_copy(update={"code": "m55"})})
    needed = sum(planned(less, "m", its, compiled=True).flash.values())
    assert sum(planned(less, "m", its).flash.values()) > needed  # the estimate alone would refuse it
    assert its.memory.flash is not None
    size = its.memory.flash.bytes_.model_copy(update={"value": needed})
    flash = its.memory.flash.model_copy(update={"bytes_": size})
    its = its.model_copy(update={"memory": its.memory.model_copy(update={"flash": flash})})
    found = planned(ask, "m", its, compiled=True)
    assert found.over == sum(found.flash.values()) - needed > 0
    line = mcu_plan.refusal(ask, "m", its, found)
    assert "lacks" in line
    assert f"of flash: it needs {sum(found.flash.values()) / 1024:,.0f} kB" in line
    assert f"--device fp16-stochastic would fit, with {needed / 1024:,.0f} kB" in line


def test_the_command_writes_a_plan_and_its_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--net", "64-32-10", "--target", "cortex-m55", "--out", str(tmp_path), "--json"]
    assert main(["mcu", "plan", *arguments]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["fits"]
    assert said["over"] == 0
    assert json.loads((tmp_path / "plan.json").read_text()) == [said]
    rows = (tmp_path / "memory-cortex-m55.csv").read_text().splitlines()
    assert rows[0] == "buffer,from,to,offset,bytes"
    program = lean(program_of(Ask("64-32-10", (64,), 10), "fp16"))
    temporaries = {
        ref.buffer for ref in refs(program.entries["step"]) if program.buffers[ref.buffer].role == "temp"
    }
    assert {row.split(",")[0] for row in rows[1:]} == temporaries
    assert "<svg" in (tmp_path / "memory-cortex-m55.svg").read_text()
    assert main(["mcu", "plan", "--net", "64-32-10", "--target", "cortex-m55"]) == 0
    assert "it fits" in capsys.readouterr().out


def test_the_shape_of_a_sample() -> None:
    assert shape_of("64-32-10", None, None) == ((64,), 10)
    assert shape_of("resnet8", None, None) == ((3, 32, 32), 10)
    assert shape_of("ds-cnn", "1,28,28", 12) == ((1, 28, 28), 12)
    with pytest.raises(ConfigError, match="--shape 0"):
        shape_of("cnn", "0", None)


def test_the_whole_is_the_sum_of_its_calls() -> None:
    found = costs(program_of(MLP, "fp16"), "step", machine(mcu("gap9"), False))
    assert total(found)["cycles"] == pytest.approx(sum(one.cycles for one in found))
    assert (
        total(found)["macs"] == 18 * 2 + 3 * 1 * 2
    )  # forward and weight gradient; the first layer sends nothing back


def test_kernels_whose_own_instructions_were_not_counted_are_told() -> None:
    asked = Ask("ds-cnn", (1, 28, 28), 10, "backprop")
    assert "norm.batch_forward" in planned(asked, "cortex-m7", mcu("cortex-m7")).uncounted
    for ask in (asked, MLP):
        assert not planned(ask, "gap9", mcu("gap9")).uncounted
