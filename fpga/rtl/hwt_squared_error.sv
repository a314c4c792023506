// Half the squared error against a one-hot target, and its gradient. The scores come once, one a cycle; the
// gradient of a score is 2 cycles behind it, the loss of all 6 behind the last one at most. The ports are those of hwt_softmax2;
// hwt_squared_error_forward in fpga/include/hwt_fixed.h is the same in C.
module hwt_squared_error #(
  parameter int SignalBits = 8,
  parameter int Frac = 3,
  parameter int ErrorFrac = 6,
  parameter int AddrBits = 16,
  parameter bit Fabric = 1'b0  // no multiplier block
) (
  input  logic                         clk_i,
  input  logic                         valid_i,
  input  logic                         first_i,
  input  logic        [AddrBits-1:0]   index_i,
  input  logic                         hot_i,
  input  logic signed [SignalBits-1:0] score_i,
  output logic                         d_valid_o,
  output logic        [AddrBits-1:0]   d_index_o,
  output logic signed [SignalBits-1:0] d_o,
  output logic signed [31:0]           loss_o
);
  localparam int ErrorBits = (SignalBits > Frac + 1 ? SignalBits : Frac + 1) + 2;
  localparam int TotalBits = 2 * ErrorBits + 16;

  logic signed [ErrorBits-1:0]  error_q;
  logic signed [TotalBits-1:0]  total_q, square;
  logic signed [SignalBits-1:0] code;
  logic signed [31:0]           loss;
  logic                         valid_q, first_q;
  logic        [AddrBits-1:0]   index_q;

  logic signed [2*ErrorBits-1:0] error_square;
  hwt_product #(.ABits(ErrorBits), .BBits(ErrorBits), .Fabric(Fabric)) u_square (
    .clk_i, .a_i(error_q), .b_i(error_q), .product_o(error_square)
  );
  assign square = TotalBits'(error_square);
  hwt_requantize #(
    .InBits (ErrorBits),
    .Shift  (Frac - ErrorFrac),
    .OutBits(SignalBits),
    .NoiseBits(1)
  ) u_gradient (
    .value_i(error_q),
    .noise_i(1'b0),
    .code_o (code)
  );
  hwt_requantize #(
    .InBits (TotalBits),
    .Shift  (Frac + 1),
    .OutBits(32),
    .NoiseBits(1)
  ) u_loss (
    .value_i(total_q),
    .noise_i(1'b0),
    .code_o (loss)
  );
  localparam int Latency = ($clog2(ErrorBits) + 1) / 2;  // of the square
  logic [(Latency+1)*2-1:0] taps;
  logic valid, first, unused_taps;
  hwt_delay #(.Bits(2), .Stages(Latency)) u_taps (
    .clk_i, .rst_ni(1'b1), .value_i({valid_q, first_q}), .taps_o(taps)
  );
  assign {valid, first} = taps[2*Latency+:2];
  assign unused_taps    = ^taps;
  always_ff @(posedge clk_i) begin
    error_q <= ErrorBits'(score_i) - (hot_i ? ErrorBits'(1) << Frac : '0);
    valid_q <= valid_i;
    first_q <= first_i;
    index_q <= index_i;
    if (valid) total_q <= first ? square : total_q + square;
    d_valid_o <= valid_q;
    d_index_o <= index_q;
    d_o       <= code;
    loss_o    <= loss;
  end
endmodule
