// A value less its lowest Shift bits, and what rounding adds to the rest: half-up 0, floor 1, half-even 2. Shift is at least 1.
// floor_o + carry_o is what hwt_requantize makes of it before it saturates; so several shifts share one adder.
module hwt_cut #(
  parameter int Bits = 32,
  parameter int Shift = 13,
  parameter int Rounding = 0
) (
  input  logic signed [Bits-1:0] value_i,
  output logic signed [Bits-1:0] floor_o,
  output logic                   carry_o
);
  if (Shift <= 0) begin : gen_whole
    assign floor_o = value_i;
    assign carry_o = 1'b0;
  end else begin : gen_cut
    logic half, odd, rest, unused_low;
    assign floor_o    = value_i >>> Shift;
    assign half       = value_i[Shift-1];
    assign odd        = value_i[Shift];
    assign rest       = |(value_i[Shift-1:0] << 1);
    assign carry_o    = Rounding == 0 ? half : Rounding == 2 ? half && (odd || rest) : 1'b0;
    assign unused_low = ^{half, odd, rest};
  end
endmodule
