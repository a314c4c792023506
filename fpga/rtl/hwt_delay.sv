// A value and what it was 1 .. Stages cycles ago: tap k of taps_o lies k cycles back, tap 0 is now.
module hwt_delay #(
  parameter int Bits = 1,
  parameter int Stages = 1
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic [Bits-1:0]            value_i,
  output logic [(Stages+1)*Bits-1:0] taps_o
);
  assign taps_o[Bits-1:0] = value_i;
  if (Stages == 0) begin : gen_none
    logic unused_clock;
    assign unused_clock = clk_i ^ rst_ni;
  end
  for (genvar k = 0; k < Stages; k++) begin : gen_stage
    logic [Bits-1:0] value_q;
    always_ff @(posedge clk_i) value_q <= rst_ni ? taps_o[k*Bits+:Bits] : '0;
    assign taps_o[(k+1)*Bits+:Bits] = value_q;
  end
endmodule
