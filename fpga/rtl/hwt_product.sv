// The product of two signed numbers, exact, (ceil(log2 BBits) + 1) / 2 cycles behind them. With Fabric it is written as
// sums of rows, two levels of a tree a cycle, so that no synthesis tool makes a multiplier block of it.
module hwt_product #(
  parameter int ABits = 8,
  parameter int BBits = 8,
  parameter bit Fabric = 1'b0,
  parameter int ProductBits = ABits + BBits
) (
  input  logic                          clk_i,
  input  logic signed [ABits-1:0]       a_i,
  input  logic signed [BBits-1:0]       b_i,
  output logic signed [ProductBits-1:0] product_o
);
  localparam int Levels = $clog2(BBits);
  localparam int Wide = 1 << Levels;
  if (Fabric) begin : gen_fabric
    // A heap: node n is the sum of nodes 2n + 1 and 2n + 2; the last Wide nodes are the rows.
    logic [(2*Wide-1)*ProductBits-1:0] node;
    logic [ProductBits-1:0]            wide;
    assign wide = {{BBits{a_i[ABits-1]}}, a_i};
    for (genvar n = 0; n < 2 * Wide - 1; n++) begin : gen_node
      localparam int Row = n - (Wide - 1);
      localparam int Level = Levels + 1 - $clog2(n + 2);  // how far above the rows
      if (Row >= BBits) begin : gen_none
        assign node[n*ProductBits+:ProductBits] = '0;
      end else if (Row >= 0) begin : gen_row
        assign node[n*ProductBits+:ProductBits] = b_i[Row] ? wide << Row : '0;
      end else begin : gen_sum
        // The highest bit of a signed number counts below zero.
        localparam int Last = Wide + BBits - 2;
        logic [ProductBits-1:0] left, right, sum;
        assign left  = node[(2*n+1)*ProductBits+:ProductBits];
        assign right = node[(2*n+2)*ProductBits+:ProductBits];
        assign sum   = 2 * n + 2 == Last ? left - right : 2 * n + 1 == Last ? -left : left + right;
        if (Level % 2 == 0 || n == 0) begin : gen_register
          logic [ProductBits-1:0] sum_q;
          always_ff @(posedge clk_i) sum_q <= sum;
          assign node[n*ProductBits+:ProductBits] = sum_q;
        end else begin : gen_wire
          assign node[n*ProductBits+:ProductBits] = sum;
        end
      end
    end
    assign product_o = node[ProductBits-1:0];
  end else begin : gen_block
    localparam int Latency = (Levels + 1) / 2;
    logic [Latency*ProductBits-1:0] later;
    always_ff @(posedge clk_i) begin
      later[ProductBits-1:0] <= a_i * b_i;
    end
    for (genvar k = 1; k < Latency; k++) begin : gen_later
      always_ff @(posedge clk_i) later[k*ProductBits+:ProductBits] <= later[(k-1)*ProductBits+:ProductBits];
    end
    assign product_o = later[(Latency-1)*ProductBits+:ProductBits];
  end
endmodule
