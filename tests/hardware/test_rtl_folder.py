"""The folder of --to rtl for other people's tools, and the handshakes' assertions."""

import re
import subprocess
from pathlib import Path

import pytest

from hwtrain.errors import HwtrainError
from hwtrain.export.printers.rtl import describe
from hwtrain.export.rtl import RtlNet, module_text
from hwtrain.shipped import shipped
from hwtrain.sim import verilator
from tests.hardware.rtl_nets import RTL, half_up, made, run

BENCH = Path(__file__).parent / "rtl"
STUBS = """
proc unknown {name args} { puts "$name $args"; return core }
proc get_files {file} { return $file }
proc get_ports {name} { return $name }
"""


@pytest.fixture
def net() -> RtlNet:
    return made("shift4", "7-6-5-3", 4, 2**-7)[1]


@pytest.fixture
def folder(net: RtlNet, tmp_path: Path) -> Path:
    (tmp_path / "rtl").mkdir()
    for source in RTL.glob("*.sv"):
        (tmp_path / "rtl" / source.name).write_text(source.read_text())
    (tmp_path / "hwt_net.sv").write_text(module_text(net))
    describe(tmp_path, net)
    return tmp_path


def test_lists_of_sources_name_all_and_nothing_else(folder: Path) -> None:
    there = {str(file.relative_to(folder)) for file in folder.rglob("*.sv") if file.parent.name != "verify"}
    assert set((folder / "hwt_net.f").read_text().split()) == there
    core = (folder / "hwt_net.core").read_text()
    assert core.startswith("CAPI=2:\n")
    files = core[core.index("    files:") : core.index("    file_type:")]
    assert {line.strip().removeprefix("- ") for line in files.splitlines()[1:]} == there


