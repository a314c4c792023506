/* Exact convolution of 8-bit codes with bias and requantisation, for machines with AVX-512 VNNI.
 *
 * One instruction multiplies 4 unsigned by 4 signed bytes in 16 lanes and adds them in 32 bits, which wrap and
 * never saturate. So signals are raised by 128, and what that adds, 128 times the sum of a filter, is taken from
 * its start value beforehand. Images lie channels last; the copy with its border holds raised signals, 4 channels
 * (of each group) to a word. A lane is a filter; a tile is some pixels of a row by some words of 16 filters. Rows of
 * windows beyond the image are no work, so the border is one of columns; depthwise has one of rows too.
 */
#ifndef HWT_CONV8_H
#define HWT_CONV8_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    int32_t batch, height, width, channels; /* of the images; channels of one group */
    int32_t groups, out, side, stride, padding; /* out: filters of one group */
    int32_t shift, even; /* even: halves to the even code; what else is added before the shift is in start */
} hwt_conv8_sizes;

#define HWT_INLINE static inline __attribute__((always_inline))

/* The copy with a border: (height + 2 above, width + 2 padding, groups, channels up to a multiple). */
HWT_INLINE void hwt_conv8_raise(const hwt_conv8_sizes *s, int32_t above, int32_t deep, const int8_t *x,
                                uint8_t *raised)
{
    const int32_t wide = s->width + 2 * s->padding, all = s->groups * deep, given = s->groups * s->channels;
    if (above) {
        memset(raised, 128, (size_t)above * wide * all);
        memset(raised + (size_t)(above + s->height) * wide * all, 128, (size_t)above * wide * all);
    }
    for (int32_t row = 0; row < s->height; row++) {
        uint8_t *to = raised + (size_t)(row + above) * wide * all;
        const int8_t *from = x + (size_t)row * s->width * given;
        memset(to, 128, (size_t)s->padding * all);
        to += (size_t)s->padding * all;
        if (deep == s->channels)
            for (int32_t i = 0; i < s->width * given; i++)
                to[i] = (uint8_t)from[i] ^ 128;
        else if (s->channels == 3 && s->width * s->groups > 1) {
            const int32_t last = s->width * s->groups - 1; /* beyond whose three bytes nothing may be read */
            for (int32_t place = 0; place <= last; place++) {
                uint32_t four = 0;
                memcpy(&four, from + 3 * place - (place == last), 4);
                four = ((place == last ? four >> 8 : four) & 0xffffff) ^ 0x80808080;
                memcpy(to + 4 * place, &four, 4);
            }
        } else
            for (int32_t place = 0; place < s->width * s->groups; place++) {
                for (int32_t c = 0; c < s->channels; c++)
                    to[place * deep + c] = (uint8_t)from[place * s->channels + c] ^ 128;
                for (int32_t c = s->channels; c < deep; c++)
                    to[place * deep + c] = 128;
            }
        memset(to + (size_t)s->width * all, 128, (size_t)s->padding * all);
    }
}

/* An accumulator's end, but for its saturation. */
HWT_INLINE __m512i hwt_conv8_end(const hwt_conv8_sizes *s, __m512i acc)
{
    if (s->even) {
        const __m512i odd = _mm512_and_si512(_mm512_srai_epi32(acc, (unsigned)s->shift), _mm512_set1_epi32(1));
        acc = _mm512_add_epi32(acc, odd);
    }
    return _mm512_srai_epi32(acc, (unsigned)s->shift);
}

/* pixels by blocks of 16 filters. x: `high` rows of the first pixel's window; w: (high, line / 4, blocks, 16, 4),
 * where a line is what lies together of a window; lines: how many such in a row of a window, `apart` bytes from
 * each other. */
HWT_INLINE void hwt_conv8_tile(const int pixels, const int blocks, const hwt_conv8_sizes *s, const uint8_t *x,
                               int32_t step, int32_t high, int32_t row, int32_t lines, int32_t line, int32_t apart,
                               const int8_t *w, const int32_t *start, int8_t *y, int32_t y_step, int32_t filters)
{
    __m512i acc[8][2];
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 2
        for (int b = 0; b < blocks; b++)
            acc[p][b] = _mm512_loadu_si512(start + 16 * b);
    for (int32_t i = 0; i < high; i++)
        for (int32_t j = 0; j < lines; j++) {
            const uint8_t *at = x + (size_t)i * row + (size_t)j * apart;
            for (int32_t k = 0; k < line; k += 4) {
                __m512i held[2];
#pragma GCC unroll 2
                for (int b = 0; b < blocks; b++)
                    held[b] = _mm512_loadu_si512(w + 64 * b);
                w += 64 * blocks;
#pragma GCC unroll 8
                for (int p = 0; p < pixels; p++) {
                    int32_t four;
                    memcpy(&four, at + (size_t)p * step + k, 4);
                    const __m512i signal = _mm512_set1_epi32(four);
#pragma GCC unroll 2
                    for (int b = 0; b < blocks; b++)
                        acc[p][b] = _mm512_dpbusd_epi32(acc[p][b], signal, held[b]);
                }
            }
        }
    if (blocks == 2 && pixels % 2 == 0 && filters >= 32) {
        const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
#pragma GCC unroll 4
        for (int p = 0; p < pixels; p += 2) { /* packing works in 128 bits; the order puts them together */
            const __m512i one = _mm512_packs_epi32(hwt_conv8_end(s, acc[p][0]), hwt_conv8_end(s, acc[p][1]));
            const __m512i next = _mm512_packs_epi32(hwt_conv8_end(s, acc[p + 1][0]), hwt_conv8_end(s, acc[p + 1][1]));
            const __m512i both = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(one, next));
            _mm256_storeu_si256((__m256i *)(y + (size_t)p * y_step), _mm512_castsi512_si256(both));
            _mm256_storeu_si256((__m256i *)(y + (size_t)(p + 1) * y_step), _mm512_extracti64x4_epi64(both, 1));
        }
        return;
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 2
        for (int b = 0; b < blocks; b++) {
            const __m128i found = _mm512_cvtsepi32_epi8(hwt_conv8_end(s, acc[p][b]));
            const int32_t left = filters - 16 * b;
            /* a mask on the narrowing store itself is slow on some processors */
            _mm_mask_storeu_epi8(y + (size_t)p * y_step + 16 * b, left >= 16 ? 0xffff : (1u << left) - 1, found);
        }
}

