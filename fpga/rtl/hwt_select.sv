// One of several values, by index; the first one where the index is of none.
module hwt_select #(
  parameter int Bits = 8,
  parameter int Choices = 2
) (
  input  logic [Choices*Bits-1:0] choices_i,
  input  logic [3:0]              index_i,
  output logic [Bits-1:0]         value_o
);
  logic [Choices*Bits-1:0] chain;
  assign chain[Bits-1:0] = choices_i[Bits-1:0];
  for (genvar k = 1; k < Choices; k++) begin : gen_choice
    assign chain[k*Bits+:Bits] = index_i == 4'(k) ? choices_i[k*Bits+:Bits] : chain[(k-1)*Bits+:Bits];
  end
  if (Choices == 1) begin : gen_one
    logic unused_index;
    assign unused_index = ^index_i;
  end
  assign value_o = chain[(Choices-1)*Bits+:Bits];
endmodule
