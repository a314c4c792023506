// Shift lanes of 2 to 5 bits with signals of 8 and of 16 bits, side by side.
module lanes_bench (
  input  logic        [4:0]  weight_i,
  input  logic signed [15:0] signal_i,
  output logic signed [39:0] narrow_o[4],
  output logic signed [39:0] wide_o[4]
);
  for (genvar n = 0; n < 4; n++) begin : gen_bits
    logic signed [8+(1<<(n+1))-3:0]  narrow;
    logic signed [16+(1<<(n+1))-3:0] wide;
    logic narrow_carry, wide_carry;
    hwt_shift_lane #(
      .WeightBits(n + 2),
      .SignalBits(8)
    ) u_narrow (
      .weight_i (weight_i[n+1:0]),
      .signal_i (signal_i[7:0]),
      .product_o(narrow),
      .carry_o  (narrow_carry)
    );
    hwt_shift_lane #(
      .WeightBits(n + 2),
      .SignalBits(16)
    ) u_wide (
      .weight_i (weight_i[n+1:0]),
      .signal_i (signal_i),
      .product_o(wide),
      .carry_o  (wide_carry)
    );
    assign narrow_o[n] = 40'(narrow) + 40'(narrow_carry);
    assign wide_o[n]   = 40'(wide) + 40'(wide_carry);
  end
endmodule
