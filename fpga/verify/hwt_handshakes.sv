// Handshakes of a block's ports, as assertions: what is offered stays as it is until it is taken, after a reset
// nothing is offered, and results are frames of the right length. For simulation alone.
module hwt_handshakes #(
  parameter int Classes = 4,
  // The register that resets softly, and its bit.
  parameter logic [7:0] SoftAddress = 8'h08,
  parameter int SoftBit = 1
) (
  input logic        aclk,
  input logic        aresetn,
  input logic [31:0] s_axis_tdata,
  input logic        s_axis_tvalid,
  input logic        s_axis_tready,
  input logic        s_axis_tlast,
  input logic [31:0] m_axis_tdata,
  input logic        m_axis_tvalid,
  input logic        m_axis_tready,
  input logic        m_axis_tlast,
  input logic [7:0]  s_axi_awaddr,
  input logic        s_axi_awvalid,
  input logic        s_axi_awready,
  input logic [31:0] s_axi_wdata,
  input logic        s_axi_wvalid,
  input logic        s_axi_wready,
  input logic [1:0]  s_axi_bresp,
  input logic        s_axi_bvalid,
  input logic        s_axi_bready,
  input logic        s_axi_arvalid,
  input logic        s_axi_arready,
  input logic [31:0] s_axi_rdata,
  input logic [1:0]  s_axi_rresp,
  input logic        s_axi_rvalid,
  input logic        s_axi_rready
);
  logic        soft_q;  // in the cycle after its write is taken, the last in which an old result is offered
  logic [15:0] beat_q;
  logic [1:0]  writes_q, reads_q;  // accepted and not yet answered
  logic        wrote, read, unused_bits;
  assign wrote = s_axi_bvalid && s_axi_bready;
  assign read  = s_axi_rvalid && s_axi_rready;
  assign unused_bits = ^{s_axi_awaddr, s_axi_wdata};
  always_ff @(posedge aclk) begin
    if (m_axis_tvalid && m_axis_tready) beat_q <= m_axis_tlast ? '0 : beat_q + 16'd1;
    writes_q <= writes_q + {1'b0, s_axi_awvalid && s_axi_awready} - {1'b0, wrote};
    reads_q  <= reads_q + {1'b0, s_axi_arvalid && s_axi_arready} - {1'b0, read};
    soft_q   <= s_axi_awvalid && s_axi_awready && s_axi_awaddr[7:2] == SoftAddress[7:2] && s_axi_wdata[SoftBit];
    if (soft_q) beat_q <= '0;
    if (!aresetn) {soft_q, beat_q, writes_q, reads_q} <= '0;
  end

  default clocking @(posedge aclk);
  endclocking
  default disable iff (!aresetn);

  s_axis_held: assert property (s_axis_tvalid && !s_axis_tready |=> s_axis_tvalid && $stable({s_axis_tdata, s_axis_tlast}));
  m_axis_held: assert property (
    m_axis_tvalid && !m_axis_tready && !soft_q |=> m_axis_tvalid && $stable({m_axis_tdata, m_axis_tlast})
  );
  m_axis_frame: assert property (m_axis_tvalid |-> m_axis_tlast == (beat_q == 16'(Classes)));
  write_answer_held: assert property (s_axi_bvalid && !s_axi_bready |=> s_axi_bvalid && $stable(s_axi_bresp));
  read_answer_held: assert property (
    s_axi_rvalid && !s_axi_rready |=> s_axi_rvalid && $stable({s_axi_rdata, s_axi_rresp})
  );
  address_with_data: assert property (s_axi_awready |-> s_axi_wready && s_axi_awvalid && s_axi_wvalid);
  write_asked: assert property (s_axi_bvalid |-> writes_q != '0);
  read_asked: assert property (s_axi_rvalid |-> reads_q != '0);
  reset_ends: assert property (
    disable iff (1'b0) !aresetn |=> !m_axis_tvalid && !s_axi_bvalid && !s_axi_rvalid
  );
  soft_reset_ends: assert property (soft_q |=> !m_axis_tvalid);
endmodule