/* One row of the result for some blocks; the last tile lies over the one before it where the row is no multiple. */
#define HWT_CONV8_ROW(pixels, blocks)                                                                       \
    do {                                                                                                    \
        int32_t column = 0;                                                                                 \
        for (; columns - column >= (pixels) || (column < columns && columns >= (pixels)); column += (pixels)) { \
            if (columns - column < (pixels))                                                                \
                column = columns - (pixels);                                                                \
            hwt_conv8_tile(pixels, blocks, s, from + (size_t)column * step, step, high, row, lines, line, apart, \
                           used, begin, to + (size_t)column * y_step, y_step, filters);                           \
        }                                                                                                   \
        for (; column < columns; column++)                                                                  \
            hwt_conv8_tile(1, blocks, s, from + (size_t)column * step, step, high, row, lines, line, apart, used, \
                           begin, to + (size_t)column * y_step, y_step, filters);                                  \
    } while (0)

/* What a row of the result starts from where rows of its windows, `first` to `past` excepted, lie beyond the image
 * and are left out: what raising them would have added is given back. sums: (side, all). */
HWT_INLINE void hwt_conv8_edge(int32_t side, int32_t first, int32_t past, int32_t filters, int32_t all,
                               const int32_t *start, const int32_t *sums, int32_t *edge)
{
    memcpy(edge, start, (size_t)filters * sizeof *edge);
    for (int32_t i = 0; i < side; i++)
        if (i < first || i >= past)
            for (int32_t f = 0; f < filters; f++)
                edge[f] = (int32_t)((uint32_t)edge[f] + (uint32_t)sums[(size_t)i * all + f]);
}

/* x (batch, height, width, groups, channels), w by hwt_conv8_tile for 2 blocks at a time, or 1, start (groups, out
 * up to a multiple of 16), sums (side, groups, out as there): 128 times the sum of a row of a filter, raised: memory
 * for one image -> y (batch, rows, columns, groups, out) */
void hwt_conv8(const hwt_conv8_sizes *given, const int8_t *x, const int8_t *w, const int32_t *start,
               const int32_t *sums, uint8_t *raised, int8_t *y)
{
    const hwt_conv8_sizes own = *given, *const s = &own; /* which no store of bytes can be thought to change */
    const int32_t deep = (s->channels + 3) / 4 * 4, all = s->groups * deep, most = (s->out + 15) / 16;
    const int32_t wide = s->width + 2 * s->padding, row = wide * all, step = s->stride * all;
    const int32_t rows = (s->height + 2 * s->padding - s->side) / s->stride + 1;
    const int32_t columns = (wide - s->side) / s->stride + 1, y_step = s->groups * s->out;
    const int32_t lines = s->groups == 1 ? 1 : s->side, line = s->groups == 1 ? s->side * deep : deep, apart = all;
    const int32_t taps = s->side * s->side * deep / 4;
    for (int32_t image = 0; image < s->batch; image++) {
        hwt_conv8_raise(s, 0, deep, x + (size_t)image * s->height * s->width * s->groups * s->channels, raised);
        for (int32_t g = 0; g < s->groups; g++) {
            const int8_t *part = w + (size_t)g * most * taps * 64;
            for (int32_t block = 0; block < most;) {
                const int32_t now = most - block >= 2 ? 2 : 1, filters = s->out - 16 * block;
                const size_t at = (size_t)(g * most + block) * 16;
                for (int32_t r = 0; r < rows; r++) {
                    const int32_t top = r * s->stride - s->padding; /* of the window, in the image */
                    const int32_t first = top < 0 ? (-top < s->side ? -top : s->side) : 0;
                    const int32_t past = s->height - top < s->side ? s->height - top : s->side;
                    const int32_t high = past - first;
                    const uint8_t *from = raised + (ptrdiff_t)(top + first) * row + (ptrdiff_t)g * deep;
                    const int8_t *used = part + (size_t)first * lines * line * 16 * now;
                    const int32_t *begin = start + at;
                    int32_t edge[32];
                    int8_t *to = y + ((size_t)image * rows + r) * columns * y_step + (size_t)g * s->out + 16 * block;
                    if (high < s->side) {
                        hwt_conv8_edge(s->side, first, past, 16 * now, s->groups * most * 16, begin, sums + at, edge);
                        begin = edge;
                    }
                    if (now == 2)
                        HWT_CONV8_ROW(8, 2);
                    else
                        HWT_CONV8_ROW(8, 1);
                }
                part += (size_t)now * taps * 64;
                block += now;
            }
        }
    }
}

