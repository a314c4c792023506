/* Vectors of halves in pairs in integer registers (PULP class): three registers each.
 *
 * The instructions are this project's own model of such a core, in the custom-0 space
 * (devices/mcu/sim/v2f16.cc); they are not the encodings of any chip. */
#ifndef HWT_VEC_V2F16_H
#define HWT_VEC_V2F16_H

#define HV_NAME "v2f16"
#define HV_PAIRS 3
#define HV_LANES (2 * HV_PAIRS)
#define HV_ALIGN 4
#define HV_ROWS 4
#define HV_UNROLL 8
#define HV_EXPAND 0
#define HV_PART_COSTS 1
#define HV_PANEL 512
#define HV_COPY_ROWS 0

typedef struct { uint32_t pair[HV_PAIRS]; } hv;
typedef hwt_half hv_element;
typedef uint32_t __attribute__((may_alias)) hv_word;

/* rd += rs1 times the lower half of rs2, both lanes, each rounded once */
#define HV_MAC(rd, rs1, rs2) __asm__(".insn r CUSTOM_0, 0, 0, %0, %1, %2" : "+r"(rd) : "r"(rs1), "r"((uint32_t)(rs2)))
/* rd = rs1 + rs2, both lanes */
#define HV_SUM(rd, rs1, rs2) __asm__(".insn r CUSTOM_0, 1, 0, %0, %1, %2" : "=r"(rd) : "r"(rs1), "r"(rs2))

/* The lower half of rs1 as a float, and a float as the nearest half. */
HWT_INLINE float hwt_widen(hwt_half h)
{
    uint32_t bits;
    __asm__(".insn r CUSTOM_0, 2, 0, %0, %1, x0" : "=r"(bits) : "r"((uint32_t)h));
    return hwt_bits_float(bits);
}

HWT_INLINE hwt_half hwt_narrow(float value)
{
    uint32_t half;
    __asm__(".insn r CUSTOM_0, 3, 0, %0, %1, x0" : "=r"(half) : "r"(hwt_float_bits(value)));
    return (hwt_half)half;
}

HWT_INLINE hv hv_zero(void)
{
    const hv v = {{0, 0, 0}};
    return v;
}

HWT_INLINE hv hv_load(const hwt_half *p)
{
    const hv_word *words = (const hv_word *)(const void *)p;
    const hv v = {{words[0], words[1], words[2]}};
    return v;
}

HWT_INLINE hv hv_gather(const hwt_half *p, ptrdiff_t step, int32_t n)
{
    uint32_t half[HV_LANES];
    if (n == HV_LANES)
        for (int32_t i = 0; i < HV_LANES; i++)
            half[i] = p[i * step];
    else
        for (int32_t i = 0; i < HV_LANES; i++)
            half[i] = i < n ? p[i * step] : 0u;
    const hv v = {{half[0] | half[1] << 16, half[2] | half[3] << 16, half[4] | half[5] << 16}};
    return v;
}

HWT_INLINE hv hv_load_part(const hwt_half *p, int32_t n) { return hv_gather(p, 1, n); }

HWT_INLINE void hv_store(hwt_half *p, hv v)
{
    hv_word *words = (hv_word *)(void *)p;
    words[0] = v.pair[0];
    words[1] = v.pair[1];
    words[2] = v.pair[2];
}

HWT_INLINE void hv_store_part(hwt_half *p, hv v, int32_t n)
{
    for (int32_t i = 0; i < HV_LANES; i++)
        if (i < n)
            p[i] = (hwt_half)(v.pair[i / 2] >> i % 2 * 16);
}

HWT_INLINE hv hv_fma(hv acc, hv v, hv_element e)
{
    HV_MAC(acc.pair[0], v.pair[0], e);
    HV_MAC(acc.pair[1], v.pair[1], e);
    HV_MAC(acc.pair[2], v.pair[2], e);
    return acc;
}

HWT_INLINE hv hv_add(hv a, hv b)
{
    hv v;
    for (int32_t i = 0; i < HV_PAIRS; i++)
        HV_SUM(v.pair[i], a.pair[i], b.pair[i]);
    return v;
}

/* A half is above 0 where its bits are those of 1 to 0x7C00. */
HWT_INLINE hv hv_gate(hv d, hv y)
{
    for (int32_t i = 0; i < HV_PAIRS; i++) {
        const uint32_t low = y.pair[i] & 0xFFFFu, high = y.pair[i] >> 16;
        const uint32_t keep = (low - 1u < 0x7C00u ? 0xFFFFu : 0u) | (high - 1u < 0x7C00u ? 0xFFFF0000u : 0u);
        d.pair[i] &= keep;
    }
    return d;
}

HWT_INLINE void hv_add_to(float *c, hv v, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        c[i] += hwt_widen((hwt_half)(v.pair[i / 2] >> i % 2 * 16));
}

#endif
