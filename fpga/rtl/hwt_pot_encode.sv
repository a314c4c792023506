// The nearest power of two of a master weight, ties upward: the word of w / 2^low_i, combinational.
// hwt_pot_encode in fpga/include/hwt_fixed.h is the same in C.
module hwt_pot_encode #(
  parameter int MasterBits = 16,
  parameter int WeightBits = 4
) (
  input  logic signed [MasterBits-1:0] master_i,
  input  logic        [7:0]            low_i,
  output logic        [WeightBits-1:0] weight_o
);
  localparam logic signed [9:0] Most = (10'sd1 <<< (WeightBits - 1)) - 10'sd2;

  logic        [MasterBits-1:0] magnitude;
  logic signed [9:0]            leading, power;
  logic                         next, zero;
  logic        [WeightBits-2:0] size;

  assign magnitude = master_i[MasterBits-1] ? -master_i : master_i;
  // The place of the leading bit, and the bit below it.
  always_comb begin
    leading = '0;
    next    = 1'b0;
    for (int i = 1; i < MasterBits; i++) begin
      if (magnitude[i]) begin
        leading = 10'(i);
        next    = magnitude[i-1];
      end
    end
  end
  assign power = leading == $signed({2'b00, low_i}) - 10'sd1 ? '0 :
      leading + $signed({9'b0, next}) - $signed({2'b00, low_i});
  assign zero = magnitude == '0 || power < 0;
  assign size = power > Most ? Most[WeightBits-2:0] + 1'b1 : power[WeightBits-2:0] + 1'b1;
  assign weight_o = zero ? '0 : {master_i[MasterBits-1], size};
endmodule
