/* Pulsed updates and reads of electronic synapses, for the host: the C meaning of hwtrain/kernels/xbar.py.
 *
 * The same draws at the same addresses as hwtrain/synapse in Python, so the same pulses land on the same
 * cells; conductances agree up to the rounding of float32. Conductances lie (branches, groups, in_, out): an
 * input that is 0 skips a row of neighbours, and the others are worked on in portions that become vectors. */
#ifndef HWT_SYNAPSE_H
#define HWT_SYNAPSE_H

#include <math.h>

#include "hwt_laws.h"

enum { HWT_SIGN_PULSE, HWT_STOCHASTIC_PULSE, HWT_ROUNDED_PULSE,
       HWT_MIXED_PRECISION };                                            /* updates */
enum { HWT_SINGLE, HWT_BIDIRECTIONAL_PAIR, HWT_ALTERNATING_PAIR,
       HWT_UNIDIRECTIONAL_LTP, HWT_UNIDIRECTIONAL_LTD };                 /* cells */
enum { HWT_NONE, HWT_THRESHOLD, HWT_PERIODIC, HWT_FULL_INIT };           /* refreshes */
enum { HWT_ADD, HWT_MULT, HWT_FINE };                                    /* scatter of a step */
enum { HWT_UP, HWT_DOWN, HWT_CLIPPED, HWT_RESETS, HWT_SLOTS, HWT_RANDOMS, HWT_REFRESHING, HWT_COUNTS };
/* Rows of parameters: the ends; for each way the first step, the share of it that a step at mid-range is, and
 * the share of the travel that a pulse of the affine law loses. Where scatter is fine, a first step stands as
 * the share of the width over which steps fade to nothing. */
enum { HWT_LOW, HWT_HIGH, HWT_UP_STEP, HWT_UP_HALF, HWT_UP_LOSS, HWT_DOWN_STEP, HWT_DOWN_HALF, HWT_DOWN_LOSS,
       HWT_ROWS };

#define HWT_BL_MAX 31      /* longest stochastic train */
#define HWT_TINY 0.1f      /* a pulse that moves its cell by less than this share of a step is clipped */
#define HWT_FAR 1e30f      /* a travel beyond any end */
#define HWT_PORTION 256    /* conductances that are looked at together; hwtrain/synapse/conductances.py */
#define HWT_STRIP 128      /* and those of them that move together */
#define HWT_PARTS (2 * HWT_PORTION / HWT_STRIP) /* in which a portion's parameters are fetched */
#ifdef __GNUC__ /* what turns the loops over conductances into vectors */
#define HWT_MADE_FOR_CONSTANTS static inline __attribute__((always_inline))
#define HWT_UNROLLED _Pragma("GCC unroll 7")
#define HWT_INDEPENDENT _Pragma("GCC ivdep")
#define HWT_FETCH(address) __builtin_prefetch(address)
#else
#define HWT_FETCH(address) (void)(address)
#define HWT_MADE_FOR_CONSTANTS static inline
#define HWT_UNROLLED
#define HWT_INDEPENDENT
#endif
/* After fpga/host/hwt_team.h, every thread of a team calls a kernel and does its share; any number of them
 * gives the same bits. One that is called without a team does all. */
#ifdef HWT_TEAM_H
#define HWT_TEAM , hwt_team *team, int32_t me
#define HWT_ME me
#define HWT_THREADS (team == 0 ? 1 : atomic_load_explicit(&team->threads, memory_order_relaxed))
#define HWT_MEET()              \
    do {                        \
        if (team != 0)          \
            hwt_meet(team, me); \
    } while (0)
#else
#define HWT_TEAM
#define HWT_ME 0
#define HWT_THREADS 1
#define HWT_MEET() (void)0
#endif

/* What one thread has counted. */
typedef struct {
    int64_t counts[8];
} hwt_tally;

/* One array at work: what every pulse needs to know. */
typedef struct {
    int32_t branches, groups, out, in_, weights, portions, next, varied, varies, lives, ups, downs, cell, kind, law, terms;
    float rel_range, rel_step;
    float *g;                             /* (branches, weights) */
    int32_t *wear;                        /* (branches, weights) */
    uint8_t *turn;                        /* (weights) of an alternating pair */
    const float *own;                     /* (branches, portions, varied, HWT_PORTION): rows that vary */
    float typical[HWT_ROWS][HWT_PORTION]; /* the others, as often as a portion has cells */
    const int32_t *life;                  /* (1) or (branches, weights): a cell with so much wear is stuck */
    const float *bent;                    /* (2, terms): what a walked law knows of LTP and of LTD */
    const float *edges[2];                /* (ups), (downs): travel half way between pulses of a typical device */
    uint32_t draw0, draw1, element;       /* where the first of the cells that move finds its words */
} hwt_array;

/* Where the share of a thread begins, of n values in vectors; the next one's begins where it ends. */
static inline int32_t hwt_share(int32_t n, int32_t thread, int32_t threads)
{
    const int32_t from = (n + 15) / 16 * thread / threads * 16;
    return from < n ? from : n;
}

static inline uint64_t hwt_point(uint32_t key0, uint32_t key1, uint32_t step, uint32_t sample, uint32_t pass)
{
    return hwt_threefry(key0, key1, step, sample << 8 | pass);
}

static inline int32_t hwt_popcount(uint32_t bits)
{
#ifdef __GNUC__
    return __builtin_popcount(bits);
#else
    int32_t count = 0;
    for (; bits != 0; bits &= bits - 1)
        count++;
    return count;
#endif
}

/* Point.scatter of hwtrain/arith/threefry.py: 20 coins and two numbers of 6 bits, brought to a normal. */
static inline float hwt_scatter(uint32_t word)
{
    const int32_t heads = hwt_popcount(word & 0xFFFFFu), dither = (int32_t)(word >> 20 & 63u) - (int32_t)(word >> 26);
    const float m = (float)(64 * (heads - 10) + dither);
    return m * (0.0067859204f + 1.4285637e-09f * (m * m));
}

/* Normals of a strip whose first element is 2 block: 16 of first words, 16 of second words, and so on. All
 * words first, for blocks of a cipher are long and next to one another. */
