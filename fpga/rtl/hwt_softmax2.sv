// Softmax to the base 2: loss in bits and its gradient, by two tables and no division.
//
// The scores come four times (pass_i 0 to 3), one a cycle, with three idle cycles between the passes:
// their largest; the sum of the powers; the sum of the errors but the label's; the errors, that of the label
// minus this sum. The gradient of a score is 4 cycles behind it in pass 3. hwt_softmax2_forward in fpga/include/hwt_fixed.h is the same in C.
module hwt_softmax2 #(
  parameter int SignalBits = 8,
  parameter int Frac = 3,
  parameter int ErrorFrac = 6,
  parameter int AddrBits = 16,
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
  localparam int TotalBits = 32;  // powers have 16 bits, so there is room for 2^16 classes

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

  // Stage 2: its power, from a table of the fraction shifted by the whole part.
  logic [4:0]            place_in_table;
  logic [15:0]           exp2, power_q;
  logic [SignalBits:0]   whole;
  logic                  valid2_q, hot2_q, first2_q;
  logic [1:0]            pass2_q;
  logic [AddrBits-1:0]   index2_q;
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
    power_q  <= whole > (SignalBits + 1)'(31) ? '0 : exp2 >> whole;
    valid2_q <= valid1_q;
    hot2_q   <= hot1_q;
    first2_q <= first1_q;
    pass2_q  <= pass1_q;
    index2_q <= index1_q;
  end

  // Stage 3: the sum in pass 1; in pass 2 the product with the sum's reciprocal.
  logic [TotalBits-1:0]  total_q;
  logic [SignalBits:0]   hot_below_q;
  logic [4:0]            place, place_q;
  logic [4:0]            leading;
  logic [TotalBits-1:0]  turned;
  logic [15:0]           reciprocal, inverse_q;
  logic [31:0]           product_q;
  logic                  valid3_q, hot3_q, first3_q;
  logic [1:0]            pass3_q;
  logic [AddrBits-1:0]   index3_q;
  always_comb begin
    place = '0;
    for (int i = 0; i < TotalBits; i++) if (total_q[i]) place = 5'(i);
  end
  assign turned  = total_q >> (place_q - 5'd5);
  assign leading = turned[4:0];
  logic unused_turned;
  assign unused_turned = ^turned[TotalBits-1:5];
  always_comb begin
    case (leading)
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
  logic signed [33:0] product;
  logic               unused_product;
  hwt_product #(.ABits(17), .BBits(17), .Fabric(Fabric)) u_product (
    .a_i($signed({1'b0, power_q})), .b_i($signed({1'b0, inverse_q})), .product_o(product)
  );
  assign unused_product = ^product[33:32];
  always_ff @(posedge clk_i) begin
    if (valid1_q && pass1_q == 2'd1 && hot1_q) hot_below_q <= below_q;
    if (valid2_q && pass2_q == 2'd1) total_q <= (first2_q ? '0 : total_q) + {16'b0, power_q};
    place_q   <= place;
    inverse_q <= reciprocal;
    product_q <= product[31:0];
    valid3_q  <= valid2_q && pass2_q[1];
    hot3_q    <= hot2_q;
    first3_q  <= first2_q;
    pass3_q   <= pass2_q;
    index3_q  <= index2_q;
  end

  // Stage 4: the share, or what the others add up to where the label is, and the loss.
  localparam int RestBits = SignalBits + 16;
  logic        [31:0]           share;
  logic signed [SignalBits-1:0] code, hot_code;
  logic signed [RestBits-1:0]   rest_q;
  logic        [63:0]           over;
  assign share = product_q >> place_q;
  hwt_requantize #(
    .InBits (33),
    .Shift  (15 - ErrorFrac),
    .OutBits(SignalBits),
    .NoiseBits(1)
  ) u_requantize (
    .value_i($signed({1'b0, share})),
    .noise_i(1'b0),
    .code_o (code)
  );
  hwt_requantize #(
    .InBits (RestBits),
    .Shift  (0),
    .OutBits(SignalBits)
  ) u_hot (
    .value_i(-rest_q),
    .noise_i(1'b0),
    .code_o (hot_code)
  );
  assign over = ({32'b0, total_q} - (64'd1 << place_q)) << Frac >> place_q;
  logic unused_over;
  assign unused_over = ^over[63:32];
  always_ff @(posedge clk_i) begin
    if (valid3_q && pass3_q == 2'd2) begin
      rest_q <= (first3_q ? '0 : rest_q) + (hot3_q ? '0 : {{16{code[SignalBits-1]}}, code});
    end
    d_valid_o <= valid3_q && pass3_q == 2'd3;
    d_index_o <= index3_q;
    d_o       <= hot3_q ? hot_code : code;
    loss_o    <= $signed(
        (({27'b0, place_q} - 32'd15) << Frac) + over[31:0] + {{(31 - SignalBits) {1'b0}}, hot_below_q}
    );
  end
endmodule
