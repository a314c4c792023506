/* Matrix products of halves, in three forms, each with one order of operations.
 *
 *   hwt_gemm16_nn  C[m][n] = sum_k A[m][k] B[k][n]
 *   hwt_gemm16_nt  C[m][n] = sum_k A[m][k] B[n][k]
 *   hwt_gemm16_tn  C[m][n] = sum_k A[k][m] B[k][n]
 *
 * Order: s = +0; for k ascending s = round(A B + s), one rounding to half a term (fused); C = s.
 *
 *   hwt_gradient16 C[m][n] += sum_k A[k][m] B[k][n], C in float
 *
 * Order: the terms k = 0..63, 64..127 and so on each add up as above; these sums are added to C one after
 * the other, in float. Long sums of halves of one sign would stand still; these do not.
 *
 * Tiles, leftovers and packing change no bit: a sum of halves that is put aside and taken up again is
 * the same sum. */
#ifndef HWT_GEMM16_H
#define HWT_GEMM16_H

#include "hwt_vec.h"

#define HWT_CHUNK 64  /* terms of a gradient that add up in half precision */
#define HWT_PART 0  /* rows of B: of n values */
#define HWT_WHOLE 1 /* of HV_LANES, aligned */
#define HWT_COPY 2  /* such rows, one after the other */
#define HWT_DEEP 256  /* terms of a tile, where factors need another form */

/* C (rows, n) of a tile from k terms, in halves at c or added to the floats at sums, whichever is given.
 * ``across``: A's rows lie side by side and its terms a_step apart; else the other way round. ``whole``:
 * how rows of B are loaded. ``fresh``: from nothing, else on top of what C holds. */
HWT_INLINE void hwt_tile(const int rows, const int across, const int whole, int fresh, int32_t n, int32_t k,
                         const hwt_half *a, ptrdiff_t a_step, const hwt_half *b, ptrdiff_t b_step,
                         hwt_half *c, float *sums, ptrdiff_t c_step)
{
#if HV_EXPAND
    hv_element factors[HV_ROWS * HWT_DEEP];
    if (across)
        for (int32_t t = 0; t < k; t++)
            hv_elements(factors + t * HV_ROWS, a + t * a_step, rows);
    else
        for (int32_t r = 0; r < rows; r++)
            hv_elements(factors + r * HWT_DEEP, a + r * a_step, k);
    const hv_element *const from = factors;
    const ptrdiff_t row = across ? 1 : HWT_DEEP, term = across ? HV_ROWS : 1;
#else
    const hv_element *const from = a;
    const ptrdiff_t row = across ? 1 : a_step, term = across ? a_step : 1;
#endif
/* One variable a row: vectors without a known size cannot be in arrays. */
#define HWT_EACH(what) what(0) what(1) what(2) what(3) what(4) what(5) what(6) what(7)
#define HWT_BEGIN(r) \
    hv acc##r = (r) < rows && !fresh ? hv_load_part(c + (r) * c_step, n) : hv_zero(); \
    const hv_element *a##r = from + ((r) < rows ? (r) : 0) * row;
#define HWT_FACTOR(r, u) (across ? a0[r] : a##r[u])
/* A pointer that moves on; opaque, or compilers keep one for each term and spill them. */
#define HWT_MOVE(p, by) p += (by); __asm__("" : "+r"(p));
#define HWT_MULTIPLY(r, u) if ((r) < rows) acc##r = hv_fma(acc##r, line, HWT_FACTOR(r, u));
#define HWT_TERM(u) { \
    const hwt_half *const at = whole == HWT_COPY ? b + (u) * HV_LANES : b; \
    const hv line = whole ? hv_load(at) : hv_load_part(at, n); \
    HWT_MULTIPLY(0, u) HWT_MULTIPLY(1, u) HWT_MULTIPLY(2, u) HWT_MULTIPLY(3, u) \
    HWT_MULTIPLY(4, u) HWT_MULTIPLY(5, u) HWT_MULTIPLY(6, u) HWT_MULTIPLY(7, u) \
    if (whole != HWT_COPY) { HWT_MOVE(b, b_step) } \
    if (across) { HWT_MOVE(a0, term) } }
