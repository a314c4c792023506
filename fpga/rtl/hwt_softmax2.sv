// Softmax to the base 2: loss in bits and its gradient, by two tables and no division.
//
// The scores come four times (pass_i 0 to 3), one a cycle, with three idle cycles between passes 1 and 2:
// their largest; the sum of the powers; the sum of the errors but the label's; the errors, that of the label
// minus this sum. The gradient of a score is 8 cycles behind it in pass 3. hwt_softmax2_forward in fpga/include/hwt_fixed.h is the same in C.
module hwt_softmax2 #(
  parameter int SignalBits = 8,
  parameter int Frac = 3,
  parameter int ErrorFrac = 6,
  parameter int AddrBits = 16,
  parameter int Classes = 65535,
  parameter bit Fabric = 1'b0  // no multiplier block
) (
  input  logic                         clk_i,
  input  logic                         valid_i,
  input  logic        [1:0]            pass_i,
  input  logic                         first_i,
  input  logic        [AddrBits-1:0]   index_i,
  input  logic                         hot_i,
  input  logic signed [SignalBits-1:0] score_i,
  output logic                         d_valid_o,
  output logic        [AddrBits-1:0]   d_index_o,
  output logic signed [SignalBits-1:0] d_o,
  output logic signed [31:0]           loss_o
);
  localparam int TotalBits = 16 + $clog2(Classes + 1);  // powers have at most 16 bits

  // Stage 1: how far a score lies below the largest.
  logic signed [SignalBits-1:0] largest_q;
  logic        [SignalBits:0]   below_q;
  logic                         valid1_q, hot1_q, first1_q;
  logic        [1:0]            pass1_q;
  logic        [AddrBits-1:0]   index1_q;
  always_ff @(posedge clk_i) begin
    if (valid_i && pass_i == 2'd0 && (first_i || score_i > largest_q)) largest_q <= score_i;
    below_q  <= {largest_q[SignalBits-1], largest_q} - {score_i[SignalBits-1], score_i};
    valid1_q <= valid_i && pass_i != 2'd0;
    hot1_q   <= hot_i;
    first1_q <= first_i;
    pass1_q  <= pass_i;
    index1_q <= index_i;
  end

  // Stages 2 and 3: its power, from a table of the fraction shifted by the whole part.
  logic [4:0]            place_in_table;
  logic [15:0]           exp2, exp2_q, power_q;
  logic [SignalBits:0]   whole;
  logic [4:0]            whole_q;
  logic                  tiny_q;
  logic [SignalBits+5:0] fraction;
  assign fraction       = {5'b0, below_q & (((SignalBits + 1)'(1) << Frac) - 1'b1)} << 5 >> Frac;
  assign place_in_table = fraction[4:0];
  logic unused_fraction;
  assign unused_fraction = ^fraction[SignalBits+5:5];
  assign whole = below_q >> Frac;
  always_comb begin
    case (place_in_table)
      5'd0: exp2 = 16'd32768;
      5'd1: exp2 = 16'd32066;
      5'd2: exp2 = 16'd31379;
      5'd3: exp2 = 16'd30706;
      5'd4: exp2 = 16'd30048;
      5'd5: exp2 = 16'd29405;
      5'd6: exp2 = 16'd28774;
      5'd7: exp2 = 16'd28158;
      5'd8: exp2 = 16'd27554;
      5'd9: exp2 = 16'd26964;
      5'd10: exp2 = 16'd26386;
      5'd11: exp2 = 16'd25821;
      5'd12: exp2 = 16'd25268;
      5'd13: exp2 = 16'd24726;
      5'd14: exp2 = 16'd24196;
      5'd15: exp2 = 16'd23678;
      5'd16: exp2 = 16'd23170;
      5'd17: exp2 = 16'd22674;
      5'd18: exp2 = 16'd22188;
      5'd19: exp2 = 16'd21713;
      5'd20: exp2 = 16'd21247;
      5'd21: exp2 = 16'd20792;
      5'd22: exp2 = 16'd20347;
      5'd23: exp2 = 16'd19911;
      5'd24: exp2 = 16'd19484;
      5'd25: exp2 = 16'd19066;
      5'd26: exp2 = 16'd18658;
      5'd27: exp2 = 16'd18258;
      5'd28: exp2 = 16'd17867;
      5'd29: exp2 = 16'd17484;
      5'd30: exp2 = 16'd17109;
      default: exp2 = 16'd16743;
    endcase
  end
  always_ff @(posedge clk_i) begin
    exp2_q  <= exp2;
    whole_q <= 5'(whole);
    tiny_q  <= whole > (SignalBits + 1)'(31);
    power_q <= tiny_q ? '0 : exp2_q >> whole_q;
  end

  // What travels with a score, to its power (stage 3), its share (stage 6) and its error (stage 7).
  localparam int TapBits = 5 + AddrBits;
  logic [7*TapBits-1:0] taps;
  logic [6:0] valid, hot, first;  // element k belongs to stage k + 1
  logic [13:0] pass;
  logic unused_taps;
  hwt_delay #(.Bits(TapBits), .Stages(6)) u_taps (
    .clk_i, .rst_ni(1'b1), .value_i({valid1_q, hot1_q, first1_q, pass1_q, index1_q}), .taps_o(taps)
  );
  for (genvar k = 0; k < 7; k++) begin : gen_tap
    assign {valid[k], hot[k], first[k], pass[2*k+:2]} = taps[k*TapBits+AddrBits+:5];
  end
  assign unused_taps = ^{taps, valid, hot, first, pass};

  // Stage 4: the sum in pass 1, and the reciprocal of its leading bits three cycles later. In passes 2 and 3 stages 4
  // and 5 multiply a power by it.
  logic [TotalBits-1:0]  total_q;
  logic [SignalBits:0]   hot_below_q;
  logic [4:0]            place, place_q;
  logic [4:0]            leading, leading_q;
  logic [TotalBits+4:0]  turned;
  logic [15:0]           reciprocal;
  logic [14:0]           inverse_q;
  always_comb begin
    place = '0;
    for (int i = 0; i < TotalBits; i++) if (total_q[i]) place = 5'(i);
  end
  assign turned  = {total_q, 5'd0} >> place_q;  // its leading bit becomes bit 5
  assign leading = turned[4:0];
  logic unused_turned;
  assign unused_turned = ^turned[TotalBits+4:5];
  always_comb begin
    case (leading_q)
      5'd0: reciprocal = 16'd32264;
      5'd1: reciprocal = 16'd31301;
      5'd2: reciprocal = 16'd30394;
      5'd3: reciprocal = 16'd29537;
      5'd4: reciprocal = 16'd28728;
      5'd5: reciprocal = 16'd27962;
      5'd6: reciprocal = 16'd27236;
      5'd7: reciprocal = 16'd26546;
      5'd8: reciprocal = 16'd25891;
      5'd9: reciprocal = 16'd25267;
      5'd10: reciprocal = 16'd24672;
      5'd11: reciprocal = 16'd24105;
      5'd12: reciprocal = 16'd23564;
      5'd13: reciprocal = 16'd23046;
      5'd14: reciprocal = 16'd22550;
      5'd15: reciprocal = 16'd22075;
      5'd16: reciprocal = 16'd21620;
      5'd17: reciprocal = 16'd21183;
      5'd18: reciprocal = 16'd20764;
      5'd19: reciprocal = 16'd20361;
      5'd20: reciprocal = 16'd19973;
      5'd21: reciprocal = 16'd19600;
      5'd22: reciprocal = 16'd19240;
      5'd23: reciprocal = 16'd18893;
      5'd24: reciprocal = 16'd18559;
      5'd25: reciprocal = 16'd18236;
      5'd26: reciprocal = 16'd17924;
      5'd27: reciprocal = 16'd17623;
      5'd28: reciprocal = 16'd17332;
      5'd29: reciprocal = 16'd17050;
      5'd30: reciprocal = 16'd16777;
      default: reciprocal = 16'd16513;
    endcase
  end
  logic signed [32:0] product;
  logic               unused_product;
  hwt_product #(.ABits(17), .BBits(16), .Fabric(Fabric)) u_product (
    .clk_i, .a_i($signed({1'b0, power_q})), .b_i($signed({1'b0, inverse_q})), .product_o(product)
  );
  assign unused_product = product[32] ^ reciprocal[15];
  always_ff @(posedge clk_i) begin
    if (valid1_q && pass1_q == 2'd1 && hot1_q) hot_below_q <= below_q;
    if (valid[2] && pass[2*2+:2] == 2'd1) total_q <= (first[2] ? '0 : total_q) + TotalBits'(power_q);
    place_q   <= place;
    leading_q <= leading;
    inverse_q <= reciprocal[14:0];
  end

  // Stages 6 to 8: the share, its error, or what the others' errors lack of nothing where the label is.
  localparam int RestBits = SignalBits + 16;
  logic        [31:0]           share_q;
  logic signed [SignalBits-1:0] code, code_q, hot_code;
  logic signed [RestBits-1:0]   rest_q;
  hwt_requantize #(
    .InBits (33),
    .Shift  (15 - ErrorFrac),
    .OutBits(SignalBits),
    .NoiseBits(1)
  ) u_requantize (
    .value_i($signed({1'b0, share_q})),
    .noise_i(1'b0),
    .code_o (code)
  );
  hwt_requantize #(
    .InBits (RestBits),
    .Shift  (0),
    .OutBits(SignalBits)
  ) u_hot (
    .value_i(rest_q),
    .noise_i(1'b0),
    .code_o (hot_code)
  );
  always_ff @(posedge clk_i) begin
    share_q <= product[31:0] >> place_q;
    code_q  <= code;
    if (valid[6] && pass[2*6+:2] == 2'd2) begin
      rest_q <= (first[6] ? '0 : rest_q) - (hot[6] ? '0 : {{16{code_q[SignalBits-1]}}, code_q});
    end
    d_valid_o <= valid[6] && pass[2*6+:2] == 2'd3;
    d_index_o <= taps[6*TapBits+:AddrBits];
    d_o       <= hot[6] ? hot_code : code_q;
  end

  // The loss: the place of the sum's leading bit, and the bits below it as a fraction; less the label's score.
  logic [TotalBits-1:0]      above_q;
  logic [TotalBits+Frac-1:0] over;
  logic [Frac-1:0]           over_q;
  logic [31:0]               loss_q;
  logic                      unused_over;
  assign over        = {above_q, {Frac{1'b0}}} >> place_q;
  assign unused_over = ^over[TotalBits+Frac-1:Frac];
  always_ff @(posedge clk_i) begin
    above_q <= total_q ^ (TotalBits'(1) << place_q);
    over_q  <= over[Frac-1:0];
    loss_q  <= (({27'b0, place_q} - 32'd15) << Frac) + {{(31 - SignalBits) {1'b0}}, hot_below_q};
    loss_o  <= $signed(loss_q + 32'(over_q));
  end
endmodule
