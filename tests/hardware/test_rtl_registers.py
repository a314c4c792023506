"""The register map on 20 shapes, and 6 of other modes: every address and every weight, read and written."""

from pathlib import Path

import numpy as np
import pytest

from hwtrain.export.registers import ADDRESS, ID, REGISTERS, Register
from hwtrain.export.rtl import RtlNet, build_hash, module_text
from hwtrain.sim import verilator
from tests.hardware.rtl_nets import RTL, made

BENCH = Path(__file__).parent / "rtl"
SHAPES = [
    *(("fixed8", net, lanes, None) for net in ("2-2", "5-3", "3-4-2", "6-2-5") for lanes in (2, 4, 8)),
    *(("fixed16", net, lanes, None) for net in ("3-2", "4-3-2") for lanes in (2, 4)),
    *(("shift4", net, 2, None) for net in ("2-3", "3-2-2")),
    ("fixed8", "2-2-2-2-2", 2, None),
    ("fixed16", "2-9", 16, None),
    *(("fixed8", net, lanes, "lookahead") for net, lanes in (("2-2-2", 2), ("5-3-4", 4), ("3-6-2-2", 2))),
    *(("fixed8", net, lanes, "speculative") for net, lanes in (("2-2", 2), ("5-3-4", 4))),
    ("shift4", "3-2-2", 2, "speculative"),
]
LR = {
    "fixed8": 1.0,
    "shift4": 1.0,
    "fixed16": 2.0**10,
}  # so large that no update is rounded: no noise to build
WRITE, READ, READ_SAME, READ_SOME, SEND, SEND_LAST, RECEIVE, RESET = range(8)
ALL = 0xFFFFFFFF
ADDRESSES = range(0, 256, 4)
NAMED = {one.address: one for one in REGISTERS}

PORTS = """
  logic [31:0] m_data{k}, rdata{k};
  logic s_ready{k}, m_valid{k}, m_last{k}, aw{k}, w{k}, b{k}, ar{k}, r{k};
  logic [1:0] bresp{k}, rresp{k};
  hwt_net_{k} u_net{k} (
    .aclk, .aresetn,
    .s_axis_tdata, .s_axis_tlast, .s_axis_tvalid(s_axis_tvalid && block == {k}), .s_axis_tready(s_ready{k}),
    .m_axis_tdata(m_data{k}), .m_axis_tlast(m_last{k}), .m_axis_tvalid(m_valid{k}),
    .m_axis_tready(m_axis_tready && block == {k}),
    .s_axi_awaddr, .s_axi_awvalid(s_axi_awvalid && block == {k}), .s_axi_awready(aw{k}),
    .s_axi_wdata, .s_axi_wstrb, .s_axi_wvalid(s_axi_wvalid && block == {k}), .s_axi_wready(w{k}),
    .s_axi_bresp(bresp{k}), .s_axi_bvalid(b{k}), .s_axi_bready(s_axi_bready && block == {k}),
    .s_axi_araddr, .s_axi_arvalid(s_axi_arvalid && block == {k}), .s_axi_arready(ar{k}),
    .s_axi_rdata(rdata{k}), .s_axi_rresp(rresp{k}), .s_axi_rvalid(r{k}),
    .s_axi_rready(s_axi_rready && block == {k})
  );
  assign outputs[40*{k}+:40] = {{s_ready{k}, m_valid{k}, aw{k}, b{k}, ar{k}, r{k}, bresp{k}, rdata{k}}};
"""
TOP = """module all_nets (
  input logic aclk, aresetn, input logic [7:0] block, input logic [31:0] s_axis_tdata,
  input logic s_axis_tvalid, s_axis_tlast, m_axis_tready, output logic s_axis_tready, m_axis_tvalid,
  input logic [7:0] s_axi_awaddr, s_axi_araddr, input logic [31:0] s_axi_wdata, input logic [3:0] s_axi_wstrb,
  input logic s_axi_awvalid, s_axi_wvalid, s_axi_bready, s_axi_arvalid, s_axi_rready,
  output logic s_axi_awready, s_axi_bvalid, s_axi_arready, s_axi_rvalid, output logic [1:0] s_axi_bresp,
  output logic [31:0] s_axi_rdata
);
  logic [%d*40-1:0] outputs;
  assign {s_axis_tready, m_axis_tvalid, s_axi_awready, s_axi_bvalid, s_axi_arready, s_axi_rvalid, s_axi_bresp,
          s_axi_rdata} = outputs[block*40+:40];
%sendmodule
"""


def kept(register: Register, lanes: int) -> int:
    """The bits that are read as they were written."""
    if register.name == "lane":
        return lanes - 1
    if not register.fields:
        return ALL if register.access == "rw" else 0
    return sum((1 << f.bits) - 1 << f.low for f in register.fields if f.access == "rw")


