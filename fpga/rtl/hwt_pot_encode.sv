// The nearest power of two of a master weight, ties upward: the word of w / 2^low_i, 4 cycles behind; low_i belongs to the
// weight of 2 cycles ago. hwt_pot_encode in fpga/include/hwt_fixed.h is the same in C.
module hwt_pot_encode #(
  parameter int MasterBits = 16,
  parameter int WeightBits = 4
) (
  input  logic                         clk_i,
  input  logic signed [MasterBits-1:0] master_i,
  input  logic        [7:0]            low_i,
  output logic        [WeightBits-1:0] weight_o
);
  localparam logic signed [9:0] Most = (10'sd1 <<< (WeightBits - 1)) - 10'sd2;
  localparam int PlaceBits = $clog2(MasterBits);

  logic        [MasterBits-1:0] magnitude_q;
  logic        [PlaceBits-1:0]  leading, leading_q;
  logic signed [9:0]            above_q;  // how far the leading bit lies above 2^low_i
  logic                         next, next2_q, next3_q, none2_q, none3_q, tiny, half, most;
  logic        [2:0]            negative_q;
  logic        [WeightBits-2:0] size;

  // The place of the leading bit, and the bit below it.
  always_comb begin
    leading = '0;
    next    = 1'b0;
    for (int i = 1; i < MasterBits; i++) begin
      if (magnitude_q[i]) begin
        leading = PlaceBits'(i);
        next    = magnitude_q[i-1];
      end
    end
  end
  assign tiny = above_q < -10'sd1;
  assign half = above_q == -10'sd1;
  assign most = above_q > Most || (above_q == Most && next3_q);
  assign size = half ? (WeightBits - 1)'(1) : most ? Most[WeightBits-2:0] + 1'b1 :
      above_q[WeightBits-2:0] + 1'b1 + (WeightBits - 1)'(next3_q);
  always_ff @(posedge clk_i) begin
    magnitude_q <= master_i[MasterBits-1] ? -master_i : master_i;
    leading_q   <= leading;
    next2_q     <= next;
    none2_q     <= magnitude_q == '0;
    above_q     <= $signed(10'(leading_q)) - $signed({2'b00, low_i});
    next3_q     <= next2_q;
    none3_q     <= none2_q;
    negative_q  <= {negative_q[1:0], master_i[MasterBits-1]};
    weight_o    <= none3_q || tiny ? '0 : {negative_q[2], size};
  end
endmodule
