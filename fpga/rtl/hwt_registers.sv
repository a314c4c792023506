// The registers, over AXI-Lite; one access at a time. hwtrain/export/registers.py has the map.
module hwt_registers #(
  parameter int MasterBits = 16,
  parameter int LaneIndex = 2,
  parameter logic [31:0] BuildHash = '0
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic [7:0]            s_axi_awaddr,
  input  logic                  s_axi_awvalid,
  output logic                  s_axi_awready,
  input  logic [31:0]           s_axi_wdata,
  input  logic [3:0]            s_axi_wstrb,
  input  logic                  s_axi_wvalid,
  output logic                  s_axi_wready,
  output logic [1:0]            s_axi_bresp,
  output logic                  s_axi_bvalid,
  input  logic                  s_axi_bready,
  input  logic [7:0]            s_axi_araddr,
  input  logic                  s_axi_arvalid,
  output logic                  s_axi_arready,
  output logic [31:0]           s_axi_rdata,
  output logic [1:0]            s_axi_rresp,
  output logic                  s_axi_rvalid,
  input  logic                  s_axi_rready,
  output logic                  learn_o,
  output logic                  soft_reset_o,
  output logic                  step_we_o,
  output logic [31:0]           step_o,
  input  logic [31:0]           step_i,
  input  logic                  busy_i,
  input  logic [31:0]           cycles_i,
  input  logic                  sample_done_i,
  input  logic                  frame_error_i,
  input  logic                  hit_i,
  input  logic                  miss_i,
  output logic                  host_req_o,
  output logic                  host_we_o,
  output logic                  host_bias_o,
  output logic [3:0]            host_layer_o,
  output logic [15:0]           host_word_o,
  output logic [LaneIndex-1:0]  host_lane_o,
  output logic [MasterBits-1:0] host_wdata_o,
  input  logic                  host_done_i,
  input  logic [MasterBits-1:0] host_rdata_i
);
  // hwtrain/export/registers.py writes from here
  localparam logic [5:0]
    Id = 6'h00,
    Hash = 6'h01,
    Control = 6'h02,
    Status = 6'h03,
    Step = 6'h04,
    Samples = 6'h05,
    Errors = 6'h06,
    Cycles = 6'h07,
    Place = 6'h08,
    Lane = 6'h09,
    Weight = 6'h0a,
    Hits = 6'h0b,
    Misses = 6'h0c;
  localparam logic [31:0] IdWord = 32'h48575431;
  // to here

  logic        learn_q, error_q, bias_q, write_waits_q, read_waits_q, writes, reads;
  logic [31:0] samples_q, errors_q, hits_q, misses_q;
  logic [15:0] word_q;
  logic [3:0]  layer_q;
  logic [LaneIndex-1:0] lane_q;
  logic [5:0]  waddr, raddr;
  logic        unused_bits;
  assign unused_bits = ^{s_axi_awaddr[1:0], s_axi_araddr[1:0], s_axi_wstrb};
  assign waddr = s_axi_awaddr[7:2];
  assign raddr = s_axi_araddr[7:2];

  // A write is taken when address and data are there; a read only while no write is.
  assign writes = s_axi_awvalid && s_axi_wvalid && !s_axi_bvalid && !write_waits_q && !read_waits_q;
  assign reads  = s_axi_arvalid && !s_axi_rvalid && !write_waits_q && !read_waits_q && !writes;
  assign {s_axi_awready, s_axi_wready, s_axi_arready} = {writes, writes, reads};
  assign {s_axi_bresp, s_axi_rresp} = '0;
  assign {host_req_o, host_we_o} = {(write_waits_q || read_waits_q) && !host_done_i, write_waits_q};
  assign {host_bias_o, host_layer_o, host_word_o, host_lane_o} = {bias_q, layer_q, word_q, lane_q};
  assign learn_o = learn_q;
  assign {step_we_o, step_o} = {writes && waddr == Step, s_axi_wdata};

  always_ff @(posedge clk_i) begin
    soft_reset_o <= 1'b0;
    if (sample_done_i) samples_q <= samples_q + 32'd1;
    if (hit_i) hits_q <= hits_q + 32'd1;
    if (miss_i) misses_q <= misses_q + 32'd1;
    if (!rst_ni || soft_reset_o) {hits_q, misses_q} <= '0;
    if (frame_error_i) begin
      errors_q <= errors_q + 32'd1;
      error_q  <= 1'b1;
    end
    if (s_axi_bready) s_axi_bvalid <= 1'b0;
    if (s_axi_rready) s_axi_rvalid <= 1'b0;
    if (writes) begin
      s_axi_bvalid <= waddr != Weight;
      case (waddr)
        Control: {soft_reset_o, learn_q} <= s_axi_wdata[1:0];
        Status: if (s_axi_wdata[1]) error_q <= 1'b0;
        Place: {bias_q, layer_q, word_q} <= {s_axi_wdata[31], s_axi_wdata[19:16], s_axi_wdata[15:0]};
        Lane: lane_q <= s_axi_wdata[LaneIndex-1:0];
        Weight: begin
          write_waits_q <= 1'b1;
          host_wdata_o  <= s_axi_wdata[MasterBits-1:0];
        end
        default: ;
      endcase
    end
    if (reads) begin
      s_axi_rvalid <= raddr != Weight;
      case (raddr)
        Id: s_axi_rdata <= IdWord;
        Hash: s_axi_rdata <= BuildHash;
        Control: s_axi_rdata <= {31'd0, learn_q};
        Status: s_axi_rdata <= {30'd0, error_q || frame_error_i, busy_i};
        Step: s_axi_rdata <= step_i;
        Samples: s_axi_rdata <= samples_q;
        Errors: s_axi_rdata <= errors_q;
        Cycles: s_axi_rdata <= cycles_i;
        Place: s_axi_rdata <= {bias_q, 11'd0, layer_q, word_q};
        Lane: s_axi_rdata <= 32'(lane_q);
        Weight: read_waits_q <= 1'b1;
        Hits: s_axi_rdata <= hits_q;
        Misses: s_axi_rdata <= misses_q;
        default: s_axi_rdata <= '0;
      endcase
    end
    if (host_done_i && write_waits_q) begin
      write_waits_q <= 1'b0;
      s_axi_bvalid  <= 1'b1;
    end
    if (host_done_i && read_waits_q) begin
      read_waits_q <= 1'b0;
      s_axi_rvalid <= 1'b1;
      s_axi_rdata  <= {{(32 - MasterBits) {host_rdata_i[MasterBits-1]}}, host_rdata_i};
    end
    if (!rst_ni) begin
      {soft_reset_o, learn_q, error_q, bias_q, write_waits_q, read_waits_q, s_axi_bvalid, s_axi_rvalid} <= '0;
      {samples_q, errors_q, word_q, layer_q, lane_q} <= '0;
    end
  end
endmodule
