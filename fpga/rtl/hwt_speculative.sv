// Training of a multilayer perceptron that guesses: beside the forward pass of a sample another engine already goes back
// and writes. The ports are those of hwt_engine, and a second one to read the sample.
//
// The guess is what the last sample of the label came out with: its error and hidden outputs. It is written into the
// other copy of the weights. If the error of this sample comes out nearer than Limit to the kept one (sum |a - b|), a
// hit, the copies change places; else the exact step is made on the weights that were read. Both engines have both
// copies, and each write goes to both engines, so that every memory has one read and one write port.
//
// Of each label two rows are kept: one is what is kept, into the other one goes what the forward pass finds.
module hwt_speculative #(
  parameter int Classes = 4,
  parameter int Limit = 1,
  parameter bit Sticky = 1'b0,      // a hit does not renew what is kept
  parameter int Layers = 2,
  parameter int Lanes = 4,
  parameter int SignalBits = 8,
  parameter int MasterBits = 16,
  parameter int CodeBits = 0,
  parameter int AccBits = 40,
  parameter int WeightWords = 16,
  parameter int OutWords = 4,
  parameter logic [255:0] InSize = '0,
  parameter logic [255:0] OutSize = '0,
  parameter logic [255:0] LaneBlocks = '0,
  parameter logic [255:0] OutBlocks = '0,
  parameter logic [255:0] WeightBase = '0,
  parameter logic [255:0] OutBase = '0,
  parameter logic [255:0] Frac = '0,
  parameter logic [255:0] BiasShift = '0,
  parameter logic [255:0] PotLow = '0,
  parameter logic [15:0] LanesOut = '0,
  parameter int SignalFrac = 3,
  parameter int ErrorFrac = 6,
  parameter int Rounding = 0,
  parameter int UpdateShift = 0,
  parameter int UpdateRounding = 3,
  parameter bit SquaredError = 1'b0,
  parameter logic [2047:0] Keys = '0
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic                        learn_i,
  input  logic                        step_we_i,
  input  logic [31:0]                 step_i,
  output logic [31:0]                 step_o,
  output logic                        busy_o,
  output logic [31:0]                 cycles_o,
  input  logic                        in_valid_i,
  output logic                        in_done_o,
  input  logic [15:0]                 label_i,
  output logic [15:0]                 x_addr_o,
  input  logic [Lanes*SignalBits-1:0] x_rdata_i,
  output logic [15:0]                 x2_addr_o,  // of the same sample, for the other engine
  input  logic [Lanes*SignalBits-1:0] x2_rdata_i,
  input  logic                        out_ready_i,
  output logic                        z_valid_o,
  output logic [15:0]                 z_index_o,
  output logic [SignalBits-1:0]       z_o,
  output logic                        loss_valid_o,
  output logic [31:0]                 loss_o,
  input  logic                        host_req_i,
  input  logic                        host_we_i,
  input  logic                        host_bias_i,
  input  logic [3:0]                  host_layer_i,
  input  logic [15:0]                 host_word_i,
  input  logic [$clog2(Lanes)-1:0]    host_lane_i,
  input  logic [MasterBits-1:0]       host_wdata_i,
  output logic                        hit_o,      // a sample was learned by its guess, or exactly
  output logic                        miss_o,
  output logic                        host_done_o,
  output logic [MasterBits-1:0]       host_rdata_o
);
  localparam int LaneIndex = $clog2(Lanes);
  localparam int ClassIndex = Classes > 1 ? $clog2(Classes) : 1;
  localparam int OutIndex = OutWords > 1 ? $clog2(OutWords) : 1;
  localparam int RowBits = ClassIndex + 1;
  localparam logic [15:0] LastBase = OutBase[16*(Layers-1)+:16];

  // ---------------------------------------------------------------- the sequence of a step
  typedef enum logic [1:0] {Idle, Both, Again} state_e;
  state_e state_q;
  logic [Classes-1:0] known_q, half_q;  // whether something is kept of a label, and in which of its rows
  logic learn_q, cold_q, bank_q, forward_q, backward_q, own_q, forward_done, backward_done, accepts, hit, ends;
  logic [31:0] step_q, at_q, cycles_q, busy_q;
  logic [31:0] gap_q;
  logic other_busy;
  logic [ClassIndex-1:0] class_at;
  logic [RowBits-1:0] kept_row, own_row;
  assign class_at = label_i[ClassIndex-1:0];
  assign kept_row = {class_at, half_q[class_at]};
  assign own_row  = {class_at, !half_q[class_at]};
  assign accepts  = state_q == Idle && in_valid_i && !in_done_o && !(host_req_i && !host_done_o);
  assign hit      = !cold_q && $signed(gap_q) < Limit;
  assign ends     = !forward_q && !backward_q && (state_q == Again || (state_q == Both && (!learn_q || hit)));
  // These have names, for Icarus 11 takes a state in a port list for a wire of its own.
  logic [31:0] noise_step;
  logic        host_there;
  assign noise_step = state_q == Idle ? step_q : at_q;
  assign host_there = host_req_i && state_q == Idle;
  always_ff @(posedge clk_i) begin
    {in_done_o, hit_o, miss_o} <= '0;
    busy_q <= busy_q + 32'd1;
    if (step_we_i) step_q <= step_i;
    if (forward_done) forward_q <= 1'b0;
    if (backward_done) backward_q <= 1'b0;
    if (accepts) begin
      state_q    <= Both;
      busy_q     <= 32'd1;
      learn_q    <= learn_i;
      cold_q     <= !known_q[class_at];
      forward_q  <= 1'b1;
      backward_q <= learn_i && known_q[class_at];
      own_q      <= 1'b0;
      at_q       <= step_q;
      if (learn_i) step_q <= step_q + 32'd1;
    end
    if (state_q == Both && !forward_q && !backward_q && !ends) begin  // the guess was wrong
      state_q    <= Again;
      backward_q <= 1'b1;
      own_q      <= 1'b1;
    end
    if (ends) begin
      state_q   <= Idle;
      in_done_o <= 1'b1;
      cycles_q  <= busy_q + 32'd1;
      if (learn_q) begin
        known_q[class_at] <= 1'b1;
        hit_o             <= !own_q;
        miss_o            <= own_q;
        if (!own_q) bank_q <= !bank_q;
        if (!Sticky || own_q) half_q[class_at] <= !half_q[class_at];
      end
    end
    if (!rst_ni) begin
      state_q <= Idle;
      known_q <= '0;
      half_q  <= '0;
      {bank_q, forward_q, backward_q, in_done_o, hit_o, miss_o} <= '0;
      {step_q, cycles_q} <= '0;
    end
  end
  assign busy_o   = state_q != Idle || other_busy;
  assign step_o   = step_q;
  assign cycles_o = cycles_q;

  // ---------------------------------------------------------------- what is kept of each label
  logic [Lanes-1:0] act_we, kept_d_we;
  logic d_valid, d_valid_q;
  logic [15:0] act_waddr, act_addr, d_index, d_addr;
  logic [SignalBits-1:0] d_value, near_rdata;
  logic [Lanes*SignalBits-1:0] act_data, act_rdata, d_rdata;
  logic [RowBits-1:0] read_row;
  logic first_q;
  assign read_row = own_q ? own_row : kept_row;
  hwt_ram #(.Depth(1 << (RowBits + OutIndex)), .Lanes(Lanes), .LaneBits(SignalBits), .AddrBits(RowBits + OutIndex))
  u_hidden (
    .clk_i, .we_i(act_we), .waddr_i({own_row, act_waddr[OutIndex-1:0]}), .wdata_i(act_data),
    .raddr_i({read_row, act_addr[OutIndex-1:0]}), .rdata_o(act_rdata)
  );
  assign kept_d_we = d_valid ? Lanes'(1) << d_index[LaneIndex-1:0] : '0;
  logic [15:0] d_word, d_read;
  assign d_word = d_index >> LaneIndex;
  assign d_read = d_addr - LastBase;
  hwt_ram #(.Depth(1 << (RowBits + OutIndex)), .Lanes(Lanes), .LaneBits(SignalBits), .AddrBits(RowBits + OutIndex))
  u_errors (
    .clk_i, .we_i(kept_d_we), .waddr_i({own_row, d_word[OutIndex-1:0]}), .wdata_i({Lanes{d_value}}),
    .raddr_i({read_row, d_read[OutIndex-1:0]}), .rdata_o(d_rdata)
  );
  // Once more, to be compared one after the other.
  hwt_ram #(.Depth(1 << (RowBits + ClassIndex)), .Lanes(1), .LaneBits(SignalBits), .AddrBits(RowBits + ClassIndex))
  u_near (
    .clk_i, .we_i(d_valid), .waddr_i({own_row, d_index[ClassIndex-1:0]}), .wdata_i(d_value),
    .raddr_i({kept_row, d_index[ClassIndex-1:0]}), .rdata_o(near_rdata)
  );
  logic signed [SignalBits-1:0] d_q;
  logic signed [SignalBits:0] apart;
  logic [SignalBits:0] distance;
  assign apart    = (SignalBits + 1)'(d_q) - (SignalBits + 1)'($signed(near_rdata));
  assign distance = apart < 0 ? -apart : apart;
  always_ff @(posedge clk_i) begin
    d_valid_q <= d_valid;
    d_q       <= $signed(d_value);
    first_q   <= d_index == '0;
    if (d_valid_q) gap_q <= (first_q ? '0 : gap_q) + 32'(distance);
  end

  // ---------------------------------------------------------------- the engines
  logic [Lanes-1:0] weight_we, bias_we;
  logic [15:0] waddr;
  logic to_bank;
  localparam int KeptBits = CodeBits == 0 ? 1 : CodeBits;
  logic [Lanes*KeptBits-1:0] wcodes, fore_wcodes;
  logic fore_to_bank;
  logic [Lanes*MasterBits-1:0] wdata;
  logic unused_engines;
  logic write_bank, fore_busy;
  assign write_bank = state_q == Both ? !bank_q : bank_q;
  logic [31:0] fore_step;
  logic [31:0] fore_cycles;
  logic [Lanes-1:0] fore_gradient_we;
  logic [15:0] fore_gradient_waddr;
  logic [Lanes-1:0] fore_weight_we;
  logic [Lanes-1:0] fore_bias_we;
  logic [15:0] fore_waddr;
  logic [Lanes*MasterBits-1:0] fore_wdata;
  logic [15:0] fore_act_addr;
  logic [15:0] fore_d_addr;
  logic fore_host_done;
  logic [MasterBits-1:0] fore_host_rdata;
  logic [31:0] back_step;
  logic [31:0] back_cycles;
  logic back_z_valid;
  logic [15:0] back_z_index;
  logic [SignalBits-1:0] back_z;
  logic back_loss_valid;
  logic [31:0] back_loss;
  logic [Lanes-1:0] back_gradient_we;
  logic [15:0] back_gradient_waddr;
  logic [Lanes*SignalBits-1:0] back_gradient;
  logic [Lanes-1:0] back_act_we;
  logic [15:0] back_act_waddr;
  logic back_d_valid;
  logic [15:0] back_d_index;
  logic [SignalBits-1:0] back_d;
  hwt_engine #(
    .Layers(Layers),
    .Lanes(Lanes),
    .SignalBits(SignalBits),
    .MasterBits(MasterBits),
    .CodeBits(CodeBits),
    .AccBits(AccBits),
    .WeightWords(WeightWords),
    .OutWords(OutWords),
    .InSize(InSize),
    .OutSize(OutSize),
    .LaneBlocks(LaneBlocks),
    .OutBlocks(OutBlocks),
    .WeightBase(WeightBase),
    .OutBase(OutBase),
    .Frac(Frac),
    .BiasShift(BiasShift),
    .PotLow(PotLow),
    .LanesOut(LanesOut),
    .SignalFrac(SignalFrac),
    .ErrorFrac(ErrorFrac),
    .Rounding(Rounding),
    .UpdateShift(UpdateShift),
    .UpdateRounding(UpdateRounding),
    .SquaredError(SquaredError),
    .Keys(Keys),
    .Banks(2),
    .Follows(1'b1)
  ) u_forward (
    .clk_i,
    .rst_ni,
    .learn_i(1'b0),
    .step_we_i(1'b0),
    .step_i(32'd0),
    .step_o(fore_step),
    .busy_o(fore_busy),
    .cycles_o(fore_cycles),
    .in_valid_i(forward_q),
    .in_done_o(forward_done),
    .label_i,
    .x_addr_o,
    .x_rdata_i,
    .out_ready_i,
    .z_valid_o,
    .z_index_o,
    .z_o,
    .loss_valid_o,
    .loss_o,
    .gradient_we_o(fore_gradient_we),
    .gradient_waddr_o(fore_gradient_waddr),
    .gradient_o(act_data),
    .bank_i(bank_q),
    .write_bank_i(write_bank),
    .weight_we_o(fore_weight_we),
    .bias_we_o(fore_bias_we),
    .waddr_o(fore_waddr),
    .wdata_o(fore_wdata),
    .weight_we_i(weight_we),
    .bias_we_i(bias_we),
    .waddr_i(waddr),
    .wdata_i(wdata),
    .to_bank_i(to_bank),
    .wcodes_i(wcodes),
    .to_bank_o(fore_to_bank),
    .wcodes_o(fore_wcodes),
    .act_we_o(act_we),
    .act_waddr_o(act_waddr),
    .d_valid_o(d_valid),
    .d_index_o(d_index),
    .d_o(d_value),
    .act_addr_o(fore_act_addr),
    .d_addr_o(fore_d_addr),
    .act_rdata_i({Lanes*SignalBits{1'b0}}),
    .d_rdata_i({Lanes*SignalBits{1'b0}}),
    .host_req_i(1'b0),
    .host_we_i(1'b0),
    .host_bias_i(1'b0),
    .host_layer_i(4'd0),
    .host_word_i(16'd0),
    .host_lane_i({$clog2(Lanes){1'b0}}),
    .host_wdata_i({MasterBits{1'b0}}),
    .host_done_o(fore_host_done),
    .host_rdata_o(fore_host_rdata)
  );
  hwt_engine #(
    .Layers(Layers),
    .Lanes(Lanes),
    .SignalBits(SignalBits),
    .MasterBits(MasterBits),
    .CodeBits(CodeBits),
    .AccBits(AccBits),
    .WeightWords(WeightWords),
    .OutWords(OutWords),
    .InSize(InSize),
    .OutSize(OutSize),
    .LaneBlocks(LaneBlocks),
    .OutBlocks(OutBlocks),
    .WeightBase(WeightBase),
    .OutBase(OutBase),
    .Frac(Frac),
    .BiasShift(BiasShift),
    .PotLow(PotLow),
    .LanesOut(LanesOut),
    .SignalFrac(SignalFrac),
    .ErrorFrac(ErrorFrac),
    .Rounding(Rounding),
    .UpdateShift(UpdateShift),
    .UpdateRounding(UpdateRounding),
    .SquaredError(SquaredError),
    .Keys(Keys),
    .Banks(2),
    .Guesses(1'b1)
  ) u_backward (
    .clk_i,
    .rst_ni,
    .learn_i(1'b1),
    .step_we_i(!backward_q),
    .step_i(noise_step),
    .step_o(back_step),
    .busy_o(other_busy),
    .cycles_o(back_cycles),
    .in_valid_i(backward_q),
    .in_done_o(backward_done),
    .label_i(label_i),
    .x_addr_o(x2_addr_o),
    .x_rdata_i(x2_rdata_i),
    .out_ready_i(1'b1),
    .z_valid_o(back_z_valid),
    .z_index_o(back_z_index),
    .z_o(back_z),
    .loss_valid_o(back_loss_valid),
    .loss_o(back_loss),
    .gradient_we_o(back_gradient_we),
    .gradient_waddr_o(back_gradient_waddr),
    .gradient_o(back_gradient),
    .bank_i(bank_q),
    .write_bank_i(write_bank),
    .weight_we_o(weight_we),
    .bias_we_o(bias_we),
    .waddr_o(waddr),
    .wdata_o(wdata),
    .weight_we_i({Lanes{1'b0}}),
    .bias_we_i({Lanes{1'b0}}),
    .waddr_i(16'd0),
    .wdata_i({Lanes*MasterBits{1'b0}}),
    .to_bank_i(1'b0),
    .wcodes_i({Lanes*KeptBits{1'b0}}),
    .to_bank_o(to_bank),
    .wcodes_o(wcodes),
    .act_we_o(back_act_we),
    .act_waddr_o(back_act_waddr),
    .d_valid_o(back_d_valid),
    .d_index_o(back_d_index),
    .d_o(back_d),
    .act_addr_o(act_addr),
    .d_addr_o(d_addr),
    .act_rdata_i(act_rdata),
    .d_rdata_i(d_rdata),
    .host_req_i(host_there),
    .host_we_i,
    .host_bias_i,
    .host_layer_i,
    .host_word_i,
    .host_lane_i,
    .host_wdata_i,
    .host_done_o,
    .host_rdata_o
  );
  assign unused_engines = ^{fore_busy, act_waddr, act_addr, d_index, d_word, d_read,
                            fore_step, fore_cycles, fore_gradient_we, fore_gradient_waddr, fore_weight_we, fore_bias_we, fore_waddr, fore_wdata, fore_to_bank, fore_wcodes, fore_act_addr, fore_d_addr, fore_host_done, fore_host_rdata, back_step, back_cycles, back_z_valid, back_z_index, back_z, back_loss_valid, back_loss, back_gradient_we, back_gradient_waddr, back_gradient, back_act_we, back_act_waddr, back_d_valid, back_d_index, back_d};
endmodule
