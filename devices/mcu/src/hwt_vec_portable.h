/* Vectors of halves without any hardware for them: slow, and right everywhere. */
#ifndef HWT_VEC_PORTABLE_H
#define HWT_VEC_PORTABLE_H

#define HV_NAME "portable"
#define HV_LANES 8
#define HV_ALIGN 2
#define HV_ROWS 4
#define HV_UNROLL 1
#define HV_EXPAND 0
#define HV_PART_COSTS 0
#define HV_PANEL 1024
#define HV_COPY_ROWS 0

typedef struct { hwt_half lane[HV_LANES]; } hv;
typedef hwt_half hv_element;

#define hwt_widen hwt_widen_bits
#define hwt_narrow hwt_narrow_bits

HWT_INLINE hv hv_zero(void)
{
    const hv v = {{0}};
    return v;
}

HWT_INLINE hv hv_gather(const hwt_half *p, ptrdiff_t step, int32_t n)
{
    hv v = {{0}};
    for (int32_t i = 0; i < n; i++)
        v.lane[i] = p[i * step];
    return v;
}

HWT_INLINE hv hv_load_part(const hwt_half *p, int32_t n) { return hv_gather(p, 1, n); }

HWT_INLINE hv hv_load(const hwt_half *p) { return hv_load_part(p, HV_LANES); }

HWT_INLINE void hv_store_part(hwt_half *p, hv v, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        p[i] = v.lane[i];
}

HWT_INLINE void hv_store(hwt_half *p, hv v) { hv_store_part(p, v, HV_LANES); }

HWT_INLINE hv hv_fma(hv acc, hv v, hv_element e)
{
    for (int32_t i = 0; i < HV_LANES; i++)
        acc.lane[i] = hwt_fma_bits(v.lane[i], e, acc.lane[i]);
    return acc;
}

HWT_INLINE hv hv_add(hv a, hv b)
{
    for (int32_t i = 0; i < HV_LANES; i++) /* the float's sum is exact enough: 24 digits >= 2 11 + 2 */
        a.lane[i] = hwt_narrow(hwt_widen(a.lane[i]) + hwt_widen(b.lane[i]));
    return a;
}

HWT_INLINE hv hv_gate(hv d, hv y)
{
    for (int32_t i = 0; i < HV_LANES; i++)
        d.lane[i] = hwt_widen(y.lane[i]) > 0.0f ? d.lane[i] : 0;
    return d;
}

HWT_INLINE void hv_add_to(float *c, hv v, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        c[i] += hwt_widen(v.lane[i]);
}

#endif
