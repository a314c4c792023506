// Threefry-2x32 with 20 rounds at (element, 0) of a key, two rounds a cycle: words_o is 10 cycles behind.
// Every lane has its own element; the key is theirs together and travels with them.
module hwt_threefry #(
  parameter int Lanes = 4
) (
  input  logic                clk_i,
  input  logic [63:0]         key_i,
  input  logic [Lanes*32-1:0] elements_i,
  output logic [Lanes*64-1:0] words_o
);
  localparam int Stages = 10;
  localparam logic [31:0] Parity = 32'h1BD11BDA;
  localparam logic [8*5-1:0] Rotations = {5'd24, 5'd16, 5'd29, 5'd17, 5'd6, 5'd26, 5'd15, 5'd13};

  // The three words of the key beside each stage.
  logic [Stages*96-1:0] keys;
  assign keys[95:0] = {Parity ^ key_i[31:0] ^ key_i[63:32], key_i};
  for (genvar s = 0; s < Stages - 1; s++) begin : gen_key
    logic [95:0] keys_q;
    always_ff @(posedge clk_i) keys_q <= keys[s*96+:96];
    assign keys[(s+1)*96+:96] = keys_q;
  end

  logic unused_key;  // the last stage adds the third word and the first
  assign unused_key = ^keys[(Stages-1)*96+32+:32];

  for (genvar p = 0; p < Lanes; p++) begin : gen_lane
    logic [(Stages+1)*64-1:0] words;
    assign words[31:0]  = elements_i[p*32+:32] + keys[31:0];
    assign words[63:32] = keys[63:32];
    for (genvar s = 0; s < Stages; s++) begin : gen_stage
      localparam int First = 32'(Rotations[((2*s)%8)*5+:5]);
      localparam int Second = 32'(Rotations[((2*s+1)%8)*5+:5]);
      localparam int Group = s / 2;
      logic [31:0] x0, x1, a0, a1, b0, b1, x0_q, x1_q;
      assign x0 = words[s*64+:32];
      assign x1 = words[s*64+32+:32];
      assign a0 = x0 + x1;
      assign a1 = {x1[31-First:0], x1[31:32-First]} ^ a0;
      assign b0 = a0 + a1;
      assign b1 = {a1[31-Second:0], a1[31:32-Second]} ^ b0;
      always_ff @(posedge clk_i) begin
        x0_q <= s % 2 == 1 ? b0 + keys[s*96+32*((Group+1)%3)+:32] : b0;
        x1_q <= s % 2 == 1 ? b1 + keys[s*96+32*((Group+2)%3)+:32] + 32'(Group + 1) : b1;
      end
      assign words[(s+1)*64+:64] = {x1_q, x0_q};
    end
    assign words_o[p*64+:64] = words[Stages*64+:64];
  end
endmodule
