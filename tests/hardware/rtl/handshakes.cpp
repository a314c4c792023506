// Every handshake of a block with a wait in it: answers and results that are not taken at once, addresses before
// their data, register writes and resets of both kinds while something is offered.
//
//   simulation FAULT      0: the block as it is; 99: a beat of the bench changes before it is taken; else that fault
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "Model.h"

static const bool at_random = (Verilated::randReset(2), Verilated::randSeed(7), true);
static const int Control = 0x08, Status = 0x0c, Step = 0x10, Place = 0x20, Weight = 0x28;
static const int BenchFault = 99;
static Model top;
static int fault;

extern "C" int planted() { return fault; }

static void edge() {
    top.eval();
    top.aclk = 1;
    top.eval();
    top.aclk = 0;
    top.eval();
}

static void edges(int count) {
    for (int i = 0; i < count; i++) edge();
}

static void until(const CData &flag, int line) {
    top.eval();
    for (int wait = 0; !flag; wait++, edge())
        if (wait > 2000) {
            std::printf("hang: line %d\n", line);
            std::exit(2);
        }
}

static void axi_write(int address, uint32_t data, int wait) {
    top.s_axi_awaddr = address, top.s_axi_wdata = data, top.s_axi_awvalid = 1;
    edge();
    top.s_axi_wvalid = 1;
    until(top.s_axi_awready, __LINE__);
    top.s_axi_bready = wait == 0;
    edge();
    top.s_axi_awvalid = top.s_axi_wvalid = 0;
    until(top.s_axi_bvalid, __LINE__);
    edges(wait);
    top.s_axi_bready = 1;
    edge();
    top.s_axi_bready = 0;
}

static void axi_read_asked(int address) {
    top.s_axi_araddr = address, top.s_axi_arvalid = 1;
    until(top.s_axi_arready, __LINE__);
    edge();
    top.s_axi_arvalid = 0;
}

static void axi_read_answered() {
    until(top.s_axi_rvalid, __LINE__);
    top.s_axi_rready = 1;
    edge();
    top.s_axi_rready = 0;
}

// One beat, or false where none is taken for long.
static bool send(uint32_t data, bool last) {
    top.s_axis_tdata = data, top.s_axis_tlast = last, top.s_axis_tvalid = 1;
    top.eval();
    for (int wait = 0; !top.s_axis_tready; wait++) {
        if (wait == 500) return false;
        if (wait == 400 && fault == BenchFault) top.s_axis_tdata ^= 1;
        edge();
    }
    edge();
    top.s_axis_tvalid = 0;
    return true;
}

static bool send_frame() {
    for (int i = 0; i < INPUTS; i++)
        if (!send(3 * i + 1, false)) return false;
    return send(1, true);
}

static void take(int beats, int wait) {
    for (int i = 0; i < beats; i++) {
        until(top.m_axis_tvalid, __LINE__);
        edges(wait);
        top.m_axis_tready = 1;
        edge();
        top.m_axis_tready = 0;
    }
    top.eval();
}

static void reset() {
    top.aresetn = 0;
    edges(8);
    top.aresetn = 1;
    edge();
}

int main(int, char **argv) {
    fault = std::atoi(argv[1]);
    top.aclk = top.s_axis_tvalid = top.s_axis_tlast = top.m_axis_tready = 0;
    top.s_axi_awvalid = top.s_axi_wvalid = top.s_axi_bready = top.s_axi_arvalid = top.s_axi_rready = 0;
    top.s_axi_wstrb = 15;
    reset();

    axi_write(Place, 0, 3);
    axi_write(Weight, 5, 0);
    edges(20);
    axi_read_asked(Weight);
    top.s_axi_rready = 1;
    until(top.s_axi_rvalid, __LINE__);
    edge();
    top.s_axi_rready = 0;
    edges(20);
    axi_read_asked(0);
    top.s_axi_araddr = Step, top.s_axi_arvalid = 1; /* the next one waits behind an answer that nobody takes */
    edges(4);
    axi_read_answered();
    axi_read_asked(Step);
    edges(4);
    axi_read_answered();

    // Register writes while a result is offered, none of them a soft reset.
    axi_write(Control, 1, 2);
    send_frame();
    until(top.m_axis_tvalid, __LINE__);
    axi_write(Control, 1, 1);
    axi_write(Status, 2, 1);
    take(CLASSES + 1, 3);

    // One, in mid-frame, with a beat on offer; then a whole frame.
    send_frame();
    take(CLASSES - 1, 1);
    until(top.m_axis_tvalid, __LINE__);
    axi_write(Control, 3, 1);
    send_frame();
    take(CLASSES + 1, 0);

    // A register write while beats are taken without a wait; then a frame.
    send_frame();
    until(top.m_axis_tvalid, __LINE__);
    top.m_axis_tready = 1;
    axi_write(Step, 2, 0);
    edges(CLASSES);
    top.m_axis_tready = 0;
    send_frame();
    take(CLASSES + 1, 0);

    // Samples until none fits, then a reset while everything waits.
    for (int frame = 0; send_frame(); frame++)
        if (frame == 9) return 3;
    axi_read_asked(0);
    edges(2);
    top.s_axis_tvalid = 0;
    reset();
    std::printf("done\n");
    return 0;
}
