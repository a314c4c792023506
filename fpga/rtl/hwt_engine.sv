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
  parameter bit Guesses = 1'b0         // begins with the backward pass, by outputs and errors from outside
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
  input  logic [15:0]                 waddr_i,
  input  logic [Lanes*MasterBits-1:0] wdata_i,
  input  logic [3:0]                  wlayer_i,
  output logic [3:0]                  wlayer_o,
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
  localparam int WordBits = CodeBits == 0 ? MasterBits : CodeBits;
  localparam int ProductBits = CodeBits == 0 ? MasterBits + SignalBits
                                             : SignalBits + (1 << (WordBits - 1)) - 1;
  localparam int TreeBits = ProductBits + LaneIndex;
  localparam int OuterBits = 2 * SignalBits + 1 > UpdateShift + 2 ? 2 * SignalBits + 1 : UpdateShift + 2;
  localparam int ChangeBits = OuterBits + 2 + (UpdateShift < 0 ? -UpdateShift : 0);
  localparam int WholeBits = (ChangeBits > MasterBits ? ChangeBits : MasterBits) + 1;
  localparam bit Noise = UpdateRounding == 3 && UpdateShift > 0 && !Follows;
  localparam int NoiseBits = UpdateShift > 0 ? UpdateShift : 1;
  localparam int Delay = Noise ? 8 : 0;              // of an update, until its noise is there
  localparam int Depth = 7 + LaneIndex;              // of the pipeline from address to result
  localparam int OneShift = SignalFrac;
  localparam int SignalIndex = $clog2(SignalBits);

  typedef enum logic [2:0] {Idle, Host, Forward, Loss, Backward, Update, UpdateBias, Drain} state_e;
  state_e state_q;

  // ---------------------------------------------------------------- the sequence of a step
  logic [3:0]  layer_q;
  logic        learn_q;
  logic [15:0] seq_q, block_q, word_q, wait_q;  // place along the sequence, block of lanes, weight word
  logic [1:0]  pass_q;
  logic [31:0] element_q, row_q, step_q, cycles_q, busy_q;
  logic        points_done, taken;
  assign taken = state_q == Idle && !(host_req_i && !host_done_o) && in_valid_i && !in_done_o;

  logic [7:0]  at;      // of this layer in the tables
  logic        along;   // lanes along the outputs
  logic        tree;
  logic [15:0] in_size, out_size, seq_size, blocks, out_blocks;
  logic        seq_last, block_last, inner_last, done, issue;
  assign at         = {layer_q, 4'd0};
  assign in_size    = InSize[at+:16];
  assign out_size   = OutSize[at+:16];
  assign out_blocks = OutBlocks[at+:16];
  assign along      = LanesOut[layer_q];
  assign tree       = (state_q == Forward && !along) || (state_q == Backward && along);
  assign seq_size   = state_q == Loss ? out_size : state_q == UpdateBias ? 16'd1 : along ? in_size : out_size;
  assign blocks     = state_q == Loss ? 16'd1 : state_q == UpdateBias ? out_blocks : LaneBlocks[at+:16];
  assign seq_last   = seq_q == seq_size - 16'd1;
  assign block_last = block_q == blocks - 16'd1;
  assign inner_last = tree ? block_last : seq_last;
  assign done       = seq_last && block_last;
  assign issue      = (state_q == Forward || (state_q == Loss && (pass_q != '0 || out_ready_i)) || state_q == Backward || state_q == UpdateBias ||
                       (state_q == Update && points_done)) && wait_q == '0;

  // Cycles between the last address of a pass and the first one that may read what it wrote.
  localparam logic [15:0] LaneWait = 16'd6;
  localparam logic [15:0] TreeWait = 16'(6 + LaneIndex);
  localparam logic [15:0] LossWait = 16'd6;
  localparam logic [15:0] UpdateWait = 16'(5 + Delay);
  localparam logic [1:0] LastPass = SquaredError ? 2'd0 : 2'd3;
  localparam logic [3:0] LastLayer = 4'(Layers - 1);

  always_ff @(posedge clk_i) begin
    in_done_o    <= 1'b0;
    loss_valid_o <= 1'b0;
    host_done_o  <= 1'b0;
    busy_q       <= busy_q + 32'd1;
    if (step_we_i) step_q <= step_i;
    if (issue) begin
      if (tree) begin
        block_q <= block_last ? '0 : block_q + 16'd1;
        seq_q   <= block_last ? seq_q + 16'd1 : seq_q;
        word_q  <= block_last ? WeightBase[at+:16] + seq_q + 16'd1 : word_q + seq_size;
      end else begin
        seq_q   <= seq_last ? '0 : seq_q + 16'd1;
        block_q <= seq_last ? block_q + 16'd1 : block_q;
        word_q  <= word_q + 16'd1;
      end
      element_q <= seq_last ? row_q : element_q + (along ? 32'd1 : {16'd0, in_size});
      if (seq_last) row_q <= row_q + (along && state_q == Update ? {16'd0, in_size} << LaneIndex : 32'(Lanes));
      if (done) begin
        seq_q   <= '0;
        block_q <= '0;
      end
    end
    if (wait_q != '0) wait_q <= wait_q - 16'd1;
    case (state_q)
      Idle: begin
        busy_q <= 32'd1;
        if (host_req_i && !host_done_o) begin
          state_q <= Host;
          wait_q  <= 16'd1;
        end else if (taken) begin
          state_q <= Forward;
          learn_q <= learn_i;
          layer_q <= '0;
          word_q  <= WeightBase[15:0];
          seq_q   <= '0;
          block_q <= '0;
          wait_q  <= '0;
          if (Guesses) begin
            state_q   <= Layers == 1 ? Update : Backward;
            layer_q   <= LastLayer;
            word_q    <= WeightBase[{LastLayer, 4'd0}+:16];
            element_q <= '0;
            row_q     <= LanesOut[LastLayer] ? {16'd0, InSize[{LastLayer, 4'd0}+:16]} << LaneIndex : 32'(Lanes);
          end
        end
      end
      Host: if (wait_q == '0) begin
        host_done_o <= 1'b1;
        state_q     <= Idle;
      end
      Forward: if (issue && done) begin
        wait_q <= tree ? TreeWait : LaneWait;
        pass_q <= '0;
        if (layer_q == LastLayer) begin
          state_q <= Loss;
        end else begin
          layer_q <= layer_q + 4'd1;
          word_q  <= WeightBase[at+8'd16+:16];
        end
      end
      Loss: if (issue && done) begin
        wait_q <= pass_q == LastPass ? LossWait : 16'd3;
        pass_q <= pass_q + 2'd1;
        if (pass_q == LastPass) begin
          word_q    <= WeightBase[at+:16];
          element_q <= '0;
          row_q     <= along ? {16'd0, in_size} << LaneIndex : 32'(Lanes);
          state_q   <= !learn_q ? Drain : Layers == 1 && !InputGradient ? Update : Backward;
        end
      end
      Backward: if (issue && done) begin
        wait_q <= tree ? TreeWait : LaneWait;
        if (layer_q == (InputGradient ? 4'd0 : 4'd1)) begin
          state_q   <= Update;
          layer_q   <= LastLayer;
          word_q    <= WeightBase[{LastLayer, 4'd0}+:16];
          element_q <= '0;
          row_q     <= LanesOut[LastLayer] ? {16'd0, InSize[{LastLayer, 4'd0}+:16]} << LaneIndex : 32'(Lanes);
        end else begin
          layer_q <= layer_q - 4'd1;
          word_q  <= WeightBase[at-8'd16+:16];
        end
      end
      Update: if (issue && done) begin
        state_q   <= UpdateBias;
        element_q <= '0;
        row_q     <= 32'(Lanes);
      end
      UpdateBias: if (issue && done) begin
        element_q <= '0;
        if (layer_q == '0) begin
          state_q <= Drain;
          wait_q  <= UpdateWait;
        end else begin
          state_q <= Update;
          layer_q <= layer_q - 4'd1;
          word_q  <= WeightBase[at-8'd16+:16];
          row_q   <= LanesOut[layer_q-4'd1] ? {16'd0, InSize[at-8'd16+:16]} << LaneIndex : 32'(Lanes);
        end
      end
      default: if (wait_q == '0) begin  // Drain
        state_q      <= Idle;
        in_done_o    <= 1'b1;
        loss_valid_o <= 1'b1;
        cycles_q     <= busy_q + 32'd1;
        if (learn_q) step_q <= step_q + 32'd1;
      end
    endcase
    if (!rst_ni) begin
      state_q      <= Idle;
      step_q       <= '0;
      cycles_q     <= '0;
      wait_q       <= '0;
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
  localparam int LateBits = 55;
  logic [(Delay+1)*LateBits-1:0] late_taps;
  logic [LateBits-1:0] early, late;
  logic unused_late;
  assign early = {
    issue && kind == KindUpdate, state_q == UpdateBias, block_last, layer_q, word_q, seq_q, block_q
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
  localparam int FlagBits = 10;
  logic [FlagBits-1:0] flags0;
  logic [3:0]  layer0;
  logic [15:0] word0, seq0, block0;
  assign {flags0, layer0, word0, seq0, block0} = late[LateBits-1] ?
      {1'b1, 1'b0, 1'b0, late[LateBits-2], late[LateBits-3], 1'b0, KindUpdate, 2'd0, late[LateBits-4:0]} :
      {issue && kind != KindUpdate, tree ? block_q == '0 : seq_q == '0, inner_last, 1'b0, block_last, tree, kind,
       pass_q, layer_q, word_q, seq_q, block_q};

  logic [(Depth+1)*FlagBits-1:0] flags_taps;
  logic [(Depth+1)*4-1:0] layer_taps;
  logic [(Depth+1)*16-1:0] word_taps, seq_taps, block_taps;
  hwt_delay #(.Bits(FlagBits), .Stages(Depth)) u_flags (.clk_i, .rst_ni, .value_i(flags0), .taps_o(flags_taps));
  hwt_delay #(.Bits(4), .Stages(Depth)) u_layer (.clk_i, .rst_ni, .value_i(layer0), .taps_o(layer_taps));
  hwt_delay #(.Bits(16), .Stages(Depth)) u_word (.clk_i, .rst_ni, .value_i(word0), .taps_o(word_taps));
  hwt_delay #(.Bits(16), .Stages(Depth)) u_seq (.clk_i, .rst_ni, .value_i(seq0), .taps_o(seq_taps));
  hwt_delay #(.Bits(16), .Stages(Depth)) u_block (.clk_i, .rst_ni, .value_i(block0), .taps_o(block_taps));

  logic [Depth:0] valid, first, write, bias, tail, is_tree, along_at;
  logic [(Depth+1)*2-1:0] kinds, passes;
  logic unused_taps;
  for (genvar k = 0; k <= Depth; k++) begin : gen_tap
    assign {valid[k], first[k], write[k], bias[k], tail[k], is_tree[k], kinds[2*k+:2], passes[2*k+:2]} =
        flags_taps[k*FlagBits+:FlagBits];
    assign along_at[k] = LanesOut[layer_taps[4*k+:4]] || bias[k] || kinds[2*k+:2] == KindLoss;
  end
  assign unused_taps = ^{valid, first, write, bias, tail, is_tree, along_at, kinds, passes, layer_taps,
                         word_taps, seq_taps, block_taps};

  // ---------------------------------------------------------------- stage 0: addresses; stage 1: words
  localparam int Near = 2;  // where a bias is fetched, the tree's LaneIndex later
  localparam int Sum = 4;   // where an accumulator is complete
  localparam int End = 6;   // where a result is written

  logic [15:0] act_addr, d_addr, bias_addr, act_waddr;
  logic [Lanes-1:0] weight_we, bias_we, act_we, d_we;
  logic [Lanes*MasterBits-1:0] weight_rdata, bias_rdata, new_weights;
  logic [Lanes*WordBits-1:0] word_rdata;
  logic [Lanes*SignalBits-1:0] act_rdata, d_rdata, own_act_rdata, own_d_rdata, result_q;
  logic [15:0] weight_raddr, weight_waddr, bias_waddr, d_waddr;
  logic [Lanes*SignalBits-1:0] d_wdata;

  logic near_tree, sum_tree, end_tree;
  logic [3:0] near_layer, sum_layer, end_layer;
  logic [15:0] near_place, sum_place, end_place;
  assign near_tree  = valid[Near+LaneIndex] && is_tree[Near+LaneIndex];
  assign sum_tree   = valid[Sum+LaneIndex] && is_tree[Sum+LaneIndex];
  assign end_tree   = valid[End+LaneIndex] && is_tree[End+LaneIndex];
  assign near_layer = near_tree ? layer_taps[4*(Near+LaneIndex)+:4] : layer_taps[4*Near+:4];
  assign sum_layer  = sum_tree ? layer_taps[4*(Sum+LaneIndex)+:4] : layer_taps[4*Sum+:4];
  assign end_layer  = end_tree ? layer_taps[4*(End+LaneIndex)+:4] : layer_taps[4*End+:4];
  assign near_place = near_tree ? seq_taps[16*(Near+LaneIndex)+:16] >> LaneIndex : block_taps[16*Near+:16];
  assign sum_place  = sum_tree ? seq_taps[16*(Sum+LaneIndex)+:16] >> LaneIndex : block_taps[16*Sum+:16];
  assign end_place  = end_tree ? seq_taps[16*(End+LaneIndex)+:16] >> LaneIndex : block_taps[16*End+:16];

  logic backward_sum;  // a word of outputs is fetched, which decides what gradients pass the rectifier
  logic [3:0] near1_layer, sum1_layer;  // a cycle later
  logic sum1_backward;
  always_ff @(posedge clk_i) begin
    near1_layer   <= near_layer;
    sum1_layer    <= sum_layer;
    sum1_backward <= backward_sum;
  end
  assign backward_sum = sum_tree ? kinds[2*(Sum+LaneIndex)+:2] == KindBackward
                                 : valid[Sum] && kinds[2*Sum+:2] == KindBackward;
  assign x_addr_o = InputGradient && backward_sum ? sum_place : along_at[0] ? seq0 >> LaneIndex : block0;
  assign act_addr = backward_sum ? OutBase[{sum_layer-4'd1, 4'd0}+:16] + sum_place :
      kinds[1:0] == KindLoss ? OutBase[{layer0, 4'd0}+:16] + (seq0 >> LaneIndex) :
      OutBase[{layer0-4'd1, 4'd0}+:16] + (along_at[0] ? seq0 >> LaneIndex : block0);
  assign d_addr = OutBase[{layer0, 4'd0}+:16] + (along_at[0] ? block0 : seq0 >> LaneIndex);
  assign bias_addr = state_q == Host || state_q == Idle ? host_word_i :
      kinds[1:0] == KindUpdate ? OutBase[{layer0, 4'd0}+:16] + block0 :
      OutBase[{near_layer, 4'd0}+:16] + near_place;
  assign weight_raddr = state_q == Host || state_q == Idle ? host_word_i : word0;

  logic [16:0] weight_from, weight_to, bias_from, bias_to;
  assign weight_from = {1'b0, weight_raddr} + (Banks > 1 && bank_i ? 17'(WeightWords) : '0);
  assign weight_to   = {1'b0, weight_waddr} + (Banks > 1 && write_bank_i ? 17'(WeightWords) : '0);
  assign bias_from   = {1'b0, bias_addr} + (Banks > 1 && bank_i ? 17'(OutWords) : '0);
  assign bias_to     = {1'b0, bias_waddr} + (Banks > 1 && write_bank_i ? 17'(OutWords) : '0);
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
  assign act_rdata = Guesses ? act_rdata_i :
      InputGradient && sum1_backward && sum1_layer == '0 ? x_rdata_i : own_act_rdata;
  assign d_rdata   = Guesses && layer_taps[4+:4] == LastLayer ? d_rdata_i : own_d_rdata;
  assign {act_addr_o, d_addr_o, act_we_o, act_waddr_o} = {act_addr, d_addr, act_we, act_waddr};
  logic unused_outside;
  assign unused_outside = ^{bank_i, write_bank_i, weight_we_i, bias_we_i, waddr_i, wdata_i, wlayer_i, act_rdata_i,
                            d_rdata_i, own_act_rdata};


  // ---------------------------------------------------------------- stage 2: operands
  logic [Lanes*SignalBits-1:0] inputs, serial, parallel, parallel_q;
  logic signed [SignalBits-1:0] scalar_q;
  logic [LaneIndex+SignalIndex-1:0] serial_at;
  logic [Lanes*MasterBits-1:0] master_q;
  logic [Lanes*WordBits-1:0] code_q;
  assign inputs    = layer_taps[4+:4] == '0 && kinds[2+:2] != KindLoss ? x_rdata_i : act_rdata;
  assign serial    = along_at[1] ? inputs : d_rdata;
  assign parallel  = along_at[1] ? d_rdata : inputs;
  assign serial_at = {seq_taps[16+:LaneIndex], {SignalIndex{1'b0}}};
  always_ff @(posedge clk_i) begin
    scalar_q   <= bias[1] ? SignalBits'(1) << OneShift : serial[serial_at+:SignalBits];
    parallel_q <= parallel;
    master_q   <= bias[1] ? bias_rdata : weight_rdata;
    code_q     <= word_rdata;
  end

  // ---------------------------------------------------------------- stage 3: products, and what follows
  logic [Lanes*ProductBits-1:0] product_q;
  logic [Lanes*64-1:0] noise;
  logic unused_noise;
  logic [TreeBits-1:0] tree_sum;
  logic signed [AccBits-1:0] tree_q;
  hwt_adder_tree #(.Terms(Lanes), .TermBits(ProductBits)) u_tree (
    .clk_i, .terms_i(product_q), .sum_o(tree_sum)
  );
  always_ff @(posedge clk_i) begin
    if (valid[3+LaneIndex]) begin
      tree_q <= (first[3+LaneIndex] ? '0 : tree_q) + AccBits'($signed(tree_sum));
    end
  end
  assign unused_noise = ^noise;

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
    logic keep;
    assign keep = !tail[2] || used[layer_taps[8+:4]];

    logic signed [SignalBits-1:0] across, signal;
    logic signed [ProductBits-1:0] product;
    logic signed [2*SignalBits-1:0] outer_q;
    assign across = $signed(parallel_q[p*SignalBits+:SignalBits]);
    if (CodeBits == 0) begin : gen_mult
      // The same multiplier makes weight times signal and gradient times signal.
      logic [MasterBits-1:0] weight;
      assign weight = kinds[4+:2] == KindUpdate ? MasterBits'(across) : master_q[p*MasterBits+:MasterBits];
      assign signal = is_tree[2] ? across : scalar_q;
      hwt_mult_lane #(.WeightBits(MasterBits), .SignalBits(SignalBits)) u_lane (
        .weight_i(weight), .signal_i(signal), .product_o(product)
      );
      assign outer_q = $signed(product_q[p*ProductBits+:2*SignalBits]);
    end else begin : gen_shift
      assign signal = is_tree[2] ? across : scalar_q;
      hwt_shift_lane #(.WeightBits(CodeBits), .SignalBits(SignalBits)) u_lane (
        .weight_i(code_q[p*WordBits+:WordBits]), .signal_i(signal), .product_o(product)
      );
      logic signed [2*SignalBits-1:0] outer;
      hwt_product #(.ABits(SignalBits), .BBits(SignalBits), .Fabric(1'b1)) u_outer (
        .a_i(across), .b_i(scalar_q), .product_o(outer)
      );
      always_ff @(posedge clk_i) outer_q <= outer;
    end
    always_ff @(posedge clk_i) begin
      product_q[p*ProductBits+:ProductBits] <= is_tree[2] && !keep ? '0 : product;
    end

    // Forward and backward: the accumulator, its bias, its end.
    logic signed [AccBits-1:0] acc_q, sum_q, bias_term_q;
    logic [Layers*AccBits-1:0] bias_terms;
    logic [Layers*SignalBits-1:0] ends;
    logic signed [SignalBits-1:0] ended, result;
    logic signed [AccBits-1:0] addend;
    always_ff @(posedge clk_i) begin
      if (valid[3]) acc_q <= (first[3] ? '0 : acc_q) + AccBits'($signed(product_q[p*ProductBits+:ProductBits]));
    end
    for (genvar k = 0; k < Layers; k++) begin : gen_end
      localparam int Cut = 32'(BiasShift[16*k+:16]);
      localparam int EndCut = 32'(Frac[16*k+:16]);
      logic signed [AccBits-1:0] bias_term;
      logic signed [SignalBits-1:0] code;
      hwt_requantize #(
        .InBits(MasterBits + OneShift), .Shift(Cut), .OutBits(AccBits), .NoiseBits(1)
      ) u_bias (
        .value_i($signed({bias_rdata[p*MasterBits+:MasterBits], {OneShift{1'b0}}})), .noise_i(1'b0),
        .code_o(bias_term)
      );
      hwt_requantize #(
        .InBits(AccBits), .Shift(EndCut), .OutBits(SignalBits), .Rounding(Rounding), .NoiseBits(1)
      ) u_end (
        .value_i(sum_q), .noise_i(1'b0), .code_o(code)
      );
      assign bias_terms[k*AccBits+:AccBits]   = bias_term;
      assign ends[k*SignalBits+:SignalBits] = code;
    end
    hwt_select #(.Bits(AccBits), .Choices(Layers)) u_bias_term (
      .choices_i(bias_terms), .index_i(near1_layer), .value_o(addend)
    );
    hwt_select #(.Bits(SignalBits), .Choices(Layers)) u_ended (
      .choices_i(ends), .index_i(sum1_layer), .value_o(ended)
    );
    always_ff @(posedge clk_i) begin
      bias_term_q <= addend;
      sum_q       <= (sum_tree ? tree_q : acc_q) + (backward_sum ? '0 : bias_term_q);
    end
    // Rectified, but for the scores; backward, only where the output is positive.
    assign result = sum1_backward ? ($signed(act_rdata[p*SignalBits+:SignalBits]) > 0 ? ended : '0) :
        ended < 0 && sum1_layer != LastLayer ? '0 : ended;
    always_ff @(posedge clk_i) result_q[p*SignalBits+:SignalBits] <= result;

    // Updates: less the outer product, rounded.
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
      change_q  <= change;
      master3_q <= $signed(master_q[p*MasterBits+:MasterBits]);
      master4_q <= master3_q;
      new_q     <= changed;
    end
    assign new_weights[p*MasterBits+:MasterBits] = Follows ? wdata_i[p*MasterBits+:MasterBits] :
        state_q == Host ? host_wdata_i : new_q;
  end

  // Powers of two lie beside the weights that they come from.
  if (CodeBits == 0) begin : gen_no_codes
    assign word_rdata = weight_rdata;
    logic unused_codes;
    assign unused_codes = ^{PotLow, code_q, host_layer_i};
  end else begin : gen_codes
    logic [7:0] low;
    logic [Lanes*WordBits-1:0] new_codes;
    assign low = 8'(PotLow[{wlayer_o, 4'd0}+:16]);
    for (genvar p = 0; p < Lanes; p++) begin : gen_encode
      hwt_pot_encode #(.MasterBits(MasterBits), .WeightBits(CodeBits)) u_encode (
        .master_i($signed(new_weights[p*MasterBits+:MasterBits])), .low_i(low),
        .weight_o(new_codes[p*WordBits+:WordBits])
      );
    end
    hwt_ram #(.Depth(Banks * WeightWords), .Lanes(Lanes), .LaneBits(WordBits), .AddrBits(17)) u_codes (
      .clk_i, .we_i(weight_we), .waddr_i(weight_to), .wdata_i(new_codes),
      .raddr_i(weight_from), .rdata_o(word_rdata)
    );
  end

  // ---------------------------------------------------------------- what is written
  logic host_writes, updated, end_valid, end_backward, end_inputs;
  logic [Lanes-1:0] host_lanes, end_lanes, loss_lanes;
  logic end_is_pass;  // updates and scores come by here, too
  logic d_valid;
  logic [15:0] d_index;
  logic [SignalBits-1:0] d_value;
  assign host_writes  = state_q == Host && wait_q == '0 && host_we_i;
  assign host_lanes   = Lanes'(1) << host_lane_i;
  assign updated      = valid[5] && kinds[2*5+:2] == KindUpdate;
  assign wlayer_o     = Follows ? wlayer_i : state_q == Host ? host_layer_i : layer_taps[4*5+:4];
  assign {weight_we_o, bias_we_o, wdata_o} = {weight_we, bias_we, new_weights};
  assign waddr_o      = |bias_we ? bias_waddr : weight_waddr;
  assign weight_we    = Follows ? weight_we_i : host_writes && !host_bias_i ? host_lanes : {Lanes{updated && !bias[5]}};
  assign bias_we      = Follows ? bias_we_i : host_writes && host_bias_i ? host_lanes : {Lanes{updated && bias[5]}};
  assign weight_waddr = Follows ? waddr_i : state_q == Host ? host_word_i : word_taps[16*5+:16];
  assign bias_waddr   = Follows ? waddr_i : state_q == Host ? host_word_i :
      OutBase[{layer_taps[4*5+:4], 4'd0}+:16] + block_taps[16*5+:16];
  assign end_valid    = end_tree ? write[End+LaneIndex] : valid[End] && write[End] && !is_tree[End];
  assign end_backward = end_tree ? kinds[2*(End+LaneIndex)+:2] == KindBackward : kinds[2*End+:2] == KindBackward;
  assign end_lanes    = end_tree ? Lanes'(1) << seq_taps[16*(End+LaneIndex)+:LaneIndex] : '1;
  assign act_we       = end_valid && !end_backward && end_is_pass ? end_lanes : '0;
  assign act_waddr    = OutBase[{end_layer, 4'd0}+:16] + end_place;
  assign loss_lanes   = Lanes'(1) << d_index[LaneIndex-1:0];
  assign end_inputs   = InputGradient && end_layer == '0;
  assign d_we         = d_valid ? loss_lanes : end_valid && end_backward && !end_inputs ? end_lanes : '0;
  assign d_waddr      = d_valid ? OutBase[{LastLayer, 4'd0}+:16] + (d_index >> LaneIndex) :
      OutBase[{end_layer-4'd1, 4'd0}+:16] + end_place;
  assign d_wdata      = d_valid ? {Lanes{d_value}} : result_q;
  assign gradient_we_o    = end_valid && end_backward && end_inputs ? end_lanes : '0;
  assign gradient_waddr_o = end_place;
  assign gradient_o       = result_q;
  assign end_is_pass  = end_tree || kinds[2*End+:2] == KindForward;

  logic [LaneIndex+$clog2(MasterBits)-1:0] host_at;
  assign host_at      = {host_lane_i, {$clog2(MasterBits) {1'b0}}};
  assign host_rdata_o = host_bias_i ? bias_rdata[host_at+:MasterBits] : weight_rdata[host_at+:MasterBits];

  // ---------------------------------------------------------------- the loss
  assign z_valid_o = valid[2] && kinds[2*2+:2] == KindLoss && passes[2*2+:2] == 2'd0;
  assign z_index_o = seq_taps[16*2+:16];
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
      .clk_i, .valid_i(z_valid_o), .first_i(first[2]), .index_i(z_index_o), .hot_i(z_index_o == label_i),
      .score_i(scalar_q), .d_valid_o(d_valid), .d_index_o(d_index), .d_o(d_value), .loss_o
    );
  end else begin : gen_softmax2
    hwt_softmax2 #(
      .SignalBits(SignalBits), .Frac(SignalFrac), .ErrorFrac(ErrorFrac), .Fabric(CodeBits != 0)
    ) u_loss (
      .clk_i, .valid_i(valid[2] && kinds[2*2+:2] == KindLoss), .pass_i(passes[2*2+:2]), .first_i(first[2]),
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
