/* Value by value: sums (of codes, saturated), copies, comparisons, the rectifier. Signals of any format. */
#ifndef HWT_VECTOR_H
#define HWT_VECTOR_H

#if HWT_SIGNAL_BITS == 0
#define HWT_SUM(sum) (sum)
#define HWT_TERM float
#else
#define HWT_SUM(sum) ((hwt_signal)hwt_saturate(sum, HWT_SIGNAL_BITS))
#define HWT_TERM int64_t
#endif

/* a, b (n) -> y (n) */
static inline void hwt_vector_add(int32_t n, const hwt_signal *a, const hwt_signal *b, hwt_signal *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = HWT_SUM(a[i] + b[i]);
}

/* a, b (n) -> y (n) */
static inline void hwt_vector_subtract(int32_t n, const hwt_signal *a, const hwt_signal *b, hwt_signal *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = HWT_SUM(a[i] - b[i]);
}

#if HWT_SIGNAL_BITS == 0
/* a (n) -> y (n) */
static inline void hwt_vector_scale(int32_t n, float factor, const float *a, float *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = a[i] * factor;
}
#endif

/* a (n) -> y (n) */
static inline void hwt_vector_duplicate(int32_t n, const hwt_signal *a, hwt_signal *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = a[i];
}

/* into, a (n) */
static inline void hwt_vector_copy(int32_t n, hwt_signal *into, const hwt_signal *a)
{
    for (int32_t i = 0; i < n; i++)
        into[i] = a[i];
}

/* a (n) if the flag is not 0, else zeros -> y (n) */
static inline void hwt_vector_gate(int32_t n, const hwt_signal *a, const int32_t *flag, hwt_signal *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = *flag != 0 ? a[i] : (hwt_signal)0;
}

/* loss (batch) if the flag is not 0, else zeros -> y (batch) */
static inline void hwt_vector_gate_loss(int32_t batch, const hwt_loss *loss, const int32_t *flag, hwt_loss *y)
{
    for (int32_t b = 0; b < batch; b++)
        y[b] = *flag != 0 ? loss[b] : 0;
}

/* into (n) */
static inline void hwt_vector_clear(int32_t n, hwt_signal *into)
{
    for (int32_t i = 0; i < n; i++)
        into[i] = 0;
}

/* flag (n) */
static inline void hwt_vector_mark(int32_t n, int32_t value, int32_t *flag)
{
    for (int32_t i = 0; i < n; i++)
        flag[i] = value;
}

/* into, a (n) */
static inline void hwt_vector_copy_labels(int32_t n, int32_t *into, const int32_t *a)
{
    for (int32_t i = 0; i < n; i++)
        into[i] = a[i];
}

/* Whether sum |a - b| < limit, the terms added in order. a, b (n) -> flag (1) */
static inline void hwt_vector_within(int32_t n, HWT_TERM limit, const hwt_signal *a, const hwt_signal *b,
                                     int32_t *flag)
{
    HWT_TERM total = 0;
    for (int32_t i = 0; i < n; i++) {
        const HWT_TERM gap = (HWT_TERM)a[i] - (HWT_TERM)b[i];
        total += gap < 0 ? -gap : gap;
    }
    *flag = total < limit;
}

/* x (n) -> y (n) */
static inline void hwt_relu_forward(int32_t n, const hwt_signal *x, hwt_signal *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : (hwt_signal)0;
}

/* d where the output is positive, else 0. d, y (n) -> z (n) */
static inline void hwt_relu_input_gradient(int32_t n, const hwt_signal *d, const hwt_signal *y, hwt_signal *z)
{
    for (int32_t i = 0; i < n; i++)
        z[i] = y[i] > 0 ? d[i] : (hwt_signal)0;
}

#endif
