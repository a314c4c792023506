/* exp, log and tanh in float32, only of operations that every machine rounds alike (hwtrain/arith/float32.py
 * is the same): compile without contraction to fused multiply-adds and without fast-math. */
#ifndef HWT_MATH_H
#define HWT_MATH_H

#include <stdint.h>

static inline float hwt_from_bits(int32_t bits)
{
    union { int32_t bits; float value; } same = {bits};
    return same.value;
}

static inline int32_t hwt_to_bits(float value)
{
    union { float value; int32_t bits; } same = {value};
    return same.bits;
}

/* e^x, x clamped so that the result is a normal number: x = n ln 2 + r, Taylor's series of r, times 2^n. */
static inline float hwt_exp(float x)
{
    if (!(x > -87.0f))
        x = -87.0f;
    if (x > 88.0f)
        x = 88.0f;
    const float t = x * 1.44269504f + 0.5f;
    float n = (float)(int32_t)t;
    if (n > t)
        n -= 1.0f;
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = (float)(1.0 / 5040.0);
    p = p * r + (float)(1.0 / 720.0);
    p = p * r + (float)(1.0 / 120.0);
    p = p * r + (float)(1.0 / 24.0);
    p = p * r + (float)(1.0 / 6.0);
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * hwt_from_bits(((int32_t)n + 127) * (1 << 23));
}

/* ln x of a normal number: x = 2^e m, m about 1, ln m = 2 atanh(s), s = (m - 1)/(m + 1). */
static inline float hwt_log(float x)
{
    const int32_t bits = hwt_to_bits(x);
    const int32_t e = (bits - 0x3F3504F3) >> 23;
    const float m = hwt_from_bits(bits - e * (1 << 23));
    const float s = (m - 1.0f) / (m + 1.0f), square = s * s, n = (float)e;
    float p = (float)(2.0 / 9.0);
    p = p * square + (float)(2.0 / 7.0);
    p = p * square + (float)(2.0 / 5.0);
    p = p * square + (float)(2.0 / 3.0);
    p = p * square + 2.0f;
    return n * 0.693359375f + (n * -2.12194440e-4f + s * p);
}

/* 1 - 2/(exp(2|x|) + 1) with the sign of x; its series where that would cancel. */
static inline float hwt_tanh(float x)
{
    const float a = hwt_from_bits(hwt_to_bits(x) & 0x7FFFFFFF), square = a * a;
    float p = (float)(62.0 / 2835.0), y;
    p = p * square + (float)(-17.0 / 315.0);
    p = p * square + (float)(2.0 / 15.0);
    p = p * square + (float)(-1.0 / 3.0);
    if (a < 0.25f)
        y = a + a * square * p;
    else
        y = 1.0f - 2.0f / (hwt_exp(a + a) + 1.0f);
    return hwt_to_bits(x) < 0 ? -y : y; /* -0 too */
}

#endif
