// The product of two signed numbers, exact and combinational. With Fabric it is written as sums of rows, so that no
// synthesis tool makes a multiplier block of it.
module hwt_product #(
  parameter int ABits = 8,
  parameter int BBits = 8,
  parameter bit Fabric = 1'b0,
  parameter int ProductBits = ABits + BBits
) (
  input  logic signed [ABits-1:0]       a_i,
  input  logic signed [BBits-1:0]       b_i,
  output logic signed [ProductBits-1:0] product_o
);
  if (Fabric) begin : gen_fabric
    logic [ProductBits-1:0]           wide;
    logic [(BBits+1)*ProductBits-1:0] sums;
    assign wide                  = {{BBits{a_i[ABits-1]}}, a_i};
    assign sums[ProductBits-1:0] = '0;
    for (genvar k = 0; k < BBits; k++) begin : gen_row
      logic [ProductBits-1:0] row;
      assign row = b_i[k] ? wide << k : '0;
      // The highest bit of a signed number counts below zero.
      assign sums[(k+1)*ProductBits+:ProductBits] =
          k == BBits - 1 ? sums[k*ProductBits+:ProductBits] - row : sums[k*ProductBits+:ProductBits] + row;
    end
    assign product_o = sums[BBits*ProductBits+:ProductBits];
  end else begin : gen_block
    assign product_o = a_i * b_i;
  end
endmodule
