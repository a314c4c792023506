/* Vectors of halves on Helium (Armv8.1-M MVE with floating point: Cortex-M55, M85): two Q registers each. */
#ifndef HWT_VEC_HELIUM_H
#define HWT_VEC_HELIUM_H

#include <arm_mve.h>

#define HV_NAME "helium"
#define HV_LANES 16
#define HV_ALIGN 2
#define HV_ROWS 3 /* six of the eight Q registers hold sums, two the row of the other factor */
#define HV_UNROLL 1
#define HV_EXPAND 0
#define HV_PART_COSTS 1
#define HV_PANEL 1024
#define HV_COPY_ROWS 1

typedef struct { float16x8_t low, high; } hv;
typedef hwt_half hv_element; /* vfma takes it from a core register */

HWT_INLINE float hwt_widen(hwt_half h)
{
    union { hwt_half bits; __fp16 value; } same = {h};
    return (float)same.value;
}

HWT_INLINE hwt_half hwt_narrow(float value)
{
    union { __fp16 value; hwt_half bits; } same = {(__fp16)value};
    return same.bits;
}

HWT_INLINE hv hv_zero(void)
{
    const hv v = {vreinterpretq_f16_u16(vdupq_n_u16(0)), vreinterpretq_f16_u16(vdupq_n_u16(0))};
    return v;
}

HWT_INLINE hv hv_load(const hwt_half *p)
{
    const hv v = {vreinterpretq_f16_u16(vld1q_u16(p)), vreinterpretq_f16_u16(vld1q_u16(p + 8))};
    return v;
}

HWT_INLINE hv hv_load_part(const hwt_half *p, int32_t n)
{
    const mve_pred16_t low = vctp16q((uint32_t)n), high = vctp16q((uint32_t)(n > 8 ? n - 8 : 0));
    const hv v = {vreinterpretq_f16_u16(vld1q_z_u16(p, low)), vreinterpretq_f16_u16(vld1q_z_u16(p + 8, high))};
    return v;
}

HWT_INLINE hv hv_gather(const hwt_half *p, ptrdiff_t step, int32_t n)
{
    const uint16x8_t at = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)step); /* up to 65535 halves away */
    const mve_pred16_t low = vctp16q((uint32_t)n), high = vctp16q((uint32_t)(n > 8 ? n - 8 : 0));
    const hv v = {
        vreinterpretq_f16_u16(vldrhq_gather_shifted_offset_z_u16(p, at, low)),
        vreinterpretq_f16_u16(vldrhq_gather_shifted_offset_z_u16(p + 8 * step, at, high)),
    };
    return v;
}

HWT_INLINE void hv_store(hwt_half *p, hv v)
{
    vst1q_u16(p, vreinterpretq_u16_f16(v.low));
    vst1q_u16(p + 8, vreinterpretq_u16_f16(v.high));
}

HWT_INLINE void hv_store_part(hwt_half *p, hv v, int32_t n)
{
    vst1q_p_u16(p, vreinterpretq_u16_f16(v.low), vctp16q((uint32_t)n));
    vst1q_p_u16(p + 8, vreinterpretq_u16_f16(v.high), vctp16q((uint32_t)(n > 8 ? n - 8 : 0)));
}

HWT_INLINE hv hv_fma(hv acc, hv v, hv_element e)
{
    __asm__("vfma.f16 %q0, %q1, %2" : "+w"(acc.low) : "w"(v.low), "r"((uint32_t)e));
    __asm__("vfma.f16 %q0, %q1, %2" : "+w"(acc.high) : "w"(v.high), "r"((uint32_t)e));
    return acc;
}

HWT_INLINE hv hv_add(hv a, hv b)
{
    const hv v = {vaddq_f16(a.low, b.low), vaddq_f16(a.high, b.high)};
    return v;
}

HWT_INLINE float16x8_t hv_gate8(float16x8_t d, float16x8_t y)
{
    return vpselq_f16(d, vreinterpretq_f16_u16(vdupq_n_u16(0)), vcmpgtq_n_f16(y, (float16_t)0.0f));
}

HWT_INLINE hv hv_gate(hv d, hv y)
{
    const hv v = {hv_gate8(d.low, y.low), hv_gate8(d.high, y.high)};
    return v;
}

/* Lanes 0, 2, 4, 6 and 1, 3, 5, 7 as floats: vcvtb and vcvtt q0, q0. As numbers, for GNU as 2.40 encodes any
 * other register of these two wrongly (q1 as q2). */
