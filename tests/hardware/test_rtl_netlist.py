"""What Yosys makes of the block, cells of an iCE40 by their own simulation models, learns the same values."""

import re
from pathlib import Path
from typing import Any

import pytest

from hwtrain.export.cosim import RtlSettings, vectors
from hwtrain.export.rtl import module_text
from hwtrain.sim import verilator, yosys
from tests.hardware.rtl_nets import HARNESS, RTL, made, samples

STEPS = 60


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode",
    [{}, {"mode": "lookahead"}, {"mode": "speculative", "options": {"threshold": 0.5}}],
    ids=["sequential", "lookahead", "speculative"],
)
def test_sixty_steps_on_the_netlist_equal_the_interpreter(mode: dict[str, Any], tmp_path: Path) -> None:
    program, net = made("fixed8", "8-6-4", 2, 0.5, "squared-error", **mode)
    (tmp_path / "hwt_net.sv").write_text(module_text(net))
    sources = " ".join(str(file) for file in [tmp_path / "hwt_net.sv", *sorted(RTL.glob("*.sv"))])
    made_netlist = yosys.run(
        f"read_verilog -sv {sources}; synth_ice40 -top hwt_net -run begin:check; "
        "write_verilog -noattr netlist.v",
        300,
        tmp_path,
    )
    assert made_netlist.returncode == 0, made_netlist.stderr
    netlist = (tmp_path / "netlist.v").read_text()
    cells = set(re.findall(r"^  (\w+) (?:#\(|\S+ \()", netlist, re.MULTILINE))
    assert {"SB_LUT4", "SB_CARRY", "SB_DFF"} <= cells
    assert not re.search(r"\balways|\breg\b", netlist)  # cells and wires alone

    models = Path(yosys.yosys()).resolve().parents[1] / "share" / "yosys" / "ice40" / "cells_sim.v"
    assert models.is_file(), "no models of cells beside this Yosys: apt install yosys"
    # Inputs with default values are of a later Verilog than this simulator's; the netlist connects them all.
    (tmp_path / "cells.v").write_text("`define NO_ICE40_DEFAULT_ASSIGNMENTS\n" + models.read_text())
    files = [tmp_path / "cells.v", tmp_path / "netlist.v"]
    simulation = verilator.build(files, "hwt_net", HARNESS, "-O0", lint=False)
    taken = samples(program, STEPS)
    words, share = vectors(program, net, taken, RtlSettings(lanes=net.lanes, lr=0.5))
    assert share > 0.5
    golden = words.astype("<i4")
    weights = sum((layer.in_ + 1) * layer.out for layer in net.layers)
    for stall in (0, 40):
        for wrong in (0, 1):
            golden[-1] = words.astype("<i4")[-1] + wrong
            (tmp_path / "vectors.bin").write_bytes(golden.tobytes())
            done = verilator.run(simulation, [str(tmp_path / "vectors.bin"), str(stall), "1"], 120)
            *found, _, _, _, hits, misses = (int(number) for number in done.stdout.split())
            if "options" in mode:
                assert min(hits, misses) >= STEPS // 10
            assert found == [STEPS, 2 * STEPS * (net.classes + 1) + weights + 7, wrong]
            assert done.returncode == wrong
