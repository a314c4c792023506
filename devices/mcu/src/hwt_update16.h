/* What is done with a gradient once it is known: how weights of halves learn, as hwtrain/kernels/half.py has it. */
#ifndef HWT_UPDATE16_H
#define HWT_UPDATE16_H

#include "hwt_vec.h"
#include "hwt_threefry.h"

/* 2^n, n from -126 to 127. */
HWT_INLINE float hwt_power(int32_t n) { return hwt_bits_float((uint32_t)(n + 127) << 23); }

/* One of the two nearest halves, the farther one with the probability of its distance. */
static inline hwt_half hwt_narrow_at_random(float value, uint32_t noise)
{
    const uint32_t bits = hwt_float_bits(value), rest = bits & 0x7FFFFFFFu, sign = bits >> 16 & 0x8000u;
    const int32_t exponent = (int32_t)(rest >> 23);
    if (rest > 0x7F800000u)
        return 0x7E00u;
    if (rest >= 0x47800000u)
        return (hwt_half)(sign | 0x7C00u);
    const int32_t deep = 126 - exponent, shift = deep < 13 ? 13 : deep;
    if (shift > 31)
        return (hwt_half)sign;
    const uint32_t digits = (rest & 0x7FFFFFu) | (exponent > 0 ? 0x800000u : 0u);
    const uint32_t cut = (digits + (noise & ((1u << shift) - 1u))) >> shift;
    const uint32_t places = exponent > 112 ? (uint32_t)(exponent - 113) << 10 : 0u;
    return (hwt_half)(sign | (cut + places < 0x7C00u ? cut + places : 0x7C00u));
}

/* Of a strip of W (groups, out, in_), m rows from ``top`` and n columns from ``left`` on in group g, whose
 * gradient is in the rows of ``sums``, so many ``apart``. ``keep`` does, for each element at ``at`` with its
 * finite ``change``: add it, and say in ``moved`` whether anything kept has changed. */
#define HWT_KEEP(apart, keep) \
    for (int32_t r = 0; r < m; r++) \
        for (int32_t c = 0; c < n; c++) { \
            const ptrdiff_t at = ((ptrdiff_t)g * out + top + r) * in_ + left + c; \
            const float gradient = sums[r * (apart) + c]; \
            if ((hwt_float_bits(gradient) & 0x7F800000u) == 0x7F800000u) { \
                scaling[2] = 1; \
                counts[0]++; \
                continue; \
            } \
            const float change = factor * gradient; \
            int moved; \
            keep \
            counts[1] += change != 0.0f && !moved; \
        }

/* master += change in float; w = round(master). */
#define HWT_TO_MASTER \
    const float before = master[at]; \
    master[at] = before + change; \
    w[at] = hwt_narrow(master[at]); \
    moved = master[at] != before;

/* t = w + (2^-11 rest + change) in float; w = round(t); rest = round(2^11 (t - w)). */
#define HWT_COMPENSATED \
    const float before = hwt_widen(w[at]); \
    const float kept = hwt_widen(rest[at]); \
    const float total = before + (kept * 0x1p-11f + change); \
    w[at] = hwt_narrow(total); \
    rest[at] = hwt_narrow((total - hwt_widen(w[at])) * 0x1p11f); \
    moved = hwt_widen(w[at]) != before || hwt_widen(rest[at]) != kept;

/* w = w + change, rounded at random. */
#define HWT_AT_RANDOM \
    const float before = hwt_widen(w[at]); \
    const uint32_t noise = (uint32_t)hwt_threefry((uint32_t)point, (uint32_t)(point >> 32), (uint32_t)at, 0); \
    w[at] = hwt_narrow_at_random(before + change, noise); \
    moved = hwt_widen(w[at]) != before;

/* w = round(w + change). */
#define HWT_TO_NEAREST \
    const float before = hwt_widen(w[at]); \
    w[at] = hwt_narrow(before + change); \
    moved = hwt_widen(w[at]) != before;

#endif
