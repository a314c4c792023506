// Drives hwt_net through its AXI ports alone, in plain SystemVerilog for any simulator: loads weights once, streams
// samples, compares every score and loss, then reads every weight back. Four-state simulators see what was never
// set: nothing of it may come out, so memories and registers begin unknown and every valid output is looked at.
//
//   vvp hwt_net_tb.vvp +vectors=vectors.hex +stall=40
//
// The vectors are those of cosim.cpp, a word a line in hexadecimal. Prints: steps compared mismatches unknown cycles;
// ends with $fatal on a mismatch, an unknown or a hang. `cycles` are from the first result to the last.
module hwt_net_tb #(
  parameter int Most = 1 << 20  // words of vectors
);
  localparam logic [7:0] Id = 8'h00, Hash = 8'h04, Control = 8'h08, Status = 8'h0c, Step = 8'h10, Samples = 8'h14,
      Errors = 8'h18, Place = 8'h20, Lane = 8'h24, Weight = 8'h28;

  logic aclk = 1'b0;
  logic aresetn = 1'b0;
  logic [31:0] s_axis_tdata, m_axis_tdata, s_axi_wdata, s_axi_rdata;
  logic s_axis_tvalid = 1'b0, s_axis_tlast, s_axis_tready, m_axis_tvalid, m_axis_tready = 1'b0, m_axis_tlast;
  logic [7:0] s_axi_awaddr, s_axi_araddr;
  logic [3:0] s_axi_wstrb = 4'hf;
  logic s_axi_awvalid = 1'b0, s_axi_awready, s_axi_wvalid = 1'b0, s_axi_wready, s_axi_bvalid, s_axi_bready = 1'b0;
  logic s_axi_arvalid = 1'b0, s_axi_arready, s_axi_rvalid, s_axi_rready = 1'b0;
  logic [1:0] s_axi_bresp, s_axi_rresp;

  hwt_net dut (
    .aclk(aclk), .aresetn(aresetn), .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready), .s_axis_tlast(s_axis_tlast), .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready), .m_axis_tlast(m_axis_tlast),
    .s_axi_awaddr(s_axi_awaddr), .s_axi_awvalid(s_axi_awvalid), .s_axi_awready(s_axi_awready),
    .s_axi_wdata(s_axi_wdata), .s_axi_wstrb(s_axi_wstrb), .s_axi_wvalid(s_axi_wvalid),
    .s_axi_wready(s_axi_wready), .s_axi_bresp(s_axi_bresp), .s_axi_bvalid(s_axi_bvalid),
    .s_axi_bready(s_axi_bready), .s_axi_araddr(s_axi_araddr), .s_axi_arvalid(s_axi_arvalid),
    .s_axi_arready(s_axi_arready), .s_axi_rdata(s_axi_rdata), .s_axi_rresp(s_axi_rresp),
    .s_axi_rvalid(s_axi_rvalid), .s_axi_rready(s_axi_rready)
  );

  always #5 aclk = !aclk;

  logic [31:0] words[Most];
  integer compared = 0, mismatches = 0, unknown = 0, stall = 0, now = 0, seed = 1;

  // Inputs change after a falling edge; a cycle later is after the next one.
  task automatic tick;
    @(negedge aclk) #1;
    now = now + 1;
    if (aresetn) look();
  endtask

  task automatic look;
    if ((^{s_axis_tready, m_axis_tvalid, s_axi_awready, s_axi_wready, s_axi_bvalid, s_axi_arready, s_axi_rvalid}) === 1'bx)
      unknown = unknown + 1;
    if (m_axis_tvalid && (^{m_axis_tdata, m_axis_tlast}) === 1'bx) unknown = unknown + 1;
    if (s_axi_bvalid && (^s_axi_bresp) === 1'bx) unknown = unknown + 1;
    if (s_axi_rvalid && (^{s_axi_rdata, s_axi_rresp}) === 1'bx) unknown = unknown + 1;
  endtask

  task automatic compare(input logic [31:0] found, input logic [31:0] expected);
    compared = compared + 1;
    if (found !== expected) mismatches = mismatches + 1;
  endtask

  task automatic hang;
    $fatal(1, "hang at cycle %0d", now);
  endtask

  task automatic axi_write(input logic [7:0] address, input logic [31:0] data);
    integer waited;
    s_axi_awaddr  = address;
    s_axi_wdata   = data;
    s_axi_awvalid = 1'b1;
    s_axi_wvalid  = 1'b1;
    #1;
    for (waited = 0; (s_axi_awready && s_axi_wready) !== 1'b1; waited = waited + 1) if (waited > 100000) hang(); else tick();
    tick();
    s_axi_awvalid = 1'b0;
    s_axi_wvalid  = 1'b0;
    s_axi_bready  = 1'b1;
    #1;
    for (waited = 0; s_axi_bvalid !== 1'b1; waited = waited + 1) if (waited > 100000) hang(); else tick();
    tick();
    s_axi_bready  = 1'b0;
  endtask

  task automatic axi_read(input logic [7:0] address, output logic [31:0] data);
    integer waited;
    s_axi_araddr  = address;
    s_axi_arvalid = 1'b1;
    #1;
    for (waited = 0; s_axi_arready !== 1'b1; waited = waited + 1) if (waited > 100000) hang(); else tick();
    tick();
    s_axi_arvalid = 1'b0;
    s_axi_rready  = 1'b1;
    #1;
    for (waited = 0; s_axi_rvalid !== 1'b1; waited = waited + 1) if (waited > 100000) hang(); else tick();
    data = s_axi_rdata;
    tick();
    s_axi_rready  = 1'b0;
  endtask

  task automatic read_is(input logic [7:0] address, input logic [31:0] expected);
    logic [31:0] data;
    axi_read(address, data);
    compare(data, expected);
  endtask

  function automatic logic chance();
    seed   = seed * 1664525 + 1013904223;
    chance = (seed >>> 8 & 32'hffff) % 100 < stall;
  endfunction

  integer file, count, weights, steps, inputs, classes, first_step, places, lanes, from, to, x, labels, z, loss;
  integer late;  // results that are held back until the next sample, or until no more is learned
  integer i, sent, got, beat, place, idle, begun, ended;
  logic take, give, last;
  logic [31:0] status;
  logic [1023:0] name;

  initial begin
    if (!$value$plusargs("vectors=%s", name)) name = "vectors.hex";
    if (!$value$plusargs("stall=%d", stall)) stall = 0;
    file = $fopen(name, "r");
    if (file == 0) $fatal(1, "no vectors");
    count = 0;
    while (!$feof(file) && count < Most) if ($fscanf(file, "%h\n", words[count]) == 1) count = count + 1;
    if (!$feof(file)) $fatal(1, "more than %0d words of vectors: set parameter Most", Most);
    weights    = words[1];
    steps      = words[2];
    inputs     = words[3];
    classes    = words[4];
    first_step = words[5];
    places     = count - 4 * weights - steps * (inputs + classes + 2);  // what stands before is the head
    lanes      = places + weights;
    from       = lanes + weights;
    to         = from + weights;
    x          = to + weights;
    labels     = x + steps * inputs;
    z          = labels + steps;
    loss       = z + steps * classes;
    if (places != 7) $fatal(1, "%0d words of vectors are too few or too many", count);
    late       = words[6];

    for (i = 0; i < 24; i = i + 1) tick();
    aresetn = 1'b1;
    tick();
    read_is(Id, 32'h48575431);
    read_is(Hash, words[0]);
    for (i = 0; i < weights; i = i + 1) begin
      axi_write(Place, words[places+i]);
      axi_write(Lane, words[lanes+i]);
      axi_write(Weight, words[from+i]);
    end
    axi_write(Step, first_step);
    axi_write(Control, 32'd1);

    sent  = 0;
    got   = 0;
    beat  = 0;
    place = 0;
    idle  = 0;
    begun = 0;
    while (got < steps) begin
      if (late > 0 && sent == steps && got == steps - late) begin
        m_axis_tready = 1'b0;
        axi_write(Control, 32'd0);
        late = 0;
      end
      if (!s_axis_tvalid && sent < steps && !chance()) begin
        s_axis_tvalid = 1'b1;
        s_axis_tdata  = beat < inputs ? words[x+sent*inputs+beat] : words[labels+sent];
        s_axis_tlast  = beat == inputs;
      end
      m_axis_tready = !chance();
      #1;
      take = s_axis_tvalid && s_axis_tready;
      give = m_axis_tvalid && m_axis_tready;
      last = s_axis_tlast;
      if (give === 1'b1) begin
        compare(m_axis_tdata, place < classes ? words[z+got*classes+place] : words[loss+got]);
        compare({31'd0, m_axis_tlast}, {31'd0, place == classes});
        place = place + 1;
        if (place > classes) begin
          place = 0;
          got   = got + 1;
          if (got == 1) begun = now;
          ended = now;
        end
      end
      tick();
      if (take === 1'b1) begin
        s_axis_tvalid = 1'b0;
        beat          = last ? 0 : beat + 1;
        if (last) sent = sent + 1;
      end
      idle = take === 1'b1 || give === 1'b1 ? 0 : idle + 1;
      if (idle > 100000) hang();
    end
    s_axis_tvalid = 1'b0;
    m_axis_tready = 1'b0;
    read_is(Samples, steps);
    read_is(Step, first_step + steps);
    read_is(Errors, 32'd0);
    axi_read(Status, status);
    compare(status & 32'd2, 32'd0);  // no error; it may still be busy with what was held back
    for (i = 0; i < weights; i = i + 1) begin
      axi_write(Place, words[places+i]);
      axi_write(Lane, words[lanes+i]);
      read_is(Weight, words[to+i]);
    end
    $display("%0d %0d %0d %0d %0d", steps, compared, mismatches, unknown, ended - begun);
    if (mismatches != 0 || unknown != 0) $fatal(1, "values differ or are unknown");
    $finish;
  end
endmodule
