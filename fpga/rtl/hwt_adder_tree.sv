// The sum of signed terms by a balanced tree with a register after each level: ceil(log2 Terms) cycles.
//
// A carry is one that belongs to a term. Each adder takes one in; there is one adder less than terms, so one carry comes out:
// sum_o + carry_o is the sum of terms and carries. All but that one fit into the bits that terms alone would take.
module hwt_adder_tree #(
  parameter int Terms = 8,
  parameter int TermBits = 16,
  parameter int SumBits = TermBits + $clog2(Terms)
) (
  input  logic                      clk_i,
  input  logic [Terms*TermBits-1:0] terms_i,
  input  logic [Terms-1:0]          carries_i,
  output logic [SumBits-1:0]        sum_o,
  output logic                      carry_o
);
  localparam int Wide = 1 << $clog2(Terms);

  // A heap: node n is the sum of nodes 2n + 1 and 2n + 2; the last Wide nodes are the terms.
  logic [(2*Wide-1)*SumBits-1:0] node;
  logic [2*Wide-2:0] carry;  // that a node did not add

  for (genvar n = 0; n < 2 * Wide - 1; n++) begin : gen_node
    if (n >= Wide - 1 + Terms) begin : gen_none
      assign node[n*SumBits+:SumBits] = '0;
      assign carry[n] = 1'b0;
    end else if (n >= Wide - 1) begin : gen_term
      localparam int Low = (n - (Wide - 1)) * TermBits;
      assign node[n*SumBits+:SumBits] = {
        {(SumBits - TermBits){terms_i[Low+TermBits-1]}}, terms_i[Low+:TermBits]
      };
      assign carry[n] = carries_i[n-(Wide-1)];
    end else begin : gen_sum
      logic [SumBits-1:0] sum_q;
      logic carry_q;
      always_ff @(posedge clk_i) begin
        sum_q <= node[(2*n+1)*SumBits+:SumBits] + node[(2*n+2)*SumBits+:SumBits] + SumBits'(carry[2*n+2]);
        carry_q <= carry[2*n+1];
      end
      assign node[n*SumBits+:SumBits] = sum_q;
      assign carry[n] = carry_q;
    end
  end

  assign sum_o   = node[SumBits-1:0];
  assign carry_o = carry[0];
endmodule
