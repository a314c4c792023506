// Feeds a block with samples without end and takes its results at once; says how long its third step took.
module pace #(
  parameter int Inputs = 8
) (
  input  logic        aclk,
  input  logic        aresetn,
  output logic [31:0] s_axis_tdata,
  output logic        s_axis_tvalid,
  input  logic        s_axis_tready,
  output logic        s_axis_tlast,
  input  logic        m_axis_tvalid,
  input  logic        m_axis_tlast,
  output logic [31:0] cycles_o,
  output logic        done_o
);
  logic [31:0] beat_q, now_q, before_q;
  logic [1:0]  results_q;
  assign s_axis_tdata  = '0;
  assign s_axis_tvalid = aresetn;
  assign s_axis_tlast  = beat_q == Inputs;
  assign done_o        = results_q == 2'd3;
  always_ff @(posedge aclk) begin
    now_q <= now_q + 32'd1;
    if (s_axis_tvalid && s_axis_tready) beat_q <= s_axis_tlast ? '0 : beat_q + 32'd1;
    if (m_axis_tvalid && m_axis_tlast && !done_o) begin
      before_q  <= now_q;
      cycles_o  <= now_q - before_q;
      results_q <= results_q + 2'd1;
    end
    if (!aresetn) begin
      beat_q    <= '0;
      now_q     <= '0;
      results_q <= '0;
    end
  end
endmodule
