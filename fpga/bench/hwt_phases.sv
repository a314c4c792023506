// Says on the standard error when a state machine of the block moves: module, instance, cycle, state, layer.
// hwtrain cosim --out binds it; the names of the states are those of the sources.
module hwt_phases #(
  parameter logic [127:0] Machine = ""
) (
  input logic       clk_i,
  input logic       rst_ni,
  input logic [3:0] state_i,
  input logic [3:0] layer_i
);
  localparam logic [31:0] StandardError = 32'h8000_0002;
  logic [31:0] cycle_q;
  logic [3:0]  state_q, layer_q;
  always_ff @(posedge clk_i) begin
    cycle_q <= cycle_q + 32'd1;
    state_q <= state_i;
    layer_q <= layer_i;
    if (rst_ni && {state_i, layer_i} != {state_q, layer_q}) begin
      $fdisplay(StandardError, "hwt_phases %0s %m %0d %0d %0d", Machine, cycle_q, state_i, layer_i);
    end
    if (!rst_ni) {cycle_q, state_q, layer_q} <= '0;
  end
endmodule

bind hwt_engine hwt_phases #(.Machine("hwt_engine")) u_phases (
  .clk_i, .rst_ni, .state_i(4'(state_q)), .layer_i(layer_q)
);
bind hwt_lookahead hwt_phases #(.Machine("hwt_lookahead")) u_phases (
  .clk_i, .rst_ni, .state_i(4'(state_q)), .layer_i(4'd0)
);
bind hwt_speculative hwt_phases #(.Machine("hwt_speculative")) u_phases (
  .clk_i, .rst_ni, .state_i(4'(state_q)), .layer_i(4'd0)
);
