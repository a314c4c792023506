/* IEEE binary16 as bits, and its conversions in integers: no hardware that knows the format is needed.
 *
 * Subnormals are kept, ties go to even, what is too large becomes an infinity. Which bits a NaN has is
 * nobody's promise; here it is 0x7E00. */
#ifndef HWT_HALF_H
#define HWT_HALF_H

#include <stddef.h>
#include <stdint.h>

typedef uint16_t hwt_half;

#define HWT_INLINE static inline __attribute__((always_inline))
#define HWT_ONCE static __attribute__((noinline, unused)) /* large: one copy serves all calls */

HWT_INLINE float hwt_bits_float(uint32_t bits)
{
    union { uint32_t bits; float value; } same = {bits};
    return same.value;
}

HWT_INLINE uint32_t hwt_float_bits(float value)
{
    union { float value; uint32_t bits; } same = {value};
    return same.bits;
}

/* Every half is a float. */
static inline float hwt_widen_bits(hwt_half h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7FFFu;
    if (rest >= 0x7C00u)
        return hwt_bits_float(sign | 0x7F800000u | (rest & 0x3FFu) << 13 | (rest > 0x7C00u) << 22);
    if (rest < 0x0400u) { /* rest 2^-24, exact */
        const float value = (float)(int32_t)rest * 0x1p-24f;
        return sign ? -value : value;
    }
    return hwt_bits_float(sign | ((rest << 13) + 0x38000000u));
}

/* The nearest half. */
static inline hwt_half hwt_narrow_bits(float value)
{
    const uint32_t bits = hwt_float_bits(value), sign = bits >> 16 & 0x8000u, rest = bits & 0x7FFFFFFFu;
    if (rest > 0x7F800000u)
        return 0x7E00u;
    if (rest >= 0x47800000u) /* 2^16 and above */
        return (hwt_half)(sign | 0x7C00u);
    if (rest >= 0x38800000u) /* normal: a carry runs on into the exponent, up to infinity */
        return (hwt_half)(sign | (rest - 0x38000000u + 0xFFFu + (rest >> 13 & 1u)) >> 13);
    if (rest <= 0x33000000u) /* 2^-25 and below */
        return (hwt_half)sign;
    const uint32_t digits = (rest & 0x7FFFFFu) | 0x800000u, shift = 126u - (rest >> 23);
    const uint32_t half = 1u << (shift - 1u), odd = digits >> shift & 1u;
    return (hwt_half)(sign | (digits + half - 1u + odd) >> shift);
}

/* The nearest half of a double, rounded once. */
static inline hwt_half hwt_narrow_double(double value)
{
    union { double value; uint64_t bits; } same = {value};
    /* To odd at 27 digits: what is cut off leaves a mark, and the float's own rounding sees it. */
    const uint64_t rest = same.bits & UINT64_C(0x7FFFFFFFFFFFFFFF);
    const uint32_t sign = (uint32_t)(same.bits >> 63) << 31;
    if (rest > UINT64_C(0x7FF0000000000000))
        return 0x7E00u;
    if (rest >= UINT64_C(0x40F0000000000000)) /* 2^16 */
        return (hwt_half)(sign >> 16 | 0x7C00u);
    if (rest < UINT64_C(0x3E60000000000000)) /* below 2^-25 */
        return (hwt_half)(sign >> 16);
    const uint32_t float_rest = (uint32_t)((rest - UINT64_C(0x3800000000000000)) >> 29);
    const uint32_t mark = (rest & UINT64_C(0x1FFFFFFF)) != 0;
    return hwt_narrow_bits(hwt_bits_float(sign | float_rest | mark));
}

/* a b + c, rounded once. The product of halves is exact in a double, and what the sum loses there lies
 * below any midpoint between halves. */
static inline hwt_half hwt_fma_bits(hwt_half a, hwt_half b, hwt_half c)
{
    const double product = (double)hwt_widen_bits(a) * (double)hwt_widen_bits(b);
    return hwt_narrow_double(product + (double)hwt_widen_bits(c));
}

#endif
