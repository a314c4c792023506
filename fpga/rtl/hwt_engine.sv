// Training and prediction of a multilayer perceptron, sample by sample: forward, loss, backward, update.
//
// A word of weight memory holds Lanes weights: of consecutive outputs for one input where LanesOut is set, else of
// consecutive inputs for one output. One word is read a cycle. With lanes along the outputs the forward pass
// adds up in the lanes and the backward pass by the tree; with lanes along the inputs it is the other way round.
// The updates follow all backward passes, so every product of a step is with the weights it began with.
//
// Tables have 16 entries, one a layer: sizes, first words, shifts. Layer k's biases and outputs begin at word
// OutBase[k] of their memories. Weights change by learning and by the host port alone.
module hwt_engine #(
  parameter int Layers = 2,
  parameter int Lanes = 4,          // a power of two, at least 2
  parameter int SignalBits = 8,     // 8 or 16
  parameter int MasterBits = 16,    // of a weight that learns
  parameter int CodeBits = 0,       // of its power of two; 0: the weight itself is multiplied
  parameter int AccBits = 40,
  parameter int WeightWords = 16,
  parameter int OutWords = 4,
  parameter logic [255:0] InSize = '0,
  parameter logic [255:0] OutSize = '0,
  parameter logic [255:0] LaneBlocks = '0,  // words that cover the lanes' dimension
  parameter logic [255:0] OutBlocks = '0,   // words that cover the outputs
  parameter logic [255:0] WeightBase = '0,
  parameter logic [255:0] OutBase = '0,
  parameter logic [255:0] Frac = '0,        // bits cut from an accumulator
  parameter logic [255:0] BiasShift = '0,   // bits cut from a bias before it is added
  parameter logic [255:0] PotLow = '0,
  parameter logic [15:0] LanesOut = '0,
  parameter int SignalFrac = 3,
  parameter int ErrorFrac = 6,
  parameter int Rounding = 0,
  parameter int UpdateShift = 0,
  parameter int UpdateRounding = 3,
  parameter bit SquaredError = 1'b0,
  parameter logic [2047:0] Keys = '0,  // of update noise: weights of layer k at 2k, biases at 2k + 1
  parameter bit InputGradient = 1'b0,  // the gradient of the inputs is found, too; these are rectified
  parameter int Banks = 1,             // copies of the weights: one is read while another may be written
  parameter bit Follows = 1'b0,        // weights are another engine's, which writes them here, too; nothing is learned
  parameter bit Guesses = 1'b0,        // begins with the backward pass, by outputs and errors from outside
  parameter int WordBits = CodeBits == 0 ? MasterBits : CodeBits,
  parameter int KeptBits = CodeBits == 0 ? 1 : CodeBits  // of a code that is kept beside the weight
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic                        learn_i,
  input  logic                        step_we_i,
  input  logic [31:0]                 step_i,
  output logic [31:0]                 step_o,
  output logic                        busy_o,
  output logic [31:0]                 cycles_o,   // of the last sample
  // A sample: its words are read while in_valid_i is held; in_done_o gives it back.
  input  logic                        in_valid_i,
  output logic                        in_done_o,
  input  logic [15:0]                 label_i,
  output logic [15:0]                 x_addr_o,
  input  logic [Lanes*SignalBits-1:0] x_rdata_i,
  // Scores as they were before learning, then the loss.
  input  logic                        out_ready_i,
  output logic                        z_valid_o,
  output logic [15:0]                 z_index_o,
  output logic [SignalBits-1:0]       z_o,
  output logic                        loss_valid_o,
  output logic [31:0]                 loss_o,
  // Words of the inputs' gradient, while it learns.
  output logic [Lanes-1:0]            gradient_we_o,
  output logic [15:0]                 gradient_waddr_o,
  output logic [Lanes*SignalBits-1:0] gradient_o,
  // Which copy is read and which is written; what is written, and what the engine that is followed writes.
  input  logic                        bank_i,
  input  logic                        write_bank_i,
  output logic [Lanes-1:0]            weight_we_o,
  output logic [Lanes-1:0]            bias_we_o,
  output logic [15:0]                 waddr_o,
  output logic [Lanes*MasterBits-1:0] wdata_o,
  input  logic [Lanes-1:0]            weight_we_i,
  input  logic [Lanes-1:0]            bias_we_i,
  input  logic                        to_bank_i,
  input  logic [15:0]                 waddr_i,
  input  logic [Lanes*MasterBits-1:0] wdata_i,
  input  logic [Lanes*KeptBits-1:0]   wcodes_i,
  output logic                        to_bank_o,
  output logic [Lanes*KeptBits-1:0]   wcodes_o,
  // Outputs and errors of the last layer as they are found, and those that are read if it guesses.
  output logic [Lanes-1:0]            act_we_o,
  output logic [15:0]                 act_waddr_o,
  output logic                        d_valid_o,
  output logic [15:0]                 d_index_o,
  output logic [SignalBits-1:0]       d_o,
  output logic [15:0]                 act_addr_o,
  output logic [15:0]                 d_addr_o,
  input  logic [Lanes*SignalBits-1:0] act_rdata_i,
  input  logic [Lanes*SignalBits-1:0] d_rdata_i,
  // Weights, one at a time, between samples: req is held until done.
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
  localparam int ProductBits = CodeBits == 0 ? MasterBits + SignalBits
                                             : SignalBits + (1 << (WordBits - 1)) - 2;
  localparam int TreeBits = ProductBits + LaneIndex;
  localparam int OuterBits = 2 * SignalBits + 1 > UpdateShift + 2 ? 2 * SignalBits + 1 : UpdateShift + 2;
  localparam int ChangeBits = OuterBits + 2 + (UpdateShift < 0 ? -UpdateShift : 0);
  localparam int WholeBits = (ChangeBits > MasterBits ? ChangeBits : MasterBits) + 1;
  localparam bit Noise = UpdateRounding == 3 && UpdateShift > 0 && !Follows;
  localparam int NoiseBits = UpdateShift > 0 ? UpdateShift : 1;
  localparam int Delay = Noise ? 5 : 0;              // of an update, until its noise is there
  // Taps: cycles behind the issue of an address. Tap 1 reads, tap 4 multiplies, tap 5 adds up; LaneIndex later if by the tree.
  localparam int Near = 4;                           // where a bias is fetched
  localparam int Sum = 6;                            // where an accumulator is complete
  localparam int Mask = 7;                           // where outputs are fetched that decide what passes the rectifier
  localparam int End = 9;                            // where a result is written
  localparam int New = 9;                            // where a new weight is there, and where it is written
  localparam int Write = CodeBits == 0 ? New : New + 4;
  localparam int Depth = Write > Near + LaneIndex ? Write : Near + LaneIndex;
  localparam int OneShift = SignalFrac;
  localparam int SignalIndex = $clog2(SignalBits);

  typedef enum logic [2:0] {Idle, Host, Forward, Loss, Backward, Update, UpdateBias, Drain} state_e;
  state_e state_q;

  // ---------------------------------------------------------------- what is known of each layer
  // Entries beyond the layers are zero. A size is told by its last index and by whether that is 0.
  logic [255:0] seq_ends, block_ends, out_ends, row_starts;
  for (genvar k = 0; k < 16; k++) begin : gen_known
    localparam bit Along = LanesOut[k];
    localparam logic [15:0] In = InSize[16*k+:16];
    localparam logic [15:0] Out = OutSize[16*k+:16];
    localparam bit There = k < Layers;
    assign seq_ends[16*k+:16]   = There ? (Along ? In : Out) - 16'd1 : '0;
    assign block_ends[16*k+:16] = There ? LaneBlocks[16*k+:16] - 16'd1 : '0;
    assign out_ends[16*k+:16]   = There ? OutBlocks[16*k+:16] - 16'd1 : '0;
    assign row_starts[16*k+:16] = There && Along ? In : 16'd1;  // times Lanes: first element of the second row of lanes
  end
  localparam logic [3:0] LastLayer = 4'(Layers - 1);
  localparam logic [15:0] ClassEnd = OutSize[16*(Layers-1)+:16] - 16'd1;

  // Cycles between the last address of a pass and the first one that may read what it wrote.
  localparam int LaneWait = End - 1;
  localparam int TreeWait = LaneWait + LaneIndex;
  localparam int LossWait = SquaredError ? 8 : 11;
  localparam int ShareWait = 3;  // between the sum of the powers and the shares
  localparam logic [1:0] LastPass = SquaredError ? 2'd0 : 2'd3;
  // An update waits for its noise on its way, so it may set out before what it reads is written.
  localparam int LaneLead = LaneWait > Delay ? LaneWait - Delay : 0;
  localparam int TreeLead = TreeWait > Delay ? TreeWait - Delay : 0;
  localparam int LossLead = LossWait > Delay ? LossWait - Delay : 0;
  // The next sample may set out 4 cycles after the last update does, if the memory has it by then: words and biases of
  // the first layer, in the order in which they are read.
  localparam int FirstIn = 32'(InSize[15:0]);
  localparam int FirstOut = 32'(OutSize[15:0]);
  localparam int FirstBlocks = 32'(LaneBlocks[15:0]);
  localparam int FirstWords = FirstBlocks * (LanesOut[0] ? FirstIn : FirstOut);
  localparam int WordLag = LanesOut[0] ? 1 - FirstWords : 1 - FirstWords + (FirstBlocks - 1) * (FirstOut - 1);
  localparam int BiasLag = LanesOut[0] ? -1 - FirstIn : -1 - FirstBlocks - LaneIndex;
  localparam int Lag = Delay + Write - 32'(OutBlocks[15:0]) + (WordLag > BiasLag ? WordLag : BiasLag) - 4;
  localparam int LeastWait = Delay > 2 ? Delay - 2 : 0;  // the sample is read until then
  localparam int UpdateWait = Lag > LeastWait ? Lag : LeastWait;
  localparam int HostWait = 7;    // from a weight's address to its value, from a value to its code
  localparam int SettleWait = Delay + Write + 2;

  // ---------------------------------------------------------------- the sequence of a step
  logic [3:0]  layer_q;
  logic        learn_q, tree_q, along_q, seq_last_q, block_last_q;
  logic [15:0] seq_q, seq_end_q, seq_left_q, block_q, block_end_q, block_left_q;  // place along the sequence, block of lanes
  logic [15:0] word_q, line_q;  // weight word, and that of the sequence's place where the tree adds up
  logic [5:0]  wait_q, settle_q;
  logic [1:0]  pass_q;
  logic [31:0] element_q, row_q, step_q, cycles_q, busy_q;
  logic        points_done, taken, host_taken, issue, done, inner_last, seq_steps, block_steps, bank_q, write_bank_q;
  assign taken       = state_q == Idle && !(host_req_i && !host_done_o) && in_valid_i && !in_done_o;
  assign host_taken  = state_q == Idle && host_req_i && !host_done_o && settle_q == '0;
  assign inner_last  = tree_q ? block_last_q : seq_last_q;
  assign done        = seq_last_q && block_last_q;
  assign issue       = (state_q == Forward || (state_q == Loss && (pass_q != '0 || out_ready_i)) || state_q == Backward || state_q == UpdateBias ||
                        (state_q == Update && points_done)) && wait_q == '0;
  assign seq_steps   = issue && (!tree_q || block_last_q);
  assign block_steps = issue && (tree_q || seq_last_q);

  // What comes after: state, layer, its sizes, and how long it waits.
  state_e      next;
  logic [3:0]  next_layer;
  logic [15:0] next_seq_end, next_block_end, next_word, next_row;
  logic        next_tree, next_along, leads;
  logic [5:0]  next_wait;
  always_comb begin
    next       = Drain;
    next_layer = layer_q;
    case (state_q)
      Idle: begin
        if (!Guesses) next = Forward;
        else if (Layers == 1) next = Update;
        else next = Backward;
        next_layer = Guesses ? LastLayer : '0;
      end
      Forward: if (layer_q == LastLayer) begin
        next = Loss;
      end else begin
        next       = Forward;
        next_layer = layer_q + 4'd1;
      end
      Loss: begin
        if (pass_q != LastPass) next = Loss;
        else if (learn_q && Layers == 1 && !InputGradient) next = Update;
        else if (learn_q) next = Backward;
      end
      Backward: if (layer_q == (InputGradient ? 4'd0 : 4'd1)) begin
        next       = Update;
        next_layer = LastLayer;
      end else begin
        next       = Backward;
        next_layer = layer_q - 4'd1;
      end
      Update: next = UpdateBias;
      UpdateBias: if (layer_q != '0) begin
        next       = Update;
        next_layer = layer_q - 4'd1;
      end
      default: ;
    endcase
  end
  assign next_along     = LanesOut[next_layer] || next == UpdateBias || next == Loss;
  assign next_tree      = (next == Forward && !LanesOut[next_layer]) || (next == Backward && LanesOut[next_layer]);
  assign next_seq_end   = next == Loss ? ClassEnd : next == UpdateBias ? '0 : seq_ends[{next_layer, 4'd0}+:16];
  assign next_block_end = next == Loss ? '0 : next == UpdateBias ? out_ends[{next_layer, 4'd0}+:16] :
      block_ends[{next_layer, 4'd0}+:16];
  assign next_word      = WeightBase[{next_layer, 4'd0}+:16];
  assign next_row       = next == UpdateBias ? 16'd1 : row_starts[{next_layer, 4'd0}+:16];
  assign leads          = next == Update;
  always_comb begin
    next_wait = '0;
    case (state_q)
      Forward: next_wait = tree_q ? 6'(TreeWait) : 6'(LaneWait);
      Backward: next_wait = tree_q ? (leads ? 6'(TreeLead) : 6'(TreeWait)) : leads ? 6'(LaneLead) : 6'(LaneWait);
      Loss: next_wait = pass_q == LastPass ? (leads ? 6'(LossLead) : 6'(LossWait)) : pass_q == 2'd1 ? 6'(ShareWait) : '0;
      UpdateBias: next_wait = leads ? '0 : 6'(UpdateWait);
      default: ;
    endcase
  end

  always_ff @(posedge clk_i) begin
    in_done_o    <= 1'b0;
    loss_valid_o <= 1'b0;
    host_done_o  <= 1'b0;
    busy_q       <= busy_q + 32'd1;
    if (step_we_i) step_q <= step_i;
    if (wait_q != '0) wait_q <= wait_q - 6'd1;
    if (settle_q != '0) settle_q <= settle_q - 6'd1;
    if (seq_steps) begin
      seq_q      <= seq_last_q ? '0 : seq_q + 16'd1;
      seq_left_q <= seq_last_q ? seq_end_q : seq_left_q - 16'd1;
      seq_last_q <= seq_last_q ? seq_end_q == '0 : seq_left_q == 16'd1;
    end
    if (block_steps) begin
      block_q      <= block_last_q ? '0 : block_q + 16'd1;
      block_left_q <= block_last_q ? block_end_q : block_left_q - 16'd1;
      block_last_q <= block_last_q ? block_end_q == '0 : block_left_q == 16'd1;
    end
    if (issue) begin
      word_q <= (tree_q && block_last_q ? line_q : word_q) + (tree_q && !block_last_q ? seq_end_q : '0) + 16'd1;
      if (block_last_q) line_q <= line_q + 16'd1;
      element_q <= seq_last_q ? row_q : element_q + (along_q ? 32'd1 : {16'd0, InSize[{layer_q, 4'd0}+:16]});
      if (seq_last_q) row_q <= row_q + (along_q && state_q == Update ? {16'd0, row_starts[{layer_q, 4'd0}+:16]} << LaneIndex : 32'(Lanes));
    end
    if (taken || (issue && done)) begin
      state_q      <= next;
      layer_q      <= next_layer;
      tree_q       <= next_tree;
      along_q      <= next_along;
      seq_q        <= '0;
      seq_end_q    <= next_seq_end;
      seq_left_q   <= next_seq_end;
      seq_last_q   <= next_seq_end == '0;
      block_q      <= '0;
      block_end_q  <= next_block_end;
      block_left_q <= next_block_end;
      block_last_q <= next_block_end == '0;
      word_q       <= next_word;
      line_q       <= next_word;
      element_q    <= '0;
      row_q        <= {16'd0, next_row} << LaneIndex;
      wait_q       <= next_wait;
      pass_q       <= state_q == Loss ? pass_q + 2'd1 : '0;
    end
    case (state_q)
      Idle: begin
        busy_q <= 32'd1;
        if (taken) learn_q <= learn_i;
        if (taken || host_taken) {bank_q, write_bank_q} <= {bank_i, write_bank_i};
        if (host_taken) begin
          state_q <= Host;
          wait_q  <= 6'(HostWait);
        end
      end
      Host: if (wait_q == '0) begin
        host_done_o <= 1'b1;
        state_q     <= Idle;
      end
      Drain: if (wait_q == '0) begin
        state_q      <= Idle;
        in_done_o    <= 1'b1;
        loss_valid_o <= 1'b1;
        settle_q     <= 6'(SettleWait);
        cycles_q     <= busy_q + 32'd1;
        if (learn_q) step_q <= step_q + 32'd1;
      end
      default: ;
    endcase
    if (!rst_ni) begin
      state_q      <= Idle;
      step_q       <= '0;
      cycles_q     <= '0;
      wait_q       <= '0;
      settle_q     <= '0;
      in_done_o    <= 1'b0;
      loss_valid_o <= 1'b0;
      host_done_o  <= 1'b0;
    end
  end
  assign busy_o   = state_q != Idle;
  assign step_o   = step_q;
  assign cycles_o = cycles_q;

  // ---------------------------------------------------------------- what travels with an address
  localparam logic [1:0] KindForward = 2'd0, KindBackward = 2'd1, KindUpdate = 2'd2, KindLoss = 2'd3;
  logic [1:0] kind;
  assign kind = state_q == Forward ? KindForward : state_q == Backward ? KindBackward :
      state_q == Loss ? KindLoss : KindUpdate;

  // An update waits until its noise is there; nothing else is on its way meanwhile.
  localparam int LateBits = 57;
  logic [(Delay+1)*LateBits-1:0] late_taps;
  logic [LateBits-1:0] early, late;
  logic unused_late;
  assign early = {
    issue && kind == KindUpdate, write_bank_q, state_q == UpdateBias, along_q, block_last_q, layer_q, word_q, seq_q, block_q
  };
  hwt_delay #(
    .Bits  (LateBits),
    .Stages(Delay)
  ) u_late (
    .clk_i,
    .rst_ni,
    .value_i(early),
    .taps_o (late_taps)
  );
  assign late        = late_taps[Delay*LateBits+:LateBits];
  assign unused_late = ^late_taps;

  // Tap k belongs to the address of k cycles ago.
  localparam int FlagBits = 12;
  logic [FlagBits-1:0] flags0;
  logic [3:0]  layer0;
  logic [15:0] word0, seq0, block0;
  assign {flags0, layer0, word0, seq0, block0} = late[LateBits-1] ?
      {1'b1, late[LateBits-2], 1'b0, 1'b0, late[LateBits-3], late[LateBits-4], late[LateBits-5], 1'b0, KindUpdate, 2'd0, late[LateBits-6:0]} :
      {issue && kind != KindUpdate, 1'b0, tree_q ? block_q == '0 : seq_q == '0, inner_last, 1'b0, along_q, block_last_q, tree_q, kind,
       pass_q, layer_q, word_q, seq_q, block_q};

  logic [(Depth+1)*FlagBits-1:0] flags_taps;
  logic [(Depth+1)*4-1:0] layer_taps;
  logic [(Depth+1)*16-1:0] word_taps, seq_taps, block_taps;
  hwt_delay #(.Bits(FlagBits), .Stages(Depth)) u_flags (.clk_i, .rst_ni, .value_i(flags0), .taps_o(flags_taps));
  hwt_delay #(.Bits(4), .Stages(Depth)) u_layer (.clk_i, .rst_ni, .value_i(layer0), .taps_o(layer_taps));
  hwt_delay #(.Bits(16), .Stages(Depth)) u_word (.clk_i, .rst_ni, .value_i(word0), .taps_o(word_taps));
  hwt_delay #(.Bits(16), .Stages(Depth)) u_seq (.clk_i, .rst_ni, .value_i(seq0), .taps_o(seq_taps));
  hwt_delay #(.Bits(16), .Stages(Depth)) u_block (.clk_i, .rst_ni, .value_i(block0), .taps_o(block_taps));

  logic [Depth:0] valid, banks, first, write, bias, along, tail, is_tree, is_update;
  logic [(Depth+1)*2-1:0] kinds, passes;
  logic unused_taps;
  for (genvar k = 0; k <= Depth; k++) begin : gen_tap
    assign {valid[k], banks[k], first[k], write[k], bias[k], along[k], tail[k], is_tree[k], kinds[2*k+:2], passes[2*k+:2]} =
        flags_taps[k*FlagBits+:FlagBits];
    assign is_update[k] = valid[k] && kinds[2*k+:2] == KindUpdate;
  end
  assign unused_taps = ^{valid, banks, first, write, bias, along, tail, is_tree, is_update, kinds, passes, layer_taps,
                         word_taps, seq_taps, block_taps};

  // From where a bias is fetched, what the lanes add up and what the tree adds up go one way. Place k is k + Near cycles
  // behind the address, for the tree LaneIndex more.
  localparam int Before = Near - 1;
  localparam int Joined = End - Near;
  localparam int JoinBits = 24 + LaneIndex;
  logic from_tree;
  logic [JoinBits-1:0] joined;
  logic [(Joined+2)*JoinBits-1:0] joined_taps;
  logic [Joined:0] j_valid, j_tree, j_backward, j_write;
  logic [(Joined+1)*4-1:0] j_layer;
  logic [(Joined+1)*16-1:0] j_place;
  logic [(Joined+1)*LaneIndex-1:0] j_lane;
  logic unused_joined;
  assign from_tree = valid[Before+LaneIndex] && is_tree[Before+LaneIndex];
  assign joined = from_tree ?
      {1'b1, 1'b1, kinds[2*(Before+LaneIndex)+:2] == KindBackward, write[Before+LaneIndex],
       layer_taps[4*(Before+LaneIndex)+:4], seq_taps[16*(Before+LaneIndex)+:16] >> LaneIndex,
       seq_taps[16*(Before+LaneIndex)+:LaneIndex]} :
      {valid[Before] && !is_tree[Before] && (kinds[2*Before+:2] == KindForward || kinds[2*Before+:2] == KindBackward),
       1'b0, kinds[2*Before+:2] == KindBackward, write[Before], layer_taps[4*Before+:4], block_taps[16*Before+:16],
       {LaneIndex{1'b0}}};
  hwt_delay #(.Bits(JoinBits), .Stages(Joined + 1)) u_joined (.clk_i, .rst_ni, .value_i(joined), .taps_o(joined_taps));
  for (genvar k = 0; k <= Joined; k++) begin : gen_joined
    assign {j_valid[k], j_tree[k], j_backward[k], j_write[k], j_layer[4*k+:4], j_place[16*k+:16],
            j_lane[LaneIndex*k+:LaneIndex]} = joined_taps[(k+1)*JoinBits+:JoinBits];
  end
  assign unused_joined = ^{joined_taps, j_valid, j_tree, j_backward, j_write, j_layer, j_place, j_lane};

  // ---------------------------------------------------------------- tap 1: addresses; tap 2: words
  logic [15:0] act_addr, d_addr, bias_addr, act_waddr;
  logic [Lanes-1:0] weight_we, bias_we, act_we, d_we;
  logic [Lanes*MasterBits-1:0] weight_rdata, bias_rdata, new_weights;
  logic [Lanes*WordBits-1:0] word_rdata;
  logic [Lanes*SignalBits-1:0] act_rdata, d_rdata, own_act_rdata, own_d_rdata, result_q;
  logic [15:0] weight_raddr, weight_waddr, bias_waddr, d_waddr;
  logic [Lanes*SignalBits-1:0] d_wdata;

  // Outputs are fetched that decide what gradients pass the rectifier.
  localparam int ToMask = Mask - Near;
  logic masks, masked;  // masked: a cycle later
  logic [15:0] mask_addr_q, place_q;
  logic [3:0] sum1_layer;
  logic sum1_backward, inputs_masked;
  assign masks         = j_valid[ToMask] && j_backward[ToMask];
  assign masked        = j_backward[ToMask+1];
  assign sum1_layer    = j_layer[4*(ToMask+1)+:4];
  assign sum1_backward = masked;
  assign inputs_masked = InputGradient && masked && sum1_layer == '0;
  always_ff @(posedge clk_i) begin
    mask_addr_q <= OutBase[{j_layer[4*(ToMask-1)+:4]-4'd1, 4'd0}+:16] + j_place[16*(ToMask-1)+:16];
    place_q     <= j_place[16*(ToMask-1)+:16];
  end
  logic [15:0] in_place, out_place, word1;
  logic [3:0] layer1;
  assign layer1    = layer_taps[4+:4];
  assign in_place  = along[1] ? seq_taps[16+:16] >> LaneIndex : block_taps[16+:16];
  assign out_place = along[1] ? block_taps[16+:16] : seq_taps[16+:16] >> LaneIndex;
  assign word1     = word_taps[16+:16];
  assign x_addr_o  = InputGradient && masks ? place_q : in_place;
  assign act_addr  = masks ? mask_addr_q :
      (kinds[2+:2] == KindLoss ? OutBase[{layer1, 4'd0}+:16] : OutBase[{layer1-4'd1, 4'd0}+:16]) + in_place;
  assign d_addr    = OutBase[{layer1, 4'd0}+:16] + out_place;
  // The bias of an update is fetched a cycle after its weights would be.
  assign bias_addr = is_update[2] ? OutBase[{layer_taps[8+:4], 4'd0}+:16] + block_taps[32+:16] :
      state_q == Host ? host_word_i : OutBase[{j_layer[3:0], 4'd0}+:16] + j_place[15:0];
  assign weight_raddr = state_q == Host ? host_word_i : word1;

  logic [16:0] weight_from, weight_to, bias_from, bias_to;
  logic to_bank, bank_to_q;  // of a write: it may come when the next sample goes to the other one
  assign to_bank     = Follows ? to_bank_i : bank_to_q;
  assign weight_from = {1'b0, weight_raddr} + (Banks > 1 && bank_q ? 17'(WeightWords) : '0);
  assign weight_to   = {1'b0, weight_waddr} + (Banks > 1 && to_bank ? 17'(WeightWords) : '0);
  assign bias_from   = {1'b0, bias_addr} + (Banks > 1 && bank_q ? 17'(OutWords) : '0);
  assign bias_to     = {1'b0, bias_waddr} + (Banks > 1 && to_bank ? 17'(OutWords) : '0);
  hwt_ram #(.Depth(Banks * WeightWords), .Lanes(Lanes), .LaneBits(MasterBits), .AddrBits(17)) u_weights (
    .clk_i, .we_i(weight_we), .waddr_i(weight_to), .wdata_i(new_weights),
    .raddr_i(weight_from), .rdata_o(weight_rdata)
  );
  hwt_ram #(.Depth(Banks * OutWords), .Lanes(Lanes), .LaneBits(MasterBits), .AddrBits(17)) u_biases (
    .clk_i, .we_i(bias_we), .waddr_i(bias_to), .wdata_i(new_weights),
    .raddr_i(bias_from), .rdata_o(bias_rdata)
  );
  hwt_ram #(.Depth(OutWords), .Lanes(Lanes), .LaneBits(SignalBits)) u_outputs (
    .clk_i, .we_i(act_we), .waddr_i(act_waddr), .wdata_i(result_q), .raddr_i(act_addr), .rdata_o(own_act_rdata)
  );
  hwt_ram #(.Depth(OutWords), .Lanes(Lanes), .LaneBits(SignalBits)) u_gradients (
    .clk_i, .we_i(d_we), .waddr_i(d_waddr), .wdata_i(d_wdata), .raddr_i(d_addr), .rdata_o(own_d_rdata)
  );
  assign act_rdata = Guesses ? act_rdata_i : inputs_masked ? x_rdata_i : own_act_rdata;
  assign d_rdata   = Guesses && layer_taps[8+:4] == LastLayer ? d_rdata_i : own_d_rdata;
  assign {act_addr_o, d_addr_o, act_we_o, act_waddr_o} = {act_addr, d_addr, act_we, act_waddr};
  logic unused_outside;
  assign unused_outside = ^{bank_i, write_bank_i, weight_we_i, bias_we_i, to_bank_i, waddr_i, wdata_i, wcodes_i,
                            act_rdata_i, d_rdata_i, own_act_rdata};


  // ---------------------------------------------------------------- tap 3: the words that are meant; tap 4: operands
  logic [Lanes*SignalBits-1:0] inputs, serial_q, parallel_q, across_q;
  logic signed [SignalBits-1:0] scalar, scalar_q;
  logic [LaneIndex+SignalIndex-1:0] serial_at;
  logic [Lanes*MasterBits-1:0] weight_q, master_q;
  logic [Lanes*WordBits-1:0] word_q3, code_q;
  logic host_reads;
  assign host_reads = state_q == Host && host_bias_i;
  assign inputs     = layer_taps[8+:4] == '0 && kinds[4+:2] != KindLoss ? x_rdata_i : act_rdata;
  assign serial_at  = {seq_taps[48+:LaneIndex], {SignalIndex{1'b0}}};
  assign scalar     = bias[3] ? SignalBits'(1) << OneShift : serial_q[serial_at+:SignalBits];
  always_ff @(posedge clk_i) begin
    serial_q   <= along[2] ? inputs : d_rdata;
    parallel_q <= along[2] ? d_rdata : inputs;
    weight_q   <= weight_rdata;
    word_q3    <= word_rdata;
    scalar_q   <= scalar;
    across_q   <= parallel_q;
  end

  // ---------------------------------------------------------------- tap 5: products, and what follows
  logic [Lanes*ProductBits-1:0] product_q;
  logic [Lanes-1:0] ones, ones_q;  // what a product of shifts lacks
  logic [Lanes*64-1:0] noise;
  logic unused_noise;
  logic [TreeBits-1:0] tree_sum;
  logic tree_one;
  logic signed [AccBits-1:0] tree_acc_q;
  hwt_adder_tree #(.Terms(Lanes), .TermBits(ProductBits)) u_tree (
    .clk_i, .terms_i(product_q), .carries_i(ones_q), .sum_o(tree_sum), .carry_o(tree_one)
  );
  logic tree_adds_q, tree_first_q;  // at tap 5 + LaneIndex, where what the tree adds up is there
  always_ff @(posedge clk_i) begin
    ones_q       <= ones;
    tree_adds_q  <= valid[Near+LaneIndex];
    tree_first_q <= first[Near+LaneIndex];
    if (tree_adds_q) tree_acc_q <= (tree_first_q ? '0 : tree_acc_q) + AccBits'($signed(tree_sum)) + AccBits'(tree_one);
  end
  assign unused_noise = ^noise;
  logic [Lanes*MasterBits-1:0] new_words, new_taps;

  for (genvar p = 0; p < Lanes; p++) begin : gen_lane
    // Lanes of the last word that lie beyond the matrix give nothing to the tree.
    logic [15:0] used;
    for (genvar k = 0; k < 16; k++) begin : gen_used
      if (k < Layers) begin : gen_layer
        localparam int Size = LanesOut[k] ? 32'(OutSize[16*k+:16]) : 32'(InSize[16*k+:16]);
        assign used[k] = p < Size - (32'(LaneBlocks[16*k+:16]) - 1) * Lanes;
      end else begin : gen_none
        assign used[k] = 1'b0;
      end
    end
    logic keep, pad_q;
    assign keep = used[layer_taps[8+:4]];
    always_ff @(posedge clk_i) begin
      pad_q <= valid[2] && is_tree[2] && tail[2] && !keep;
      master_q[p*MasterBits+:MasterBits] <= pad_q ? '0 :
          bias[3] || host_reads ? bias_rdata[p*MasterBits+:MasterBits] : weight_q[p*MasterBits+:MasterBits];
      code_q[p*WordBits+:WordBits] <= pad_q ? '0 : word_q3[p*WordBits+:WordBits];
    end

    logic signed [SignalBits-1:0] across, signal_q;
    logic signed [ProductBits-1:0] product;
    logic signed [2*SignalBits-1:0] outer;  // at tap 6
    assign across = $signed(across_q[p*SignalBits+:SignalBits]);
    always_ff @(posedge clk_i) begin
      signal_q <= !is_tree[3] ? scalar : pad_q ? '0 : $signed(parallel_q[p*SignalBits+:SignalBits]);
    end
    if (CodeBits == 0) begin : gen_mult
      // The same multiplier makes weight times signal and gradient times signal.
      logic [MasterBits-1:0] weight;
      logic signed [2*SignalBits-1:0] outer_q;
      assign weight = kinds[8+:2] == KindUpdate ? MasterBits'(across) : master_q[p*MasterBits+:MasterBits];
      hwt_mult_lane #(.WeightBits(MasterBits), .SignalBits(SignalBits)) u_lane (
        .weight_i(weight), .signal_i(signal_q), .product_o(product)
      );
      always_ff @(posedge clk_i) outer_q <= $signed(product_q[p*ProductBits+:2*SignalBits]);
      assign outer = outer_q;
      assign ones[p] = 1'b0;
    end else begin : gen_shift
      hwt_shift_lane #(.WeightBits(CodeBits), .SignalBits(SignalBits)) u_lane (
        .weight_i(code_q[p*WordBits+:WordBits]), .signal_i(signal_q), .product_o(product),
        .carry_o(ones[p])
      );
      localparam int Late = 2 - ($clog2(SignalBits) + 1) / 2;  // a product of 8 bits takes 2 cycles, of less 1
      logic signed [2*SignalBits-1:0] made;
      logic [(Late+1)*2*SignalBits-1:0] made_taps;
      logic unused_made;
      hwt_product #(.ABits(SignalBits), .BBits(SignalBits), .Fabric(1'b1)) u_outer (
        .clk_i, .a_i(across), .b_i(signal_q), .product_o(made)
      );
      hwt_delay #(.Bits(2 * SignalBits), .Stages(Late)) u_made (
        .clk_i, .rst_ni(1'b1), .value_i(made), .taps_o(made_taps)
      );
      assign outer       = $signed(made_taps[Late*2*SignalBits+:2*SignalBits]);
      assign unused_made = ^made_taps;
    end
    always_ff @(posedge clk_i) product_q[p*ProductBits+:ProductBits] <= product;

    // Forward and backward: the accumulator, its bias, its end.
    logic signed [AccBits-1:0] acc_q, sum_q, bias_term, bias_term_q, ended;
    logic bias_carry, bias_carry_q, ended_carry, carry_q, over_q, under_q;
    logic [Layers*AccBits-1:0] bias_terms, ends;
    logic [Layers*(AccBits+1)-1:0] bias_choices, end_choices;
    logic [Layers-1:0] bias_carries, end_carries;
    logic signed [SignalBits-1:0] low_q, rounded, result;
    logic signed [SignalBits:0] raised;
    logic negative, passes_on;
    localparam logic signed [SignalBits-1:0] Highest = {1'b0, {(SignalBits - 1) {1'b1}}};
    always_ff @(posedge clk_i) begin
      if (valid[5]) begin
        acc_q <= (first[5] ? '0 : acc_q) + AccBits'($signed(product_q[p*ProductBits+:ProductBits])) + AccBits'(ones_q[p]);
      end
    end
    for (genvar k = 0; k < Layers; k++) begin : gen_end
      logic signed [MasterBits+OneShift-1:0] bias_floor;
      hwt_cut #(.Bits(MasterBits + OneShift), .Shift(32'(BiasShift[16*k+:16]))) u_bias (
        .value_i($signed({bias_rdata[p*MasterBits+:MasterBits], {OneShift{1'b0}}})), .floor_o(bias_floor),
        .carry_o(bias_carries[k])
      );
      assign bias_terms[k*AccBits+:AccBits] = AccBits'(bias_floor);
      hwt_cut #(.Bits(AccBits), .Shift(32'(Frac[16*k+:16])), .Rounding(Rounding)) u_end (
        .value_i(sum_q), .floor_o(ends[k*AccBits+:AccBits]), .carry_o(end_carries[k])
      );
    end
    hwt_select #(.Bits(AccBits + 1), .Choices(Layers)) u_bias_term (
      .choices_i(bias_choices), .index_i(j_layer[4+:4]), .value_o({bias_carry, bias_term})
    );
    hwt_select #(.Bits(AccBits + 1), .Choices(Layers)) u_ended (
      .choices_i(end_choices), .index_i(j_layer[4*ToMask+:4]), .value_o({ended_carry, ended})
    );
    for (genvar k = 0; k < Layers; k++) begin : gen_choice
      assign bias_choices[k*(AccBits+1)+:AccBits+1] = {bias_carries[k], bias_terms[k*AccBits+:AccBits]};
      assign end_choices[k*(AccBits+1)+:AccBits+1]  = {end_carries[k], ends[k*AccBits+:AccBits]};
    end
    always_ff @(posedge clk_i) begin
      bias_term_q  <= j_backward[1] ? '0 : bias_term;
      bias_carry_q <= !j_backward[1] && bias_carry;
      sum_q        <= (j_tree[Sum-Near] ? tree_acc_q : acc_q) + bias_term_q + $signed({{(AccBits - 1) {1'b0}}, bias_carry_q});
      low_q        <= ended[SignalBits-1:0];
      carry_q      <= ended_carry;
      over_q       <= !ended[AccBits-1] && |ended[AccBits-1:SignalBits-1];
      under_q      <= ended[AccBits-1] && !(&ended[AccBits-1:SignalBits-1]);
    end
    // Rounded and held to its limits; rectified, but for the scores; backward, only where the output is positive.
    assign raised   = (SignalBits + 1)'(low_q) + $signed({{SignalBits{1'b0}}, carry_q});
    assign rounded  = under_q ? ~Highest : over_q || raised[SignalBits-:2] == 2'b01 ? Highest : raised[SignalBits-1:0];
    assign negative = under_q || (!over_q && raised[SignalBits]);
    assign passes_on = sum1_backward ? $signed(act_rdata[p*SignalBits+:SignalBits]) > 0 : !negative || sum1_layer == LastLayer;
    assign result   = passes_on ? rounded : '0;
    always_ff @(posedge clk_i) result_q[p*SignalBits+:SignalBits] <= result;

    // Updates: less the outer product, rounded.
    logic signed [ChangeBits-1:0] change, change_q;
    logic signed [MasterBits-1:0] master5_q, master6_q, master7_q, changed, new_q;
    logic signed [WholeBits-1:0] whole_q;
    hwt_requantize #(
      .InBits(OuterBits), .Shift(UpdateShift), .OutBits(ChangeBits), .Rounding(UpdateRounding),
      .NoiseBits(NoiseBits)
    ) u_change (
      .value_i(-(OuterBits'(outer))), .noise_i(noise[p*64+:NoiseBits]), .code_o(change)
    );
    hwt_requantize #(
      .InBits(WholeBits), .Shift(0), .OutBits(MasterBits), .NoiseBits(1)
    ) u_new (
      .value_i(whole_q), .noise_i(1'b0), .code_o(changed)
    );
    always_ff @(posedge clk_i) begin
      change_q  <= change;
      master5_q <= $signed(master_q[p*MasterBits+:MasterBits]);
      master6_q <= master5_q;
      master7_q <= master6_q;
      whole_q   <= WholeBits'(master7_q) + WholeBits'(change_q);
      new_q     <= is_update[8] ? changed : $signed(host_wdata_i);
    end
    assign new_weights[p*MasterBits+:MasterBits] = Follows ? wdata_i[p*MasterBits+:MasterBits] :
        new_taps[p*MasterBits+:MasterBits];
    assign new_words[p*MasterBits+:MasterBits] = new_q;
  end

  // Weights wait for their powers of two.
  logic [(Write-New+1)*Lanes*MasterBits-1:0] words_taps;
  logic unused_words;
  hwt_delay #(.Bits(Lanes * MasterBits), .Stages(Write - New)) u_words (
    .clk_i, .rst_ni(1'b1), .value_i(new_words), .taps_o(words_taps)
  );
  assign new_taps     = words_taps[(Write-New)*Lanes*MasterBits+:Lanes*MasterBits];
  assign unused_words = ^words_taps;

  // Powers of two lie beside the weights that they come from, all lanes in one word: the host's weight changes one of them.
  logic [Lanes*KeptBits-1:0] new_codes;
  assign wcodes_o = new_codes;
  if (CodeBits == 0) begin : gen_no_codes
    assign word_rdata = weight_rdata;
    assign new_codes  = '0;
    logic unused_codes;
    assign unused_codes = ^{PotLow, code_q, host_layer_i};
  end else begin : gen_codes
    logic [7:0] low_q;
    always_ff @(posedge clk_i) begin
      low_q <= 8'(PotLow[{is_update[New+1] ? layer_taps[4*(New+1)+:4] : host_layer_i, 4'd0}+:16]);
    end
    if (Follows) begin : gen_given
      assign new_codes = wcodes_i;
      logic unused_low;
      assign unused_low = ^{low_q, code_q};
    end else begin : gen_encoded
      for (genvar p = 0; p < Lanes; p++) begin : gen_encode
        logic [WordBits-1:0] code;
        hwt_pot_encode #(.MasterBits(MasterBits), .WeightBits(CodeBits)) u_encode (
          .clk_i, .master_i($signed(new_words[p*MasterBits+:MasterBits])), .low_i(low_q), .weight_o(code)
        );
        assign new_codes[p*WordBits+:WordBits] = weight_we[p] ? code : code_q[p*WordBits+:WordBits];
      end
    end
    hwt_ram #(.Depth(Banks * WeightWords), .Lanes(1), .LaneBits(Lanes * WordBits), .AddrBits(17)) u_codes (
      .clk_i, .we_i(|weight_we), .waddr_i(weight_to), .wdata_i(new_codes),
      .raddr_i(weight_from), .rdata_o(word_rdata)
    );
  end

  // ---------------------------------------------------------------- what is written
  logic host_writes, updated;
  logic [Lanes-1:0] host_lanes, weight_we_q, bias_we_q, end_lanes_q, loss_lanes;
  logic act_ends_q, d_ends_q, inputs_end_q;
  logic [15:0] act_waddr_q, end_waddr_q, end_place_q, weight_waddr_q, bias_waddr_q;
  logic d_valid;
  logic [15:0] d_index;
  logic [SignalBits-1:0] d_value;
  localparam int ToWrite = Write - 1;
  assign host_writes = state_q == Host && wait_q == 6'd1 && host_we_i;
  assign host_lanes  = Lanes'(1) << host_lane_i;
  assign updated     = is_update[ToWrite];
  always_ff @(posedge clk_i) begin
    weight_we_q <= host_writes && !host_bias_i ? host_lanes : {Lanes{updated && !bias[ToWrite]}};
    bias_we_q   <= host_writes && host_bias_i ? host_lanes : {Lanes{updated && bias[ToWrite]}};
    weight_waddr_q <= state_q == Host ? host_word_i : word_taps[16*ToWrite+:16];
    bias_waddr_q   <= state_q == Host ? host_word_i :
        OutBase[{layer_taps[4*ToWrite+:4], 4'd0}+:16] + block_taps[16*ToWrite+:16];
    bank_to_q <= state_q == Host ? write_bank_q : banks[ToWrite];
    if (!rst_ni) {weight_we_q, bias_we_q} <= '0;
  end
  assign {weight_we_o, bias_we_o, wdata_o, to_bank_o} = {weight_we, bias_we, new_weights, to_bank};
  assign waddr_o      = |bias_we ? bias_waddr : weight_waddr;
  assign weight_we    = Follows ? weight_we_i : weight_we_q;
  assign bias_we      = Follows ? bias_we_i : bias_we_q;
  assign weight_waddr = Follows ? waddr_i : weight_waddr_q;
  assign bias_waddr   = Follows ? waddr_i : bias_waddr_q;
  // Of a result a cycle before it is there: where it goes.
  localparam int ToEnd = End - Near - 1;
  logic [3:0] end_layer;
  logic ends, inputs_end;
  assign end_layer  = j_layer[4*ToEnd+:4];
  assign ends       = j_valid[ToEnd] && j_write[ToEnd];
  assign inputs_end = InputGradient && end_layer == '0;
  always_ff @(posedge clk_i) begin
    end_lanes_q  <= j_tree[ToEnd] ? Lanes'(1) << j_lane[LaneIndex*ToEnd+:LaneIndex] : '1;
    act_ends_q   <= rst_ni && ends && !j_backward[ToEnd];
    d_ends_q     <= rst_ni && ends && j_backward[ToEnd] && !inputs_end;
    inputs_end_q <= rst_ni && ends && j_backward[ToEnd] && inputs_end;
    act_waddr_q  <= OutBase[{end_layer, 4'd0}+:16] + j_place[16*ToEnd+:16];
    end_waddr_q  <= OutBase[{end_layer-4'd1, 4'd0}+:16] + j_place[16*ToEnd+:16];
    end_place_q  <= j_place[16*ToEnd+:16];
  end
  assign act_we       = act_ends_q ? end_lanes_q : '0;
  assign act_waddr    = act_waddr_q;
  assign loss_lanes   = Lanes'(1) << d_index[LaneIndex-1:0];
  assign d_we         = d_valid ? loss_lanes : d_ends_q ? end_lanes_q : '0;
  assign d_waddr      = d_valid ? OutBase[{LastLayer, 4'd0}+:16] + (d_index >> LaneIndex) : end_waddr_q;
  assign d_wdata      = d_valid ? {Lanes{d_value}} : result_q;
  assign gradient_we_o    = inputs_end_q ? end_lanes_q : '0;
  assign gradient_waddr_o = end_place_q;
  assign gradient_o       = result_q;

  logic [LaneIndex+$clog2(MasterBits)-1:0] host_at;
  assign host_at = {host_lane_i, {$clog2(MasterBits) {1'b0}}};
  always_ff @(posedge clk_i) host_rdata_o <= master_q[host_at+:MasterBits];

  // ---------------------------------------------------------------- the loss
  assign z_valid_o = valid[4] && kinds[2*4+:2] == KindLoss && passes[2*4+:2] == 2'd0;
  assign z_index_o = seq_taps[16*4+:16];
  assign z_o       = scalar_q;
  assign {d_valid_o, d_index_o, d_o} = {d_valid, d_index, d_value};
  if (Guesses) begin : gen_no_loss
    assign {d_valid, d_index, d_value, loss_o} = '0;
    logic unused_label;
    assign unused_label = ^label_i;
  end else if (SquaredError) begin : gen_squared_error
    hwt_squared_error #(
      .SignalBits(SignalBits), .Frac(SignalFrac), .ErrorFrac(ErrorFrac), .Fabric(CodeBits != 0)
    ) u_loss (
      .clk_i, .valid_i(z_valid_o), .first_i(first[4]), .index_i(z_index_o), .hot_i(z_index_o == label_i),
      .score_i(scalar_q), .d_valid_o(d_valid), .d_index_o(d_index), .d_o(d_value), .loss_o
    );
  end else begin : gen_softmax2
    hwt_softmax2 #(
      .SignalBits(SignalBits), .Frac(SignalFrac), .ErrorFrac(ErrorFrac), .Classes(32'(ClassEnd) + 1), .Fabric(CodeBits != 0)
    ) u_loss (
      .clk_i, .valid_i(valid[4] && kinds[2*4+:2] == KindLoss), .pass_i(passes[2*4+:2]), .first_i(first[4]),
      .index_i(z_index_o), .hot_i(z_index_o == label_i), .score_i(scalar_q),
      .d_valid_o(d_valid), .d_index_o(d_index), .d_o(d_value), .loss_o
    );
  end

  // ---------------------------------------------------------------- noise of the updates
  if (Noise) begin : gen_noise
    logic [63:0] key;
    logic [15:0] stream;
    assign stream = {11'd0, layer_q, state_q == UpdateBias};
    if (Guesses) begin : gen_points  // side by side: the backward pass is shorter than one after the other takes
      logic [2*Layers*64-1:0] points;
      logic [2*Layers-1:0] found;
      logic [63:0] key_q, chosen;
      logic start_q, ready_q;
      for (genvar k = 0; k < 2 * Layers; k++) begin : gen_point
        hwt_threefry_point u_point (
          .clk_i, .rst_ni, .start_i(start_q), .key_i(Keys[64*k+:64]), .step_i(step_q), .done_o(found[k]),
          .words_o(points[64*k+:64])
        );
      end
      logic [(2*Layers+1)*64-1:0] chain;
      assign chain[63:0] = '0;
      for (genvar k = 0; k < 2 * Layers; k++) begin : gen_choice
        assign chain[64*(k+1)+:64] = stream == 16'(k) ? points[64*k+:64] : chain[64*k+:64];
      end
      assign chosen = chain[64*2*Layers+:64];
      always_ff @(posedge clk_i) begin
        start_q <= taken;
        key_q   <= chosen;
        if (taken) ready_q <= 1'b0;
        else if (&found) ready_q <= 1'b1;
        if (!rst_ni) {start_q, ready_q} <= '0;
      end
      assign points_done = ready_q;
      assign key         = key_q;
    end else begin : gen_points
    localparam logic [4:0] LastPoint = 5'(2 * Layers - 1);
    logic [4:0] point_q;
    logic ready_q, start_q, word_done, point_done;
    logic [63:0] point;
    hwt_threefry_point u_point (
      .clk_i, .rst_ni, .start_i(start_q), .key_i(Keys[{point_q, 6'd0}+:64]), .step_i(step_q),
      .done_o(word_done), .words_o(point)
    );
    always_ff @(posedge clk_i) begin
      start_q <= 1'b0;
      if (taken) begin
        start_q <= 1'b1;
        point_q <= '0;
        ready_q <= 1'b0;
      end else if (point_done) begin
        point_q <= point_q + 5'd1;
        ready_q <= point_q == LastPoint;
        start_q <= point_q != LastPoint;
      end
      if (!rst_ni) begin
        start_q <= 1'b0;
        ready_q <= 1'b0;
      end
    end
    assign points_done = ready_q;
    // A point that was begun for a sample that is over, since it was not learned, is not this one's.
    assign point_done  = word_done && !ready_q && !start_q;
    hwt_ram #(.Depth(2 * Layers), .Lanes(1), .LaneBits(64)) u_points (
      .clk_i, .we_i(point_done), .waddr_i({11'd0, point_q}), .wdata_i(point),
      .raddr_i(stream), .rdata_o(key)
    );
    end

    logic [Lanes*32-1:0] elements_q;
    for (genvar p = 0; p < Lanes; p++) begin : gen_element
      logic [16*32-1:0] offsets;  // of this lane's element from the first one's
      for (genvar k = 0; k < 16; k++) begin : gen_offset
        assign offsets[32*k+:32] = LanesOut[k] ? 32'(p) * 32'(InSize[16*k+:16]) : 32'(p);
      end
      always_ff @(posedge clk_i) begin
        elements_q[32*p+:32] <= element_q + (state_q == UpdateBias ? 32'(p) : offsets[{layer_q, 5'd0}+:32]);
      end
    end
    hwt_threefry #(.Lanes(Lanes)) u_threefry (.clk_i, .key_i(key), .elements_i(elements_q), .words_o(noise));
  end else begin : gen_no_noise
    assign points_done = 1'b1;
    assign noise       = '0;
    logic unused_elements;
    assign unused_elements = ^{Keys, element_q, row_q};
  end
endmodule
