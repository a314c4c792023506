/* Conductance laws without a closed form, walked pulse by pulse: the C meaning of Stepwise in
 * hwtrain/synapse/laws/base.py, in travel (0 at the start of a branch, 1 at its far end).
 * In double: slopes are taken over a short way. */
#ifndef HWT_LAWS_H
#define HWT_LAWS_H

#include <math.h>
#include <stdint.h>

#include "hwt_threefry.h"

enum { HWT_LINEAR, HWT_AFFINE, HWT_EXP_STEP, HWT_POW_STEP, HWT_PIECEWISE, HWT_CDF_TABLE,
       HWT_DRAWN_TABLE }; /* laws */

#define HWT_NEAR 1e-3 /* half of the way over which a law's slope is taken */

/* (amplitude, rate) */
static inline double hwt_exp_step(const float *bent, double travel)
{
    const double size = 1.0 - bent[0] * exp(bent[1] * travel);
    return (size > 0.0 ? size : 0.0) / (1.0 - bent[0]);
}

/* (power) */
static inline double hwt_pow_step(const float *bent, double travel)
{
    return pow(1.0 - travel, bent[0]);
}

/* The first of the nodes after the first one that is not below x, or the last. */
static inline int32_t hwt_node(const float *at, int32_t nodes, double x)
{
    int32_t from = 1, to = nodes - 1;
    while (from < to) {
        const int32_t middle = (from + to) / 2;
        if (at[middle] < x)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Travels, then the steps there; what fills a row up stands at its end once more. */
static inline double hwt_table(const float *at, int32_t nodes, double travel)
{
    const float *y = at + nodes;
    const int32_t from = hwt_node(at, nodes, travel);
    return y[from - 1] + (travel - at[from - 1]) / (at[from] - at[from - 1]) * (y[from] - y[from - 1]);
}

/* The step at this travel, in units of the first one. */
static inline double hwt_shape(int32_t law, const float *bent, int32_t terms, double travel)
{
    const double at = travel < 0.0 ? 0.0 : travel > 1.0 ? 1.0 : travel;
    if (law == HWT_EXP_STEP)
        return hwt_exp_step(bent, at);
    if (law == HWT_POW_STEP)
        return hwt_pow_step(bent, at);
    return hwt_table(bent, terms / 2, at);
}

/* Travel after ``count`` pulses without scatter, not clipped. Each step scatters by ``sigma``, of the step
 * ``middle`` where that is above 0 and else of itself; what has gathered in ``variance`` is stretched by the
 * slope of the law. */
static inline double hwt_walk(int32_t law, const float *bent, int32_t terms, double travel, double step, int32_t count,
                             double sigma, double middle, double *variance)
{
    double total = 0.0;
    for (int32_t done = 0; done < count; done++) {
        const double size = step * hwt_shape(law, bent, terms, travel);
        const double scale = sigma * (middle > 0.0 ? middle : size);
        if (done > 0 && sigma > 0.0) {
            const double at = travel < 1.0 ? travel : 1.0;
            const double rise = (hwt_shape(law, bent, terms, at + HWT_NEAR) -
                                hwt_shape(law, bent, terms, at - HWT_NEAR)) / (2.0 * HWT_NEAR);
            total *= (1.0 + step * rise) * (1.0 + step * rise);
        }
        total += scale * scale;
        travel += size;
    }
    *variance = total;
    return travel;
}

/* Travel after ``count`` pulses that each draw their step, kept between the ends after each: Point.steps of
 * hwtrain/arith/threefry.py. bent (terms): how many p, p, travels, mean steps, and for each p the steps there. */
static inline double hwt_drawn(const float *bent, int32_t terms, double travel, double step, int32_t count, uint32_t k0,
                               uint32_t k1, uint32_t element)
{
    const int32_t points = (int32_t)bent[0], nodes = (terms - 1 - points) / (points + 2);
    const float *p = bent + 1, *at = p + points, *rows = at + 2 * nodes;
    uint32_t words[2] = {0};
    travel = travel < 0.0 ? 0.0 : travel > 1.0 ? 1.0 : travel;
    for (int32_t done = 0; done < count; done++) {
        if ((done & 1) == 0)
            hwt_threefry13_words(k0, k1, element, 1u + ((uint32_t)done >> 1), words, words + 1);
        const double u = (double)(words[done & 1] >> 8) * 0x1p-24;
        const double within = u < p[0] ? p[0] : u > p[points - 1] ? p[points - 1] : u;
        const int32_t above = hwt_node(p, points, within), right = hwt_node(at, nodes, travel);
        const double part = (within - p[above - 1]) / (p[above] - p[above - 1]);
        const double share = (travel - at[right - 1]) / (at[right] - at[right - 1]);
        const float *low = rows + (above - 1) * nodes + right, *high = low + nodes;
        const double less = low[-1] + share * (low[0] - low[-1]), more = high[-1] + share * (high[0] - high[-1]);
        travel += step * (less + part * (more - less));
        travel = travel < 0.0 ? 0.0 : travel > 1.0 ? 1.0 : travel;
    }
    return travel;
}

#endif
