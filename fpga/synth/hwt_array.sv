// A dot product's arithmetic alone, for synthesis: registered operands, lanes, tree, accumulator. No memories,
// no control; what hwtrain synth compares shift lanes with multiplying lanes by.
module hwt_array #(
  parameter int Lanes = 8,
  parameter int SignalBits = 8,
  parameter int WeightBits = 4,
  parameter bit Multiply = 1'b0,
  parameter int AccBits = 24
) (
  input  logic                        aclk,
  input  logic                        first_i,
  input  logic [Lanes*WeightBits-1:0] weights_i,
  input  logic [Lanes*SignalBits-1:0] signals_i,
  output logic [AccBits-1:0]          sum_o
);
  localparam int ProductBits = Multiply ? WeightBits + SignalBits : SignalBits + (1 << (WeightBits - 1)) - 2;
  localparam int TreeBits = ProductBits + $clog2(Lanes);

  logic [Lanes*WeightBits-1:0]  weights_q;
  logic [Lanes*SignalBits-1:0]  signals_q;
  logic [Lanes*ProductBits-1:0] product, product_q;
  logic [TreeBits-1:0]          sum;
  logic [AccBits-1:0]           wide;
  logic [Lanes-1:0]             carry, carry_q;
  logic                         first_q, sum_carry;

  for (genvar p = 0; p < Lanes; p++) begin : gen_lane
    if (Multiply) begin : gen_mult
      hwt_mult_lane #(.WeightBits(WeightBits), .SignalBits(SignalBits)) u_lane (
        .weight_i(weights_q[p*WeightBits+:WeightBits]), .signal_i(signals_q[p*SignalBits+:SignalBits]),
        .product_o(product[p*ProductBits+:ProductBits])
      );
      assign carry[p] = 1'b0;
    end else begin : gen_shift
      hwt_shift_lane #(.WeightBits(WeightBits), .SignalBits(SignalBits)) u_lane (
        .weight_i(weights_q[p*WeightBits+:WeightBits]), .signal_i(signals_q[p*SignalBits+:SignalBits]),
        .product_o(product[p*ProductBits+:ProductBits]), .carry_o(carry[p])
      );
    end
  end
  hwt_adder_tree #(.Terms(Lanes), .TermBits(ProductBits)) u_tree (
    .clk_i(aclk), .terms_i(product_q), .carries_i(carry_q), .sum_o(sum), .carry_o(sum_carry)
  );
  assign wide = {{(AccBits - TreeBits) {sum[TreeBits-1]}}, sum};
  always_ff @(posedge aclk) begin
    weights_q <= weights_i;
    signals_q <= signals_i;
    product_q <= product;
    carry_q   <= carry;
    first_q   <= first_i;
    sum_o     <= (first_q ? '0 : sum_o) + wide + AccBits'(sum_carry);
  end
endmodule