static inline void hwt_noise(uint32_t k0, uint32_t k1, uint32_t block, float noise[HWT_STRIP])
{
    uint32_t one[HWT_STRIP / 2], other[HWT_STRIP / 2];
    for (uint32_t l = 0; l < HWT_STRIP / 2; l++)
        hwt_threefry13_words(k0, k1, block + l, 0, one + l, other + l);
    for (int32_t strip = 0; strip < HWT_STRIP / 2; strip += 16)
        for (int32_t l = 0; l < 16; l++) {
            noise[2 * strip + l] = hwt_scatter(one[strip + l]);
            noise[2 * strip + 16 + l] = hwt_scatter(other[strip + l]);
        }
}

/* Written so that they become one operation each. */
static inline float hwt_lesser(float a, float b)
{
    return a < b ? a : b;
}

static inline float hwt_greater(float a, float b)
{
    return a > b ? a : b;
}

/* The rows of parameters of one branch's portion. */
static inline void hwt_rows(const hwt_array *a, int32_t branch, int32_t portion, const float *row[HWT_ROWS])
{
    const float *own = a->own + ((ptrdiff_t)branch * a->portions + portion) * a->varied * HWT_PORTION;
    for (int32_t k = 0; k < HWT_ROWS; k++) {
        row[k] = a->varies >> k & 1 ? own : a->typical[k];
        own += a->varies >> k & 1 ? HWT_PORTION : 0;
    }
}

/* Sum over k < n of a^(n-1-k) b^k, block after block of 1, 2, 4, ... terms, so that nothing cancels:
 * 1 + r + ... + r^(n-1) for a = 1. */
HWT_MADE_FOR_CONSTANTS float hwt_series(float a, float b, int32_t n, const int32_t bits)
{
    float sum = 0.0f, before = 1.0f, block = 1.0f; /* before: a to the terms in the sum */
    HWT_UNROLLED
    for (int32_t bit = 0; bit < bits; bit++) {
        const int odd = n >> bit & 1;
        sum = odd ? block * before + b * sum : sum;
        before = odd ? before * a : before;
        block = block * (a + b);
        a = a * a;
        b = b * b;
    }
    return sum;
}

/* pulses[c] (> 0: LTP, < 0: LTD, 0: none) on conductance c, with a normal of its own, each count below
 * 2^bits. One pulse maps travel t to t + s (1 - kappa t) = t + s - lost t; the scatter is the law's, the ends
 * stop it. The last two arguments are constants to the compiler. */
HWT_MADE_FOR_CONSTANTS void hwt_move(const hwt_array *a, hwt_tally *tally, int32_t cells, const float *const row[HWT_ROWS],
                            int32_t at, const int32_t *restrict life, float *restrict g, int32_t *restrict wear,
                            const int32_t *restrict pulses, const float *restrict noise, const int32_t bits,
                            const int kind)
{
    const float *restrict lows = row[HWT_LOW] + at, *restrict highs = row[HWT_HIGH] + at;
    const float *restrict up_steps = row[HWT_UP_STEP] + at, *restrict up_halves = row[HWT_UP_HALF] + at;
    const float *restrict up_losses = row[HWT_UP_LOSS] + at, *restrict down_losses = row[HWT_DOWN_LOSS] + at;
    const float *restrict down_steps = row[HWT_DOWN_STEP] + at, *restrict down_halves = row[HWT_DOWN_HALF] + at;
    const float range = a->rel_range * a->rel_range, sigma = a->rel_step;
    int32_t ups = 0, all = 0, lost_pulses = 0;
    HWT_INDEPENDENT
    for (int32_t c = 0; c < cells; c++) { /* no branches and no calls: this loop becomes vectors */
        const int rising = pulses[c] > 0;
        const int32_t count = rising ? pulses[c] : -pulses[c];
        const float low = lows[c], high = highs[c], width = high - low, before = g[c];
        const float step = rising ? up_steps[c] : down_steps[c], half = rising ? up_halves[c] : down_halves[c];
        const float lost = rising ? up_losses[c] : down_losses[c], rho = 1.0f - lost, square = rho * rho;
        const float travel = rising ? before - low : high - before, next = step - lost * travel;
        const float middle = step * half, unit = sigma * (kind == HWT_ADD ? middle : next);
        const float reach = hwt_series(1.0f, rho, count, bits);
        /* Steps that grow past float32 have arrived: what is no number is far. */
        const float mean = hwt_lesser(travel + next * reach, HWT_FAR);
        float gathered = 1.0f; /* of the variance, in units of one pulse's */
        if (kind == HWT_ADD)
            gathered = reach * (2.0f - lost * reach) / (2.0f - lost);
        else
            gathered = hwt_series(square + (lost * sigma) * (lost * sigma), square, count, bits);
        const float deviation = sqrtf((float)count * range + unit * unit * gathered);
        const float after = hwt_lesser(mean + deviation * noise[c], HWT_FAR);
        const float moved = rising ? low + after : high - after;
        const float least = HWT_TINY * hwt_lesser(middle, step);
        const int still = hwt_lesser(width, hwt_greater(0.0f, mean)) - travel < least * (float)count;
        const int frozen = wear[c] >= life[c];
        g[c] = frozen | (count == 0) ? before : hwt_lesser(high, hwt_greater(low, moved));
        wear[c] += count;
        ups += rising ? count : 0;
        all += count;
        lost_pulses += still | frozen ? count : 0;
    }
    tally->counts[HWT_UP] += ups;
    tally->counts[HWT_DOWN] += all - ups;
    tally->counts[HWT_CLIPPED] += lost_pulses;
}

/* hwt_move where a way's curvature is every cell's and scatter is fine. Steps fade along a gap that a pulse
 * shortens by the share ``lost``, m pulses by 1 - rho^m. The variance of n pulses is n times that of the last
 * one, and what scatter adds to later steps to first order; hwtrain/substrates/_crossbar_in_c.py bounds the
 * rest. */
