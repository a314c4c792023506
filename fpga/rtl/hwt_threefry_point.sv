// The point of a step in a stream: Threefry-2x32-20 at (step, 0), one round a cycle.
// done_o is high for one cycle, 21 cycles after start_i, with the words beside it.
module hwt_threefry_point (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic [63:0] key_i,
  input  logic [31:0] step_i,
  output logic        done_o,
  output logic [63:0] words_o
);
  localparam logic [31:0] Parity = 32'h1BD11BDA;

  logic [31:0] x0_q, x1_q, sum, turned, add0, add1, key0, key1, key2;
  logic [4:0]  round_q, rotation;
  logic [2:0]  place;
  logic        busy_q;

  assign {key1, key0} = key_i;
  assign key2   = Parity ^ key0 ^ key1;
  assign place  = round_q[2:0];
  assign sum    = x0_q + x1_q;
  assign turned = ((x1_q << rotation) | (x1_q >> (6'd32 - {1'b0, rotation}))) ^ sum;
  always_comb begin
    case (place)
      3'd0: rotation = 5'd13;
      3'd1: rotation = 5'd15;
      3'd2: rotation = 5'd26;
      3'd3: rotation = 5'd6;
      3'd4: rotation = 5'd17;
      3'd5: rotation = 5'd29;
      3'd6: rotation = 5'd16;
      default: rotation = 5'd24;
    endcase
    case (round_q)
      5'd3: {add1, add0} = {key2 + 32'd1, key1};
      5'd7: {add1, add0} = {key0 + 32'd2, key2};
      5'd11: {add1, add0} = {key1 + 32'd3, key0};
      5'd15: {add1, add0} = {key2 + 32'd4, key1};
      5'd19: {add1, add0} = {key0 + 32'd5, key2};
      default: {add1, add0} = '0;
    endcase
  end
  always_ff @(posedge clk_i) begin
    done_o <= 1'b0;
    if (!rst_ni) begin
      busy_q <= 1'b0;
    end else if (start_i) begin
      x0_q    <= step_i + key0;
      x1_q    <= key1;
      round_q <= '0;
      busy_q  <= 1'b1;
    end else if (busy_q) begin
      x0_q    <= sum + add0;
      x1_q    <= turned + add1;
      round_q <= round_q + 1'b1;
      if (round_q == 5'd19) begin
        busy_q <= 1'b0;
        done_o <= 1'b1;
      end
    end
  end
  assign words_o = {x1_q, x0_q};
endmodule
