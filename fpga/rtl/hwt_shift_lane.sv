// A power-of-two weight times a signal: inverted, shifted, or nothing. No multiplier and no adder.
//
// weight_i is the word that hwtrain/arith/pow2.py packs: a sign above k + 1, where 0 is the weight 0;
// product_o + carry_o = sign * 2^k * signal, exact. What is negative is inverted; what adds it up adds the one
// that is missing. hwt_mult_lane has the same ports, but no carry.
module hwt_shift_lane #(
  parameter int WeightBits = 4,
  parameter int SignalBits = 8,
  // The largest k is 2^(WeightBits - 1) - 2. The lowest signal inverted is the highest: no bit more.
  parameter int ProductBits = SignalBits + (1 << (WeightBits - 1)) - 2
) (
  input  logic        [WeightBits-1:0]  weight_i,
  input  logic signed [SignalBits-1:0]  signal_i,
  output logic signed [ProductBits-1:0] product_o,
  output logic                          carry_o
);
  logic                          negative, none;
  logic signed [ProductBits-1:0] most, turned;

  assign negative = weight_i[WeightBits-1];
  assign none     = weight_i[WeightBits-2:0] == '0;
  // From the largest k down: ~(k + 1) is how far. Zeros below, inverted, stay ones.
  assign most      = (ProductBits'(signal_i) <<< (ProductBits - SignalBits)) ^ {ProductBits{negative}};
  assign turned    = most >>> ~weight_i[WeightBits-2:0];
  assign product_o = none ? '0 : turned;
  assign carry_o   = negative && !none;
endmodule