HWT_MADE_FOR_CONSTANTS void hwt_move_fine(const hwt_array *a, hwt_tally *tally, int32_t cells,
                                          const float *const row[HWT_ROWS], int32_t at, const int32_t *restrict life,
                                          float *restrict g, int32_t *restrict wear, const int32_t *restrict pulses,
                                          const float *restrict noise, const int32_t bits)
{
    const float *restrict lows = row[HWT_LOW] + at, *restrict highs = row[HWT_HIGH] + at;
    const float *restrict up_losses = row[HWT_UP_LOSS] + at, *restrict down_losses = row[HWT_DOWN_LOSS] + at;
    const float up_fades = row[HWT_UP_STEP][0], down_fades = row[HWT_DOWN_STEP][0]; /* 1 / kappa */
    const float up_beyond = up_fades - 1.0f, down_beyond = down_fades - 1.0f;
    const float up_least = HWT_TINY * hwt_lesser(row[HWT_UP_HALF][0], 1.0f) * up_fades;
    const float down_least = HWT_TINY * hwt_lesser(row[HWT_DOWN_HALF][0], 1.0f) * down_fades;
    const float range = a->rel_range * a->rel_range, sigma = a->rel_step, half_square = 0.5f * sigma * sigma;
    int32_t net = 0, all = 0, lost_pulses = 0;
    HWT_INDEPENDENT
    for (int32_t c = 0; c < cells; c++) { /* no branches and no calls: this loop becomes vectors */
        const int rising = pulses[c] > 0;
        const int32_t count = rising ? pulses[c] : -pulses[c];
        const float low = lows[c], high = highs[c], width = high - low, before = g[c], n = (float)count;
        const float lost = rising ? up_losses[c] : down_losses[c], left = rising ? high - before : before - low;
        const float gap = left + (rising ? up_beyond : down_beyond) * width;
        float gone = 0.0f, kept = 1.0f, share = lost; /* of the gap: before the last pulse; by 1, 2, 4, ... pulses */
        HWT_UNROLLED
        for (int32_t bit = 0; bit < bits; bit++) {
            const float part = (count - 1) >> bit & 1 ? share * kept : 0.0f;
            gone += part;
            kept -= part;
            share = share * (2.0f - share);
        }
        const float last = lost * kept, way = gap * (gone + last), unit = sigma * (gap * last);
        const float deviation = sqrtf(n * (range + unit * unit * (1.0f + half_square * lost * lost * (n - 1.0f))));
        const int frozen = wear[c] >= life[c];
        /* Steps that grow past float32 have arrived: what is no number goes all that is left. */
        const float by = hwt_lesser(way + deviation * noise[c], left), taken = frozen | (count == 0) ? 0.0f : by;
        const float moved = rising ? before + taken : before - taken;
        g[c] = hwt_lesser(high, hwt_greater(low, moved));
        const float least = (rising ? up_least : down_least) * (lost * width);
        const int still = hwt_lesser(left, way) < least * n;
        wear[c] += count;
        net += pulses[c];
        all += count;
        lost_pulses += still | frozen ? count : 0;
    }
    tally->counts[HWT_UP] += (all + net) / 2;
    tally->counts[HWT_DOWN] += (all - net) / 2;
    tally->counts[HWT_CLIPPED] += lost_pulses;
}

/* hwt_move by a law that is walked, on the cells that have pulses. */
static inline void hwt_step_on(const hwt_array *a, hwt_tally *tally, int32_t cells, const float *const row[HWT_ROWS],
                               int32_t at, const int32_t *life, float *g, int32_t *wear, const int32_t *pulses,
                               const float *noise)
{
    for (int32_t c = 0; c < cells; c++) {
        if (pulses[c] == 0)
            continue;
        const int rising = pulses[c] > 0, frozen = wear[c] >= life[c];
        const int32_t count = rising ? pulses[c] : -pulses[c];
        const float low = row[HWT_LOW][at + c], high = row[HWT_HIGH][at + c], width = high - low, before = g[c];
        const float step = row[rising ? HWT_UP_STEP : HWT_DOWN_STEP][at + c] / width;
        const float middle = step * row[rising ? HWT_UP_HALF : HWT_DOWN_HALF][at + c];
        const float travel = (rising ? before - low : high - before) / width, range = a->rel_range / width;
        double variance;
        const float *bent = a->bent + (rising ? 0 : a->terms);
        const int32_t points = a->law == HWT_DRAWN_TABLE ? (int32_t)bent[0] : 0;
        const int32_t nodes = (a->terms - 1 - points) / (points + 2);
        const float mean =
            a->law == HWT_DRAWN_TABLE
                ? (float)hwt_walk(HWT_CDF_TABLE, bent + 1 + points, 2 * nodes, travel, step, count, 0.0, 0.0, &variance)
                : (float)hwt_walk(a->law, bent, a->terms, travel, step, count, a->rel_step,
                                  a->kind == HWT_ADD ? middle : 0.0f, &variance);
        const float went = a->law == HWT_DRAWN_TABLE
                               ? (float)hwt_drawn(bent, a->terms, travel, step, count, a->draw0, a->draw1, a->element + (uint32_t)c)
                               : mean;
        const float deviation = sqrtf((float)variance + (float)count * range * range);
        const float after = (went + deviation * noise[c]) * width;
        const float moved = rising ? low + after : high - after;
        const float least = HWT_TINY * (float)count * hwt_lesser(middle, step);
        const int still = hwt_lesser(1.0f, hwt_greater(0.0f, mean)) - travel < least;
        g[c] = frozen ? before : hwt_lesser(high, hwt_greater(low, moved));
        wear[c] += count;
        tally->counts[rising ? HWT_UP : HWT_DOWN] += count;
        tally->counts[HWT_CLIPPED] += still | frozen ? count : 0;
    }
}

/* hwt_move, made for the longest train that is among the pulses and for the device's scatter. */
static inline void hwt_move_most(const hwt_array *a, hwt_tally *tally, int32_t cells, const float *const *row,
                                 int32_t at, const int32_t *life, float *g, int32_t *wear,
                                 const int32_t *pulses, const float *noise, int32_t most)
{
#define HWT_MADE_FOR(move, bits, ...) move(a, tally, cells, row, at, life, g, wear, pulses, noise, bits __VA_ARGS__)
#define HWT_MADE_BY(move, ...)                       \
    do {                                             \
        if (most < 2)                                \
            HWT_MADE_FOR(move, 1, __VA_ARGS__);      \
        else if (most < 4)                           \
            HWT_MADE_FOR(move, 2, __VA_ARGS__);      \
        else if (most < 8)                           \
            HWT_MADE_FOR(move, 3, __VA_ARGS__);      \
        else if (most < 32)                          \
            HWT_MADE_FOR(move, 5, __VA_ARGS__);      \
        else                                         \
            HWT_MADE_FOR(move, 24, __VA_ARGS__);     \
    } while (0)
    if (a->law != HWT_LINEAR && a->law != HWT_AFFINE)
        hwt_step_on(a, tally, cells, row, at, life, g, wear, pulses, noise);
    else if (a->kind == HWT_FINE)
        HWT_MADE_BY(hwt_move_fine, );
    else if (a->kind == HWT_MULT)
        HWT_MADE_BY(hwt_move, , HWT_MULT);
    else
        HWT_MADE_BY(hwt_move, , HWT_ADD);
#undef HWT_MADE_BY
#undef HWT_MADE_FOR
}