#define HV_WIDEN(name, code) \
    HWT_INLINE float32x4_t name(float16x8_t v) \
    { \
        register uint32x4_t q0 __asm__("q0") = vreinterpretq_u32_f16(v); \
        __asm__(".inst.w " code : "+w"(q0)); \
        return vreinterpretq_f32_u32(q0); \
    }
HV_WIDEN(hv_widen_even, "0xFE3F0E01")
HV_WIDEN(hv_widen_odd, "0xFE3F1E01")

HWT_INLINE void hv_add_to8(float *c, float16x8_t v, int32_t n)
{
    if (n >= 8) {
        /* A pointer of its own, seen before and after: GCC 12 else moves it in a way that vst21 has not. */
        float *at = c;
        __asm__("" : "+r"(at));
        float32x4x2_t sums = vld2q_f32(at);
        sums.val[0] = vaddq_f32(sums.val[0], hv_widen_even(v));
        sums.val[1] = vaddq_f32(sums.val[1], hv_widen_odd(v));
        vst2q_f32(at, sums);
        __asm__ volatile("" ::"r"(at));
        return;
    }
    hwt_half lane[8];
    vst1q_u16(lane, vreinterpretq_u16_f16(v));
    for (int32_t i = 0; i < n; i++)
        c[i] += hwt_widen(lane[i]);
}

HWT_INLINE void hv_add_to(float *c, hv v, int32_t n)
{
    hv_add_to8(c, v.low, n);
    hv_add_to8(c + 8, v.high, n - 8);
}

/* k terms of a whole tile of three rows, B's rows one after the other: the loop that all time goes into, in
 * assembly because compilers spill what fits exactly. Factors of a row follow each other, or (across) those of
 * a term do and ``step`` values lie between terms. */
#define HV_TERMS(across, k, a, row, step, b, acc0, acc1, acc2) \
    do { \
        if (across) \
            HV_LOOP(k, HV_ACROSS, "r"((step) * 2), a, a, a, b, acc0, acc1, acc2); \
        else \
            HV_LOOP(k, HV_ALONG, "r"(0), a, (a) + (row), (a) + 2 * (row), b, acc0, acc1, acc2); \
    } while (0)
#define HV_ALONG "ldrh %[s0], [%[a0]], #2\n\t ldrh %[s1], [%[a1]], #2\n\t ldrh %[s2], [%[a2]], #2\n\t"
#define HV_ACROSS "ldrh %[s1], [%[a0], #2]\n\t ldrh %[s2], [%[a0], #4]\n\t ldrh %[s0], [%[a0]]\n\t add %[a0], %[step]\n\t"
#define HV_TERM(factors) \
    "vldrh.u16 %q[line1], [%[at], #16]\n\t vldrh.u16 %q[line0], [%[at]], #32\n\t" factors \
    "vfma.f16 %q[x0], %q[line0], %[s0]\n\t vfma.f16 %q[y0], %q[line1], %[s0]\n\t" \
    "vfma.f16 %q[x1], %q[line0], %[s1]\n\t vfma.f16 %q[y1], %q[line1], %[s1]\n\t" \
    "vfma.f16 %q[x2], %q[line0], %[s2]\n\t vfma.f16 %q[y2], %q[line1], %[s2]\n\t"
#define HV_LOOP(k, factors, step_, a_, b_, c_, at_, r0, r1, r2) \
    do { \
        const hwt_half *a0_ = a_, *a1_ = b_, *a2_ = c_, *line_ = at_; \
        uint32_t s0_, s1_, s2_; \
        float16x8_t l0_, l1_; \
        int32_t count_ = k; \
        __asm__ volatile("tst %[n], #1\n\t beq 1f\n\t" HV_TERM(factors) \
                         "1:\n\t lsrs %[n], %[n], #1\n\t beq 3f\n\t dls lr, %[n]\n\t" \
                         "2:\n\t" HV_TERM(factors) HV_TERM(factors) "le lr, 2b\n\t 3:" \
                         : [n] "+r"(count_), [a0] "+r"(a0_), [a1] "+r"(a1_), [a2] "+r"(a2_), [at] "+r"(line_), \
                           [s0] "=&r"(s0_), [s1] "=&r"(s1_), [s2] "=&r"(s2_), [line0] "=&w"(l0_), \
                           [line1] "=&w"(l1_), [x0] "+w"((r0).low), [y0] "+w"((r0).high), \
                           [x1] "+w"((r1).low), [y1] "+w"((r1).high), [x2] "+w"((r2).low), [y2] "+w"((r2).high) \
                         : [step] step_ \
                         : "lr", "cc", "memory"); \
    } while (0)

#endif
