// The sum of signed terms by a balanced tree with a register after each level: ceil(log2 Terms) cycles.
module hwt_adder_tree #(
  parameter int Terms = 8,
  parameter int TermBits = 16,
  parameter int SumBits = TermBits + $clog2(Terms)
) (
  input  logic                      clk_i,
  input  logic [Terms*TermBits-1:0] terms_i,
  output logic [SumBits-1:0]        sum_o
);
  localparam int Wide = 1 << $clog2(Terms);

  // A heap: node n is the sum of nodes 2n + 1 and 2n + 2; the last Wide nodes are the terms.
  logic [(2*Wide-1)*SumBits-1:0] node;

  for (genvar n = 0; n < 2 * Wide - 1; n++) begin : gen_node
    if (n >= Wide - 1 + Terms) begin : gen_none
      assign node[n*SumBits+:SumBits] = '0;
    end else if (n >= Wide - 1) begin : gen_term
      localparam int Low = (n - (Wide - 1)) * TermBits;
      assign node[n*SumBits+:SumBits] = {
        {(SumBits - TermBits){terms_i[Low+TermBits-1]}}, terms_i[Low+:TermBits]
      };
    end else begin : gen_sum
      logic [SumBits-1:0] sum_q;
      always_ff @(posedge clk_i) begin
        sum_q <= node[(2*n+1)*SumBits+:SumBits] + node[(2*n+2)*SumBits+:SumBits];
      end
      assign node[n*SumBits+:SumBits] = sum_q;
    end
  end

  assign sum_o = node[SumBits-1:0];
endmodule
