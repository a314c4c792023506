"""A plan for an FPGA, held to hand calculation, to the elaborated sources and to the exporter."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hwtrain.analysis.fpga_plan import Ask, Line, blocks_of, plan, planned, target
from hwtrain.cards import FpgaCard, cards
from hwtrain.cards.fpga import FpgaFigure
from hwtrain.cli import main
from hwtrain.errors import ProgramError
from hwtrain.export.rtl import RtlMemory, cycles, memories, module_text, products, speculative_cycles
from hwtrain.shipped import shipped
from hwtrain.sim import yosys
from tests.hardware.rtl_nets import made

FPGAS = [name for name, its in cards() if isinstance(its, FpgaCard)]
SMALL = Ask("64-32-10", (64,), 10, "shift4")


def test_memory_blocks_by_hand() -> None:
    """64-32-10 with 4 lanes on an ECP5, whose blocks are 1,024 by 18 or 4,096 by 4 bits."""
    found = planned(replace(SMALL, lanes=4), "ecp5-25k", target("ecp5-25k"))
    (one,) = found.options
    rooms = {room.name: (room.words, room.bits, room.lanes, room.blocks) for room in one.memories}
    # 64 x 32 over 4 lanes, 512 words; 32 x 10 along the inputs, 8 blocks of 10: 80.
    assert rooms["weights"] == (592, 16, 4, 4)
    assert rooms["codes"] == (592, 16, 1, 1)  # those of all lanes in one word
    assert rooms["biases"] == (8 + 3, 16, 4, 0)  # in tables
    assert rooms["samples"] == (2 * 16, 8, 4, 0)
    assert rooms["keys of noise"] == (4, 64, 1, 0)
    assert (one.blocks, one.dsp) == (5, 0)


@pytest.mark.parametrize(
    ("words", "bits", "lanes", "blocks"),
    [
        *[(96, 16, 1, 0), (97, 16, 1, 1), (336, 4, 3, 0), (337, 4, 3, 3), (177, 5, 2, 2)],
        *[(1024, 16, 1, 1), (1025, 16, 1, 2), (3000, 16, 1, 3), (3000, 8, 1, 2), (9000, 4, 1, 3)],
    ],
)
def test_a_memory_takes_the_form_that_needs_fewest_blocks(
    words: int, bits: int, lanes: int, blocks: int
) -> None:
    assert blocks_of(RtlMemory("m", words, bits, lanes), target("ecp5-25k").memory) == blocks


@pytest.mark.parametrize(
    ("device", "mode", "multiplied"),
    [("shift4", None, 0), ("fixed16", None, 5), ("fixed8", "lookahead", 14), ("shift4", "speculative", 0)],
)
def test_the_memories_are_those_of_the_elaborated_sources(
    device: str, mode: str | None, multiplied: int, tmp_path: Path
) -> None:
    _, net = made(device, "9-7-5", 4, 2**-7, mode=mode)
    (tmp_path / "hwt_net.sv").write_text(module_text(net))
    names = " ".join(str(file) for file in sorted((shipped("fpga") / "rtl").glob("*.sv")))
    script = f"read_verilog -sv {names} {tmp_path}/hwt_net.sv; hierarchy -top hwt_net; flatten; dump m:*.mem"
    done = yosys.run(script, 60)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"memory width (\d+) size (\d+) .*\.mem\n", done.stdout)
    ours = Counter((str(one.bits), str(one.words)) for one in memories(net) for _ in range(one.lanes))
    assert Counter(found) == ours
    assert products(net) == multiplied


@pytest.mark.parametrize("name", FPGAS)
def test_cycles_are_the_exporters_and_the_best_has_the_fewest(name: str) -> None:
    ask = replace(SMALL, net="12-6-3", shape=(12,), classes=3)
    found = planned(ask, name, target(name))
    assert [one.lanes for one in found.options] == [2, 4, 8, 16]
    for one in found.options:
        assert one.cycles == cycles(made("shift4", "12-6-3", one.lanes, found.lr)[1])
    assert found.best is not None
    assert found.best.cycles == min(one.cycles for one in found.options if not one.lacks)
    assert found.luts > 5000


def test_tables_are_a_line_through_what_was_synthesised() -> None:
    its = target("ecp5-25k")
    found = planned(SMALL, "ecp5-25k", its)
    assert found.line is not None
    two, four, *_ = found.line.synthesis.line
    assert (two.lanes, four.lanes) == (2, 4)
    points = [replace_lut(two, 100), replace_lut(four, 160)]
    line = Line(found.line.synthesis.model_copy(update={"line": points, "checks": [replace_lut(two, 80)]}))
    assert [line.at(lanes) for lanes in (2, 4, 8)] == [100, 160, 280]
    assert "+25.0% off at 64-32-10 with 2 lanes" in str(line)
    other = planned(replace(SMALL, device="fixed16"), "ecp5-25k", its)
    assert {one.lut for one in other.options} == {None}


def replace_lut(figure: FpgaFigure, lut: int) -> FpgaFigure:
    return figure.model_copy(update={"lut": lut})


@pytest.mark.parametrize("name", FPGAS)
def test_blocks_are_those_that_were_synthesised_and_the_line_is_near_every_check(name: str) -> None:
    its = target(name)
    for one in its.synthesis:
        for figure in [*one.line, *one.checks]:
            widths = [int(part) for part in figure.net.split("-")]
            ask = Ask(figure.net, tuple(widths[:1]), widths[-1], "shift4", lanes=figure.lanes)
            assert figure.blocks in (None, planned(ask, name, its).options[0].blocks)
            assert abs(Line(one).off(figure)) < 0.1


def test_what_is_too_large_is_refused_with_the_largest_that_fits() -> None:
    its, ask = target("ice40-up5k"), replace(SMALL, net="20-200-5", shape=(20,), classes=5)
    with pytest.raises(ProgramError, match=r"20-200-5 with 2 lanes lacks \d+ memory blocks") as refused:
        plan(ask, "ice40-up5k", its)
    said = re.search(r"20-(\d+)-5 \(hidden layers of at most \1\) fits", str(refused.value))
    assert said
    for width, fits in ((int(said[1]), True), (int(said[1]) + 1, False)):
        assert (planned(replace(ask, net=f"20-{width}-5"), "u", its).best is not None) == fits
    with pytest.raises(ProgramError, match="take a smaller net or a larger part"):
        plan(Ask("4000-10", (4000,), 10, "shift4"), "ice40-up5k", its)


def test_too_many_lanes_are_refused_with_the_most_that_fit() -> None:
    its, ask = target("ecp5-25k"), replace(SMALL, device="fixed8")
    with pytest.raises(ProgramError, match="with 32 lanes lacks 5 DSP on ecp5-25k: at most 16 lanes fit"):
        plan(replace(ask, lanes=32), "ecp5-25k", its)
    best = plan(ask, "ecp5-25k", its).best
    assert best is not None
    assert best.lanes == 16


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "ecp5"], "no FPGA is called 'ecp5': did you mean 'ecp5-25k'?"),
        (["--target", "pcmo"], "pcmo: a card of kind synapse is no FPGA: name one of artix7-35t"),
        (["--target", "ecp5-25k", "--net", "foo"], "net = 'foo'"),
        (["--target", "ecp5-25k", "--net", "cnn"], "has no RTL: export a net of dense layers and relu"),
        (["--target", "ecp5-25k", "--rule", "shallow"], "the RTL learns in every layer, by backprop"),
        (["--target", "ecp5-25k", "--device", "fp16"], "real numbers have no RTL"),
        (["--target", "ecp5-25k", "--device", "ecp5-25k"], "an FPGA is planned for, not trained on"),
        (["--target", "ecp5-25k", "--lanes", "3"], "lanes = 3: choose a power of two, at least 2"),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    net = [] if "--net" in arguments else ["--net", "6-4-3"]
    assert main(["fpga", "plan", *net, *arguments]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert len(found.strip().splitlines()) == 1


def test_the_command_says_the_same_as_table_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["fpga", "plan", "--net", "64-32-10", "--target", "ecp5-25k"]
    assert main([*ask, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    best = next(one for one in said["options"] if one["lanes"] == said["best_lanes"])
    assert best["fits"]
    assert said["there_is"] == {"lut": 24288, "dsp": 28, "blocks": 56}
    assert main(ask) == 0
    told = capsys.readouterr().out
    assert f"{best['lanes']} lanes are best: {best['cycles']:,} cycles a step" in told
    assert "LUT: an estimate, a straight line" in told
    assert main([*ask, "--device", "fixed8"]) == 0
    assert "not measured" in capsys.readouterr().out


def test_a_mode_has_cycles_of_its_own_and_no_tables_of_the_sequential_block() -> None:
    one = replace(SMALL, lanes=4, rule="speculative", rule_options="mode=speculative")
    (option,) = planned(one, "ecp5-25k", target("ecp5-25k")).options
    hit, miss, _ = speculative_cycles(made("shift4", "64-32-10", 4, 0.02, mode="speculative")[1])
    assert (option.cycles, option.miss, option.lut) == (hit, miss, None)
    (plain,) = planned(replace(SMALL, lanes=4), "ecp5-25k", target("ecp5-25k")).options
    assert plain.miss is None
    assert plain.lut is not None
