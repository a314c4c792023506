// Drives hwt_net through its AXI ports alone: loads weights once, streams samples, compares every score and
// loss, then reads every weight back. The vectors are 32-bit words, written by hwtrain/analysis/cosim.py.
//
//   simulation VECTORS STALL_PERCENT SEED
//
// Prints: steps compared mismatches cycles first-mismatch-step (-1) wrong-frames hits misses, exits with 1 on a mismatch, 2 on a hang.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Model.h"

// Registers and memories begin with random bits, for the block may not rely on zeros.
static const bool at_random = (Verilated::randReset(2), Verilated::randSeed(7), true);
static Model top;
static uint64_t now = 0, random_state;
static int stall;
static long compared = 0, mismatches = 0, first_wrong = -1;

static const int Id = 0x00, Hash = 0x04, Control = 0x08, Status = 0x0c, Step = 0x10, Samples = 0x14,
                 Errors = 0x18, Place = 0x20, Lane = 0x24, Weight = 0x28, Hits = 0x2c, Misses = 0x30;

static bool chance() {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (int)((random_state >> 33) % 100) < stall;
}

static void edge() {
    top.aclk = 1;
    top.eval();
    top.aclk = 0;
    top.eval();
    now++;
}

static void hang(const char *what) {
    std::printf("hang: %s at cycle %llu\n", what, (unsigned long long)now);
    std::exit(2);
}

static void axi_write(int address, uint32_t data) {
    top.s_axi_awaddr = address, top.s_axi_wdata = data, top.s_axi_wstrb = 15;
    top.s_axi_awvalid = top.s_axi_wvalid = 1;
    top.eval();
    for (int wait = 0; !(top.s_axi_awready && top.s_axi_wready); wait++, edge())
        if (wait > 10000000) hang("no awready");
    edge();
    top.s_axi_awvalid = top.s_axi_wvalid = 0;
    top.s_axi_bready = 1;
    top.eval();
    for (int wait = 0; !top.s_axi_bvalid; wait++, edge())
        if (wait > 10000000) hang("no bvalid");
    edge();
    top.s_axi_bready = 0;
}

static uint32_t axi_read(int address) {
    top.s_axi_araddr = address, top.s_axi_arvalid = 1;
    top.eval();
    for (int wait = 0; !top.s_axi_arready; wait++, edge())
        if (wait > 10000000) hang("no arready");
    edge();
    top.s_axi_arvalid = 0;
    top.s_axi_rready = 1;
    top.eval();
    for (int wait = 0; !top.s_axi_rvalid; wait++, edge())
        if (wait > 10000000) hang("no rvalid");
    const uint32_t data = top.s_axi_rdata;
    edge();
    top.s_axi_rready = 0;
    return data;
}

static void compare(int64_t found, int64_t expected, long step) {
    compared++;
    if (found != expected) {
        mismatches++;
        if (first_wrong < 0) first_wrong = step;
    }
}

int main(int argc, char **argv) {
    FILE *file = argc == 4 ? std::fopen(argv[1], "rb") : nullptr;
    if (!file) return 3;
    std::vector<int32_t> words;
    int32_t word;
    while (std::fread(&word, 4, 1, file) == 1) words.push_back(word);
    std::fclose(file);
    stall = std::atoi(argv[2]);
    random_state = std::strtoull(argv[3], nullptr, 10) * 2654435761u + 1;

    const int32_t *p = words.data();
    const uint32_t hash = *p++;
    const long weights = *p++, steps = *p++, inputs = *p++, classes = *p++;
    const int32_t first_step = *p++;
    const long late = *p++;  // results that are held back until the next sample, or until no more is learned
    const int32_t *places = p, *lanes = places + weights, *before = lanes + weights, *after = before + weights;
    const int32_t *x = after + weights, *labels = x + steps * inputs;
    const int32_t *z = labels + steps, *loss = z + steps * classes;

    top.aclk = 0, top.aresetn = 0;
    top.s_axis_tvalid = top.m_axis_tready = 0;
    top.s_axi_awvalid = top.s_axi_wvalid = top.s_axi_bready = top.s_axi_arvalid = top.s_axi_rready = 0;
    for (int i = 0; i < 8; i++) edge();
    top.aresetn = 1;
    edge();
    compare(axi_read(Id), 0x48575431, -1);
    compare(axi_read(Hash), hash, -1);
    for (long i = 0; i < weights; i++) {
        axi_write(Place, places[i]);
        axi_write(Lane, lanes[i]);
        axi_write(Weight, before[i]);
    }
    axi_write(Step, first_step);
    axi_write(Control, 1);

    // Both streams at once. With stalls, frames that are too short, too long or of no class go between.
    long sent = 0, got = 0, beat = 0, place = 0, wrong_frames = 0, wrong = 0, idle = 0;
    uint64_t first_end = 0, last_end = 0;
    while (got < steps) {
        if (late && sent == steps && got == steps - late) {
            top.m_axis_tready = 0;
            axi_write(Control, 0);
        }
        if (!top.s_axis_tvalid && sent < steps && !chance()) {
            if (beat == 0 && wrong == 0 && stall && sent % 7 == 3 && wrong_frames < sent / 7 + 1) wrong = 1 + sent % 3;
            const bool shorter = wrong == 1 && beat == inputs - 1, longer = wrong == 2;
            top.s_axis_tvalid = 1;
            top.s_axis_tdata = beat < inputs ? x[sent * inputs + beat] : wrong == 3 ? classes : labels[sent];
            top.s_axis_tlast = shorter || beat == inputs + (longer ? 2 : 0);
        }
        top.m_axis_tready = !chance();
        top.eval();
        const bool take = top.s_axis_tvalid && top.s_axis_tready, give = top.m_axis_tvalid && top.m_axis_tready;
        if (give) {
            const int64_t value = (int32_t)top.m_axis_tdata;
            compare(value, place < classes ? z[got * classes + place] : loss[got], got);
            compare(top.m_axis_tlast, place == classes, got);
            if (top.m_axis_tlast || place == classes) {
                if (got < steps - late) (got ? last_end : first_end) = now;
                got++, place = 0;
            } else {
                place++;
            }
        }
        const bool last = top.s_axis_tlast;
        edge();
        if (take) {
            top.s_axis_tvalid = 0;
            beat++;
            if (last) {
                beat = 0;
                if (wrong) wrong_frames++, wrong = 0;
                else sent++;
            }
        }
        idle = take || give ? 0 : idle + 1;
        if (idle > 50000000) hang("no beat");
    }
    top.s_axis_tvalid = top.m_axis_tready = 0;
    compare(axi_read(Samples), steps, steps);
    compare(axi_read(Step), first_step + steps, steps);
    compare(axi_read(Errors), wrong_frames, steps);
    compare(axi_read(Status) >> 1 & 1, wrong_frames != 0, steps);
    axi_write(Status, 2);
    compare(axi_read(Status) >> 1 & 1, 0, steps);
    for (long i = 0; i < weights; i++) {
        axi_write(Place, places[i]);
        axi_write(Lane, lanes[i]);
        compare((int32_t)axi_read(Weight), after[i], steps);
    }
    // The last sample is counted when its weights are written.
    const uint32_t hits = axi_read(Hits), misses = axi_read(Misses);
    std::printf("%ld %ld %ld %llu %ld %ld %u %u\n", steps, compared, mismatches,
                (unsigned long long)(last_end - first_end), first_wrong, wrong_frames, hits, misses);
    return mismatches != 0;
}