/* A pixel of 64 filters of a channel each. Four taps of a channel make a word; the shuffles that bring them
 * together leave part i, lane 4 l + j with channel 16 l + 4 i + j, which packing to bytes puts in order again. */
HWT_INLINE void hwt_conv8_pixel(const int32_t quads, const hwt_conv8_sizes *s, const uint8_t *x, const int32_t *places,
                                __mmask64 mask, const int8_t *w, const int32_t *start, int8_t *y)
{
    __m512i a0 = _mm512_loadu_si512(start), a1 = _mm512_loadu_si512(start + 16);
    __m512i a2 = _mm512_loadu_si512(start + 32), a3 = _mm512_loadu_si512(start + 48);
#pragma GCC unroll 3
    for (int32_t quad = 0; quad < quads; quad++, w += 256, places += 4) {
        const __m512i t0 = _mm512_maskz_loadu_epi8(mask, x + places[0]), t1 = _mm512_maskz_loadu_epi8(mask, x + places[1]);
        const __m512i t2 = _mm512_maskz_loadu_epi8(mask, x + places[2]), t3 = _mm512_maskz_loadu_epi8(mask, x + places[3]);
        const __m512i low01 = _mm512_unpacklo_epi8(t0, t1), high01 = _mm512_unpackhi_epi8(t0, t1);
        const __m512i low23 = _mm512_unpacklo_epi8(t2, t3), high23 = _mm512_unpackhi_epi8(t2, t3);
        a0 = _mm512_dpbusd_epi32(a0, _mm512_unpacklo_epi16(low01, low23), _mm512_loadu_si512(w));
        a1 = _mm512_dpbusd_epi32(a1, _mm512_unpackhi_epi16(low01, low23), _mm512_loadu_si512(w + 64));
        a2 = _mm512_dpbusd_epi32(a2, _mm512_unpacklo_epi16(high01, high23), _mm512_loadu_si512(w + 128));
        a3 = _mm512_dpbusd_epi32(a3, _mm512_unpackhi_epi16(high01, high23), _mm512_loadu_si512(w + 192));
    }
    const __m512i first = _mm512_packs_epi32(hwt_conv8_end(s, a0), hwt_conv8_end(s, a1));
    const __m512i last = _mm512_packs_epi32(hwt_conv8_end(s, a2), hwt_conv8_end(s, a3));
    _mm512_mask_storeu_epi8(y, mask, _mm512_packs_epi16(first, last));
}

/* hwt_conv8 for groups of one channel and one filter; w (blocks of 64, taps up to a multiple of 4 / 4, parts, lanes,
 * 4), start (blocks, parts, lanes); at most 256 taps */
void hwt_conv8_depthwise(const hwt_conv8_sizes *given, const int8_t *x, const int8_t *w, const int32_t *start,
                         uint8_t *raised, int8_t *y)
{
    const hwt_conv8_sizes own = *given, *const s = &own;
    const int32_t all = s->groups, wide = s->width + 2 * s->padding, row = wide * all, taps = s->side * s->side;
    const int32_t rows = (s->height + 2 * s->padding - s->side) / s->stride + 1;
    const int32_t columns = (wide - s->side) / s->stride + 1, quads = (taps + 3) / 4;
    int32_t places[256]; /* of the taps in the copy; those beyond the last have weights of zero */
    for (int32_t t = 0; t < 4 * quads; t++)
        places[t] = t < taps ? t / s->side * row + t % s->side * all : 0;
    for (int32_t image = 0; image < s->batch; image++) {
        hwt_conv8_raise(s, s->padding, 1, x + (size_t)image * s->height * s->width * all, raised);
        for (int32_t block = 0; 64 * block < all; block++) {
            const int32_t left = all - 64 * block;
            const __mmask64 mask = left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
            const int8_t *part = w + (size_t)block * quads * 256;
            const int32_t *begin = start + (size_t)block * 64;
            for (int32_t r = 0; r < rows; r++) {
                const uint8_t *from = raised + (size_t)r * s->stride * row + 64 * block;
                int8_t *to = y + ((size_t)image * rows + r) * columns * all + 64 * block;
                for (int32_t column = 0; column < columns; column++, from += s->stride * all, to += all)
                    if (quads == 3)
                        hwt_conv8_pixel(3, s, from, places, mask, part, begin, to);
                    else
                        hwt_conv8_pixel(quads, s, from, places, mask, part, begin, to);
            }
        }
    }
}

#endif
