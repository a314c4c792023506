// sat(round(value / 2^Shift)): the end of an accumulator, combinational. A negative Shift multiplies.
// Rounding: 0 half-up, 1 floor, 2 half-even, 3 stochastic (adds the lowest Shift bits of noise_i, then floor).
// hwtrain/arith/fixed.py is the same in Python.
module hwt_requantize #(
  parameter int InBits = 32,
  parameter int Shift = 13,
  parameter int OutBits = 8,
  parameter int Rounding = 0,
  parameter int NoiseBits = Shift > 0 ? Shift : 1
) (
  input  logic signed [InBits-1:0]    value_i,
  input  logic        [NoiseBits-1:0] noise_i,
  output logic signed [OutBits-1:0]   code_o
);
  // Room for the carry of rounding, for what a negative shift adds, and for the limits.
  localparam int Widest = (InBits > OutBits ? InBits : OutBits) + 2 + (Shift < 0 ? -Shift : 0);
  localparam logic signed [Widest-1:0] High = (Widest'(1) << (OutBits - 1)) - Widest'(1);

  logic signed [Widest-1:0] value, rounded;

  assign value = {{(Widest - InBits) {value_i[InBits-1]}}, value_i};
  if (Shift <= 0) begin : gen_up
    logic unused_noise;
    assign unused_noise = ^noise_i;
    assign rounded      = value <<< -Shift;
  end else begin : gen_down
    logic signed [Widest-1:0] carry;
    if (Rounding == 3) begin : gen_stochastic
      assign carry = {{(Widest - Shift) {1'b0}}, noise_i[Shift-1:0]};
    end else begin : gen_fixed
      logic unused_noise;
      assign unused_noise = ^noise_i;
      if (Rounding == 0) begin : gen_half_up
        assign carry = Widest'(1) << (Shift - 1);
      end else if (Rounding == 2) begin : gen_half_even
        assign carry = (Widest'(1) << (Shift - 1)) - Widest'(1) + {{(Widest - 1) {1'b0}}, value[Shift]};
      end else begin : gen_floor
        assign carry = '0;
      end
    end
    assign rounded = (value + carry) >>> Shift;
  end
  assign code_o = rounded > High ? High[OutBits-1:0] :
      rounded < -High - Widest'(1) ? ~High[OutBits-1:0] : rounded[OutBits-1:0];
endmodule
