/* Rows kept by label, a slot for each of its prototypes; hits: 1 for a sample whose row is that of its slot. */
#ifndef HWT_SLOTS_H
#define HWT_SLOTS_H

enum { HWT_L1 = 0, HWT_CROSS_ENTROPY = 1 };

#define HWT_LIMIT_MOST 1073741824
#if HWT_SIGNAL_BITS == 0
typedef float hwt_limit;
#else
typedef int32_t hwt_limit;
#endif

/* table (slots, n), places (batch) -> y (batch, n) */
static inline void hwt_slots_take(int32_t slots, int32_t n, int32_t batch, const hwt_signal *table,
                                  const int32_t *places, hwt_signal *y)
{
    (void)slots;
    for (int32_t b = 0; b < batch; b++)
        for (int32_t i = 0; i < n; i++)
            y[b * n + i] = table[places[b] * n + i];
}

/* table (slots, n), places (batch), hits (batch), rows (batch, n) -> y (batch, n) */
static inline void hwt_slots_choose(int32_t slots, int32_t n, int32_t batch, const hwt_signal *table,
                                    const int32_t *places, const int32_t *hits, const hwt_signal *rows,
                                    hwt_signal *y)
{
    (void)slots;
    for (int32_t b = 0; b < batch; b++)
        for (int32_t i = 0; i < n; i++)
            y[b * n + i] = hits[b] != 0 ? table[places[b] * n + i] : rows[b * n + i];
}

/* With sticky, a hit changes nothing. table (slots, n), places (batch), hits (batch), rows (batch, n) */
static inline void hwt_slots_put(int32_t slots, int32_t n, int32_t batch, int32_t sticky, hwt_signal *table,
                                 const int32_t *places, const int32_t *hits, const hwt_signal *rows)
{
    (void)slots;
    for (int32_t b = 0; b < batch; b++)
        if (sticky == 0 || hits[b] == 0)
            for (int32_t i = 0; i < n; i++)
                table[places[b] * n + i] = rows[b * n + i];
}

/* sum |a - b|, in floats by lanes. a, b (n) */
static inline HWT_TERM hwt_slots_apart(int32_t n, const hwt_signal *a, const hwt_signal *b)
{
#if HWT_SIGNAL_BITS == 0
    float lane[HWT_LANES] = {0.0f};
    for (int32_t i = 0; i < n; i++) {
        const float gap = a[i] - b[i];
        lane[i & (HWT_LANES - 1)] += gap < 0.0f ? -gap : gap;
    }
    return hwt_tree(lane);
#else
    int64_t total = 0;
    for (int32_t i = 0; i < n; i++) {
        const int64_t gap = (int64_t)a[i] - (int64_t)b[i];
        total += gap < 0 ? -gap : gap;
    }
    return total;
#endif
}

/* Of a label's slots, label + k classes, the first empty one, else the one of the nearest input by sum |a - b|.
 * inputs (slots, n), known (slots), labels (batch), x (batch, n) -> places (batch) */
static inline void hwt_slots_pick(int32_t slots, int32_t n, int32_t batch, int32_t classes,
                                  const hwt_signal *inputs, const int32_t *known, const int32_t *labels,
                                  const hwt_signal *x, int32_t *places)
{
    for (int32_t b = 0; b < batch; b++) {
        HWT_TERM least = 0;
        places[b] = labels[b];
        for (int32_t slot = labels[b]; slot < slots; slot += classes) {
            HWT_TERM total = -1;
            if (known[slot] != 0)
                total = hwt_slots_apart(n, inputs + (ptrdiff_t)slot * n, x + (ptrdiff_t)b * n);
            if (slot == labels[b] || total < least) {
                least = total;
                places[b] = slot;
            }
        }
    }
}

