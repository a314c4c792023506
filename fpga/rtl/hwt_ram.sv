// Memory with one write and one read port: a word is one value a lane, and each lane is written by itself.
// rdata_o is one cycle behind raddr_i; of a word that is being written it is the old one.
module hwt_ram #(
  parameter int Depth = 16,
  parameter int Lanes = 4,
  parameter int LaneBits = 16,
  parameter int AddrBits = 16
) (
  input  logic                      clk_i,
  input  logic [Lanes-1:0]          we_i,
  input  logic [AddrBits-1:0]       waddr_i,
  input  logic [Lanes*LaneBits-1:0] wdata_i,
  input  logic [AddrBits-1:0]       raddr_i,
  output logic [Lanes*LaneBits-1:0] rdata_o
);
  localparam int Used = Depth > 1 ? $clog2(Depth) : 1;

  for (genvar p = 0; p < Lanes; p++) begin : gen_lane
    logic [LaneBits-1:0] mem[Depth];
    logic [LaneBits-1:0] rdata_q;
    always_ff @(posedge clk_i) begin
      if (we_i[p]) mem[waddr_i[Used-1:0]] <= wdata_i[p*LaneBits+:LaneBits];
      rdata_q <= mem[raddr_i[Used-1:0]];
    end
    assign rdata_o[p*LaneBits+:LaneBits] = rdata_q;
  end

  if (AddrBits > Used) begin : gen_unused
    logic unused_addr;
    assign unused_addr = ^{waddr_i[AddrBits-1:Used], raddr_i[AddrBits-1:Used]};
  end
endmodule
