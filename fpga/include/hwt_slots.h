/* Rows kept by label, one slot for each; hits: 1 for a sample whose row is that of its slot. */
#ifndef HWT_SLOTS_H
#define HWT_SLOTS_H

enum { HWT_L1 = 0, HWT_CROSS_ENTROPY = 1 };

/* table (slots, n), labels (batch) -> y (batch, n) */
static inline void hwt_slots_take(int32_t slots, int32_t n, int32_t batch, const hwt_signal *table,
                                  const int32_t *labels, hwt_signal *y)
{
    (void)slots;
    for (int32_t b = 0; b < batch; b++)
        for (int32_t i = 0; i < n; i++)
            y[b * n + i] = table[labels[b] * n + i];
}

/* table (slots, n), labels (batch), hits (batch), rows (batch, n) -> y (batch, n) */
static inline void hwt_slots_choose(int32_t slots, int32_t n, int32_t batch, const hwt_signal *table,
                                    const int32_t *labels, const int32_t *hits, const hwt_signal *rows,
                                    hwt_signal *y)
{
    (void)slots;
    for (int32_t b = 0; b < batch; b++)
        for (int32_t i = 0; i < n; i++)
            y[b * n + i] = hits[b] != 0 ? table[labels[b] * n + i] : rows[b * n + i];
}

/* With sticky, a hit changes nothing. table (slots, n), labels (batch), hits (batch), rows (batch, n) */
static inline void hwt_slots_put(int32_t slots, int32_t n, int32_t batch, int32_t sticky, hwt_signal *table,
                                 const int32_t *labels, const int32_t *hits, const hwt_signal *rows)
{
    (void)slots;
    for (int32_t b = 0; b < batch; b++)
        if (sticky == 0 || hits[b] == 0)
            for (int32_t i = 0; i < n; i++)
                table[labels[b] * n + i] = rows[b * n + i];
}

/* Whether a label's row is nearer than the limit to the sample's: the sum of |a - b|, or in floats -sum p ln q.
 * table (slots, n), known (slots), labels (batch), rows (batch, n) -> hits (batch) */
static inline void hwt_slots_near(int32_t slots, int32_t n, int32_t batch, HWT_TERM limit, int32_t distance,
                                  const hwt_signal *table, const int32_t *known, const int32_t *labels,
                                  const hwt_signal *rows, int32_t *hits)
{
    (void)slots;
    (void)distance;
    for (int32_t b = 0; b < batch; b++) {
        HWT_TERM total = 0;
        for (int32_t i = 0; i < n; i++) {
            const HWT_TERM own = table[labels[b] * n + i], row = rows[b * n + i], gap = own - row;
#if HWT_SIGNAL_BITS == 0
            if (distance == HWT_CROSS_ENTROPY) {
                const float target = i == labels[b] ? 1.0f : 0.0f, q = row + target;
                total += -(own + target) * hwt_log(q > 1e-30f ? q : 1e-30f);
                continue;
            }
#endif
            total += gap < 0 ? -gap : gap;
        }
        hits[b] = known[labels[b]] != 0 && total < limit;
    }
}

/* No hits while samples are left that must not be one. left (1), hits (batch) -> found (batch) */
static inline void hwt_slots_warm(int32_t batch, int32_t *left, const int32_t *hits, int32_t *found)
{
    for (int32_t b = 0; b < batch; b++) {
        found[b] = *left > 0 ? 0 : hits[b];
        *left -= *left > 0;
    }
}

/* counts (slots, 4): hits, misses, cold, and hits that are classified right. known (slots), labels (batch),
 * hits (batch), z (batch, classes) */
static inline void hwt_slots_tally(int32_t slots, int32_t batch, int32_t classes, int32_t *counts,
                                   int32_t *known, const int32_t *labels, const int32_t *hits,
                                   const hwt_signal *z)
{
    (void)slots;
    for (int32_t b = 0; b < batch; b++) {
        int32_t best = 0, *line = counts + 4 * labels[b];
        for (int32_t c = 1; c < classes; c++)
            if (z[b * classes + c] > z[b * classes + best])
                best = c;
        line[hits[b] != 0 ? 0 : known[labels[b]] != 0 ? 1 : 2]++;
        line[3] += hits[b] != 0 && best == labels[b];
    }
    for (int32_t b = 0; b < batch; b++)
        known[labels[b]] = 1;
}

/* turn (1): of two copies the other is current from now on. */
static inline void hwt_slots_flip(int32_t *turn)
{
    *turn ^= 1;
}

#endif
