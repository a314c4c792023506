// Dot products of one to four words in eight arrays, a word a cycle, beside sums of whole numbers in C.
//
//   simulation CYCLES     prints for each array: dot products, mismatches, extreme sums, pairs of codes never met
//
// Words are random; one in eight has all products at their highest, or all at their lowest. Extreme sums are
// those words. Pairs, of a weight's word and a signal, are counted over all lanes where there are up to 2^13.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Model.h"

struct Array {
    bool multiply;
    int lanes, weight_bits, signal_bits;
    int64_t sum;
    std::vector<int64_t> expected;  // of the dot products that are on their way, in a ring
    size_t put, got;
    long compared, mismatches, extremes;
    std::vector<bool> met;
};

static uint64_t state = 1;

static uint64_t draw() {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static int64_t extended(uint64_t value, int bits) { return (int64_t)(value << (64 - bits)) >> (64 - bits); }

static int64_t decoded(const Array &a, uint64_t word) {
    if (a.multiply) return extended(word, a.weight_bits);
    const uint64_t half = 1u << (a.weight_bits - 1), magnitude = word & (half - 1);
    const int64_t value = magnitude ? (int64_t)1 << (magnitude - 1) : 0;
    return word & half ? -value : value;
}

static void put(uint32_t *words, int at, int bits, uint64_t value) {
    words[at / 32] |= (uint32_t)(value << at % 32);
    if (at % 32 + bits > 32) words[at / 32 + 1] |= (uint32_t)(value >> (32 - at % 32));
}

static int64_t given(Array &a, uint32_t *weights, uint32_t *signals) {
    const uint64_t low = 1u << (a.signal_bits - 1), half = 1u << (a.weight_bits - 1), all = 2 * half - 1;
    const uint64_t how = draw() % 16;  // 0: highest products, 1: lowest ones
    const uint64_t most[2] = {a.multiply ? half : all, half - 1};
    for (int i = 0; i < 8; i++) weights[i] = signals[i] = 0;
    int64_t sum = 0;
    for (int p = 0; p < a.lanes; p++) {
        const uint64_t random = draw();
        const uint64_t w = how < 2 ? most[how] : random & all;
        const uint64_t x = how < 2 ? low : random >> 32 & (2 * low - 1);
        put(weights, p * a.weight_bits, a.weight_bits, w);
        put(signals, p * a.signal_bits, a.signal_bits, x);
        sum += decoded(a, w) * extended(x, a.signal_bits);
        if (!a.met.empty()) a.met[w << a.signal_bits | x] = true;
    }
    a.extremes += how < 2;
    return sum;
}

int main(int argc, char **argv) {
    const long cycles = argc == 2 ? std::atol(argv[1]) : 0;
    static const int lanes[8] = {8, 16, 4, 2, 5, 8, 4, 16}, weight_bits[8] = {4, 3, 4, 5, 2, 16, 8, 16};
    static const int signal_bits[8] = {8, 8, 16, 8, 8, 8, 8, 16};
    std::vector<Array> arrays;
    for (int n = 0; n < 8; n++) {
        const int bits = weight_bits[n] + signal_bits[n];
        arrays.push_back({n >= 5, lanes[n], weight_bits[n], signal_bits[n], 0, std::vector<int64_t>(64), 0, 0, 0, 0, 0,
                          std::vector<bool>(bits <= 13 ? 1u << bits : 0)});
    }
    static Model top;
    uint32_t starts = 255;
    for (int i = 0; i < 32; i++) top.clk_i = ~i & 1, top.eval();  // what was there at random has left
    for (long cycle = 0; cycle < cycles + 64; cycle++) {
        const uint32_t ends = cycle < cycles ? draw() & draw() : 0;
        top.first_i = starts & 255, top.last_i = (ends | (cycle == cycles - 1 ? 255 : 0)) & 255;
        for (int n = 0; n < 8 && cycle < cycles; n++) {
            Array &a = arrays[n];
            a.sum = (starts >> n & 1 ? 0 : a.sum) + given(a, top.weights_i[n].data(), top.signals_i[n].data());
            if (top.last_i >> n & 1) a.expected[a.put++ % 64] = a.sum;
        }
        starts = top.last_i;
        top.clk_i = 1;
        top.eval();
        top.clk_i = 0;
        top.eval();
        for (int n = 0; n < 8; n++) {
            Array &a = arrays[n];
            if (!(top.done_o >> n & 1) || a.got == a.put) continue;
            a.compared++, a.mismatches += (int64_t)top.sum_o[n] != a.expected[a.got++ % 64];
        }
    }
    bool wrong = false;
    for (const Array &a : arrays) {
        long never = 0;
        for (const bool met : a.met) never += !met;
        std::printf("%ld %ld %ld %ld\n", a.compared, a.mismatches + (long)(a.put - a.got), a.extremes, never);
        wrong |= a.mismatches || a.put != a.got;
    }
    return wrong;
}
