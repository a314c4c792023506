"""The timeline of the engines: what Verilator saw, step by step, beside the model of the cycles."""

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import save

from hwtrain.cli import main
from hwtrain.export.cosim import RtlSettings
from hwtrain.export.rtl import module_text
from hwtrain.export.rtl_timeline import OUTCOMES, Phase, Step, Timeline, timeline
from hwtrain.report.rtl_timeline_plot import steps_in_time
from tests.hardware.rtl_nets import HARNESS, RTL, made, samples

WAITS = 12
"""Cycles that an engine may stand still between one pass and the next."""


def test_the_picture_has_a_row_an_engine_and_its_table_every_phase() -> None:
    steps = [Step(7, "hit", 0, 50, 50), Step(8, "miss", 50, 90, 90)]
    phases = [
        Phase("engine 1", "Forward", 1, 1, 30),
        Phase("engine 2", "Update", 1, 1, 40),
        Phase("engine 2", "Drain", 0, 41, 5),
    ]
    plot = steps_in_time(Timeline("speculative", "9-3", 4, steps, phases))
    assert plot.table["row"] == ["steps", "steps", "engine 1", "engine 2", "engine 2"]
    assert plot.table["cycles"] == [50, 90, 30, 40, 5]
    assert "step 8, a miss: 90 cycles, 90 by the model" in plot.caption
    assert [text.get_text() for text in plot.figure.axes[0].get_yticklabels()] == [
        *("steps", "engine 1", "engine 2")
    ]


def test_a_timeline_is_of_rtl_and_of_ten_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hwt_net.c").touch()
    assert main(["cosim", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "a timeline is of RTL" in capsys.readouterr().err
    (tmp_path / "hwt_net.c").unlink()
    assert main(["cosim", str(tmp_path), "--steps", "9", "--out", str(tmp_path / "out")]) == 2
    assert "a timeline needs at least 10" in capsys.readouterr().err
    assert main(["cosim", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no RTL export" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["lookahead", "speculative"])
def test_phases_take_the_words_of_their_layers_and_steps_the_cycles_of_the_model(
    mode: str, tmp_path: Path
) -> None:
    options = {"threshold": 0.3} if mode == "speculative" else {}
    program, net = made("fixed16", "9-5-3", 4, 2**-6, mode=mode, options=options)
    program.save(tmp_path)
    (tmp_path / "samples.safetensors").write_bytes(save(samples(program, 40)))
    (tmp_path / "rtl.json").write_text(RtlSettings(lanes=4, lr=2**-6).model_dump_json())
    (tmp_path / "hwt_net.sv").write_text(module_text(net))
    shutil.copyfile(HARNESS, tmp_path / "cosim.cpp")
    shutil.copytree(RTL, tmp_path / "rtl")
    found = timeline(tmp_path, 40)
    assert [step.cycles for step in found.steps] == [step.model for step in found.steps]
    assert [step.start for step in found.steps[1:]] == [step.start + step.cycles for step in found.steps[:-1]]
    first, last = net.layers
    if mode == "speculative":
        assert {*OUTCOMES[:2]} <= {step.outcome for step in found.steps}
        updates = [one for one in found.phases if one.state == "Update" and one.layer == 1]
        misses = sum(step.outcome != OUTCOMES[0] for step in found.steps)
        assert len(updates) == len([s for s in found.steps if s.outcome != OUTCOMES[2]]) + misses
        assert all(first.words <= one.cycles <= first.words + WAITS for one in updates)
        assert {one.row for one in updates} == {"engine 2"}
        assert {one.row for one in found.phases if one.state == "Forward"} == {"engine 1"}
    else:
        sweeps = [one for one in found.phases if one.state == "Sweep"]
        swept = first.words + first.out_blocks
        assert [swept <= one.cycles <= swept + WAITS for one in sweeps] == [True] * 3
        assert {(one.row, one.layer) for one in found.phases if one.state == "Update"} == {("engine", 2)}
    biases = {one.layer: one.cycles for one in found.phases if one.state == "UpdateBias"}
    blocks = {1: first.out_blocks, 2: last.out_blocks} if mode == "speculative" else {2: last.out_blocks}
    assert biases.keys() == blocks.keys()
    assert all(blocks[layer] <= biases[layer] <= blocks[layer] + WAITS for layer in blocks)
