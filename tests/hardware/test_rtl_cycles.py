"""The model of the cycles is exact: many shapes and lane counts, all in one simulation."""

from pathlib import Path

import pytest

from hwtrain.export.rtl import RtlNet, cycles, module_text
from hwtrain.sim import verilator
from tests.hardware.rtl_nets import RTL, half_up, made

BENCH = Path(__file__).parent / "rtl"
NETS = ("5-3", "2-9", "60-2", "9-4-2", "3-7-5", "17-6-3", "4-13-2", "40-3-2", "6-5-4-3", "5-2-6", "3-3-3-3-3")

PORTS = """
  logic [31:0] data{k};
  logic valid{k}, ready{k}, last{k}, m_valid{k}, m_last{k};
  pace #(.Inputs({inputs})) u_pace{k} (
    .aclk, .aresetn, .s_axis_tdata(data{k}), .s_axis_tvalid(valid{k}), .s_axis_tready(ready{k}),
    .s_axis_tlast(last{k}), .m_axis_tvalid(m_valid{k}), .m_axis_tlast(m_last{k}),
    .cycles_o(cycles_o[32*{k}+:32]), .done_o(done[{k}])
  );
  hwt_net_{k} u_net{k} (
    .aclk, .aresetn, .s_axis_tdata(data{k}), .s_axis_tvalid(valid{k}), .s_axis_tready(ready{k}),
    .s_axis_tlast(last{k}), .m_axis_tdata(), .m_axis_tvalid(m_valid{k}), .m_axis_tready(1'b1),
    .m_axis_tlast(m_last{k}), .s_axi_awaddr(8'h08), .s_axi_awvalid(aresetn), .s_axi_awready(),
    .s_axi_wdata(32'd1), .s_axi_wstrb(4'hf), .s_axi_wvalid(aresetn), .s_axi_wready(), .s_axi_bresp(),
    .s_axi_bvalid(), .s_axi_bready(1'b1), .s_axi_araddr(8'h00), .s_axi_arvalid(1'b0), .s_axi_arready(),
    .s_axi_rdata(), .s_axi_rresp(), .s_axi_rvalid(), .s_axi_rready(1'b1)
  );
"""


def measured(nets: list[RtlNet], folder: Path, rtl: Path = RTL) -> list[int]:
    """What a learned step of each takes, where no stream waits."""
    for k, net in enumerate(nets):
        text = module_text(net).replace("module hwt_net (", f"module hwt_net_{k} (")
        (folder / f"hwt_net_{k}.sv").write_text(text)
    given = "".join(PORTS.format(k=k, inputs=net.layers[0].in_) for k, net in enumerate(nets))
    (folder / "all_nets.sv").write_text(
        f"module all_nets (input logic aclk, input logic aresetn,\n"
        f"  output logic [{32 * len(nets) - 1}:0] cycles_o, output logic done_o);\n"
        f"  logic [{len(nets) - 1}:0] done;\n  assign done_o = &done;\n{given}endmodule\n"
    )
    (folder / "pace.cpp").write_text(f"#define COUNT {len(nets)}\n" + (BENCH / "pace.cpp").read_text())
    sources = [BENCH / "pace.sv", *sorted(folder.glob("*.sv")), *sorted(rtl.glob("*.sv"))]
    program = verilator.build(sources, "all_nets", folder / "pace.cpp", "-O0", lint=False)
    done = verilator.run(program, [], 300)
    assert done.returncode == 0, done.stdout + done.stderr
    return [int(line) for line in done.stdout.split()]


@pytest.mark.slow
def test_the_model_of_the_cycles_is_exact_for_fifty_shapes_and_lane_counts(tmp_path: Path) -> None:
    card = half_up(tmp_path)
    asked = [
        (card, net, lanes, 2**-7, ("softmax2", "squared-error")[(k + lanes) % 2])
        for k, net in enumerate(NETS)
        for lanes in (2, 4, 8, 16)
    ]
    asked += [("shift4", net, 2, 2**-7, "softmax2") for net in ("5-3", "9-4-2", "6-5-4-3")]  # with noise
    asked += [("fixed8", "7-5-3", lanes, 2**-7, "squared-error") for lanes in (2, 4, 8)]
    nets = [made(*one)[1] for one in asked]
    assert len(nets) == 50
    expected = [cycles(net) for net in nets]
    assert measured(nets, tmp_path) == expected
    assert len(set(expected)) > 30
    # shapes whose streams are what takes longest, and whose lanes lie either way
    assert any(net.layers[0].in_ + 1 == count for net, count in zip(nets, expected, strict=True))
    assert {layer.along for net in nets for layer in net.layers} == {True, False}