/* Have the memory bring a part of the parameters of the portion after this one, while this one is worked on:
 * arrays are larger than the caches next to the core, and a core waits for some tens of lines at a time. Inlined
 * by force, for compilers drop calls that seem to do nothing. */
HWT_MADE_FOR_CONSTANTS void hwt_fetch(const hwt_array *a, int32_t branch, int32_t part)
{
    const int32_t line = 64 / sizeof(float), share = a->varied * (HWT_PORTION / HWT_PARTS);
    const float *own = a->own + ((ptrdiff_t)branch * a->portions + a->next) * a->varied * HWT_PORTION + part * share;
    for (int32_t c = 0; c < share && a->next < a->portions; c += line)
        HWT_FETCH(own + c);
}

/* Land pulses (len) on a portion of a branch, strip by strip; strips without pulses cost nothing. */
static inline void hwt_land(hwt_array *a, hwt_tally *tally, int32_t branch, int32_t portion, int32_t len,
                            const int32_t *pulses, uint64_t point)
{
    const uint32_t k0 = (uint32_t)point, k1 = (uint32_t)(point >> 32);
    const uint32_t element = ((uint32_t)branch * (uint32_t)a->portions + (uint32_t)portion) * HWT_PORTION;
    const ptrdiff_t from = (ptrdiff_t)branch * a->weights + (ptrdiff_t)portion * HWT_PORTION;
    const int noisy = a->rel_range > 0.0f || a->rel_step > 0.0f;
    const float *row[HWT_ROWS];
    int32_t lives[HWT_STRIP];
    float noise[HWT_STRIP] = {0.0f};
    hwt_rows(a, branch, portion, row);
    a->draw0 = k0;
    a->draw1 = k1;
    if (a->lives == 1)
        for (int32_t c = 0; c < HWT_STRIP; c++)
            lives[c] = a->life[0];
    for (int32_t at = 0; at < len; at += HWT_STRIP) {
        const int32_t cells = len - at < HWT_STRIP ? len - at : HWT_STRIP;
        int32_t most = 0;
        for (int32_t c = at; c < at + cells; c++)
            most |= pulses[c] < 0 ? -pulses[c] : pulses[c];
        hwt_fetch(a, branch, 2 * at / HWT_STRIP);
        if (noisy && most != 0)
            hwt_noise(k0, k1, (element + (uint32_t)at) / 2, noise);
        hwt_fetch(a, branch, 2 * at / HWT_STRIP + 1);
        if (most == 0)
            continue;
        a->element = element + (uint32_t)at;
        hwt_move_most(a, tally, cells, row, at, a->lives == 1 ? lives : a->life + from + at, a->g + from + at,
                      a->wear + from + at, pulses + at, noise, most);
    }
}

/* Land n pulses on every weight of a portion: on the conductances that the cell sends them to. */
static inline void hwt_spread(hwt_array *a, hwt_tally *tally, int32_t portion, int32_t len, const int32_t *n,
                              uint64_t point)
{
    int32_t first[HWT_PORTION], second[HWT_PORTION];
    uint8_t *turn = a->turn + (ptrdiff_t)portion * HWT_PORTION;
    switch (a->cell) {
    case HWT_SINGLE:
        hwt_land(a, tally, 0, portion, len, n, point);
        return;
    case HWT_BIDIRECTIONAL_PAIR:
        for (int32_t c = 0; c < len; c++)
            second[c] = -n[c];
        hwt_land(a, tally, 0, portion, len, n, point);
        hwt_land(a, tally, 1, portion, len, second, point);
        return;
    case HWT_ALTERNATING_PAIR: /* the side whose turn it is takes the larger half */
        for (int32_t c = 0; c < len; c++) {
            const int32_t count = n[c] < 0 ? -n[c] : n[c], sign = n[c] < 0 ? -1 : 1;
            const int32_t larger = (count + 1) / 2 * sign, smaller = count / 2 * sign;
            first[c] = turn[c] ? smaller : larger;
            second[c] = turn[c] ? -larger : -smaller;
            turn[c] = (uint8_t)(turn[c] ^ (count & 1));
        }
        break;
    case HWT_UNIDIRECTIONAL_LTP:
        for (int32_t c = 0; c < len; c++) {
            first[c] = n[c] > 0 ? n[c] : 0;
            second[c] = n[c] < 0 ? -n[c] : 0;
        }
        break;
    default:
        for (int32_t c = 0; c < len; c++) {
            first[c] = n[c] < 0 ? n[c] : 0;
            second[c] = n[c] > 0 ? -n[c] : 0;
        }
    }
    hwt_land(a, tally, 0, portion, len, first, point);
    hwt_land(a, tally, 1, portion, len, second, point);
}

