// Takes samples from AXI-Stream: Inputs codes, then the label with TLAST. One sample waits while another is
// learned. A frame of another length, or with a label of no class, is dropped and counted.
module hwt_samples #(
  parameter int Inputs = 8,
  parameter int Classes = 4,
  parameter int Lanes = 4,
  parameter int SignalBits = 8,
  parameter int Readers = 1
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic [31:0]                 s_axis_tdata,
  input  logic                        s_axis_tvalid,
  output logic                        s_axis_tready,
  input  logic                        s_axis_tlast,
  output logic                        valid_o,
  input  logic                        done_i,
  output logic [15:0]                 label_o,
  input  logic [15:0]                 addr_i,
  output logic [Lanes*SignalBits-1:0] rdata_o,
  input  logic [15:0]                 addr2_i,  // of a second reader, with a memory of its own
  output logic [Lanes*SignalBits-1:0] rdata2_o,
  output logic                        error_o
);
  localparam int LaneIndex = $clog2(Lanes);
  localparam int Words = (Inputs + Lanes - 1) / Lanes;

  logic [1:0]  full_q;
  logic        write_q, read_q, wrong_q, take, at_label, good;
  logic [15:0] count_q;
  logic [31:0] labels_q;
  assign s_axis_tready = !full_q[write_q];
  assign take          = s_axis_tvalid && s_axis_tready;
  assign at_label      = count_q == 16'(Inputs);
  assign good          = at_label && !wrong_q && s_axis_tdata < 32'(Classes);
  assign valid_o       = full_q[read_q];
  assign label_o       = read_q ? labels_q[31:16] : labels_q[15:0];
  always_ff @(posedge clk_i) begin
    error_o <= 1'b0;
    if (take) begin
      count_q <= s_axis_tlast ? '0 : at_label ? count_q : count_q + 16'd1;
      wrong_q <= !s_axis_tlast && (wrong_q || at_label);
      error_o <= s_axis_tlast && !good;
      if (s_axis_tlast && good) begin
        full_q[write_q] <= 1'b1;
        write_q         <= !write_q;
        if (write_q) labels_q[31:16] <= s_axis_tdata[15:0];
        else labels_q[15:0] <= s_axis_tdata[15:0];
      end
    end
    if (done_i) begin
      full_q[read_q] <= 1'b0;
      read_q         <= !read_q;
    end
    if (!rst_ni) begin
      full_q  <= '0;
      write_q <= 1'b0;
      read_q  <= 1'b0;
      wrong_q <= 1'b0;
      count_q <= '0;
      error_o <= 1'b0;
    end
  end

  logic [Lanes-1:0] lanes;
  logic [15:0]      word;
  assign lanes = take && !at_label ? Lanes'(1) << count_q[LaneIndex-1:0] : '0;
  assign word  = count_q >> LaneIndex;
  hwt_ram #(
    .Depth   (2 * Words),
    .Lanes   (Lanes),
    .LaneBits(SignalBits)
  ) u_ram (
    .clk_i,
    .we_i   (lanes),
    .waddr_i(word + (write_q ? 16'(Words) : 16'd0)),
    .wdata_i({Lanes{s_axis_tdata[SignalBits-1:0]}}),
    .raddr_i(addr_i + (read_q ? 16'(Words) : 16'd0)),
    .rdata_o
  );
  if (Readers == 2) begin : gen_second
    hwt_ram #(
      .Depth   (2 * Words),
      .Lanes   (Lanes),
      .LaneBits(SignalBits)
    ) u_ram (
      .clk_i,
      .we_i   (lanes),
      .waddr_i(write_q ? word + 16'(Words) : word),
      .wdata_i({Lanes{s_axis_tdata[SignalBits-1:0]}}),
      .raddr_i(addr2_i + (read_q ? 16'(Words) : 16'd0)),
      .rdata_o(rdata2_o)
    );
  end else begin : gen_no_second
    logic unused_second;
    assign unused_second = ^addr2_i;
    assign rdata2_o      = '0;
  end
endmodule
