// A power-of-two weight times a signal: negated, shifted, or nothing. No multiplier.
//
// weight_i is the word that hwtrain/arith/pow2.py packs: a sign above k + 1, where 0 is the weight 0;
// product = sign * 2^k * signal, exact. hwt_mult_lane has the same ports.
module hwt_shift_lane #(
  parameter int WeightBits = 4,
  parameter int SignalBits = 8,
  // The largest k is 2^(WeightBits - 1) - 2; one bit more, for the lowest signal may be negated.
  parameter int ProductBits = SignalBits + (1 << (WeightBits - 1)) - 1
) (
  input  logic        [WeightBits-1:0]  weight_i,
  input  logic signed [SignalBits-1:0]  signal_i,
  output logic signed [ProductBits-1:0] product_o
);
  logic                          negative;
  logic        [WeightBits-2:0]  power;
  logic signed [SignalBits:0]    value;
  logic signed [ProductBits-1:0] wide;

  assign negative = weight_i[WeightBits-1];
  assign power    = weight_i[WeightBits-2:0] - 1'b1;
  // Negated before it is shifted: so the carry is short.
  assign value = weight_i[WeightBits-2:0] == '0 ? '0 :
      ({signal_i[SignalBits-1], signal_i} ^ {(SignalBits + 1){negative}}) + {{SignalBits{1'b0}}, negative};
  assign wide      = ProductBits'(value);
  assign product_o = wide <<< power;
endmodule
