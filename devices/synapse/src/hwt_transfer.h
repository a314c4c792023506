/* What passes from the fast array of the Tiki-Taka family to its weights, for the host: the C meaning of
 * hwtrain/kernels/transfer.py. One thread does it, for a column is short. */
#ifndef HWT_TRANSFER_H
#define HWT_TRANSFER_H

#include "hwt_synapse.h"

#define HWT_FLIPS 0.1f  /* probability that a chopper flips after a transfer */
#define HWT_PERIOD 10   /* reads of a column between flips that are regular */
#define HWT_SHARE 0.5f  /* of the last read in the running mean */

/* What the thread that is the first of its team does alone; the others go on to where all meet. */
#define HWT_FIRST_ONLY() \
    do {                 \
        if (HWT_ME != 0) \
            return;      \
    } while (0)

/* The column that was read last, of in_. */
static inline int32_t hwt_last(const int64_t *turn, int32_t in_)
{
    return (int32_t)((*turn - 1) % in_);
}

/* row += v / step; n, its whole part, at most 31, leaves it. row, v, n (out) */
static inline void hwt_whole(int32_t out, float *row, const float *v, float sign, float step, float *n)
{
    for (int32_t o = 0; o < out; o++) {
        const float sum = row[o] + v[o] * sign / step;
        n[o] = hwt_lesser(HWT_BL_MAX, hwt_greater(-HWT_BL_MAX, truncf(sum)));
        row[o] = sum - n[o];
    }
}

/* x, chop, y (in_) */
static inline void hwt_transfer_signed(int32_t in_, const float *x, const float *chop, float *y HWT_TEAM)
{
    HWT_FIRST_ONLY();
    for (int32_t i = 0; i < in_; i++)
        y[i] = x[i] * chop[i];
}

/* turn (1), x (in_) -> one (batch, groups, in_) */
static inline void hwt_transfer_column(int32_t in_, int32_t batch, int32_t groups, int32_t group, int64_t *turn,
                                       const float *x, float *one HWT_TEAM)
{
    (void)x;
    HWT_FIRST_ONLY();
    for (int32_t i = 0; i < batch * groups * in_; i++)
        one[i] = 0.0f;
    one[(ptrdiff_t)group * in_ + *turn % in_] = 1.0f;
    *turn += 1;
}

/* turn (1), h (in_, out), v (out) -> n (out) */
static inline void hwt_transfer_buffered(int32_t in_, int32_t out, double step, const int64_t *turn, float *h,
                                         const float *v, float *n HWT_TEAM)
{
    HWT_FIRST_ONLY();
    hwt_whole(out, h + (ptrdiff_t)hwt_last(turn, in_) * out, v, 1.0f, (float)step, n);
}

/* turn (1), h (in_, out), chop (in_), v (out) -> n (out) */
static inline void hwt_transfer_chopped(int32_t in_, int32_t out, double step, uint32_t key0, uint32_t key1,
                                        uint32_t at, int32_t sample, const int64_t *turn, float *h, float *chop,
                                        const float *v, float *n HWT_TEAM)
{
    HWT_FIRST_ONLY();
    const int32_t j = hwt_last(turn, in_);
    const uint64_t point = hwt_point(key0, key1, at, (uint32_t)sample, 0);
    const uint64_t words = hwt_threefry((uint32_t)point, (uint32_t)(point >> 32), 0, 0);
    hwt_whole(out, h + (ptrdiff_t)j * out, v, chop[j], (float)step, n);
    if ((float)((uint32_t)words >> 8) * 0x1p-24f < HWT_FLIPS)
        chop[j] = -chop[j];
}

/* turn (1), h (in_, out), chop (in_), mean, past (in_, out), v (out) -> n (out) */
static inline void hwt_transfer_referred(int32_t in_, int32_t out, double step, const int64_t *turn, float *h,
                                         float *chop, float *mean, float *past, const float *v, float *n HWT_TEAM)
{
    HWT_FIRST_ONLY();
    const int32_t j = hwt_last(turn, in_);
    const int64_t reads = (*turn - 1) / in_;
    const int renews = reads > 0 && reads % HWT_PERIOD == 0;
    mean += (ptrdiff_t)j * out;
    past += (ptrdiff_t)j * out;
    for (int32_t o = 0; o < out; o++) {
        past[o] = renews ? mean[o] : past[o];
        n[o] = v[o] - past[o];
        mean[o] = (1.0f - HWT_SHARE) * mean[o] + HWT_SHARE * v[o];
    }
    hwt_whole(out, h + (ptrdiff_t)j * out, n, chop[j], (float)step, n);
    if (reads % HWT_PERIOD == HWT_PERIOD - 1)
        chop[j] = -chop[j];
    for (int32_t o = 0; o < out && reads <= HWT_PERIOD; o++)
        n[o] = 0.0f; /* of the first period all is lost */
}

#endif
