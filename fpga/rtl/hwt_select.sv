// One of several values, by index.
module hwt_select #(
  parameter int Bits = 8,
  parameter int Choices = 2
) (
  input  logic [Choices*Bits-1:0] choices_i,
  input  logic [3:0]              index_i,
  output logic [Bits-1:0]         value_o
);
  logic [(Choices+1)*Bits-1:0] chain;
  assign chain[Bits-1:0] = '0;
  for (genvar k = 0; k < Choices; k++) begin : gen_choice
    assign chain[(k+1)*Bits+:Bits] = index_i == 4'(k) ? choices_i[k*Bits+:Bits] : chain[k*Bits+:Bits];
  end
  assign value_o = chain[Choices*Bits+:Bits];
endmodule
