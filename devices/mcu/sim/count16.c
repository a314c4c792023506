/* Instructions of each form of product, from call to return: "form m n k count" a line.
 * COUNT_SIZES is a list of m, n, k, none of whose matrices has more than MOST values. */
#include "hwt_gemm16.h"
#include "hwt_sim.h"

#ifndef COUNT_SIZES
#define COUNT_SIZES {64, 64, 64}, {61, 45, 37}, {1, 64, 64}, {1, 128, 64}, {64, 16, 27}
#endif
#define MOST 32768
static hwt_half a[MOST], b[MOST], c[MOST];
static float sums[MOST];

__attribute__((noinline)) static void nn(int32_t m, int32_t n, int32_t k) { hwt_gemm16_nn(m, n, k, a, k, b, n, c, n); }
__attribute__((noinline)) static void nt(int32_t m, int32_t n, int32_t k) { hwt_gemm16_nt(m, n, k, a, k, b, k, c, n); }
__attribute__((noinline)) static void tn(int32_t m, int32_t n, int32_t k) { hwt_gemm16_tn(m, n, k, a, m, b, n, c, n); }
__attribute__((noinline)) static void gradient(int32_t m, int32_t n, int32_t k)
{
    hwt_gradient16(m, n, k, a, m, b, n, sums, n);
}

static void number(uint32_t value)
{
    char digits[11] = "          ";
    size_t at = 10;
    do
        digits[--at] = (char)('0' + value % 10u);
    while (value /= 10u);
    sim_write(" ", 1);
    sim_write(digits + at, 10 - at);
}

static void measure(const char *name, size_t length, void (*product)(int32_t, int32_t, int32_t), int32_t m,
                    int32_t n, int32_t k)
{
    const uint32_t before = sim_count();
    product(m, n, k);
    const uint32_t count = sim_count() - before;
    sim_write(name, length);
    number((uint32_t)m);
    number((uint32_t)n);
    number((uint32_t)k);
    number(count);
    sim_write("\n", 1);
}

int main(void)
{
    static const int32_t sizes[][3] = {COUNT_SIZES};
    for (int32_t i = 0; i < MOST; i++)
        a[i] = b[i] = (hwt_half)(0x3C00 | i % 1024);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const int32_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
        measure("nn", 2, nn, m, n, k);
        measure("nt", 2, nt, m, n, k);
        measure("tn", 2, tn, m, n, k);
        measure("gradient", 8, gradient, m, n, k);
    }
    return 0;
}