/* Pulses of a typical device that come nearest to a travel: how many edges lie below it. */
static inline int32_t hwt_pulses_to(const hwt_array *a, float travel, int32_t way)
{
    int32_t from = 0, to = way == HWT_UP ? a->ups : a->downs;
    while (from < to) {
        const int32_t middle = from + (to - from) / 2;
        if (a->edges[way][middle] < travel)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Drive a conductance back to the start of its branch. */
static inline void hwt_reset(hwt_array *a, hwt_tally *tally, int32_t branch, int32_t w, int falls)
{
    const ptrdiff_t cell = (ptrdiff_t)branch * a->weights + w;
    const float *row[HWT_ROWS];
    hwt_rows(a, branch, w / HWT_PORTION, row);
    const float low = row[HWT_LOW][w % HWT_PORTION], high = row[HWT_HIGH][w % HWT_PORTION], before = a->g[cell];
    const float travel = (falls ? high - before : before - low) / (high - low);
    const int32_t way = falls ? HWT_DOWN : HWT_UP;
    const int32_t pulses = (falls ? a->downs : a->ups) - hwt_pulses_to(a, travel, way);
    if (a->wear[cell] < a->life[a->lives == 1 ? 0 : cell])
        a->g[cell] = falls ? low : high;
    a->wear[cell] += pulses;
    tally->counts[way] += pulses;
    tally->counts[HWT_RESETS] += 1;
}

/* Reset both sides of a weight and write it from the start; every pulse takes a slot of its own. */
static inline void hwt_rewrite(hwt_array *a, hwt_tally *tally, int32_t w, uint64_t point)
{
    const int32_t way = a->cell == HWT_UNIDIRECTIONAL_LTP ? HWT_UP : HWT_DOWN;
    const float weight = a->g[w] - a->g[w + a->weights];
    const int64_t before = tally->counts[HWT_UP] + tally->counts[HWT_DOWN];
    hwt_reset(a, tally, 0, w, way == HWT_UP);
    hwt_reset(a, tally, 1, w, way == HWT_UP);
    const int32_t count = hwt_pulses_to(a, fabsf(weight), way), n = way == HWT_UP ? count : -count;
    if (count != 0 && weight != 0.0f) {
        const int32_t branch = (weight > 0.0f) != (way == HWT_UP), portion = w / HWT_PORTION;
        const ptrdiff_t cell = (ptrdiff_t)branch * a->weights + w;
        const uint32_t element = ((uint32_t)branch * (uint32_t)a->portions) * HWT_PORTION + (uint32_t)w;
        uint32_t one, other;
        hwt_threefry13_words((uint32_t)point, (uint32_t)(point >> 32), (element >> 5) * 16 + (element & 15), 0, &one,
                             &other);
        const float noise = hwt_scatter(element >> 4 & 1 ? other : one);
        const float *row[HWT_ROWS];
        hwt_rows(a, branch, portion, row);
        a->draw0 = (uint32_t)point;
        a->draw1 = (uint32_t)(point >> 32);
        a->element = element;
        hwt_move_most(a, tally, 1, row, w % HWT_PORTION, a->life + (a->lives == 1 ? 0 : cell), a->g + cell,
                      a->wear + cell, &n, &noise, count);
    }
    tally->counts[HWT_SLOTS] += tally->counts[HWT_UP] + tally->counts[HWT_DOWN] - before;
    tally->counts[HWT_REFRESHING] += tally->counts[HWT_UP] + tally->counts[HWT_DOWN] - before;
}

/* Rewrite the weights of a portion that are worn, or every one; of those with pulses where there are any. */
static inline void hwt_refresh(hwt_array *a, hwt_tally *tally, int32_t portion, int32_t len, int every,
                               const int32_t *pulses, uint64_t point)
{
    const float *one = a->g + (ptrdiff_t)portion * HWT_PORTION, *other = one + a->weights;
    const int falls = a->cell == HWT_UNIDIRECTIONAL_LTD;
    int32_t due[HWT_PORTION], any = 0;
    for (int32_t c = 0; c < len; c++) {
        const float first = falls ? 1.0f - one[c] : one[c], second = falls ? 1.0f - other[c] : other[c];
        const float larger = first > second ? first : second, smaller = first > second ? second : first;
        due[c] = every | ((larger > 0.75f) & (smaller > 0.25f));
        if (pulses != NULL)
            due[c] &= pulses[c] != 0;
        any |= due[c];
    }
    if (any)
        for (int32_t c = 0; c < len; c++)
            if (due[c])
                hwt_rewrite(a, tally, portion * HWT_PORTION + c, point);
}

/* Random bits on every line, Point.trains of hwtrain/arith/threefry.py: plane after plane of 24, until every
 * comparison of a uniform with its line's chance is decided. v, bits, live (n) */
static inline void hwt_trains(uint64_t point, int32_t n, const float *v, float factor, int32_t train,
                              int32_t *bits, int32_t *live)
{
    const uint32_t k0 = (uint32_t)point, k1 = (uint32_t)(point >> 32), whole = (1u << train) - 1u;
    int32_t lines = 0;
    for (int32_t i = 0; i < n; i++) {
        bits[i] = 0;
        live[lines] = i;
        lines += v[i] != 0.0f; /* a line that stands at 0 never sends */
    }
    for (int32_t first = 0; first < lines; first += 16) {
        uint32_t block[16], limit[16], less[16], even[16], open = 1;
        for (int32_t l = 0; l < 16; l++) {
            const int32_t line = live[first + l < lines ? first + l : first];
            const float chance = fabsf(v[line]) * factor;
            const int sure = chance >= 1.0f;
            block[l] = 12u * (uint32_t)line;
            limit[l] = (uint32_t)(sure ? 0.0f : ceilf(chance * 0x1p24f)); /* u < chance: 2^24 u < limit */
            less[l] = sure ? whole : 0;
            even[l] = sure ? 0 : whole;
        }
        for (int32_t plane = 23; plane > 0 && open != 0; plane -= 2) {
            open = 0;
            for (int32_t l = 0; l < 16; l++) {
                const uint32_t one = 0u - (limit[l] >> plane & 1u), other = 0u - (limit[l] >> (plane - 1) & 1u);
                uint32_t first_plane, second_plane;
                hwt_threefry13_words(k0, k1, block[l]++, 0, &first_plane, &second_plane);
                less[l] |= even[l] & one & ~first_plane;
                even[l] &= ~(one ^ first_plane);
                less[l] |= even[l] & other & ~second_plane;
                even[l] &= ~(other ^ second_plane);
                open |= even[l];
            }
        }
        for (int32_t l = 0; l < 16 && first + l < lines; l++)
            bits[live[first + l]] = (int32_t)less[l];
    }
}

/* How one pair (x, d) of vectors pulses: trains on the lines, or one lot a crossing. */
typedef struct {
    int32_t update;
    const float *x, *d;
    const int32_t *columns, *rows, *falling; /* bits of the trains; -1 where d pulls down */
    float *chi; /* (groups, in_, out): what adds up, in units of the weights */
    float chance, scale, dw;
    uint32_t lot0, lot1;
    int down;
} hwt_pair;

/* The upper 8 bits of the lots of a portion whose first weight is ``first``: Point.lots of
 * hwtrain/arith/threefry.py. */
static inline void hwt_lots(const hwt_pair *pair, uint32_t first, int32_t lots[HWT_PORTION])
{
    for (uint32_t strip = 0; strip < HWT_PORTION / 128; strip++) {
        int32_t *to = lots + 128 * strip;
        for (uint32_t l = 0; l < 16; l++) {
            uint32_t one, other;
            hwt_threefry13_words(pair->lot0, pair->lot1, (first / 128 + strip) * 16 + l, 0, &one, &other);
            for (uint32_t byte = 0; byte < 4; byte++) {
                to[16 * byte + l] = (int32_t)(one >> 8 * byte & 255u);
                to[64 + 16 * byte + l] = (int32_t)(other >> 8 * byte & 255u);
            }
        }
    }
}

/* n pulses for the weights of a portion, the group's first weight being ``offset``; returns the bits that are
 * in any of them. ``sent`` (2, out) gets the longest train up and down that a row of the array has sent. */
static inline int32_t hwt_fill(const hwt_array *a, const hwt_pair *pair, hwt_tally *tally, int32_t offset,
                               int32_t portion, int32_t len, int32_t *n, int32_t *sent)
{
    int32_t lots[HWT_PORTION], tied[HWT_PORTION + 16], most = 0, drew = 0;
    for (int32_t c = 0; c < HWT_PORTION; c++)
        n[c] = 0;
    for (int32_t c = 0; c < len;) {
        const int32_t place = portion * HWT_PORTION + c - offset;
        if (place < 0) { /* of the group before */
            c -= place;
            continue;
        }
        const int32_t i = place / a->out, o = place % a->out;
        const int32_t left = len - c < a->out - o ? len - c : a->out - o;
        if (i >= a->in_)
            break;
        if (pair->x[i] != 0.0f && pair->update == HWT_STOCHASTIC_PULSE) {
            const uint32_t column = (uint32_t)pair->columns[i];
            const int32_t flip = (pair->x[i] < 0.0f) != pair->down ? -1 : 0;
            const int32_t *restrict rows = pair->rows + o, *restrict falling = pair->falling + o;
            int32_t *restrict to = n + c;
            if (column != 0)
                for (int32_t k = 0; k < left; k++) {
                    const int32_t hits = hwt_popcount(column & (uint32_t)rows[k]), minus = flip ^ falling[k];
                    to[k] = (hits ^ minus) - minus;
                    most |= hits;
                }
        } else if (pair->update == HWT_ROUNDED_PULSE && pair->x[i] != 0.0f) {
            for (int32_t k = 0; k < left; k++) {
                const float wanted = pair->d[o + k] * pair->chance * pair->x[i];
                const int32_t count = (int32_t)(fabsf(wanted) + 0.5f);
                n[c + k] = wanted > 0.0f ? count : -count;
                most |= count;
            }
        } else if (pair->update == HWT_MIXED_PRECISION && pair->x[i] != 0.0f) {
            const float *restrict d = pair->d + o, drive = pair->x[i];
            float *restrict chi = pair->chi + (ptrdiff_t)portion * HWT_PORTION + c;
            int32_t *restrict to = n + c, *restrict ups = sent + o, *restrict downs = sent + a->out + o;
            for (int32_t k = 0; k < left; k++) {
                const float sum = chi[k] + d[k] * pair->scale * drive;
                const int32_t whole = (int32_t)(sum / pair->dw);
                chi[k] = sum - (float)whole * pair->dw;
                to[k] = whole;
                most |= whole < 0 ? -whole : whole;
                ups[k] = whole > ups[k] ? whole : ups[k];
                downs[k] = -whole > downs[k] ? -whole : downs[k];
            }
        } else if (pair->x[i] != 0.0f) {
            const float *restrict d = pair->d + o, drive = pair->x[i];
            int32_t *restrict to = n + c, *restrict ups = sent + o, *restrict downs = sent + a->out + o;
            const int32_t *restrict lot = lots + c;
            int32_t drawn = 0;
            if (!drew)
                hwt_lots(pair, (uint32_t)portion * HWT_PORTION, lots);
            drew = 1;
            for (int32_t k = 0; k < left; k++) {
                const float wanted = d[k] * pair->chance * drive, size = fabsf(wanted);
                const int32_t certain = (int32_t)(hwt_lesser(size, 1.0f) * 256.0f), sign = wanted > 0.0f ? 1 : -1;
                to[k] = lot[k] < certain ? sign : 0;
                tied[k] = (lot[k] == certain) & (size > 0.0f);
                drawn += d[k] != 0.0f;
            }
            for (int32_t k = left; k < left + 16; k++)
                tied[k] = 0;
            for (int32_t from = 0; from < left; from += 16) { /* one lot of 256 needs its lower bits */
                int32_t any = 0;
                for (int32_t l = 0; l < 16; l++)
                    any |= tied[from + l];
                for (int32_t k = from; k < from + 16 && any; k++)
                    if (tied[k]) {
                        const float wanted = d[k] * pair->chance * drive;
                        const uint32_t element = (uint32_t)portion * HWT_PORTION + (uint32_t)(c + k);
                        uint32_t word, unused;
                        hwt_threefry13_words(pair->lot0, pair->lot1, element | 0x80000000u, 0, &word, &unused);
                        if ((float)((uint32_t)lot[k] << 16 | word >> 16) * 0x1p-24f < fabsf(wanted))
                            to[k] = wanted > 0.0f ? 1 : -1;
                    }
            }
            for (int32_t k = 0; k < left; k++) {
                ups[k] |= to[k] > 0;
                downs[k] |= to[k] < 0;
                most |= to[k] & 1;
            }
            tally->counts[HWT_RANDOMS] += drawn;
        }
        c += left;
    }
    return most;
}

/* The first portion from ``portion`` to ``last``, in steps of the team, in which an input sends; else one
 * beyond. ``input``, 0 at first, is the first input that may send there. */
static inline int32_t hwt_sending(const hwt_array *a, const hwt_pair *pair, int32_t offset, int32_t portion,
                                  int32_t last, int32_t threads, int32_t *input)
{
    const int trains = pair->update == HWT_STOCHASTIC_PULSE;
    int32_t i = *input;
    for (; portion <= last; portion += threads) {
        const int32_t from = portion * HWT_PORTION - offset;
        while (i < a->in_ && ((i + 1) * a->out <= from || pair->x[i] == 0.0f || (trains && pair->columns[i] == 0)))
            i++;
        if (i < a->in_ && i * a->out < from + HWT_PORTION)
            break;
    }
    *input = i;
    return portion;
}

/* The largest |v|, in 16 lanes. v (n) */
static inline float hwt_largest(int32_t n, const float *v)
{
    float lane[16] = {0.0f}, most = 0.0f;
    for (int32_t first = 0; first + 16 <= n; first += 16)
        for (int32_t l = 0; l < 16; l++)
            lane[l] = hwt_greater(fabsf(v[first + l]), lane[l]);
    for (int32_t i = n / 16 * 16; i < n; i++)
        most = hwt_greater(fabsf(v[i]), most);
    for (int32_t l = 0; l < 16; l++)
        most = hwt_greater(lane[l], most);
    return most;
}

/* The trains of a pair, columns by the first thread and rows by the last; their length, 0 where nothing is to
 * be sent. */
static inline int32_t hwt_stochastic(hwt_pair *pair, int32_t in_, int32_t out, double scale, double dw,
                                     uint64_t column, uint64_t row, int32_t *columns, int32_t *rows,
                                     int32_t *falling, int32_t *live, int32_t me, int32_t threads)
{
    const float x_most = hwt_largest(in_, pair->x), d_most = hwt_largest(out, pair->d);
    const double k = fabs(scale) * (double)x_most * (double)d_most / dw;
    if (k == 0.0)
        return 0;
    const int32_t train = k < HWT_BL_MAX ? (int32_t)ceil(k) : HWT_BL_MAX;
    const double amplitude = sqrt(fabs(scale) / (dw * train));
    const double balance = sqrt((double)x_most / ((double)d_most * (k > HWT_BL_MAX ? HWT_BL_MAX / k : 1.0)));
    if (me == 0)
        hwt_trains(column, in_, pair->x, (float)(amplitude / balance), train, columns, live);
    if (me == threads - 1) {
        hwt_trains(row, out, pair->d, (float)(amplitude * balance), train, rows, live + in_);
        for (int32_t o = 0; o < out; o++)
            falling[o] = pair->d[o] < 0.0f ? -1 : 0;
    }
    return train;
}

/* Slots of rounded pulses, row by row: a row takes as many as its longest trains up and down. */
static inline int64_t hwt_rounded_slots(const hwt_pair *pair, int32_t in_, int32_t out)
{
    float most = 0.0f, least = 0.0f;
    int64_t slots = 0;
    for (int32_t i = 0; i < in_; i++) {
        most = pair->x[i] > most ? pair->x[i] : most;
        least = pair->x[i] < least ? pair->x[i] : least;
    }
    for (int32_t o = 0; o < out; o++) {
        const float row = pair->d[o] * pair->chance;
        slots += (int32_t)(fabsf(row * most) + 0.5f) + (int32_t)(fabsf(row * least) + 0.5f);
    }
    return slots;
}

/* The write port of a crossbar, pair after pair and group after group: pulses by the update, then the
 * refresh that the policy asks for. Pair and group have numbers from ``first`` on, of which the group is the
 * remainder by groups; parts is groups, or 1 for the one group that ``first`` names.
 * g, wear (branches, groups, in_, out), turn (turns), updates (1), counts (tallies, 7), own (owned), typical (8),
 * life (lives), bent (2, terms), edges_up (ups), edges_down (downs), columns (in_), rows, falling (out), live (lines: in_ + out),
 * sent (sends: threads * 2 * out), chi (sums), x (pairs, parts, in_), d (pairs, parts, out) */
static inline void hwt_xbar_write(int32_t branches, int32_t groups, int32_t in_, int32_t out, int32_t turns,
                                  int32_t tallies, int32_t owned, int32_t lives, int32_t ways, int32_t terms, int32_t ups,
                                  int32_t downs, int32_t lines,
                                  int32_t sends, int32_t sums, int32_t pairs, int32_t parts, int32_t first_pair, double scale, double dw, int32_t update,
                                  int32_t cell, int32_t law, int32_t kind, int32_t refresh, int64_t refresh_every, int32_t varies,
                                  float rel_range, float rel_step, uint32_t update0, uint32_t update1, uint32_t pulse0,
                                  uint32_t pulse1, uint32_t step, float *g, int32_t *wear, uint8_t *turn,
                                  int64_t *updates, int64_t *counts, const float *own, const float *typical,
                                  const int32_t *life, const float *bent, const float *edges_up, const float *edges_down,
                                  int32_t *columns, int32_t *rows, int32_t *falling, int32_t *live, int32_t *sent,
                                  float *chi, const float *x, const float *d HWT_TEAM)
{
    const int32_t mine = HWT_ME, threads = HWT_THREADS;
    const int32_t weights = groups * in_ * out, portions = (weights + HWT_PORTION - 1) / HWT_PORTION;
    const int one_way = cell == HWT_UNIDIRECTIONAL_LTP || cell == HWT_UNIDIRECTIONAL_LTD;
    hwt_array a = {branches, groups, out, in_, weights, portions, portions, hwt_popcount((uint32_t)varies), varies, lives, ups, downs,
                   cell, kind, law, terms, rel_range, rel_step, g, wear, turn, own, {{0.0f}}, life, bent, {edges_up, edges_down}, 0, 0, 0};
    hwt_tally tally = {{0}};
    (void)turns; (void)tallies; (void)owned; (void)ways; (void)lines; (void)sends; (void)sums;
    for (int32_t k = 0; k < HWT_ROWS; k++)
        for (int32_t c = 0; c < HWT_PORTION && !(varies >> k & 1); c++)
            a.typical[k][c] = typical[k];
    for (int32_t k = 0; k < pairs * parts; k++) {
        const int32_t n = first_pair + k, offset = n % groups * out * in_;
        const int32_t first = offset / HWT_PORTION, last = (offset + out * in_ - 1) / HWT_PORTION;
        const uint64_t draw = hwt_point(update0, update1, step, (uint32_t)n, 0);
        const uint64_t scatter = hwt_point(pulse0, pulse1, step, (uint32_t)n, 0);
        const uint64_t again = hwt_point(pulse0, pulse1, step, (uint32_t)n, 1);
        hwt_pair pair = {update, x + (ptrdiff_t)k * in_, d + (ptrdiff_t)k * out, columns, rows, falling,
                         chi, (float)(scale / dw), (float)scale, (float)dw, (uint32_t)draw, (uint32_t)(draw >> 32), scale < 0.0};
        int live_pair = 1;
        if (update == HWT_STOCHASTIC_PULSE) {
            const int32_t train = hwt_stochastic(&pair, in_, out, scale, dw, draw,
                                                 hwt_point(update0, update1, step, (uint32_t)n, 1), columns, rows,
                                                 falling, live, mine, threads);
            tally.counts[HWT_SLOTS] += mine == 0 ? 2 * train : 0;
            tally.counts[HWT_RANDOMS] += mine == 0 ? (int64_t)train * (in_ + out) : 0;
            live_pair = train != 0;
        }
        if (update == HWT_ROUNDED_PULSE && mine == 0)
            tally.counts[HWT_SLOTS] += hwt_rounded_slots(&pair, in_, out);
        HWT_MEET(); /* the trains stand, and the first thread is done with the pair before */
        for (int32_t o = 0; o < 2 * out; o++)
            sent[mine * 2 * out + o] = 0;
        int32_t input = 0, next = last + 1;
        if (live_pair)
            next = hwt_sending(&a, &pair, offset, first + mine, last, threads, &input);
        for (int32_t portion = next; portion <= last; portion = next) {
            const int32_t rest = weights - portion * HWT_PORTION, len = rest < HWT_PORTION ? rest : HWT_PORTION;
            next = hwt_sending(&a, &pair, offset, portion + threads, last, threads, &input);
            a.next = next <= last ? next : portions;
            int32_t pulses[HWT_PORTION];
            if (hwt_fill(&a, &pair, &tally, offset, portion, len, pulses, sent + mine * 2 * out) == 0)
                continue;
            hwt_spread(&a, &tally, portion, len, pulses, scatter);
            if (one_way && refresh == HWT_THRESHOLD)
                hwt_refresh(&a, &tally, portion, len, 0, pulses, again);
        }
        HWT_MEET(); /* the pulses have landed */
        if (mine != 0)
            continue;
        for (int32_t o = 0; o < 2 * out; o++) { /* of updates whose rows take turns */
            int32_t longest = 0;
            for (int32_t t = 0; t < threads; t++)
                longest = sent[t * 2 * out + o] > longest ? sent[t * 2 * out + o] : longest;
            tally.counts[HWT_SLOTS] += longest;
        }
        *updates += one_way;
        if (one_way && refresh != HWT_THRESHOLD && refresh != HWT_NONE && *updates % refresh_every == 0)
            for (int32_t portion = 0; portion < portions; portion++) {
                const int32_t rest = weights - portion * HWT_PORTION, len = rest < HWT_PORTION ? rest : HWT_PORTION;
                hwt_refresh(&a, &tally, portion, len, refresh == HWT_FULL_INIT, NULL, again);
            }
    }
    for (int32_t k = 0; k < HWT_COUNTS; k++)
        counts[mine * HWT_COUNTS + k] += tally.counts[k];
}

/* The weight that conductances make, as a share of the largest one. */
static inline float hwt_weight_of(int32_t cell, float first, float second)
{
    return cell == HWT_SINGLE ? 2.0f * first - 1.0f : first - second;
}

/* y = W x, input after input. Weights are counted from ``zero`` where it has one a weight.
 * g (branches, groups, in_, out), zero (zeros), x (batch, groups, in_) -> y (batch, groups, out) */
static inline void hwt_xbar_read(int32_t branches, int32_t groups, int32_t in_, int32_t out, int32_t zeros,
                                 int32_t batch, int32_t cell, const float *g, const float *zero, const float *x,
                                 float *y HWT_TEAM)
{
    const ptrdiff_t weights = (ptrdiff_t)groups * in_ * out, second = branches == 1 ? 0 : weights;
    const int32_t from = hwt_share(out, HWT_ME, HWT_THREADS), to = hwt_share(out, HWT_ME + 1, HWT_THREADS);
    for (int32_t n = 0; n < batch * groups; n++) {
        const float *matrix = g + (ptrdiff_t)(n % groups) * in_ * out, *input = x + (ptrdiff_t)n * in_;
        float *restrict output = y + (ptrdiff_t)n * out;
        for (int32_t o = from; o < to; o++)
            output[o] = 0.0f;
        for (int32_t i = 0; i < in_; i++) {
            const float *restrict row = matrix + (ptrdiff_t)i * out, drive = input[i];
            const float *restrict origin = zeros == weights ? zero + (row - g) : NULL;
            if (drive == 0.0f)
                continue;
            if (origin != NULL)
                for (int32_t o = from; o < to; o++)
                    output[o] += (hwt_weight_of(cell, row[o], row[second + o]) - origin[o]) * drive;
            else if (cell == HWT_SINGLE)
                for (int32_t o = from; o < to; o++)
                    output[o] += hwt_weight_of(HWT_SINGLE, row[o], 0.0f) * drive;
            else
                for (int32_t o = from; o < to; o++)
                    output[o] += hwt_weight_of(cell, row[o], row[second + o]) * drive;
        }
    }
}

/* The weights of one input times d, in 16 lanes; those from ``origin`` where ``shifted``, a constant. */
HWT_MADE_FOR_CONSTANTS float hwt_across(int32_t out, int32_t cell, const float *row, ptrdiff_t second,
                                        const float *origin, const float *d, const int shifted)
{
    float lane[HWT_LANES] = {0.0f};
    int32_t o = 0;
    for (; o + HWT_LANES <= out; o += HWT_LANES)
        for (int32_t l = 0; l < HWT_LANES; l++) {
            const float weight = hwt_weight_of(cell, row[o + l], row[second + o + l]);
            lane[l] += (shifted ? weight - origin[o + l] : weight) * d[o + l];
        }
    for (; o < out; o++) {
        const float weight = hwt_weight_of(cell, row[o], row[second + o]);
        lane[o % HWT_LANES] += (shifted ? weight - origin[o] : weight) * d[o];
    }
    for (int32_t half = HWT_LANES / 2; half > 0; half /= 2)
        for (int32_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

/* W^T d, in 16 lanes.
 * g (branches, groups, in_, out), zero (zeros), d (batch, groups, out) -> y (batch, groups, in_) */
static inline void hwt_xbar_read_t(int32_t branches, int32_t groups, int32_t in_, int32_t out, int32_t zeros,
                                   int32_t batch, int32_t cell, const float *g, const float *zero, const float *d,
                                   float *y HWT_TEAM)
{
    const ptrdiff_t weights = (ptrdiff_t)groups * in_ * out, second = branches == 1 ? 0 : weights;
    const int32_t from = hwt_share(in_, HWT_ME, HWT_THREADS), to = hwt_share(in_, HWT_ME + 1, HWT_THREADS);
    for (int32_t n = 0; n < batch * groups; n++) {
        const float *matrix = g + (ptrdiff_t)(n % groups) * in_ * out, *error = d + (ptrdiff_t)n * out;
        for (int32_t i = from; i < to; i++) {
            const float *row = matrix + (ptrdiff_t)i * out;
            y[(ptrdiff_t)n * in_ + i] = zeros == weights
                                            ? hwt_across(out, cell, row, second, zero + (row - g), error, 1)
                                            : hwt_across(out, cell, row, second, zero, error, 0);
        }
    }
}

#endif