#define HWT_NEXT_LINE if (whole == HWT_COPY) { HWT_MOVE(b, by * HV_LANES) }
#define HWT_NEXT(r) if (!across && (r) < rows) { HWT_MOVE(a##r, by) }
#define HWT_END(r) \
    if ((r) < rows) { \
        if (sums) \
            hv_add_to(sums + (r) * c_step, acc##r, n); \
        else if (n == HV_LANES && (uintptr_t)(c + (r) * c_step) % HV_ALIGN == 0) \
            hv_store(c + (r) * c_step, acc##r); \
        else \
            hv_store_part(c + (r) * c_step, acc##r, n); \
    } \
    (void)a##r;

    HWT_EACH(HWT_BEGIN)
#ifdef HV_TERMS
    if (rows == HV_ROWS && whole == HWT_COPY) {
        HV_TERMS(across, k, a0, row, term, b, acc0, acc1, acc2);
        k = 0;
    }
#endif
#if HV_UNROLL > 1
    for (; k >= HV_UNROLL; k -= HV_UNROLL) {
        const int32_t by = HV_UNROLL;
        HWT_TERM(0) HWT_TERM(1) HWT_TERM(2) HWT_TERM(3)
#if HV_UNROLL > 4
        HWT_TERM(4) HWT_TERM(5) HWT_TERM(6) HWT_TERM(7)
#endif
        HWT_NEXT_LINE
        HWT_EACH(HWT_NEXT)
    }
#endif
    for (; k > 0; k--) {
        const int32_t by = 1;
        HWT_TERM(0)
        HWT_NEXT_LINE
        HWT_EACH(HWT_NEXT)
    }
    HWT_EACH(HWT_END)
#undef HWT_EACH
#undef HWT_BEGIN
#undef HWT_FACTOR
#undef HWT_MOVE
#undef HWT_MULTIPLY
#undef HWT_TERM
#undef HWT_NEXT_LINE
#undef HWT_NEXT
#undef HWT_END
}

/* All rows of C in one strip of columns, as hwt_tile. */
HWT_INLINE void hwt_strip(const int across, const int whole, int fresh, int32_t m, int32_t n, int32_t k,
                          const hwt_half *a, ptrdiff_t a_step, const hwt_half *b, ptrdiff_t b_step,
                          hwt_half *c, float *sums, ptrdiff_t c_step)
{
#define HWT_ROWS(r) \
    for (; m >= (r); m -= (r)) { \
        hwt_tile(r, across, whole, fresh, n, k, a, a_step, b, b_step, c, sums, c_step); \
        a += (r) * (across ? 1 : a_step); \
        if (sums) \
            sums += (r) * c_step; \
        else \
            c += (r) * c_step; \
    }
    HWT_ROWS(HV_ROWS)
#if HV_ROWS > 4
    HWT_ROWS(4)
#endif
#if HV_ROWS > 2
    HWT_ROWS(2)
#endif
    HWT_ROWS(1)
#undef HWT_ROWS
}

/* B[k][n] = b[k b_term + n b_column]; one of the two is 1. */
HWT_INLINE void hwt_multiply(const int across, int32_t m, int32_t n, int32_t k, const hwt_half *a,
                             ptrdiff_t a_step, const hwt_half *b, ptrdiff_t b_term, ptrdiff_t b_column,
                             hwt_half *c, float *sums, ptrdiff_t c_step)
{
    _Alignas(8) hwt_half panel[HV_PANEL];
    const int32_t lanes = HV_LANES;
    const int rows = b_column == 1 && ((uintptr_t)b | (uintptr_t)(b_term * 2)) % HV_ALIGN == 0;
    const int32_t room = HV_PANEL / lanes < HWT_DEEP ? HV_PANEL / lanes : HWT_DEEP; /* HWT_CHUNK at least */
    const int32_t deep = sums ? HWT_CHUNK : room;
    for (int32_t from = 0; from < k; from += deep) {
        const int32_t terms = k - from < deep ? k - from : deep;
        for (int32_t column = 0; column < n; column += lanes) {
            const int32_t width = n - column < lanes ? n - column : lanes;
            const hwt_half *line = b + from * b_term + column * b_column;
            const int fresh = sums != NULL || from == 0;
            hwt_half *const into = sums ? NULL : c + column;
            float *const onto = sums ? sums + column : NULL;
            const hwt_half *const left = a + from * (across ? a_step : 1);
            const int copy = !rows || (HV_COPY_ROWS && m > HV_ROWS) || (width < lanes && HV_PART_COSTS);
            if (!copy) {
                hwt_strip(across, HV_PART_COSTS ? HWT_WHOLE : HWT_PART, fresh, m, width, terms, left, a_step, line,
                          b_term, into, onto, c_step);
                continue;
            }
            hwt_half *to = panel;
            if (b_column == 1)
                for (int32_t t = 0; t < terms; t++, to += lanes, line += b_term)
                    hv_store(to, hv_load_part(line, width));
            else
#ifdef HV_TURNS
                hv_turn(to, line, b_column, terms, width);
#else
                for (int32_t t = 0; t < terms; t++, to += lanes, line += b_term)
                    hv_store(to, hv_gather(line, b_column, width));
#endif
            hwt_strip(across, HWT_COPY, fresh, m, width, terms, left, a_step, panel, lanes, into, onto, c_step);
        }
    }
}

/* a (m, k), b (k, n) -> c (m, n); from row to row it is a_row, b_row, c_row values. */
HWT_ONCE void hwt_gemm16_nn(int32_t m, int32_t n, int32_t k, const hwt_half *a, ptrdiff_t a_row,
                                 const hwt_half *b, ptrdiff_t b_row, hwt_half *c, ptrdiff_t c_row)
{
    hwt_multiply(0, m, n, k, a, a_row, b, b_row, 1, c, NULL, c_row);
}

/* a (m, k), b (n, k) -> c (m, n) */
HWT_ONCE void hwt_gemm16_nt(int32_t m, int32_t n, int32_t k, const hwt_half *a, ptrdiff_t a_row,
                                 const hwt_half *b, ptrdiff_t b_row, hwt_half *c, ptrdiff_t c_row)
{
    hwt_multiply(0, m, n, k, a, a_row, b, 1, b_row, c, NULL, c_row);
}

/* a (k, m), b (k, n) -> c (m, n) */
HWT_ONCE void hwt_gemm16_tn(int32_t m, int32_t n, int32_t k, const hwt_half *a, ptrdiff_t a_row,
                                 const hwt_half *b, ptrdiff_t b_row, hwt_half *c, ptrdiff_t c_row)
{
    hwt_multiply(1, m, n, k, a, a_row, b, b_row, 1, c, NULL, c_row);
}

/* a (k, m), b (k, n), c (m, n) in float */
HWT_ONCE void hwt_gradient16(int32_t m, int32_t n, int32_t k, const hwt_half *a, ptrdiff_t a_row,
                                  const hwt_half *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row)
{
    hwt_multiply(1, m, n, k, a, a_row, b, b_row, 1, NULL, c, c_row);
}

#endif
