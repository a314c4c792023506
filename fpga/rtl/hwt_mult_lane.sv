// A whole-number weight times a signal, exact. hwt_shift_lane has the same ports, and a carry.
module hwt_mult_lane #(
  parameter int WeightBits = 16,
  parameter int SignalBits = 8,
  parameter int ProductBits = WeightBits + SignalBits
) (
  input  logic        [WeightBits-1:0]  weight_i,
  input  logic signed [SignalBits-1:0]  signal_i,
  output logic signed [ProductBits-1:0] product_o
);
  logic signed [WeightBits-1:0] weight;

  assign weight    = weight_i;
  assign product_o = weight * signal_i;
endmodule
