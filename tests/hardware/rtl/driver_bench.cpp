// The C driver of fpga/driver as it is, on a simulated block: 100 steps; the same with the weights taken out, a
// reset and the weights put back half-way; and from resets at random, soft ones and others, in mid-step.
//
//   simulation VECTORS RESETS      prints: compared mismatches resets
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Model.h"

#include "hwt_trainer.c"

#include "hwt_net.h"

static const bool at_random = (Verilated::randReset(2), Verilated::randSeed(7), true);
static Model top;
static long compared = 0, mismatches = 0;
static std::vector<int32_t> received;

static void hang(int line) {
    std::printf("hang: line %d after %ld comparisons, %ld wrong\n", line, compared, mismatches);
    std::exit(2);
}

static void edge() {
    top.m_axis_tready = 1;
    top.eval();
    if (top.m_axis_tvalid) received.push_back((int32_t)top.m_axis_tdata);
    top.aclk = 1;
    top.eval();
    top.aclk = 0;
    top.eval();
}

static void until(const CData &flag) {
    for (int wait = 0; !flag; wait++, edge())
        if (wait > 100000) hang(__LINE__);
}

static uint32_t bus_read(void *, uint32_t offset) {
    top.s_axi_araddr = offset, top.s_axi_arvalid = 1, top.s_axi_rready = 0;
    top.eval();
    until(top.s_axi_arready);
    edge();
    top.s_axi_arvalid = 0;
    top.eval();
    until(top.s_axi_rvalid);
    const uint32_t data = top.s_axi_rdata;
    top.s_axi_rready = 1;
    edge();
    top.s_axi_rready = 0;
    return data;
}

static void bus_write(void *, uint32_t offset, uint32_t value) {
    top.s_axi_awaddr = offset, top.s_axi_wdata = value, top.s_axi_wstrb = 15;
    top.s_axi_awvalid = top.s_axi_wvalid = 1;
    top.eval();
    until(top.s_axi_awready);
    edge();
    top.s_axi_awvalid = top.s_axi_wvalid = 0;
    top.eval();
    until(top.s_axi_bvalid);
    top.s_axi_bready = 1;
    edge();
    top.s_axi_bready = 0;
}

static void send_words(const int32_t *words, uint32_t count, uint32_t last) {
    for (uint32_t i = 0; i < count; i++) {
        top.s_axis_tdata = words[i], top.s_axis_tlast = i == last, top.s_axis_tvalid = 1;
        top.eval();
        until(top.s_axis_tready);
        edge();
    }
    top.s_axis_tvalid = 0;
}

static void bus_send(void *, const int32_t *words, uint32_t count) { send_words(words, count, count - 1); }

static void bus_receive(void *, int32_t *words, uint32_t count) {
    for (int wait = 0; received.size() < count; wait++, edge())
        if (wait > 100000) hang(__LINE__);
    for (uint32_t i = 0; i < count; i++) words[i] = received[i];
    received.erase(received.begin(), received.begin() + count);
}

static const hwt_trainer_port port = {nullptr, bus_read, bus_write, bus_send, bus_receive};

static void reset() {
    top.aresetn = 0;
    for (int i = 0; i < 24; i++) edge();
    top.aresetn = 1;
    edge();
    received.clear();
}

static void compare(int64_t found, int64_t expected) { compared++, mismatches += found != expected; }

static const int32_t *steps_of(const int32_t *frames, long step) { return frames + step * (hwt_net.layer[0].in + 1); }