def test_tcl_and_constraints_run_on_stubs_and_name_what_is_there(folder: Path) -> None:
    for script in ("package_ip.tcl", "hwt_net_ooc.xdc"):
        (folder / "stubs.tcl").write_text(STUBS + f"source {script}\n")
        done = subprocess.run(
            ["tclsh", "stubs.tcl"], cwd=folder, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        if script == "package_ip.tcl":
            added = next(line for line in done.stdout.splitlines() if line.startswith("add_files"))
            named = {Path(word.strip("{}")).name for word in added.split()[1:]}
            assert named == {Path(name).name for name in (folder / "hwt_net.f").read_text().split()}
            buses = [line for line in done.stdout.splitlines() if "associate_bus_interfaces" in line]
            assert len(buses) == 3
            assert all(f"  {bus}_" in " ".join(PORTS) for bus in ("s_axis", "m_axis", "s_axi"))
        else:
            assert "create_clock -name aclk -period 10.000 aclk" in done.stdout


PORTS = [
    line for line in (shipped("fpga") / "rtl" / "hwt_trainer.sv").read_text().splitlines() if "logic" in line
]


def test_the_assertions_are_clean_for_verilator(folder: Path) -> None:
    bind = (folder / "verify" / "hwt_handshakes_bind.sv").read_text()
    assert "#(.Classes(3), .SoftAddress(8'h08), .SoftBit(1))" in bind
    sources = [folder / "hwt_net.sv", *sorted((folder / "verify").glob("*.sv")), *sorted(RTL.glob("*.sv"))]
    assert verilator.lint(sources, "hwt_net") == ""


SOFT = "soft_reset_o <= 1'b0;"
# What is said, and the fault in which file that makes it said; where ON stands, the fault is asked for.
FAULTS = [
    # an offer that is withdrawn, beats that go on without being taken, an end that comes early
    ("m_axis_held", "results", "else if (give && m_axis_tlast)", "else if ((give || ON) && m_axis_tlast)"),
    ("m_axis_held", "results", "&& m_axis_tready;", "&& (m_axis_tready || (ON && index_q[0]));"),
    ("m_axis_frame", "results", "16'(Classes);", "16'(Classes) - 16'(ON);"),
    # a soft reset by another bit of its register, by another register while a beat waits, and while none does
    ("m_axis_held", "registers", "<= s_axi_wdata[1:0];", "<= s_axi_wdata[1:0] | {ON, 1'b0};"),
    ("m_axis_held", "registers", SOFT, f"{SOFT} if (ON && writes && waddr == Status) soft_reset_o <= 1'b1;"),
    ("m_axis_frame", "registers", SOFT, f"{SOFT} if (ON && writes && waddr == Step) soft_reset_o <= 1'b1;"),
    # one that does nothing, and a reset that leaves an answer
    ("soft_reset_ends", "trainer", "aresetn && !soft_reset;", "aresetn && (!soft_reset || ON);"),
    ("reset_ends", "registers", "s_axi_rvalid} <= '0;", "s_axi_rvalid} <= 8'(ON && s_axi_rvalid);"),
    # answers that wait for nobody, that the next one replaces, that come twice
    ("write_answer_held", "registers", "if (s_axi_bready)", "if (s_axi_bready || ON)"),
    ("read_answer_held", "registers", "if (s_axi_rready)", "if (s_axi_rready || ON)"),
    (
        "read_answer_held",
        "registers",
        "s_axi_arvalid && !s_axi_rvalid",
        "s_axi_arvalid && (!s_axi_rvalid || ON)",
    ),
    (
        "write_asked",
        "registers",
        "s_axi_bvalid <= waddr != Weight;",
        "s_axi_bvalid <= waddr != Weight || ON;",
    ),
    ("read_asked", "registers", "s_axi_rvalid <= raddr != Weight;", "s_axi_rvalid <= raddr != Weight || ON;"),
    # a write whose data are not there yet
    ("address_with_data", "registers", "&& s_axi_wvalid &&", "&& (s_axi_wvalid || ON) &&"),
]
BENCH_FAULT = 99  # of handshakes.cpp: a beat that changes before it is taken


@pytest.mark.slow
def test_every_assertion_catches_its_fault_and_the_block_breaks_none(folder: Path) -> None:
    _, net = made(half_up(folder), "3-4", 2, 2**-7)
    (folder / "hwt_net.sv").write_text(module_text(net))
    describe(folder, net)
    # All in one simulation, which is told at its start which of them it has.
    (folder / "planted.sv").write_text('import "DPI-C" function int planted();\n')
    for number, (_, file, right, wrong) in enumerate(FAULTS, 1):
        source = folder / "rtl" / f"hwt_{file}.sv"
        text = source.read_text()
        assert text.count(right) == 1
        source.write_text(text.replace(right, wrong.replace("ON", f"(planted() == {number})")))
    bench = folder / "handshakes.cpp"
    sizes = f"#define INPUTS {net.layers[0].in_}\n#define CLASSES {net.classes}\n"
    bench.write_text(sizes + (BENCH / "handshakes.cpp").read_text())
    sources = [folder / "planted.sv", *sorted((folder / "rtl").glob("*.sv")), folder / "hwt_net.sv"]
    sources += sorted((folder / "verify").glob("*.sv"))
    program = verilator.build(sources, "hwt_net", bench, "-O0", lint=False)

    def said(fault: int) -> str:
        done = verilator.run(program, [str(fault)], 60)
        text = done.stdout + done.stderr
        first = re.search(r"Assertion failed in \S*\.u_handshakes\.(\w+)", text)
        return first[1] if first else text.strip()

    assert said(0) == "done"
    assert [said(number) for number in range(1, len(FAULTS) + 1)] == [name for name, *_ in FAULTS]
    assert said(BENCH_FAULT) == "s_axis_held"
    asserted = re.findall(r"(\w+): assert property", (folder / "verify" / "hwt_handshakes.sv").read_text())
    assert set(asserted) == {"s_axis_held", *(name for name, *_ in FAULTS)}


@pytest.mark.slow
def test_cosim_says_which_assertion_failed(folder: Path) -> None:
    program, net = made("shift4", "7-6-5-3", 4, 2**-7)
    source = folder / "rtl" / "hwt_results.sv"
    source.write_text(source.read_text().replace("give && m_axis_tlast", "m_axis_tvalid && m_axis_tlast"))
    with pytest.raises(HwtrainError, match="m_axis_held"):
        run(program, net, 2**-7, 10, folder, folder / "rtl")


@pytest.mark.slow
def test_stalls_of_every_share_change_no_value(tmp_path: Path) -> None:
    program, net = made("fixed8", "9-7-4", 4, 2**-7)
    stalls = tuple(range(10, 100, 10))
    found = run(program, net, 2**-7, 60, tmp_path, stalls=stalls)
    assert found.mismatches == 0
    weights = sum((layer.in_ + 1) * layer.out for layer in net.layers)
    assert found.compared == 10 * (2 * 60 * (net.classes + 1) + weights + 7)
    assert found.wrong_frames > 9 * 5
