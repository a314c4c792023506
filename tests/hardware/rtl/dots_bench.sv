// Dot products as hwt_engine adds them up along its inputs: lanes, a register, the tree, an accumulator.
module dots #(
  parameter bit Multiply = 1'b0,
  parameter int Lanes = 8,
  parameter int WeightBits = 4,
  parameter int SignalBits = 8
) (
  input  logic                clk_i,
  input  logic                first_i,
  input  logic                last_i,
  input  logic        [255:0] weights_i,
  input  logic        [255:0] signals_i,
  output logic                done_o,
  output logic signed [63:0]  sum_o
);
  localparam int ProductBits = Multiply ? WeightBits + SignalBits : SignalBits + (1 << (WeightBits - 1)) - 2;
  localparam int TreeBits = ProductBits + $clog2(Lanes);
  localparam int Levels = $clog2(Lanes);

  logic [Lanes*ProductBits-1:0] product, product_q;
  logic [Lanes-1:0] carry, carry_q;
  logic [TreeBits-1:0] sum;
  logic sum_carry;
  logic [Levels:0] first_q, last_q;
  for (genvar p = 0; p < Lanes; p++) begin : gen_lane
    if (Multiply) begin : gen_mult
      hwt_mult_lane #(.WeightBits(WeightBits), .SignalBits(SignalBits)) u_lane (
        .weight_i(weights_i[p*WeightBits+:WeightBits]), .signal_i(signals_i[p*SignalBits+:SignalBits]),
        .product_o(product[p*ProductBits+:ProductBits])
      );
      assign carry[p] = 1'b0;
    end else begin : gen_shift
      hwt_shift_lane #(.WeightBits(WeightBits), .SignalBits(SignalBits)) u_lane (
        .weight_i(weights_i[p*WeightBits+:WeightBits]), .signal_i(signals_i[p*SignalBits+:SignalBits]),
        .product_o(product[p*ProductBits+:ProductBits]), .carry_o(carry[p])
      );
    end
  end
  hwt_adder_tree #(.Terms(Lanes), .TermBits(ProductBits)) u_tree (
    .clk_i, .terms_i(product_q), .carries_i(carry_q), .sum_o(sum), .carry_o(sum_carry)
  );
  always_ff @(posedge clk_i) begin
    product_q <= product;
    carry_q   <= carry;
    first_q   <= {first_q[Levels-1:0], first_i};
    last_q    <= {last_q[Levels-1:0], last_i};
    sum_o     <= (first_q[Levels] ? '0 : sum_o) + 64'($signed(sum)) + 64'(sum_carry);
    done_o    <= last_q[Levels];
  end
endmodule

// Several of them; the numbers of an array are those of dots_bench.cpp.
module dots_bench (
  input  logic                clk_i,
  input  logic        [7:0]   first_i,
  input  logic        [7:0]   last_i,
  input  logic        [255:0] weights_i[8],
  input  logic        [255:0] signals_i[8],
  output logic        [7:0]   done_o,
  output logic signed [63:0]  sum_o[8]
);
  localparam logic [7:0] Multiply = 8'b11100000;
  localparam int Lanes[8]      = '{8, 16, 4, 2, 5, 8, 4, 16};
  localparam int WeightBits[8] = '{4, 3, 4, 5, 2, 16, 8, 16};
  localparam int SignalBits[8] = '{8, 8, 16, 8, 8, 8, 8, 16};
  for (genvar n = 0; n < 8; n++) begin : gen_array
    dots #(
      .Multiply(Multiply[n]), .Lanes(Lanes[n]), .WeightBits(WeightBits[n]), .SignalBits(SignalBits[n])
    ) u_dots (
      .clk_i, .first_i(first_i[n]), .last_i(last_i[n]), .weights_i(weights_i[n]), .signals_i(signals_i[n]),
      .done_o(done_o[n]), .sum_o(sum_o[n])
    );
  end
endmodule
