// Gives results to AXI-Stream: the scores of a sample, then its loss with TLAST.
module hwt_results #(
  parameter int Classes = 4,
  parameter int SignalBits = 8
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  output logic                  ready_o,
  input  logic                  z_valid_i,
  input  logic [15:0]           z_index_i,
  input  logic [SignalBits-1:0] z_i,
  input  logic                  loss_valid_i,
  input  logic [31:0]           loss_i,
  output logic [31:0]           m_axis_tdata,
  output logic                  m_axis_tvalid,
  input  logic                  m_axis_tready,
  output logic                  m_axis_tlast
);
  logic [31:0] loss_q;
  logic [15:0] index_q, next;
  logic        sending_q, give;
  logic [SignalBits-1:0] score;
  assign give    = m_axis_tvalid && m_axis_tready;
  assign next    = give ? index_q + 16'd1 : sending_q ? index_q : '0;
  assign ready_o = !sending_q;  // nobody asks while a loss comes
  // The score of the next beat is fetched while this one goes.
  hwt_ram #(
    .Depth   (Classes + 1),
    .Lanes   (1),
    .LaneBits(SignalBits)
  ) u_ram (
    .clk_i,
    .we_i   (z_valid_i),
    .waddr_i(z_index_i),
    .wdata_i(z_i),
    .raddr_i(next),
    .rdata_o(score)
  );
  assign m_axis_tvalid = sending_q;
  assign m_axis_tlast  = index_q == 16'(Classes);
  assign m_axis_tdata  = m_axis_tlast ? loss_q : {{(32 - SignalBits) {score[SignalBits-1]}}, score};
  always_ff @(posedge clk_i) begin
    index_q <= next;
    if (loss_valid_i) begin
      sending_q <= 1'b1;
      loss_q    <= loss_i;
      index_q   <= '0;
    end else if (give && m_axis_tlast) begin
      sending_q <= 1'b0;
      index_q   <= '0;
    end
    if (!rst_ni) begin
      sending_q <= 1'b0;
      index_q   <= '0;
    end
  end
endmodule