int main(int, char **argv) {
    std::vector<int32_t> words;
    FILE *file = std::fopen(argv[1], "rb");
    int32_t word;
    while (file && std::fread(&word, 4, 1, file) == 1) words.push_back(word);
    const int resets = std::atoi(argv[2]);
    const long steps = words[0], weights = words[1], classes = hwt_net.layer[hwt_net.layers - 1].out;
    const bool late = words[2]; // a result comes when the next sample has been read, or learning ends
    const int32_t *before = words.data() + 3, *after = before + weights, *after_reset = after + weights;
    const int32_t *frames = after_reset + weights, *straight = frames + steps * (hwt_net.layer[0].in + 1);
    const int32_t *with_reset = straight + steps * (classes + 1);
    std::vector<int16_t> w(weights), half(weights);
    std::vector<int32_t> got(classes + 1);

    auto load = [&](auto from) {
        for (long i = 0; i < weights; i++) w[i] = (int16_t)from[i];
        int16_t *p = w.data();
        for (uint32_t k = 0; k < hwt_net.layers; k++) {
            const uint32_t size = hwt_net.layer[k].in * hwt_net.layer[k].out;
            hwt_trainer_load(&port, &hwt_net, k, p, p + size);
            p += size + hwt_net.layer[k].out;
        }
    };
    auto read_back = [&](std::vector<int16_t> &to) {
        int16_t *p = to.data();
        for (uint32_t k = 0; k < hwt_net.layers; k++) {
            const uint32_t size = hwt_net.layer[k].in * hwt_net.layer[k].out;
            hwt_trainer_read_back(&port, &hwt_net, k, p, p + size);
            p += size + hwt_net.layer[k].out;
        }
    };
    auto train = [&](long from, long to, const int32_t *results) {
        auto told = [&](long s) {
            hwt_trainer_result(&port, &hwt_net, got.data());
            for (long c = 0; c <= classes; c++) compare(got[c], results[s * (classes + 1) + c]);
        };
        hwt_trainer_learn(&port, from);
        for (long s = from; s < to; s++) {
            compare(hwt_trainer_send(&port, &hwt_net, steps_of(frames, s)), HWT_OK);
            if (s >= from + late) told(s - late);
        }
        if (late) hwt_trainer_predict(&port), told(to - 1);
    };
    auto ended = [&](const int32_t *weights_then) {
        read_back(w);
        for (long i = 0; i < weights; i++) compare(w[i], weights_then[i]);
        compare(bus_read(nullptr, HWT_STEP), steps);
    };

    top.aclk = top.s_axis_tvalid = top.s_axis_tlast = 0;
    top.s_axi_awvalid = top.s_axi_wvalid = top.s_axi_bready = top.s_axi_arvalid = top.s_axi_rready = 0;
    reset();
    compare(hwt_trainer_check(&port, &hwt_net), HWT_OK);
    load(before);
    train(0, steps, straight);
    ended(after);

    reset();
    load(before);
    train(0, steps / 2, with_reset);
    read_back(half);
    reset();
    for (uint32_t k = 0; k < hwt_net.layers; k++) { /* nothing of the old weights helps */
        std::vector<int16_t> none(hwt_net.layer[k].in * hwt_net.layer[k].out + hwt_net.layer[k].out, 77);
        hwt_trainer_load(&port, &hwt_net, k, none.data(), none.data());
    }
    load(half);
    train(steps / 2, steps, with_reset);
    ended(after_reset);

    // Prediction alone learns nothing; a label of no class is an error, and is forgiven.
    hwt_trainer_predict(&port);
    std::vector<int32_t> wrong(steps_of(frames, 0), steps_of(frames, 1));
    compare(hwt_trainer_step(&port, &hwt_net, wrong.data(), got.data()), HWT_OK);
    wrong.back() = classes;
    compare(hwt_trainer_step(&port, &hwt_net, wrong.data(), got.data()), HWT_WRONG_FRAME);
    compare(bus_read(nullptr, HWT_ERRORS), 1);
    ended(after_reset);

    // A reset, or a soft one, after any number of cycles and of beats; then the whole training again.
    uint32_t random = 1;
    for (int n = 0; n < resets; n++) {
        random = random * 1664525u + 1013904223u;
        hwt_trainer_learn(&port, 0);
        send_words(steps_of(frames, n % steps), hwt_net.layer[0].in + 1, hwt_net.layer[0].in);
        send_words(steps_of(frames, 0), (random >> 24) % (hwt_net.layer[0].in + 1), ~0u);
        for (uint32_t wait = (random >> 8) % 300; wait; wait--) edge();
        if (n & 1) {
            hwt_trainer_soft_reset(&port);
            for (int i = 0; i < 24; i++) edge();
            received.clear();
        } else {
            reset();
        }
        load(before);
        train(0, 10, straight);
    }
    // A sample that is learned right behind one that is predicted, which leaves the noise half made.
    for (int n = -1; n < 80; n++) {
        reset(); // mode speculative keeps what it has learned of a label
        load(before);
        hwt_trainer_predict(&port);
        if (n >= 0) bus_send(nullptr, steps_of(frames, 1), hwt_net.layer[0].in + 1);
        for (int i = 0; i < n; i++) edge();
        hwt_trainer_learn(&port, 0);
        bus_send(nullptr, steps_of(frames, 0), hwt_net.layer[0].in + 1);
        if (n >= 0) bus_receive(nullptr, got.data(), classes + 1);
        if (late) hwt_trainer_predict(&port);
        bus_receive(nullptr, got.data(), classes + 1);
        read_back(n < 0 ? half : w);
        for (long i = 0; n >= 0 && i < weights; i++) compare(w[i], half[i]);
    }
    std::printf("%ld %ld %d\n", compared, mismatches, resets);
    return mismatches != 0;
}
