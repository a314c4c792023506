/* Pulsed updates of electronic synapses, for the host: the C meaning of hwtrain/kernels/xbar.py.
 *
 * The same draws at the same addresses as hwtrain/synapse in Python, so the same pulses land on the same
 * cells; conductances agree up to the rounding of float32. Only what is pulsed is touched or drawn for. */
#ifndef HWT_SYNAPSE_H
#define HWT_SYNAPSE_H

#include <math.h>

enum { HWT_SIGN_PULSE, HWT_STOCHASTIC_PULSE };                           /* updates */
enum { HWT_LINEAR, HWT_AFFINE };                                         /* laws */
enum { HWT_SINGLE, HWT_BIDIRECTIONAL_PAIR, HWT_ALTERNATING_PAIR,
       HWT_UNIDIRECTIONAL_LTP, HWT_UNIDIRECTIONAL_LTD };                 /* cells */
enum { HWT_NONE, HWT_THRESHOLD, HWT_PERIODIC, HWT_FULL_INIT };           /* refreshes */
enum { HWT_ADD, HWT_MULT };                                              /* scatter of a step */
enum { HWT_UP, HWT_DOWN, HWT_CLIPPED, HWT_RESETS, HWT_SLOTS, HWT_RANDOMS }; /* counts */
enum { HWT_LOW, HWT_HIGH, HWT_UP_STEP, HWT_UP_BEND, HWT_DOWN_STEP, HWT_DOWN_BEND, HWT_STUCK }; /* rows */

#define HWT_BL_MAX 31      /* longest stochastic train */
#define HWT_STRAIGHT 1e-9f /* below this a branch of the affine law is linear */
#define HWT_TINY 0.1       /* a pulse that moves its cell by less than this share of a step is clipped */

/* One array at work: what every pulse needs to know. */
typedef struct {
    int32_t cells, weights, columns, ups, downs;
    int32_t law, cell, kind;
    float rel_range, rel_step;
    float *g, *unit;               /* (cells), (weights) */
    int32_t *wear;                 /* (cells) */
    uint8_t *turn;                 /* (weights) of an alternating pair */
    int64_t *counts;               /* (6) */
    const float *rows;             /* (7, columns); one column serves all cells where nothing varies */
    const float *edges[2];         /* (ups), (downs): travel half way between pulses of a typical device */
    uint32_t key0, key1, step, sample, pass;
} hwt_array;

