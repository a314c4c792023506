// Does what a list says to one of several blocks at a time: register accesses, beats, resets. An entry is five words:
// block, what, address, data, mask.
//
//   simulation LIST      prints: entries read compared mismatches first-wrong-entry (-1)
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Model.h"

static const bool at_random = (Verilated::randReset(2), Verilated::randSeed(7), true);
static Model top;
enum { Write, Read, ReadSame, ReadSome, Send, SendLast, Receive, Reset };

static void edge() {
    top.eval();
    top.aclk = 1;
    top.eval();
    top.aclk = 0;
    top.eval();
}

static void until(const CData &flag, long entry) {
    top.eval();
    for (int wait = 0; !flag; wait++, edge())
        if (wait > 20000) {
            std::printf("hang: entry %ld\n", entry);
            std::exit(2);
        }
}

int main(int, char **argv) {
    std::vector<uint32_t> words;
    FILE *file = std::fopen(argv[1], "rb");
    uint32_t word, last = 0;
    while (file && std::fread(&word, 4, 1, file) == 1) words.push_back(word);
    long reads = 0, compared = 0, mismatches = 0, first = -1;
    top.s_axi_wstrb = 15;
    for (long entry = 0; entry < (long)words.size() / 5; entry++) {
        const uint32_t *p = &words[5 * entry], address = p[2], data = p[3], mask = p[4];
        bool good = true;
        top.block = p[0];
        switch (p[1]) {
        case Write:
            top.s_axi_awaddr = address, top.s_axi_wdata = data, top.s_axi_awvalid = top.s_axi_wvalid = 1;
            until(top.s_axi_awready, entry);
            edge();
            top.s_axi_awvalid = top.s_axi_wvalid = 0, top.s_axi_bready = 1;
            until(top.s_axi_bvalid, entry);
            good = top.s_axi_bresp == 0;
            edge();
            top.s_axi_bready = 0;
            break;
        case Read:
        case ReadSame:
        case ReadSome:
            top.s_axi_araddr = address, top.s_axi_arvalid = 1;
            until(top.s_axi_arready, entry);
            edge();
            top.s_axi_arvalid = 0, top.s_axi_rready = 1;
            until(top.s_axi_rvalid, entry);
            good = p[1] == Read ? ((top.s_axi_rdata ^ data) & mask) == 0
                                : p[1] == ReadSame ? top.s_axi_rdata == last : top.s_axi_rdata != 0;
            last = top.s_axi_rdata;
            edge();
            top.s_axi_rready = 0;
            reads++, compared++;
            break;
        case Send:
        case SendLast:
            top.s_axis_tdata = data, top.s_axis_tlast = p[1] == SendLast, top.s_axis_tvalid = 1;
            until(top.s_axis_tready, entry);
            edge();
            top.s_axis_tvalid = 0;
            break;
        case Receive:
            until(top.m_axis_tvalid, entry);
            top.m_axis_tready = 1;
            edge();
            top.m_axis_tready = 0;
            break;
        case Reset:
            top.aresetn = 0;
            for (int i = 0; i < 24; i++) edge();
            top.aresetn = 1;
            edge();
        }
        if (!good) {
            mismatches++;
            if (first < 0) first = entry;
        }
    }
    std::printf("%ld %ld %ld %ld\n", reads, compared, mismatches, first);
    return mismatches != 0;
}
