// Training of a multilayer perceptron whose first layer reads a sample ahead. The ports are those of hwt_engine.
//
// In a step the first layer takes the update of sample i - 2 and reads sample i in one sweep over its weights, with
// as many lanes as hwt_engine has, which meanwhile does all else of sample i - 1. What the update of i - 1, not yet
// written, would have added to the sums of i is d <x, x of i - 1>: once d is known it is taken off before the sums end.
//
// A step without a sample ahead is made where one is put off and no sample may be learned: a weight is asked for, or
// learn_i is low. A sample is predicted when nothing is put off. The first layer's lanes lie along its outputs; its
// weights are whole numbers. The tables begin with the first layer; words and biases of the others begin anew.
module hwt_lookahead #(
  parameter int Layers = 2,         // at least 2
  parameter int Lanes = 4,
  parameter int SignalBits = 8,
  parameter int MasterBits = 16,
  parameter int AccBits = 40,
  parameter int FirstWords = 16,    // of weights of the first layer
  parameter int FirstBlocks = 4,    // words of its outputs
  parameter int WeightWords = 16,   // of the others
  parameter int OutWords = 4,
  parameter logic [255:0] InSize = 256'd8,
  parameter logic [255:0] OutSize = '0,
  parameter logic [255:0] LaneBlocks = '0,
  parameter logic [255:0] OutBlocks = '0,
  parameter logic [255:0] WeightBase = '0,
  parameter logic [255:0] OutBase = '0,
  parameter logic [255:0] Frac = '0,
  parameter logic [255:0] BiasShift = '0,
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
  output logic                        host_done_o,
  output logic [MasterBits-1:0]       host_rdata_o
);
  localparam int LaneIndex = $clog2(Lanes);
  localparam int SignalIndex = $clog2(SignalBits);
  localparam logic [15:0] Inputs = InSize[15:0];
  localparam int OuterBits = 2 * SignalBits + 1 > UpdateShift + 2 ? 2 * SignalBits + 1 : UpdateShift + 2;
  localparam int ChangeBits = OuterBits + 2 + (UpdateShift < 0 ? -UpdateShift : 0);
  localparam int WholeBits = (ChangeBits > MasterBits ? ChangeBits : MasterBits) + 1;
  localparam int ProductBits = MasterBits + SignalBits;
  localparam int OverlapBits = 2 * SignalBits + 16;  // room for 2^16 inputs
  localparam int MissingBits = OverlapBits + SignalBits;
  localparam bit Noise = UpdateRounding == 3 && UpdateShift > 0;
  localparam int NoiseBits = UpdateShift > 0 ? UpdateShift : 1;
  localparam int Delay = Noise ? 8 : 0;  // of a word, until the noise of its update is there
  localparam int Depth = 7;              // of the pipeline from address to sum

  typedef enum logic [2:0] {Idle, Host, Sweep, Drain, Join} state_e;
  state_e state_q;

  // ---------------------------------------------------------------- the sequence of a step
  // Of the sample that is read, the one before and the one before that: whether there is one, whether it learns.
  logic        reads_q, reads_learn_q, rest_q, rest_learn_q, writes_q;
  logic        owes, accepts, flushes, begins, points_done, go_q, engine_done;
  logic [15:0] label_q, rest_label_q, input_q, block_q, word_q, wait_q;
  logic [31:0] element_q, row_q, step_q, reads_step_q, rest_step_q, cycles_q, busy_q;
  logic [5:0]  phase_q;
  logic        issue, is_bias, block_last, join_last;
  localparam logic [5:0] LastPhase = 6'(SignalBits + 4);
  // These have names, for Icarus 11 loses a bit of what is compared in a port list.
  logic        idle, joined, host_there;
  assign idle       = state_q == Idle;
  assign joined     = state_q == Join && phase_q == LastPhase;
  assign host_there = state_q == Host && host_layer_i != '0 && !host_done_o;
  assign owes       = (rest_q && rest_learn_q) || writes_q;
  assign accepts    = in_valid_i && !in_done_o && !(host_req_i && !host_done_o) && (learn_i || !owes);
  assign flushes    = (rest_q || writes_q) && (!learn_i || (host_req_i && !host_done_o));
  assign begins     = state_q == Idle && (accepts || flushes);
  assign issue      = state_q == Sweep;
  assign is_bias    = input_q == Inputs;
  assign block_last = block_q == 16'(FirstBlocks - 1);
  assign join_last  = block_last && phase_q == LastPhase;

  always_ff @(posedge clk_i) begin
    in_done_o   <= 1'b0;
    host_done_o <= 1'b0;
    busy_q      <= busy_q + 32'd1;
    if (step_we_i) step_q <= step_i;
    if (engine_done) go_q <= 1'b0;
    if (wait_q != '0) wait_q <= wait_q - 16'd1;
    case (state_q)
      Idle: begin
        busy_q    <= 32'd1;
        input_q   <= '0;
        block_q   <= '0;
        word_q    <= '0;
        element_q <= '0;
        row_q     <= {16'd0, Inputs} << LaneIndex;
        if (begins) begin
          state_q       <= Sweep;
          go_q          <= rest_q;
          reads_q       <= accepts;
          reads_learn_q <= accepts && learn_i;
          reads_step_q  <= step_q;
          label_q       <= label_i;
          if (accepts && learn_i) step_q <= step_q + 32'd1;
        end else if (host_req_i && !host_done_o) begin
          state_q <= Host;
          wait_q  <= 16'd1;
        end
      end
      Host: if (host_layer_i == '0 ? wait_q == '0 : engine_host_done) begin
        host_done_o <= 1'b1;
        state_q     <= Idle;
      end
      Sweep: begin
        input_q   <= is_bias ? '0 : input_q + 16'd1;
        element_q <= is_bias ? row_q : element_q + 32'd1;
        if (is_bias) begin
          row_q   <= row_q + ({16'd0, Inputs} << LaneIndex);
          block_q <= block_last ? '0 : block_q + 16'd1;
          if (block_last) begin
            state_q <= Drain;
            wait_q  <= 16'(Depth + Delay);
          end
        end else begin
          word_q <= word_q + 16'd1;
        end
      end
      Drain: if (wait_q == '0 && !go_q && points_done) begin
        state_q   <= Join;
        phase_q   <= '0;
        in_done_o <= reads_q;
      end
      default: begin  // Join
        phase_q <= phase_q == LastPhase ? '0 : phase_q + 6'd1;
        if (phase_q == LastPhase) block_q <= block_q + 16'd1;
        if (join_last) begin
          state_q      <= Idle;
          writes_q     <= rest_q && rest_learn_q;
          rest_q       <= reads_q;
          rest_learn_q <= reads_learn_q;
          rest_label_q <= label_q;
          rest_step_q  <= reads_step_q;
          cycles_q     <= busy_q + 32'd1;
        end
      end
    endcase
    if (!rst_ni) begin
      state_q     <= Idle;
      {rest_q, rest_learn_q, writes_q, go_q, in_done_o, host_done_o} <= '0;
      {step_q, cycles_q, wait_q} <= '0;
    end
  end
  assign busy_o   = state_q != Idle;
  assign step_o   = step_q;
  assign cycles_o = cycles_q;

  // ---------------------------------------------------------------- what travels with an address
  localparam int TapBits = 53;
  logic [(Delay+Depth+1)*TapBits-1:0] taps;
  logic unused_taps;
  logic [Delay+Depth:0] valid, first, bias, final_block;
  logic [(Delay+Depth+1)*16-1:0] words, inputs_at, blocks;
  hwt_delay #(.Bits(TapBits), .Stages(Delay + Depth)) u_taps (
    .clk_i, .rst_ni, .value_i({1'b0, issue, input_q == '0, is_bias, block_last, word_q, input_q, block_q}), .taps_o(taps)
  );
  for (genvar k = 0; k <= Delay + Depth; k++) begin : gen_tap
    logic unused_top;
    assign {unused_top, valid[k], first[k], bias[k], final_block[k], words[16*k+:16], inputs_at[16*k+:16],
            blocks[16*k+:16]} = taps[k*TapBits+:TapBits];
  end
  assign unused_taps = ^{valid, first, bias, final_block, words, inputs_at, blocks};
  localparam int T = Delay;  // tap T + k: k cycles after the address of a word

  // ---------------------------------------------------------------- memories
  logic [Lanes*MasterBits-1:0] weight_rdata, bias_rdata, new_weights;
  logic [Lanes-1:0] weight_we, bias_we, host_lanes, gradient_we;
  logic [15:0] weight_raddr, weight_waddr, bias_raddr, bias_waddr, gradient_waddr, hidden_addr;
  logic [Lanes*SignalBits-1:0] gradient_wdata, gradient_rdata, pending_rdata, hidden_rdata, result_q, known_gradient;
  logic [Lanes*AccBits-1:0] acc_q, raw_rdata;
  logic [SignalBits-1:0] x1_rdata, x2_rdata;
  logic host_here, updated, joins;
  assign host_here    = state_q == Host && host_layer_i == '0;
  assign host_lanes   = host_here && wait_q == '0 && host_we_i ? Lanes'(1) << host_lane_i : '0;
  assign updated      = valid[T+5];
  assign joins        = state_q == Join && phase_q == 6'd1;
  assign weight_we    = host_here && !host_bias_i ? host_lanes : {Lanes{updated && !bias[T+5]}};
  assign bias_we      = host_here && host_bias_i ? host_lanes : {Lanes{updated && bias[T+5]}};
  assign weight_raddr = host_here ? host_word_i : words[16*T+:16];
  assign bias_raddr   = host_here ? host_word_i : blocks[16*T+:16];
  assign weight_waddr = host_here ? host_word_i : words[16*(T+5)+:16];
  assign bias_waddr   = host_here ? host_word_i : blocks[16*(T+5)+:16];
  hwt_ram #(.Depth(FirstWords), .Lanes(Lanes), .LaneBits(MasterBits)) u_weights (
    .clk_i, .we_i(weight_we), .waddr_i(weight_waddr), .wdata_i(new_weights),
    .raddr_i(weight_raddr), .rdata_o(weight_rdata)
  );
  hwt_ram #(.Depth(FirstBlocks), .Lanes(Lanes), .LaneBits(MasterBits)) u_biases (
    .clk_i, .we_i(bias_we), .waddr_i(bias_waddr), .wdata_i(new_weights),
    .raddr_i(bias_raddr), .rdata_o(bias_rdata)
  );
  // Sums before they are corrected; gradients as the engine finds them, and those to be written in the next sweep.
  hwt_ram #(.Depth(FirstBlocks), .Lanes(1), .LaneBits(Lanes*AccBits)) u_sums (
    .clk_i, .we_i(valid[T+7] && bias[T+7]), .waddr_i(blocks[16*(T+7)+:16]), .wdata_i(acc_q),
    .raddr_i(block_q), .rdata_o(raw_rdata)
  );
  hwt_ram #(.Depth(FirstBlocks), .Lanes(Lanes), .LaneBits(SignalBits)) u_gradients (
    .clk_i, .we_i(gradient_we), .waddr_i(gradient_waddr), .wdata_i(gradient_wdata),
    .raddr_i(block_q), .rdata_o(gradient_rdata)
  );
  hwt_ram #(.Depth(FirstBlocks), .Lanes(1), .LaneBits(Lanes*SignalBits)) u_pending (
    .clk_i, .we_i(joins), .waddr_i(block_q), .wdata_i(known_gradient),
    .raddr_i(blocks[16*T+:16]), .rdata_o(pending_rdata)
  );
  // The outputs of the first layer, for the engine.
  hwt_ram #(.Depth(FirstBlocks), .Lanes(1), .LaneBits(Lanes*SignalBits)) u_hidden (
    .clk_i, .we_i(joined), .waddr_i(block_q), .wdata_i(result_q),
    .raddr_i(hidden_addr), .rdata_o(hidden_rdata)
  );
  // The two samples before, each taking the place of the older one in the last sweep over the inputs.
  logic signed [SignalBits-1:0] x_q, x1_q, x2_q, x3_q, x4_q, x5_q;
  logic shifts;
  assign shifts = valid[T+2] && final_block[T+2] && !bias[T+2];
  hwt_ram #(.Depth(32'(Inputs)), .Lanes(1), .LaneBits(SignalBits)) u_before (
    .clk_i, .we_i(shifts), .waddr_i(inputs_at[16*(T+2)+:16]), .wdata_i(x_q),
    .raddr_i(inputs_at[16*T+:16]), .rdata_o(x1_rdata)
  );
  hwt_ram #(.Depth(32'(Inputs)), .Lanes(1), .LaneBits(SignalBits)) u_before2 (
    .clk_i, .we_i(shifts), .waddr_i(inputs_at[16*(T+2)+:16]), .wdata_i(x1_q),
    .raddr_i(inputs_at[16*T+:16]), .rdata_o(x2_rdata)
  );

  // ---------------------------------------------------------------- stages 2 to 4: operands, overlap, the update
  logic [LaneIndex+SignalIndex-1:0] x_at;
  logic [Lanes*MasterBits-1:0] master_q;
  logic [Lanes*SignalBits-1:0] d2_q;
  logic [Lanes*64-1:0] noise;
  logic signed [2*SignalBits-1:0] same_q;
  logic signed [OverlapBits-1:0] overlap_q;
  localparam logic signed [OverlapBits-1:0] OneSquare = OverlapBits'(1) << (2 * SignalFrac);
  logic unused_noise;
  assign unused_noise = ^noise;
  assign x_addr_o = inputs_at[16*T+:16] >> LaneIndex;
  assign x_at     = {inputs_at[16*(T+1)+:LaneIndex], {SignalIndex{1'b0}}};
  always_ff @(posedge clk_i) begin
    x_q      <= $signed(x_rdata_i[x_at+:SignalBits]);
    x1_q     <= $signed(x1_rdata);
    x2_q     <= bias[T+1] ? SignalBits'(1) << SignalFrac : $signed(x2_rdata);
    d2_q     <= pending_rdata;
    master_q <= bias[T+1] ? bias_rdata : weight_rdata;
    {x3_q, x4_q, x5_q} <= {x_q, x3_q, x4_q};
    same_q   <= (2 * SignalBits)'(x_q) * (2 * SignalBits)'(x1_q);
    if (valid[T+3] && !bias[T+3]) overlap_q <= (first[T+3] ? OneSquare : overlap_q) + OverlapBits'(same_q);
  end

  assign known_gradient = rest_q && rest_learn_q ? gradient_rdata : '0;
  for (genvar p = 0; p < Lanes; p++) begin : gen_lane
    logic signed [2*SignalBits-1:0] outer_q;
    logic signed [ChangeBits-1:0] change, change_q;
    logic signed [MasterBits-1:0] master3_q, master4_q, changed, new_q;
    hwt_requantize #(
      .InBits(OuterBits), .Shift(UpdateShift), .OutBits(ChangeBits), .Rounding(UpdateRounding),
      .NoiseBits(NoiseBits)
    ) u_change (
      .value_i(-(OuterBits'(outer_q))), .noise_i(noise[p*64+:NoiseBits]), .code_o(change)
    );
    hwt_requantize #(
      .InBits(WholeBits), .Shift(0), .OutBits(MasterBits), .NoiseBits(1)
    ) u_new (
      .value_i(WholeBits'(master4_q) + WholeBits'(change_q)), .noise_i(1'b0), .code_o(changed)
    );
    always_ff @(posedge clk_i) begin
      outer_q   <= (2 * SignalBits)'($signed(d2_q[p*SignalBits+:SignalBits])) * (2 * SignalBits)'(x2_q);
      master3_q <= $signed(master_q[p*MasterBits+:MasterBits]);
      change_q  <= writes_q ? change : '0;
      master4_q <= master3_q;
      new_q     <= changed;
    end
    assign new_weights[p*MasterBits+:MasterBits] = state_q == Host ? host_wdata_i : new_q;

    // The weight as it is now, times the sample ahead.
    logic signed [AccBits-1:0] bias_term, addend_q;
    logic signed [ProductBits-1:0] product;
    hwt_requantize #(
      .InBits(MasterBits + SignalFrac), .Shift(32'(BiasShift[15:0])), .OutBits(AccBits), .NoiseBits(1)
    ) u_bias (
      .value_i($signed({new_q, {SignalFrac{1'b0}}})), .noise_i(1'b0), .code_o(bias_term)
    );
    hwt_mult_lane #(.WeightBits(MasterBits), .SignalBits(SignalBits)) u_lane (
      .weight_i(new_q), .signal_i(x5_q), .product_o(product)
    );
    always_ff @(posedge clk_i) begin
      addend_q <= bias[T+5] ? bias_term : AccBits'(product);
      acc_q[p*AccBits+:AccBits] <= (first[T+6] ? '0 : $signed(acc_q[p*AccBits+:AccBits])) + addend_q;
    end

    // What the update that is not yet written would add: the gradient times the overlap, bit by bit.
    logic signed [SignalBits-1:0]  bits_q, ended;
    logic signed [MissingBits-1:0] missing_q;
    logic signed [AccBits-1:0]     sum_q;
    logic signed [30:0]            lack;
    hwt_requantize #(
      .InBits(MissingBits + 1), .Shift(UpdateShift), .OutBits(31), .NoiseBits(NoiseBits)
    ) u_lack (
      .value_i(-((MissingBits + 1)'(missing_q))), .noise_i({NoiseBits{1'b0}}), .code_o(lack)
    );
    hwt_requantize #(
      .InBits(AccBits), .Shift(32'(Frac[15:0])), .OutBits(SignalBits), .Rounding(Rounding), .NoiseBits(1)
    ) u_end (
      .value_i(sum_q), .noise_i(1'b0), .code_o(ended)
    );
    always_ff @(posedge clk_i) begin
      if (joins) begin
        bits_q    <= $signed(known_gradient[p*SignalBits+:SignalBits]);
        missing_q <= '0;
      end else if (phase_q < 6'(SignalBits + 2)) begin
        bits_q    <= bits_q <<< 1;
        missing_q <= (missing_q <<< 1) + (!bits_q[SignalBits-1] ? '0 :
            phase_q == 6'd2 ? -(MissingBits'(overlap_q)) : MissingBits'(overlap_q));
      end
      sum_q <= $signed(raw_rdata[p*AccBits+:AccBits]) + AccBits'(lack);
      result_q[p*SignalBits+:SignalBits] <= ended < 0 ? '0 : ended;
    end
  end

  // ---------------------------------------------------------------- the other layers
  logic engine_host_done, engine_busy, unused_engine;
  logic [Lanes-1:0] open_weight_we;
  logic [Lanes-1:0] open_bias_we;
  logic [15:0] open_waddr;
  logic [Lanes*MasterBits-1:0] open_wdata;
  logic open_to_bank;
  logic [Lanes-1:0]            open_wcodes;
  logic [Lanes-1:0] open_act_we;
  logic [15:0] open_act_waddr;
  logic open_d_valid;
  logic [15:0] open_d_index;
  logic [SignalBits-1:0] open_d;
  logic [15:0] open_act_addr;
  logic [15:0] open_d_addr;
  logic unused_open;
  assign unused_open = ^{open_weight_we, open_bias_we, open_waddr, open_wdata, open_to_bank, open_wcodes, open_act_we, open_act_waddr, open_d_valid, open_d_index, open_d, open_act_addr, open_d_addr};
  logic [31:0] engine_step, engine_cycles;
  logic [MasterBits-1:0] engine_host_rdata;
  logic [LaneIndex+$clog2(MasterBits)-1:0] host_at;
  hwt_engine #(
    .Layers        (Layers - 1),
    .Lanes         (Lanes),
    .SignalBits    (SignalBits),
    .MasterBits    (MasterBits),
    .AccBits       (AccBits),
    .WeightWords   (WeightWords),
    .OutWords      (OutWords),
    .InSize        (InSize >> 16),
    .OutSize       (OutSize >> 16),
    .LaneBlocks    (LaneBlocks >> 16),
    .OutBlocks     (OutBlocks >> 16),
    .WeightBase    (WeightBase >> 16),
    .OutBase       (OutBase >> 16),
    .Frac          (Frac >> 16),
    .BiasShift     (BiasShift >> 16),
    .LanesOut      (LanesOut >> 1),
    .SignalFrac    (SignalFrac),
    .ErrorFrac     (ErrorFrac),
    .Rounding      (Rounding),
    .UpdateShift   (UpdateShift),
    .UpdateRounding(UpdateRounding),
    .SquaredError  (SquaredError),
    .Keys          (Keys >> 128),
    .InputGradient (1'b1)
  ) u_engine (
    .clk_i,
    .rst_ni,
    .learn_i     (rest_learn_q),
    .step_we_i   (idle),
    .step_i      (rest_step_q),
    .step_o      (engine_step),
    .busy_o      (engine_busy),
    .cycles_o    (engine_cycles),
    .in_valid_i  (go_q),
    .in_done_o   (engine_done),
    .label_i     (rest_label_q),
    .x_addr_o    (hidden_addr),
    .x_rdata_i   (hidden_rdata),
    .out_ready_i,
    .z_valid_o,
    .z_index_o,
    .z_o,
    .loss_valid_o,
    .loss_o,
    .gradient_we_o   (gradient_we),
    .gradient_waddr_o(gradient_waddr),
    .gradient_o      (gradient_wdata),
    // It neither follows nor guesses.
    .bank_i(1'b0),
    .write_bank_i(1'b0),
    .weight_we_i({Lanes{1'b0}}),
    .bias_we_i({Lanes{1'b0}}),
    .waddr_i(16'd0),
    .wdata_i({Lanes*MasterBits{1'b0}}),
    .to_bank_i(1'b0),
    .wcodes_i({Lanes{1'b0}}),
    .act_rdata_i({Lanes*SignalBits{1'b0}}),
    .d_rdata_i({Lanes*SignalBits{1'b0}}),
    .weight_we_o(open_weight_we),
    .bias_we_o(open_bias_we),
    .waddr_o(open_waddr),
    .wdata_o(open_wdata),
    .to_bank_o(open_to_bank),
    .wcodes_o(open_wcodes),
    .act_we_o(open_act_we),
    .act_waddr_o(open_act_waddr),
    .d_valid_o(open_d_valid),
    .d_index_o(open_d_index),
    .d_o(open_d),
    .act_addr_o(open_act_addr),
    .d_addr_o(open_d_addr),
    .host_req_i  (host_there),
    .host_we_i,
    .host_bias_i,
    .host_layer_i(host_layer_i - 4'd1),
    .host_word_i,
    .host_lane_i,
    .host_wdata_i,
    .host_done_o (engine_host_done),
    .host_rdata_o(engine_host_rdata)
  );
  assign unused_engine = ^{engine_step, engine_cycles, engine_busy};
  assign host_at       = {host_lane_i, {$clog2(MasterBits) {1'b0}}};
  assign host_rdata_o  = host_layer_i != '0 ? engine_host_rdata :
      host_bias_i ? bias_rdata[host_at+:MasterBits] : weight_rdata[host_at+:MasterBits];

  // ---------------------------------------------------------------- noise of the first layer's updates
  // The words of a sample's step are found while the engine is at that sample, a sweep before they are needed.
  if (Noise) begin : gen_noise
    logic point_q, ready_q, start_q, word_done;
    logic [63:0] point, next_weight_q, next_bias_q, weight_key_q, bias_key_q, key_q;
    logic [Lanes*32-1:0] elements_q;
    hwt_threefry_point u_point (
      .clk_i, .rst_ni, .start_i(start_q), .key_i(point_q ? Keys[127:64] : Keys[63:0]), .step_i(rest_step_q),
      .done_o(word_done), .words_o(point)
    );
    always_ff @(posedge clk_i) begin
      start_q <= begins || (word_done && !point_q);
      if (begins) begin
        ready_q <= 1'b0;
        point_q <= 1'b0;
        {bias_key_q, weight_key_q} <= {next_bias_q, next_weight_q};
      end else if (word_done) begin
        point_q <= 1'b1;
        ready_q <= point_q;
        if (point_q) next_bias_q <= point;
        else next_weight_q <= point;
      end
      if (!rst_ni) {ready_q, start_q} <= '0;
      key_q <= is_bias ? bias_key_q : weight_key_q;
    end
    assign points_done = ready_q;
    for (genvar p = 0; p < Lanes; p++) begin : gen_element
      always_ff @(posedge clk_i) begin
        elements_q[32*p+:32] <= is_bias ? ({16'd0, block_q} << LaneIndex) + 32'(p)
                                        : element_q + 32'(p) * 32'(Inputs);
      end
    end
    hwt_threefry #(.Lanes(Lanes)) u_threefry (.clk_i, .key_i(key_q), .elements_i(elements_q), .words_o(noise));
  end else begin : gen_no_noise
    assign points_done = 1'b1;
    assign noise       = '0;
    logic unused_elements;
    assign unused_elements = ^{Keys, element_q};
  end
endmodule