static inline float hwt_unit_float(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

static inline uint64_t hwt_point(uint32_t key0, uint32_t key1, uint32_t step, uint32_t sample, uint32_t pass)
{
    return hwt_threefry(key0, key1, step, sample << 8 | pass);
}

/* cos(2 pi u) for u in [0, 1), from the quarter of the circle next to 0 by Taylor's series. */
static inline float hwt_cos_turn(float u)
{
    const float half = u > 0.5f ? 1.0f - u : u, quarter = half > 0.25f ? 0.5f - half : half;
    const float t = 6.28318530717958648f * quarter, square = t * t;
    float p = (float)(1.0 / 479001600.0);
    p = p * square + (float)(-1.0 / 3628800.0);
    p = p * square + (float)(1.0 / 40320.0);
    p = p * square + (float)(-1.0 / 720.0);
    p = p * square + (float)(1.0 / 24.0);
    p = p * square - 0.5f;
    p = p * square + 1.0f;
    return half > 0.25f ? -p : p;
}

/* A standard normal by Box and Muller; without calls, so that loops of it become vectors. */
static inline float hwt_normal(uint64_t words)
{
    const float radius = sqrtf(-2.0f * hwt_log(hwt_unit_float((uint32_t)words) + 0x1p-24f));
    return radius * hwt_cos_turn(hwt_unit_float((uint32_t)(words >> 32)));
}

static inline float hwt_row(const hwt_array *a, int32_t row, int32_t cell)
{
    return a->rows[(ptrdiff_t)row * a->columns + (a->columns == 1 ? 0 : cell)];
}

/* Sum over k < n of a^(n-1-k) b^k, by doubling, so that nothing cancels: 1 + r + ... + r^(n-1) for a = 1. */
static inline float hwt_series(float a, float b, int32_t n, const int32_t bits)
{
    float sum = 0.0f, first = 1.0f, second = 1.0f; /* the sum, a^m and b^m for the leading bits m of n */
    for (int32_t bit = bits - 1; bit >= 0; bit--) {
        const int odd = n >> bit & 1;
        sum = sum * (first + second);
        first = first * first;
        second = second * second;
        sum = odd ? sum * a + second : sum;
        first = odd ? first * a : first;
        second = odd ? second * b : second;
    }
    return sum;
}

enum { HWT_PORTION = 256 };

/* pulses[c] (> 0: LTP, < 0: LTD) on conductance cell[c], each below 2^bits and with a normal of its own.
 * One pulse maps travel t to t + s (1 - kappa t); the scatter is the law's, the ends stop it. */
static inline void hwt_move(hwt_array *a, int32_t cells, const int32_t *cell, const int32_t *pulses,
                            const float *noise, const int32_t bits)
{
    float low[HWT_PORTION], high[HWT_PORTION], step[HWT_PORTION], bend[HWT_PORTION], g[HWT_PORTION];
    int32_t clipped[HWT_PORTION];
    for (int32_t c = 0; c < cells; c++) {
        const int rising = pulses[c] > 0;
        low[c] = hwt_row(a, HWT_LOW, cell[c]);
        high[c] = hwt_row(a, HWT_HIGH, cell[c]);
        step[c] = hwt_row(a, rising ? HWT_UP_STEP : HWT_DOWN_STEP, cell[c]);
        bend[c] = hwt_row(a, rising ? HWT_UP_BEND : HWT_DOWN_BEND, cell[c]);
        g[c] = a->g[cell[c]];
    }
    const int affine = a->law == HWT_AFFINE, mult = a->kind == HWT_MULT;
    const float range = a->rel_range, sigma = a->rel_step;
    for (int32_t c = 0; c < cells; c++) { /* no branches and no calls: this loop becomes vectors */
        const int rising = pulses[c] > 0;
        const int32_t count = rising ? pulses[c] : -pulses[c];
        const float width = high[c] - low[c], travel = (rising ? g[c] - low[c] : high[c] - g[c]) / width;
        const float first = step[c] / width, curve = affine ? bend[c] : 0.0f;
        const float most = first * curve > 1.0f ? 1.0f : first * curve;
        const float lost = most < HWT_STRAIGHT && most > -HWT_STRAIGHT ? 0.0f : most, rho = 1.0f - lost;
        const float next = first - lost * travel, middle = first * (1.0f - curve / 2.0f);
        const float mean = travel + next * hwt_series(1.0f, rho, count, bits);
        const float from = mult ? rho * rho + (lost * sigma) * (lost * sigma) : 1.0f;
        const float unit = sigma * (mult ? next : middle), share = range / width;
        const float variance = (float)count * (share * share) + unit * unit * hwt_series(from, rho * rho, count, bits);
        const float bounded = mean < 0.0f ? 0.0f : mean > 1.0f ? 1.0f : mean;
        const float after = mean + sqrtf(variance) * noise[c];
        const float moved = rising ? low[c] + after * width : high[c] - after * width;
        clipped[c] = bounded - travel < (float)(HWT_TINY * count) * (middle < first ? middle : first) ? count : 0;
        g[c] = moved < low[c] ? low[c] : moved > high[c] ? high[c] : moved;
    }
    for (int32_t c = 0; c < cells; c++) {
        const int32_t count = pulses[c] > 0 ? pulses[c] : -pulses[c];
        const int stuck = hwt_row(a, HWT_STUCK, cell[c]) != 0.0f;
        if (!stuck)
            a->g[cell[c]] = g[c];
        a->wear[cell[c]] += count;
        a->counts[pulses[c] > 0 ? HWT_UP : HWT_DOWN] += count;
        a->counts[HWT_CLIPPED] += stuck ? count : clipped[c];
    }
}

/* The conductances that n pulses on one weight go to, and their pulses; returns how many, one or two. */
static inline int32_t hwt_spread(hwt_array *a, int32_t w, int32_t n, int32_t *cell, int32_t *pulses)
{
    const int32_t count = n < 0 ? -n : n, sign = n < 0 ? -1 : 1;
    cell[0] = w;
    pulses[0] = n;
    switch (a->cell) {
    case HWT_SINGLE:
        return 1;
    case HWT_BIDIRECTIONAL_PAIR:
        cell[1] = w + a->weights;
        pulses[1] = -n;
        return 2;
    case HWT_ALTERNATING_PAIR: { /* the side whose turn it is takes the larger half */
        const int32_t turn = a->turn[w], larger = (count + 1) / 2 * sign, smaller = count / 2 * sign;
        a->turn[w] = (uint8_t)(turn ^ (count & 1));
        cell[0] = w + turn * a->weights;
        cell[1] = w + (1 - turn) * a->weights;
        pulses[0] = turn ? -larger : larger;
        pulses[1] = turn ? smaller : -smaller;
        return smaller != 0 ? 2 : 1;
    }
    case HWT_UNIDIRECTIONAL_LTP:
        cell[0] = n < 0 ? w + a->weights : w;
        pulses[0] = count;
        return 1;
    default:
        cell[0] = n > 0 ? w + a->weights : w;
        pulses[0] = -count;
        return 1;
    }
}

static inline void hwt_set_unit(hwt_array *a, int32_t w)
{
    a->unit[w] = a->cell == HWT_SINGLE ? 2.0f * a->g[w] - 1.0f : a->g[w] - a->g[w + a->weights];
}

/* Land n[i] pulses on weight w[i], each weight once. In portions: the noise of a portion is drawn at once. */
static inline void hwt_land(hwt_array *a, int32_t found, const int32_t *w, const int32_t *n, uint64_t point)
{
    const uint32_t k0 = (uint32_t)point, k1 = (uint32_t)(point >> 32);
    const int noisy = a->rel_range > 0.0f || a->rel_step > 0.0f;
    int32_t cell[HWT_PORTION], pulses[HWT_PORTION];
    float noise[HWT_PORTION] = {0.0f};
    for (int32_t first = 0; first < found; first += HWT_PORTION / 2) {
        const int32_t last = first + HWT_PORTION / 2 < found ? first + HWT_PORTION / 2 : found;
        int32_t cells = 0, most = 0;
        for (int32_t i = first; i < last; i++) {
            cells += hwt_spread(a, w[i], n[i], cell + cells, pulses + cells);
            most |= n[i] < 0 ? -n[i] : n[i];
        }
        if (noisy)
            for (int32_t c = 0; c < cells; c++)
                noise[c] = hwt_normal(hwt_threefry(k0, k1, (uint32_t)cell[c], 0));
        if (most == 1)
            hwt_move(a, cells, cell, pulses, noise, 1);
        else if (most < 32)
            hwt_move(a, cells, cell, pulses, noise, 5);
        else
            hwt_move(a, cells, cell, pulses, noise, 24);
        for (int32_t i = first; i < last; i++)
            hwt_set_unit(a, w[i]);
    }
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
static inline void hwt_reset(hwt_array *a, int32_t cell, int falls)
{
    const float low = hwt_row(a, HWT_LOW, cell), high = hwt_row(a, HWT_HIGH, cell), before = a->g[cell];
    const float travel = (falls ? high - before : before - low) / (high - low);
    const int32_t way = falls ? HWT_DOWN : HWT_UP;
    const int32_t pulses = (falls ? a->downs : a->ups) - hwt_pulses_to(a, travel, way);
    if (hwt_row(a, HWT_STUCK, cell) == 0.0f)
        a->g[cell] = falls ? low : high;
    a->wear[cell] += pulses;
    a->counts[way] += pulses;
    a->counts[HWT_RESETS] += 1;
}

static inline int hwt_worn(const hwt_array *a, int32_t w)
{
    const float one = a->g[w], other = a->g[w + a->weights];
    const float first = a->cell == HWT_UNIDIRECTIONAL_LTD ? 1.0f - one : one;
    const float second = a->cell == HWT_UNIDIRECTIONAL_LTD ? 1.0f - other : other;
    return (first > second ? first : second) > 0.75f && (first > second ? second : first) > 0.25f;
}

/* Reset both sides of a worn weight and write it from the start; every pulse takes a slot of its own. */
static inline void hwt_rewrite(hwt_array *a, int32_t w, uint64_t point)
{
    const int32_t way = a->cell == HWT_UNIDIRECTIONAL_LTP ? HWT_UP : HWT_DOWN;
    const float weight = a->g[w] - a->g[w + a->weights];
    const int64_t before = a->counts[HWT_UP] + a->counts[HWT_DOWN];
    hwt_reset(a, w, way == HWT_UP);
    hwt_reset(a, w + a->weights, way == HWT_UP);
    const int32_t count = hwt_pulses_to(a, fabsf(weight), way), n = weight < 0.0f ? -count : count;
    if (count != 0 && weight != 0.0f)
        hwt_land(a, 1, &w, &n, point);
    hwt_set_unit(a, w);
    a->counts[HWT_SLOTS] += a->counts[HWT_UP] + a->counts[HWT_DOWN] - before;
}

/* At most one pulse a weight: P = min(1, |scale d x / step|). Drawn for crossings of live lines alone.
 * touched, amount (out * in_) get the weights and their pulses; returns how many. */
static inline int32_t hwt_sign_pulse(hwt_array *a, int32_t out, int32_t in_, int32_t offset, float chance,
                                     uint64_t draw, const float *x, const float *d, int32_t *touched,
                                     int32_t *amount, int32_t *live, float *drive, uint32_t *words)
{
    const uint32_t k0 = (uint32_t)draw, k1 = (uint32_t)(draw >> 32);
    int32_t lines = 0, found = 0;
    for (int32_t i = 0; i < in_; i++)
        if (x[i] != 0.0f) {
            live[lines] = i;
            drive[lines++] = x[i];
        }
    for (int32_t o = 0; o < out; o++) {
        if (d[o] == 0.0f)
            continue;
        const float row = d[o] * chance;
        const uint32_t first = (uint32_t)(o * in_);
        int used[2] = {0, 0};
        for (int32_t l = 0; l < lines; l++) /* apart from the rest, so that it becomes vectors */
            words[l] = (uint32_t)hwt_threefry(k0, k1, first + (uint32_t)live[l], 0);
        a->counts[HWT_RANDOMS] += lines;
        for (int32_t l = 0; l < lines; l++) {
            const float wanted = row * drive[l];
            if (hwt_unit_float(words[l]) >= fabsf(wanted))
                continue;
            used[wanted > 0.0f] = 1;
            touched[found] = offset + o * in_ + live[l];
            amount[found++] = wanted > 0.0f ? 1 : -1;
        }
        a->counts[HWT_SLOTS] += used[0] + used[1];
    }
    return found;
}

static inline uint32_t hwt_train_bits(uint64_t point, int32_t line, int32_t train, float chance)
{
    uint32_t bits = 0;
    for (int32_t t = 0; t < train; t++) {
        const uint64_t words = hwt_threefry((uint32_t)point, (uint32_t)(point >> 32), (uint32_t)(line * train + t), 0);
        bits |= (uint32_t)(hwt_unit_float((uint32_t)words) < chance) << t;
    }
    return bits;
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

/* Trains of random bits on every line; a weight gets a pulse for each slot in which both of its lines send. */
static inline int32_t hwt_stochastic_pulse(hwt_array *a, int32_t out, int32_t in_, int32_t offset, double scale,
                                           double dw, uint64_t column, uint64_t rows, const float *x,
                                           const float *d, int32_t *touched, int32_t *amount,
                                           int32_t *live, uint32_t *bits)
{
    float x_most = 0.0f, d_most = 0.0f;
    int32_t found = 0, lines = 0;
    for (int32_t i = 0; i < in_; i++)
        x_most = fabsf(x[i]) > x_most ? fabsf(x[i]) : x_most;
    for (int32_t o = 0; o < out; o++)
        d_most = fabsf(d[o]) > d_most ? fabsf(d[o]) : d_most;
    const double k = fabs(scale) * (double)x_most * (double)d_most / dw;
    if (k == 0.0)
        return 0;
    const int32_t train = k < HWT_BL_MAX ? (int32_t)ceil(k) : HWT_BL_MAX;
    const double amplitude = sqrt(fabs(scale) / (dw * train));
    const double balance = sqrt((double)x_most / ((double)d_most * (k > HWT_BL_MAX ? HWT_BL_MAX / k : 1.0)));
    for (int32_t i = 0; i < in_; i++) { /* a line that stands at 0 never sends: it is left out */
        const uint32_t sent = x[i] == 0.0f ? 0 : hwt_train_bits(column, i, train, fabsf(x[i]) * (float)(amplitude / balance));
        if (sent != 0) {
            live[lines] = i;
            bits[lines++] = sent;
        }
    }
    for (int32_t o = 0; o < out; o++) {
        const uint32_t sent = d[o] == 0.0f ? 0 : hwt_train_bits(rows, o, train, fabsf(d[o]) * (float)(amplitude * balance));
        if (sent == 0)
            continue;
        for (int32_t l = 0; l < lines; l++) {
            const int32_t count = hwt_popcount(sent & bits[l]);
            if (count == 0)
                continue;
            const int rises = (d[o] > 0.0f) == (x[live[l]] > 0.0f) ? scale > 0.0 : scale < 0.0;
            touched[found] = offset + o * in_ + live[l];
            amount[found++] = rises ? count : -count;
        }
    }
    a->counts[HWT_SLOTS] += 2 * train;
    a->counts[HWT_RANDOMS] += (int64_t)train * (in_ + out);
    return found;
}

/* The write port of a crossbar, pair after pair and group after group: pulses by the update, then the
 * refresh that the policy asks for.
 * g, wear (cells), unit (weights), turn (turns), updates (1), counts (6), rows (7, columns),
 * edges_up (ups), edges_down (downs), touched, amount (weights), live, words (in_), drive (in_),
 * x (pairs, groups, in_), d (pairs, groups, out) */
static inline void hwt_xbar_write(int32_t cells, int32_t weights, int32_t turns, int32_t columns, int32_t ups,
                                  int32_t downs, int32_t in_, int32_t pairs, int32_t groups, int32_t out,
                                  double scale, double dw, int32_t update, int32_t cell, int32_t law,
                                  int32_t kind, int32_t refresh, int64_t refresh_every, float rel_range,
                                  float rel_step, uint32_t update0, uint32_t update1, uint32_t pulse0,
                                  uint32_t pulse1, uint32_t step, float *g, int32_t *wear, float *unit,
                                  uint8_t *turn, int64_t *updates, int64_t *counts, const float *rows,
                                  const float *edges_up, const float *edges_down, int32_t *touched,
                                  int32_t *amount, int32_t *live, float *drive, int32_t *words, const float *x, const float *d)
{
    hwt_array a = {cells, weights, columns, ups, downs, law, cell, kind, rel_range, rel_step, g, unit, wear,
                   turn, counts, rows, {edges_up, edges_down}, pulse0, pulse1, step, 0, 0};
    (void)turns;
    for (int32_t n = 0; n < pairs * groups; n++) {
        const int32_t group = n % groups, offset = group * out * in_;
        const float *input = x + (ptrdiff_t)n * in_, *error = d + (ptrdiff_t)n * out;
        const uint64_t draw = hwt_point(update0, update1, step, (uint32_t)n, 0);
        const uint64_t scatter = hwt_point(pulse0, pulse1, step, (uint32_t)n, 0);
        int32_t found;
        if (update == HWT_SIGN_PULSE)
            found = hwt_sign_pulse(&a, out, in_, offset, (float)(scale / dw), draw, input, error, touched, amount,
                                   live, drive, (uint32_t *)words);
        else
            found = hwt_stochastic_pulse(&a, out, in_, offset, scale, dw, draw,
                                         hwt_point(update0, update1, step, (uint32_t)n, 1), input, error, touched,
                                         amount, live, (uint32_t *)words);
        hwt_land(&a, found, touched, amount, scatter);
        if (cell != HWT_UNIDIRECTIONAL_LTP && cell != HWT_UNIDIRECTIONAL_LTD)
            continue;
        *updates += 1;
        const uint64_t again = hwt_point(pulse0, pulse1, step, (uint32_t)n, 1);
        const int due = *updates % refresh_every == 0;
        if (refresh == HWT_THRESHOLD) {
            for (int32_t t = 0; t < found; t++)
                if (hwt_worn(&a, touched[t]))
                    hwt_rewrite(&a, touched[t], again);
        } else if (due && refresh != HWT_NONE) {
            for (int32_t w = 0; w < weights; w++)
                if (refresh == HWT_FULL_INIT || hwt_worn(&a, w))
                    hwt_rewrite(&a, w, again);
        }
    }
}

#endif
