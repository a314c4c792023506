// On-chip learning: samples in, scores and losses out, weights inside. The parameters are those of hwt_engine and,
// with Lookahead or Speculative, of hwt_lookahead and hwt_speculative.
module hwt_trainer #(
  parameter int Inputs = 8,
  parameter int Classes = 4,
  parameter logic [31:0] BuildHash = '0,
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
  parameter logic [2047:0] Keys = '0,
  parameter bit Lookahead = 1'b0,
  parameter int FirstWords = 16,
  parameter int FirstBlocks = 4,
  parameter bit Speculative = 1'b0,
  parameter int Limit = 0,
  parameter bit Sticky = 1'b0
) (
  input  logic        aclk,
  input  logic        aresetn,
  input  logic [31:0] s_axis_tdata,
  input  logic        s_axis_tvalid,
  output logic        s_axis_tready,
  input  logic        s_axis_tlast,
  output logic [31:0] m_axis_tdata,
  output logic        m_axis_tvalid,
  input  logic        m_axis_tready,
  output logic        m_axis_tlast,
  input  logic [7:0]  s_axi_awaddr,
  input  logic        s_axi_awvalid,
  output logic        s_axi_awready,
  input  logic [31:0] s_axi_wdata,
  input  logic [3:0]  s_axi_wstrb,
  input  logic        s_axi_wvalid,
  output logic        s_axi_wready,
  output logic [1:0]  s_axi_bresp,
  output logic        s_axi_bvalid,
  input  logic        s_axi_bready,
  input  logic [7:0]  s_axi_araddr,
  input  logic        s_axi_arvalid,
  output logic        s_axi_arready,
  output logic [31:0] s_axi_rdata,
  output logic [1:0]  s_axi_rresp,
  output logic        s_axi_rvalid,
  input  logic        s_axi_rready
);
  localparam int LaneIndex = $clog2(Lanes);

  logic learn, soft_reset, step_we, busy, sample_valid, sample_done, frame_error, out_ready, z_valid, loss_valid;
  logic host_req, host_we, host_bias, host_done, running_n;
  logic [31:0] step_new, step, cycles, loss;
  logic [15:0] label, x_addr, z_index, host_word;
  logic [3:0] host_layer;
  logic [LaneIndex-1:0] host_lane;
  logic [MasterBits-1:0] host_wdata, host_rdata;
  logic [Lanes*SignalBits-1:0] x_rdata, x2_rdata;
  logic [15:0] x2_addr;
  logic hit, miss, unused_x2;
  assign unused_x2 = ^x2_rdata;
  logic [SignalBits-1:0] z;

  // A soft reset ends what is on its way; it leaves registers and weights as they are.
  assign running_n = aresetn && !soft_reset;

  hwt_registers #(
    .MasterBits(MasterBits),
    .LaneIndex (LaneIndex),
    .BuildHash (BuildHash)
  ) u_registers (
    .clk_i        (aclk),
    .rst_ni       (aresetn),
    .s_axi_awaddr,
    .s_axi_awvalid,
    .s_axi_awready,
    .s_axi_wdata,
    .s_axi_wstrb,
    .s_axi_wvalid,
    .s_axi_wready,
    .s_axi_bresp,
    .s_axi_bvalid,
    .s_axi_bready,
    .s_axi_araddr,
    .s_axi_arvalid,
    .s_axi_arready,
    .s_axi_rdata,
    .s_axi_rresp,
    .s_axi_rvalid,
    .s_axi_rready,
    .learn_o      (learn),
    .soft_reset_o (soft_reset),
    .step_we_o    (step_we),
    .step_o       (step_new),
    .step_i       (step),
    .busy_i       (busy),
    .cycles_i     (cycles),
    .sample_done_i(loss_valid),
    .hit_i        (hit),
    .miss_i       (miss),
    .frame_error_i(frame_error),
    .host_req_o   (host_req),
    .host_we_o    (host_we),
    .host_bias_o  (host_bias),
    .host_layer_o (host_layer),
    .host_word_o  (host_word),
    .host_lane_o  (host_lane),
    .host_wdata_o (host_wdata),
    .host_done_i  (host_done),
    .host_rdata_i (host_rdata)
  );

  hwt_samples #(
    .Inputs    (Inputs),
    .Classes   (Classes),
    .Lanes     (Lanes),
    .SignalBits(SignalBits),
    .Readers   (Speculative ? 2 : 1)
  ) u_samples (
    .clk_i        (aclk),
    .rst_ni       (running_n),
    .s_axis_tdata,
    .s_axis_tvalid,
    .s_axis_tready,
    .s_axis_tlast,
    .valid_o      (sample_valid),
    .done_i       (sample_done),
    .label_o      (label),
    .addr_i       (x_addr),
    .rdata_o      (x_rdata),
    .addr2_i      (x2_addr),
    .rdata2_o     (x2_rdata),
    .error_o      (frame_error)
  );

  if (Lookahead) begin : gen_lookahead
    hwt_lookahead #(
      .Layers        (Layers),
      .Lanes         (Lanes),
      .SignalBits    (SignalBits),
      .MasterBits    (MasterBits),
      .AccBits       (AccBits),
      .FirstWords    (FirstWords),
      .FirstBlocks   (FirstBlocks),
      .WeightWords   (WeightWords),
      .OutWords      (OutWords),
      .InSize        (InSize),
      .OutSize       (OutSize),
      .LaneBlocks    (LaneBlocks),
      .OutBlocks     (OutBlocks),
      .WeightBase    (WeightBase),
      .OutBase       (OutBase),
      .Frac          (Frac),
      .BiasShift     (BiasShift),
      .LanesOut      (LanesOut),
      .SignalFrac    (SignalFrac),
      .ErrorFrac     (ErrorFrac),
      .Rounding      (Rounding),
      .UpdateShift   (UpdateShift),
      .UpdateRounding(UpdateRounding),
      .SquaredError  (SquaredError),
      .Keys          (Keys)
    ) u_lookahead (
      .clk_i       (aclk),
      .rst_ni      (running_n),
      .learn_i     (learn),
      .step_we_i   (step_we),
      .step_i      (step_new),
      .step_o      (step),
      .busy_o      (busy),
      .cycles_o    (cycles),
      .in_valid_i  (sample_valid),
      .in_done_o   (sample_done),
      .label_i     (label),
      .x_addr_o    (x_addr),
      .x_rdata_i   (x_rdata),
      .out_ready_i (out_ready),
      .z_valid_o   (z_valid),
      .z_index_o   (z_index),
      .z_o         (z),
      .loss_valid_o(loss_valid),
      .loss_o      (loss),
      .host_req_i  (host_req),
      .host_we_i   (host_we),
      .host_bias_i (host_bias),
      .host_layer_i(host_layer),
      .host_word_i (host_word),
      .host_lane_i (host_lane),
      .host_wdata_i(host_wdata),
      .host_done_o (host_done),
      .host_rdata_o(host_rdata)
    );
    logic unused_parameters;
    assign unused_parameters = ^{PotLow, CodeBits[0], Limit[0], Sticky};
    assign {hit, miss, x2_addr} = '0;
  end else if (Speculative) begin : gen_speculative
    hwt_speculative #(
      .Classes       (Classes),
      .Limit         (Limit),
      .Sticky        (Sticky),
      .Layers        (Layers),
      .Lanes         (Lanes),
      .SignalBits    (SignalBits),
      .MasterBits    (MasterBits),
      .CodeBits      (CodeBits),
      .AccBits       (AccBits),
      .WeightWords   (WeightWords),
      .OutWords      (OutWords),
      .InSize        (InSize),
      .OutSize       (OutSize),
      .LaneBlocks    (LaneBlocks),
      .OutBlocks     (OutBlocks),
      .WeightBase    (WeightBase),
      .OutBase       (OutBase),
      .Frac          (Frac),
      .BiasShift     (BiasShift),
      .PotLow        (PotLow),
      .LanesOut      (LanesOut),
      .SignalFrac    (SignalFrac),
      .ErrorFrac     (ErrorFrac),
      .Rounding      (Rounding),
      .UpdateShift   (UpdateShift),
      .UpdateRounding(UpdateRounding),
      .SquaredError  (SquaredError),
      .Keys          (Keys)
    ) u_speculative (
      .clk_i       (aclk),
      .rst_ni      (running_n),
      .learn_i     (learn),
      .step_we_i   (step_we),
      .step_i      (step_new),
      .step_o      (step),
      .busy_o      (busy),
      .cycles_o    (cycles),
      .in_valid_i  (sample_valid),
      .in_done_o   (sample_done),
      .label_i     (label),
      .x_addr_o    (x_addr),
      .x_rdata_i   (x_rdata),
      .x2_addr_o   (x2_addr),
      .x2_rdata_i  (x2_rdata),
      .hit_o       (hit),
      .miss_o      (miss),
      .out_ready_i (out_ready),
      .z_valid_o   (z_valid),
      .z_index_o   (z_index),
      .z_o         (z),
      .loss_valid_o(loss_valid),
      .loss_o      (loss),
      .host_req_i  (host_req),
      .host_we_i   (host_we),
      .host_bias_i (host_bias),
      .host_layer_i(host_layer),
      .host_word_i (host_word),
      .host_lane_i (host_lane),
      .host_wdata_i(host_wdata),
      .host_done_o (host_done),
      .host_rdata_o(host_rdata)
    );
    logic unused_parameters;
    assign unused_parameters = ^{FirstWords[0], FirstBlocks[0]};
  end else begin : gen_engine
    assign {hit, miss, x2_addr} = '0;
    logic [Lanes-1:0] gradient_we;
    logic [15:0] gradient_waddr;
    logic [Lanes*SignalBits-1:0] gradient;
    logic [Lanes-1:0] open_weight_we;
    logic [Lanes-1:0] open_bias_we;
    logic [15:0] open_waddr;
    logic [Lanes*MasterBits-1:0] open_wdata;
    logic open_to_bank;
    logic [Lanes*(CodeBits == 0 ? 1 : CodeBits)-1:0] open_wcodes;
    logic [Lanes-1:0] open_act_we;
    logic [15:0] open_act_waddr;
    logic open_d_valid;
    logic [15:0] open_d_index;
    logic [SignalBits-1:0] open_d;
    logic [15:0] open_act_addr;
    logic [15:0] open_d_addr;
    logic unused_open;
    assign unused_open = ^{open_weight_we, open_bias_we, open_waddr, open_wdata, open_to_bank, open_wcodes, open_act_we, open_act_waddr, open_d_valid, open_d_index, open_d, open_act_addr, open_d_addr};
    logic unused_gradient;
    assign unused_gradient = ^{gradient_we, gradient_waddr, gradient, FirstWords[0], FirstBlocks[0], Limit[0], Sticky};
    hwt_engine #(
      .Layers        (Layers),
      .Lanes         (Lanes),
      .SignalBits    (SignalBits),
      .MasterBits    (MasterBits),
      .CodeBits      (CodeBits),
      .AccBits       (AccBits),
      .WeightWords   (WeightWords),
      .OutWords      (OutWords),
      .InSize        (InSize),
      .OutSize       (OutSize),
      .LaneBlocks    (LaneBlocks),
      .OutBlocks     (OutBlocks),
      .WeightBase    (WeightBase),
      .OutBase       (OutBase),
      .Frac          (Frac),
      .BiasShift     (BiasShift),
      .PotLow        (PotLow),
      .LanesOut      (LanesOut),
      .SignalFrac    (SignalFrac),
      .ErrorFrac     (ErrorFrac),
      .Rounding      (Rounding),
      .UpdateShift   (UpdateShift),
      .UpdateRounding(UpdateRounding),
      .SquaredError  (SquaredError),
      .Keys          (Keys)
    ) u_engine (
      .clk_i       (aclk),
      .rst_ni      (running_n),
      .learn_i     (learn),
      .step_we_i   (step_we),
      .step_i      (step_new),
      .step_o      (step),
      .busy_o      (busy),
      .cycles_o    (cycles),
      .in_valid_i  (sample_valid),
      .in_done_o   (sample_done),
      .label_i     (label),
      .x_addr_o    (x_addr),
      .x_rdata_i   (x_rdata),
      .out_ready_i (out_ready),
      .z_valid_o   (z_valid),
      .z_index_o   (z_index),
      .z_o         (z),
      .loss_valid_o(loss_valid),
      .loss_o      (loss),
      .gradient_we_o   (gradient_we),
      .gradient_waddr_o(gradient_waddr),
      .gradient_o      (gradient),
      .bank_i(1'b0),
      .write_bank_i(1'b0),
      .weight_we_i({Lanes{1'b0}}),
      .bias_we_i({Lanes{1'b0}}),
      .waddr_i(16'd0),
      .wdata_i({Lanes*MasterBits{1'b0}}),
      .to_bank_i(1'b0),
      .wcodes_i({Lanes*(CodeBits == 0 ? 1 : CodeBits){1'b0}}),
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
      .host_req_i  (host_req),
      .host_we_i   (host_we),
      .host_bias_i (host_bias),
      .host_layer_i(host_layer),
      .host_word_i (host_word),
      .host_lane_i (host_lane),
      .host_wdata_i(host_wdata),
      .host_done_o (host_done),
      .host_rdata_o(host_rdata)
    );
  end

  hwt_results #(
    .Classes   (Classes),
    .SignalBits(SignalBits)
  ) u_results (
    .clk_i        (aclk),
    .rst_ni       (running_n),
    .ready_o      (out_ready),
    .z_valid_i    (z_valid),
    .z_index_i    (z_index),
    .z_i          (z),
    .loss_valid_i (loss_valid),
    .loss_i       (loss),
    .m_axis_tdata,
    .m_axis_tvalid,
    .m_axis_tready,
    .m_axis_tlast
  );
endmodule
