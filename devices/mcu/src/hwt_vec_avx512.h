/* Vectors of halves with AVX-512F, which has no 16-bit arithmetic: a half is held as the float that it is.
 *
 * A fused multiply-add of floats, then rounding to half, would round twice. Rounded down and up instead,
 * the one of the two with an odd last digit says that digits were cut off, and its own rounding to half
 * is then that of the exact value (rounding to odd); where nothing was cut off they are equal, but for
 * the zero that cancels, of which the sum rounded up has the right sign. */
#ifndef HWT_VEC_AVX512_H
#define HWT_VEC_AVX512_H

#include <immintrin.h>

#define HV_NAME "avx512"
#define HV_LANES 16
#define HV_ALIGN 2
#define HV_ROWS 8
#define HV_UNROLL 1
#define HV_EXPAND 1
#define HV_PART_COSTS 0
#define HV_PANEL 4096
#define HV_COPY_ROWS 1

typedef __m512 hv;
typedef float hv_element;

#define HV_FIRST(n) ((__mmask16)((1u << (n)) - 1u))

HWT_INLINE float hwt_widen(hwt_half h) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h))); }

HWT_INLINE hwt_half hwt_narrow(float value)
{
    const __m128i made = _mm_cvtps_ph(_mm_set_ss(value), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return (hwt_half)_mm_extract_epi16(made, 0);
}

HWT_INLINE hv hv_zero(void) { return _mm512_setzero_ps(); }

HWT_INLINE hv hv_load(const hwt_half *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

HWT_INLINE hv hv_load_part(const hwt_half *p, int32_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(HV_FIRST(n), p));
}

HWT_INLINE __m256i hv_halves(__m512 exact_or_odd)
{
    return _mm512_cvtps_ph(exact_or_odd, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

HWT_INLINE hv hv_gather(const hwt_half *p, ptrdiff_t step, int32_t n)
{
    hwt_half lane[HV_LANES] = {0};
    for (int32_t i = 0; i < n; i++)
        lane[i] = p[i * step];
    return hv_load(lane);
}

/* As hv_gather of term after term, the vectors one after the other; two terms at a time, for they lie side by side. */
#define HV_TURNS 1
HWT_INLINE void hv_turn(hwt_half *to, const hwt_half *p, ptrdiff_t step, int32_t terms, int32_t n)
{
    const __m512i line = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i places = _mm512_mullo_epi32(line, _mm512_set1_epi32((int32_t)step));
    for (; terms > 1; terms -= 2, p += 2, to += 2 * HV_LANES) {
        const __m512i both = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), HV_FIRST(n), places, p, 2);
        _mm256_storeu_si256((__m256i *)(void *)to, _mm512_cvtepi32_epi16(both));
        _mm256_storeu_si256((__m256i *)(void *)(to + HV_LANES), _mm512_cvtepi32_epi16(_mm512_srli_epi32(both, 16)));
    }
    if (terms)
        _mm256_storeu_si256((__m256i *)(void *)to, hv_halves(hv_gather(p, step, n)));
}

HWT_INLINE void hv_elements(hv_element *e, const hwt_half *p, int32_t n)
{
    for (; n > HV_LANES; n -= HV_LANES, p += HV_LANES, e += HV_LANES)
        _mm512_storeu_ps(e, hv_load(p));
    _mm512_mask_storeu_ps(e, HV_FIRST(n), hv_load_part(p, n));
}

HWT_INLINE void hv_store_part(hwt_half *p, hv v, int32_t n)
{
    _mm256_mask_storeu_epi16(p, HV_FIRST(n), hv_halves(v));
}

HWT_INLINE void hv_store(hwt_half *p, hv v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, hv_halves(v));
}

HWT_INLINE hv hv_fma(hv acc, hv v, hv_element e)
{
    const __m512 factor = _mm512_set1_ps(e);
    const __m512 down = _mm512_fmadd_round_ps(v, factor, acc, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    const __m512 up = _mm512_fmadd_round_ps(v, factor, acc, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    const __mmask16 odd = _mm512_test_epi32_mask(_mm512_castps_si512(down), _mm512_set1_epi32(1));
    return _mm512_cvtph_ps(hv_halves(_mm512_mask_blend_ps(odd, up, down)));
}

HWT_INLINE hv hv_add(hv a, hv b) { return _mm512_cvtph_ps(hv_halves(_mm512_add_ps(a, b))); }

HWT_INLINE hv hv_gate(hv d, hv y)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_GT_OQ), d);
}

HWT_INLINE void hv_add_to(float *c, hv v, int32_t n)
{
    const __mmask16 first = HV_FIRST(n);
    _mm512_mask_storeu_ps(c, first, _mm512_add_ps(_mm512_maskz_loadu_ps(first, c), v));
}

#endif
