/* Vectors of halves on RISC-V with V, Zvfh and Zfh: four vector registers each, of whatever length. */
#ifndef HWT_VEC_RVV_H
#define HWT_VEC_RVV_H

#include <riscv_vector.h>

#define HV_NAME "rvv"
#define HV_LANES ((int32_t)HV_ALL) /* 64 at most: a strip of B has its place on the stack */
#define HV_ALIGN 2
#define HV_ROWS 5
#define HV_UNROLL 4
#define HV_EXPAND 0
#define HV_PART_COSTS 1
#define HV_PANEL 4096
#define HV_COPY_ROWS 0

typedef vfloat16m4_t hv;
typedef hwt_half hv_element;

#define HV_ALL __riscv_vsetvl_e16m4(64)

HWT_INLINE float hwt_widen(hwt_half h)
{
    union { hwt_half bits; _Float16 value; } same = {h};
    return (float)same.value;
}

HWT_INLINE hwt_half hwt_narrow(float value)
{
    union { _Float16 value; hwt_half bits; } same = {(_Float16)value};
    return same.bits;
}

HWT_INLINE hv hv_zero(void) { return __riscv_vfmv_v_f_f16m4((_Float16)0.0f, HV_ALL); }

HWT_INLINE hv hv_load_part(const hwt_half *p, int32_t n)
{
    return __riscv_vreinterpret_v_u16m4_f16m4(__riscv_vle16_v_u16m4(p, (size_t)n));
}

HWT_INLINE hv hv_gather(const hwt_half *p, ptrdiff_t step, int32_t n)
{
    const ptrdiff_t bytes = step * (ptrdiff_t)sizeof *p;
    return __riscv_vreinterpret_v_u16m4_f16m4(__riscv_vlse16_v_u16m4(p, bytes, (size_t)n));
}

HWT_INLINE hv hv_load(const hwt_half *p)
{
    return __riscv_vreinterpret_v_u16m4_f16m4(__riscv_vle16_v_u16m4(p, HV_ALL));
}

HWT_INLINE void hv_store(hwt_half *p, hv v)
{
    __riscv_vse16_v_u16m4(p, __riscv_vreinterpret_v_f16m4_u16m4(v), HV_ALL);
}

HWT_INLINE void hv_store_part(hwt_half *p, hv v, int32_t n)
{
    __riscv_vse16_v_u16m4(p, __riscv_vreinterpret_v_f16m4_u16m4(v), (size_t)n);
}

HWT_INLINE hv hv_fma(hv acc, hv v, hv_element e)
{
    union { hwt_half bits; _Float16 value; } same = {e};
    return __riscv_vfmacc_vf_f16m4(acc, same.value, v, HV_ALL);
}

HWT_INLINE hv hv_add(hv a, hv b) { return __riscv_vfadd_vv_f16m4(a, b, HV_ALL); }

HWT_INLINE hv hv_gate(hv d, hv y)
{
    const vbool4_t above = __riscv_vmfgt_vf_f16m4_b4(y, (_Float16)0.0f, HV_ALL);
    return __riscv_vmerge_vvm_f16m4(hv_zero(), d, above, HV_ALL);
}

HWT_INLINE void hv_add_to(float *c, hv v, int32_t n)
{
    const size_t vl = (size_t)n;
    const vfloat32m8_t before = __riscv_vle32_v_f32m8(c, vl);
    __riscv_vse32_v_f32m8(c, __riscv_vfwadd_wv_f32m8(before, v, vl), vl);
}

#endif
