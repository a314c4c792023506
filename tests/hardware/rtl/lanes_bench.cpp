// Every weight word and every signal through each shift lane, beside multiplication by the weight it stands for.
#include <cstdint>
#include <cstdio>

#include "Model.h"

static int64_t decode(int word, int bits) {
    const int magnitude = word & ((1 << (bits - 1)) - 1);
    int64_t value = magnitude ? 1 : 0;
    for (int k = 1; k < magnitude; k++) value *= 2;
    return word >> (bits - 1) ? -value : value;
}

static int64_t extend(uint64_t value) { return (int64_t)(value << 24) >> 24; }

int main() {
    Model top;
    long compared = 0, mismatches = 0;
    for (int word = 0; word < 32; word++)
        for (int signal = -32768; signal < 32768; signal++) {
            top.weight_i = word;
            top.signal_i = signal & 0xffff;
            top.eval();
            for (int n = 0; n < 4; n++) {
                const int bits = n + 2;
                if (word >> bits) continue;
                compared++;
                mismatches += extend(top.wide_o[n]) != decode(word, bits) * signal;
                if (signal >= -128 && signal < 128) {
                    compared++;
                    mismatches += extend(top.narrow_o[n]) != decode(word, bits) * signal;
                }
            }
        }
    std::printf("%ld %ld\n", compared, mismatches);
    return mismatches != 0;
}
