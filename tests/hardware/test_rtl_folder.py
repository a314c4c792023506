"""The folder of --to rtl for other people's tools, and the handshakes' assertions."""

import subprocess
from pathlib import Path

import pytest

from hwtrain.errors import HwtrainError
from hwtrain.export.printers.rtl import describe
from hwtrain.export.rtl import RtlNet, module_text
from hwtrain.shipped import shipped
from hwtrain.sim import verilator
from tests.hardware.rtl_nets import RTL, made, run

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
    sources = [folder / "hwt_net.sv", *sorted((folder / "verify").glob("*.sv")), *sorted(RTL.glob("*.sv"))]
    assert verilator.lint(sources, "hwt_net") == ""


VIOLATIONS = [
    # an offer that is withdrawn, beats that go on without being taken, an end that comes early
    ("m_axis_held", "else if (give && m_axis_tlast)", "else if (m_axis_tvalid && m_axis_tlast)"),
    ("m_axis_held", "m_axis_tvalid && m_axis_tready;", "m_axis_tvalid && (m_axis_tready || index_q[0]);"),
    (
        "m_axis_frame",
        "m_axis_tlast  = index_q == 16'(Classes);",
        "m_axis_tlast  = index_q == 16'(Classes - 1);",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("said", "right", "wrong"), VIOLATIONS)
def test_a_planted_violation_of_a_handshake_is_caught(
    said: str, right: str, wrong: str, folder: Path
) -> None:
    program, net = made("shift4", "7-6-5-3", 4, 2**-7)
    source = folder / "rtl" / "hwt_results.sv"
    text = source.read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))
    with pytest.raises(HwtrainError, match=said):
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