class Script:
    """What is done to one block, and what its registers must then say."""

    def __init__(self, block: int, net: RtlNet) -> None:
        self.block, self.net, self.entries = block, net, list[list[int]]()
        self.reset_values = {address: 0 for address in ADDRESSES if address != ADDRESS["weight"]}
        self.reset_values |= {ADDRESS["id"]: ID, ADDRESS["hash"]: build_hash(net)}
        self.says = dict(self.reset_values)

    def do(self, what: int, address: int = 0, data: int = 0, mask: int = ALL) -> None:
        self.entries.append([self.block, what, address, data & ALL, mask])

    def write(self, address: int, data: int) -> None:
        self.do(WRITE, address, data)
        if address in NAMED:
            mask = kept(NAMED[address], self.net.lanes)
            if mask:
                self.says[address] = data & mask
            elif address == ADDRESS["status"] and data & 2:
                self.says[address] = 0

    def read_all(self, unaligned: int = 0) -> None:
        for address, value in self.says.items():
            self.do(READ, address | unaligned, value)

    def frame(self, learn: bool) -> None:
        self.write(ADDRESS["control"], int(learn))
        for _ in range(self.net.layers[0].in_):
            self.do(SEND, data=1)
        self.do(SEND_LAST)
        if self.net.late:
            self.write(ADDRESS["control"], 0)  # nothing else would push the result out
        for _ in range(self.net.classes + 1):
            self.do(RECEIVE)
        if self.net.mode != "sequential":
            self.do(READ, ADDRESS["weight"], mask=0)  # until the sample is over
        if self.net.mode == "speculative":
            self.says[ADDRESS["misses"]] += learn  # the first of its label
        self.says[ADDRESS["samples"]] += 1
        self.says[ADDRESS["step"]] = (self.says[ADDRESS["step"]] + learn) & ALL
        del self.says[ADDRESS["cycles"]]
        self.do(READ_SOME, ADDRESS["cycles"])
        self.do(WRITE, ADDRESS["cycles"], 0)
        self.do(READ_SAME, ADDRESS["cycles"])
        self.read_all()
        self.says[ADDRESS["cycles"]] = 0  # until the next frame it is not looked at again

    def weights(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        bits = self.net.numbers.weight_bits
        places = list(self.net.places())
        values = rng.integers(-(1 << bits - 1), 1 << bits - 1, len(places)).tolist()
        for way in (WRITE, READ):
            for (_, _, place, lane), value in zip(places, values, strict=True):
                self.write(ADDRESS["place"], place)
                self.write(ADDRESS["lane"], lane)
                self.do(way, ADDRESS["weight"], value)

    def all(self) -> list[list[int]]:
        self.do(RESET)
        self.read_all()
        for pattern in (ALL, 0xA5A5A5A5, 0x5A5A5A5A, 0, 0x12345678):
            for address in ADDRESSES:
                if address != ADDRESS["weight"]:
                    self.write(address, pattern)
            self.read_all(unaligned=pattern & 3)
        self.weights(self.block)
        self.read_all()
        self.frame(learn=False)
        self.frame(learn=True)
        self.do(SEND_LAST)  # a frame of one beat
        self.do(READ, ADDRESS["id"], ID)  # until it is counted
        del self.says[ADDRESS["cycles"]]
        self.says[ADDRESS["errors"]], self.says[ADDRESS["status"]] = 1, 2
        self.read_all()
        self.write(ADDRESS["status"], 1)
        self.read_all()
        self.write(ADDRESS["status"], 2)
        self.read_all()
        self.do(RESET)
        self.says = dict(self.reset_values)
        self.read_all()
        return self.entries


def compared(folder: Path, rtl: Path = RTL) -> tuple[list[Script], list[int]]:
    """What was done to every block, and what the simulation prints."""
    nets = [made(card, net, lanes, LR[card], mode=mode)[1] for card, net, lanes, mode in SHAPES]
    for k, net in enumerate(nets):
        (folder / f"hwt_net_{k}.sv").write_text(
            module_text(net).replace("module hwt_net (", f"module hwt_net_{k} (")
        )
    ports = "".join(PORTS.format(k=k) for k in range(len(nets)))
    (folder / "all_nets.sv").write_text(TOP % (len(nets), ports))
    sources = [*sorted(folder.glob("*.sv")), *sorted(rtl.glob("*.sv"))]
    program = verilator.build(sources, "all_nets", BENCH / "registers.cpp", "-O0", lint=False)
    scripts = [Script(k, net) for k, net in enumerate(nets)]
    entries = [entry for script in scripts for entry in script.all()]
    (folder / "list.bin").write_bytes(np.array(entries, np.uint32).astype("<u4").tobytes())
    done = verilator.run(program, [str(folder / "list.bin")], 120)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return scripts, [int(number) for number in done.stdout.split()]


@pytest.mark.slow
def test_every_address_of_twenty_shapes_reads_what_the_map_says(tmp_path: Path) -> None:
    assert sum(mode is None for *_, mode in SHAPES) == 20
    assert [sum(one[3] == mode for one in SHAPES) for mode in ("lookahead", "speculative")] == [3, 3]
    scripts, found = compared(tmp_path)
    reads = [{(s.block, e[2] & ~3) for e in s.entries if e[1] == READ} for s in scripts]
    writes = [{(s.block, e[2]) for e in s.entries if e[1] == WRITE} for s in scripts]
    for k in range(len(SHAPES)):
        assert reads[k] == writes[k] == {(k, address) for address in ADDRESSES}
    assert found == [found[0], found[0], 0, -1]
    assert found[0] == sum(READ <= e[1] <= READ_SOME for s in scripts for e in s.entries)
