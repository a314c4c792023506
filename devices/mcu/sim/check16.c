/* What a back end computes, as one line a block: its name, how many outputs, their hash. The same lines come
 * from every back end, and from hwtrain's own arithmetic (tests/differential/test_fp16.py makes them). */
#include "hwt_gemm16.h"
#include "hwt_sim.h"

#ifndef CHECK_PARTNERS
#define CHECK_PARTNERS 16
#endif
#ifndef CHECK_REPEATS
#define CHECK_REPEATS 1
#endif
#define MOST 8192

static hwt_half a[MOST], b[MOST], c[MOST], made[512];
static float sums[MOST];

static uint32_t draw(uint32_t seed, uint32_t i)
{
    uint32_t x = i * 2654435761u + seed * 0x9E3779B9u;
    x ^= x >> 15;
    x *= 0x2C1B3C6Du;
    x ^= x >> 12;
    x *= 0x297A2D39u;
    return x ^ x >> 15;
}

/* 0: any bits. 1: about 1, so that long sums stay finite. 2: few digits and small, so that ties, subnormals and
 * zeros abound. */
static hwt_half value(uint32_t kind, uint32_t x)
{
    if (kind == 0)
        return (hwt_half)x;
    if (kind == 1)
        return (hwt_half)((x & 0x8000u) | (11u + (x >> 16) % 6u) << 10 | (x & 0x3FFu));
    return (hwt_half)((x & 0x8000u) | ((x >> 16) % 12u) << 10 | (x & 0x301u));
}

static void fill(hwt_half *p, int32_t n, uint32_t kind, uint32_t seed)
{
    for (int32_t i = 0; i < n; i++)
        p[i] = value(kind, draw(seed, (uint32_t)i));
}

static uint32_t hashed(uint32_t h, const hwt_half *p, int32_t n)
{
    for (int32_t i = 0; i < n; i++) /* every NaN is one */
        h = h * 16777619u + ((p[i] & 0x7FFFu) > 0x7C00u ? 0x7E00u : p[i]) + 1u;
    return h;
}

static uint32_t hashed_floats(uint32_t h, const float *p, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        const uint32_t bits = hwt_float_bits(p[i]);
        h = h * 16777619u + ((bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC00000u : bits) + 1u;
    }
    return h;
}

static void tell(const char *name, uint32_t number, uint32_t count, uint32_t hash)
{
    char line[64];
    size_t at = 0;
    const uint32_t parts[3] = {number, count, hash};
    while (*name)
        line[at++] = *name++;
    for (int part = 0; part < 3; part++) {
        char digits[10];
        int many = 0;
        uint32_t rest = parts[part];
        do
            digits[many++] = (char)('0' + rest % 10u);
        while (rest /= 10u);
        line[at++] = ' ';
        while (many > 0)
            line[at++] = digits[--many];
    }
    line[at++] = '\n';
    sim_write(line, at);
}

/* All patterns as one operand of a fused multiply-add, against pairs of partners. */
static void sweep(const char *name, int place)
{
    static const hwt_half known[8] = {0x0000, 0x8000, 0x0001, 0x83FF, 0x3C00, 0xBC01, 0x7BFF, 0x7C00};
    for (uint32_t partner = 0; partner < CHECK_PARTNERS; partner++) {
        const uint32_t x = draw(77u + (uint32_t)place, partner);
        hwt_half other[2] = {value(partner % 3u, x), value(partner % 2u, draw(5u, x))};
        if (partner % 2u == 0)
            other[partner / 2u % 2u] = known[partner / 2u % 8u];
        uint32_t h = 0;
        for (uint32_t from = 0; from < 65536u; from += 512u) {
            hwt_half *const operand[3] = {a, b, c};
            for (int32_t i = 0; i < 512; i++) {
                operand[place][i] = (hwt_half)(from + (uint32_t)i);
                operand[(place + 1) % 3][i] = other[0];
                operand[(place + 2) % 3][i] = other[1];
            }
            const int32_t n = place == 1 ? 1 : HV_LANES; /* b is the factor that all lanes share */
            for (int32_t at = 0; at < 512; at += n) {
                const int32_t width = 512 - at < n ? 512 - at : n;
                hv_element factor;
#if HV_EXPAND
                hv_elements(&factor, b + at, 1);
#else
                factor = b[at];
#endif
                hv_store_part(made + at, hv_fma(hv_load_part(c + at, width), hv_load_part(a + at, width), factor),
                              width);
            }
            h = hashed(h, made, 512);
        }
        tell(name, partner, 65536u, h);
    }
}

int main(void)
{
    static const uint8_t sizes[][3] = {{1, 1, 1}, {3, 16, 8}, {5, 7, 33}, {13, 17, 65}, {64, 64, 64},
                                       {61, 45, 37}, {1, 70, 40}, {40, 3, 90}, {9, 33, 96}, {2, 80, 70}};
    sweep("a", 0);
    sweep("b", 1);
    sweep("c", 2);
    for (uint32_t repeat = 0; repeat < CHECK_REPEATS; repeat++) {
        uint32_t number = 0, count = 0, nn = 0, nt = 0, tn = 0, gradient = 0;
        for (uint32_t kind = 0; kind < 3u; kind++)
            for (uint32_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++, number++) {
                const int32_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
                const uint32_t seed = 100u * repeat + number;
                fill(a, m * k, kind, 2u * seed);
                fill(b, n * k, kind, 2u * seed + 1u);
                count += (uint32_t)(m * n);
                hwt_gemm16_nn(m, n, k, a, k, b, n, c, n);
                nn = hashed(nn, c, m * n);
                hwt_gemm16_nt(m, n, k, a, k, b, k, c, n);
                nt = hashed(nt, c, m * n);
                hwt_gemm16_tn(m, n, k, a, m, b, n, c, n);
                tn = hashed(tn, c, m * n);
                for (int32_t i = 0; i < m * n; i++)
                    sums[i] = 0.0f;
                hwt_gradient16(m, n, k, a, m, b, n, sums, n);
                gradient = hashed_floats(gradient, sums, m * n);
            }
        tell("nn", repeat, count, nn);
        tell("nt", repeat, count, nt);
        tell("tn", repeat, count, tn);
        tell("gradient", repeat, count, gradient);
    }
    return 0;
}