/* The distance of a slot's row and a sample's: the sum of |a - b|, or in floats -sum p ln q. own, row (n) */
static inline HWT_TERM hwt_slots_gap(int32_t n, int32_t distance, int32_t label, const hwt_signal *own,
                                     const hwt_signal *row)
{
    HWT_TERM total = 0;
    (void)distance;
    (void)label;
    for (int32_t i = 0; i < n; i++) {
        const HWT_TERM a = own[i], b = row[i], gap = a - b;
#if HWT_SIGNAL_BITS == 0
        if (distance == HWT_CROSS_ENTROPY) {
            const float target = i == label ? 1.0f : 0.0f, q = b + target;
            total += -(a + target) * hwt_log(q > 1e-30f ? q : 1e-30f);
            continue;
        }
#endif
        total += gap < 0 ? -gap : gap;
    }
    return total;
}

/* Whether a slot's row is nearer than the limit to the sample's.
 * table (slots, n), known (slots), places, labels (batch), rows (batch, n) -> hits (batch) */
static inline void hwt_slots_near(int32_t slots, int32_t n, int32_t batch, HWT_TERM limit, int32_t distance,
                                  const hwt_signal *table, const int32_t *known, const int32_t *places,
                                  const int32_t *labels, const hwt_signal *rows, int32_t *hits)
{
    (void)slots;
    for (int32_t b = 0; b < batch; b++) {
        const HWT_TERM total = hwt_slots_gap(n, distance, labels[b], table + places[b] * n, rows + b * n);
        hits[b] = known[places[b]] != 0 && total < limit;
    }
}

/* The same, and the limit goes down by a hit, up by another, in units of 2^-shift. limit (1) */
static inline void hwt_slots_follow(int32_t slots, int32_t n, int32_t batch, int32_t shift, HWT_TERM up,
                                    HWT_TERM down, int32_t distance, const hwt_signal *table,
                                    const int32_t *known, const int32_t *places, const int32_t *labels,
                                    const hwt_signal *rows, hwt_limit *limit, int32_t *hits)
{
    (void)slots;
    (void)shift;
    for (int32_t b = 0; b < batch; b++) {
        HWT_TERM total = hwt_slots_gap(n, distance, labels[b], table + places[b] * n, rows + b * n);
#if HWT_SIGNAL_BITS != 0
        total <<= shift;
#endif
        hits[b] = known[places[b]] != 0 && total < *limit;
        if (known[places[b]] != 0) {
            const HWT_TERM moved = *limit + (hits[b] != 0 ? -down : up);
            *limit = (hwt_limit)(moved < 0 ? 0 : moved > HWT_LIMIT_MOST ? HWT_LIMIT_MOST : moved);
        }
    }
}

/* hits (batch) -> flag (1) */
static inline void hwt_slots_all_hit(int32_t batch, const int32_t *hits, int32_t *flag)
{
    *flag = 1;
    for (int32_t b = 0; b < batch; b++)
        if (hits[b] == 0)
            *flag = 0;
}

/* No hits while samples are left that must not be one. left (1), hits (batch) -> found (batch) */
static inline void hwt_slots_warm(int32_t batch, int32_t *left, const int32_t *hits, int32_t *found)
{
    for (int32_t b = 0; b < batch; b++) {
        found[b] = *left > 0 ? 0 : hits[b];
        *left -= *left > 0;
    }
}

/* counts (classes, 4): hits, misses, cold, and hits that are classified right. known (slots),
 * labels, places, hits (batch), z (batch, classes) */
static inline void hwt_slots_tally(int32_t classes, int32_t slots, int32_t batch, int32_t *counts,
                                   int32_t *known, const int32_t *labels, const int32_t *places,
                                   const int32_t *hits, const hwt_signal *z)
{
    (void)slots;
    for (int32_t b = 0; b < batch; b++) {
        int32_t best = 0, *line = counts + 4 * labels[b];
        for (int32_t c = 1; c < classes; c++)
            if (z[b * classes + c] > z[b * classes + best])
                best = c;
        line[hits[b] != 0 ? 0 : known[places[b]] != 0 ? 1 : 2]++;
        line[3] += hits[b] != 0 && best == labels[b];
    }
    for (int32_t b = 0; b < batch; b++)
        known[places[b]] = 1;
}

/* turn (1): of two copies the other is current from now on. */
static inline void hwt_slots_flip(int32_t *turn)
{
    *turn ^= 1;
}

#endif
