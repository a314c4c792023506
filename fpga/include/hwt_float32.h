/* Kernels in float32. The order of every operation is part of the meaning: compile without contraction
 * to fused multiply-adds and without fast-math, and every compiler gives the same bits. */
#ifndef HWT_FLOAT32_H
#define HWT_FLOAT32_H

#define HWT_LANES 16

#include "hwt_math.h"

/* Where the compiler has vectors a row is taken 16 columns at a time, which changes no order and no bit. */
#if defined(__GNUC__) && !defined(HWT_PLAIN)
#define HWT_WHOLE(columns) ((columns) / HWT_LANES * HWT_LANES)
#if defined(__AVX__)
#define HWT_AT_ONCE 16
#else /* on small cores it would be long code */
#define HWT_AT_ONCE 1
#endif
typedef float hwt_lanes __attribute__((vector_size(4 * HWT_LANES), aligned(4), may_alias));
typedef float hwt_half_lanes __attribute__((vector_size(2 * HWT_LANES), aligned(4), may_alias));
typedef float hwt_quarter_lanes __attribute__((vector_size(HWT_LANES), aligned(4), may_alias));
#else
#define HWT_WHOLE(columns) 0
#endif

/* The lanes added up by halves. */
static inline float hwt_tree(float *lane)
{
#if HWT_WHOLE(HWT_LANES)
    const hwt_half_lanes half = *(const hwt_half_lanes *)lane + *(const hwt_half_lanes *)(lane + 8);
    const hwt_quarter_lanes quarter = *(const hwt_quarter_lanes *)&half + *((const hwt_quarter_lanes *)&half + 1);
    return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
#else
    for (int32_t half = HWT_LANES / 2; half > 1; half /= 2)
        for (int32_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0] + lane[1];
#endif
}

#if HWT_WHOLE(HWT_LANES)
/* Sixteen columns of a row, from i on. */
static inline void hwt_dense_lanes(int32_t i, float *w, float factor, const float *before, const float *x, hwt_lanes *sum)
{
    hwt_lanes v = *(hwt_lanes *)(w + i);
    if (before != 0)
        *(hwt_lanes *)(w + i) = v = v + factor * *(const hwt_lanes *)(before + i);
    if (x != 0)
        *sum += v * *(const hwt_lanes *)(x + i);
}
#endif

/* One row of W: takes factor before, if there is one, and then is read by x, if there is one.
 * Rows come one after the other, and 16 vectors at a time: the second cache then hands over a line in little more than a
 * cycle, and in two where several rows are read side by side. */
static inline float hwt_dense_row(int32_t in_, float *w, float factor, const float *before, const float *x)
{
    float lane[HWT_LANES] = {0.0f};
#if HWT_WHOLE(HWT_LANES)
    hwt_lanes sum = {0.0f};
    int32_t i = 0;
#pragma GCC unroll 1
    for (; i + HWT_AT_ONCE * HWT_LANES <= in_; i += HWT_AT_ONCE * HWT_LANES)
        for (int32_t k = 0; k < HWT_AT_ONCE; k++)
            hwt_dense_lanes(i + k * HWT_LANES, w, factor, before, x, &sum);
    for (; i < HWT_WHOLE(in_); i += HWT_LANES)
        hwt_dense_lanes(i, w, factor, before, x, &sum);
    *(hwt_lanes *)lane = sum;
#endif
    for (int32_t k = HWT_WHOLE(in_); k < in_; k++) {
        if (before != 0)
            w[k] += factor * before[k];
        if (x != 0)
            lane[k & (HWT_LANES - 1)] += w[k] * x[k];
    }
    return x != 0 ? hwt_tree(lane) : 0.0f;
}

/* Whether a row without error may be left out: x being finite it would keep its bits. (A weight of -0 would become 0; no
 * weight is: they are loaded without, and no sum makes one.) */
static inline int32_t hwt_dense_finite(int32_t in_, const float *x)
{
    int32_t endless = 0;
    for (int32_t i = 0; i < in_; i++)
        endless |= x[i] - x[i] != 0.0f;
    return !endless;
}

/* W += (scale d) x^T, but for rows whose error is 0, as behind a rectifier. */
static inline void hwt_dense_add_rows(int32_t out, int32_t in_, float scale, float *w, const float *x, const float *d)
{
    const int32_t finite = hwt_dense_finite(in_, x);
    for (int32_t o = 0; o < out; o++)
        if (scale * d[o] != 0.0f || !finite)
            (void)hwt_dense_row(in_, w + (ptrdiff_t)o * in_, scale * d[o], x, 0);
}

/* y = W x. Term i goes to lane i mod 16; the lanes add up by halves.
 * w (groups, out, in_), x (batch, groups, in_) -> y (batch, groups, out) */
static inline void hwt_dense_read(int32_t groups, int32_t out, int32_t in_, int32_t batch,
                                  const float *w, const float *x, float *y)
{
    for (int32_t n = 0; n < batch * groups; n++) {
        const float *matrix = w + (ptrdiff_t)(n % groups) * out * in_, *input = x + (ptrdiff_t)n * in_;
        float *output = y + (ptrdiff_t)n * out;
        if (in_ == 1) /* a bias: fifteen lanes would stay 0 */
            for (int32_t o = 0; o < out; o++)
                output[o] = 0.0f + matrix[o] * input[0];
        else
            for (int32_t o = 0; o < out; o++) /* writes nothing */
                output[o] = hwt_dense_row(in_, (float *)matrix + (ptrdiff_t)o * in_, 0.0f, 0, input);
    }
}

/* W^T d, row after row. w (groups, out, in_), d (batch, groups, out) -> y (batch, groups, in_) */
static inline void hwt_dense_read_t(int32_t groups, int32_t out, int32_t in_, int32_t batch,
                                    const float *w, const float *d, float *y)
{
    for (int32_t n = 0; n < batch * groups; n++) {
        const float *matrix = w + (ptrdiff_t)(n % groups) * out * in_, *error = d + (ptrdiff_t)n * out;
        float *restrict back = y + (ptrdiff_t)n * in_;
        for (int32_t i = 0; i < in_; i++)
            back[i] = 0.0f;
        for (int32_t o = 0; o < out; o++)
            for (int32_t i = 0; i < in_; i++)
                back[i] += matrix[(ptrdiff_t)o * in_ + i] * error[o];
    }
}

/* W += (scale d) x^T, pair after pair. w (groups, out, in_), x (pairs, groups, in_), d (pairs, groups, out) */
static inline void hwt_dense_add_outer(int32_t groups, int32_t out, int32_t in_, int32_t pairs,
                                       float scale, float *w, const float *x, const float *d)
{
    if (in_ == 1 && pairs == 1 && groups == 1) { /* a bias, in one loop */
        for (int32_t o = 0; o < out; o++)
            w[o] += (scale * d[o]) * x[0];
        return;
    }
    if (pairs == 1 && groups == 1) {
        hwt_dense_add_rows(out, in_, scale, w, x, d);
        return;
    }
    for (int32_t line = 0; line < groups * out; line++) {
        float *restrict row = w + (ptrdiff_t)line * in_;
        const int32_t group = line / out;
        for (int32_t k = 0; k < pairs; k++) {
            const float factor = scale * d[(ptrdiff_t)k * groups * out + line];
            const float *input = x + ((ptrdiff_t)k * groups + group) * in_;
            for (int32_t i = 0; i < in_; i++)
                row[i] += factor * input[i];
        }
    }
}

/* W += (scale d) before^T, then y = W x, a row in one go.
 * w (groups, out, in_), before (pairs, groups, in_), d (pairs, groups, out), x (batch, groups, in_)
 * -> y (batch, groups, out) */
static inline void hwt_dense_sweep(int32_t groups, int32_t out, int32_t in_, int32_t pairs, int32_t batch,
                                   float scale, float *w, const float *before, const float *d,
                                   const float *x, float *y)
{
    if (groups * pairs * batch == 1 && in_ > 1) {
        const int32_t finite = hwt_dense_finite(in_, before);
        for (int32_t o = 0; o < out; o++)
            if (scale * d[o] != 0.0f || !finite)
                y[o] = hwt_dense_row(in_, w + (ptrdiff_t)o * in_, scale * d[o], before, x);
            else
                y[o] = hwt_dense_row(in_, w + (ptrdiff_t)o * in_, 0.0f, 0, x);
        return;
    }
    hwt_dense_add_outer(groups, out, in_, pairs, scale, w, before, d);
    hwt_dense_read(groups, out, in_, batch, w, x, y);
}

/* next = W + (scale d) x^T, pair after pair; W stays.
 * next, w (groups, out, in_), x (pairs, groups, in_), d (pairs, groups, out) */
static inline void hwt_dense_propose_outer(int32_t groups, int32_t out, int32_t in_, int32_t pairs,
                                           float scale, float *next, const float *w, const float *x,
                                           const float *d)
{
    for (int32_t line = 0; line < groups * out; line++) {
        float *restrict row = next + (ptrdiff_t)line * in_;
        const float *restrict from = w + (ptrdiff_t)line * in_;
        const int32_t group = line / out;
        for (int32_t k = 0; k < pairs; k++) {
            const float factor = scale * d[(ptrdiff_t)k * groups * out + line];
            const float *input = x + ((ptrdiff_t)k * groups + group) * in_;
            if (k == 0)
                for (int32_t i = 0; i < in_; i++)
                    row[i] = from[i] + factor * input[i];
            else
                for (int32_t i = 0; i < in_; i++)
                    row[i] += factor * input[i];
        }
    }
}

/* y + (scale d) (<x, before> + one^2): what an update not yet written would add to W x + b.
 * y (1, 1, out), x, before (1, 1, in_), d (1, 1, out) -> z (1, 1, out) */
static inline void hwt_dense_correct(int32_t out, int32_t in_, float scale, float one, const float *y,
                                     const float *x, const float *before, const float *d, float *z)
{
    float overlap;
    hwt_dense_read(1, 1, in_, 1, x, before, &overlap);
    overlap += one * one;
    for (int32_t o = 0; o < out; o++)
        z[o] = y[o] + (scale * d[o]) * overlap;
}

/* like (n, ...) -> y (n, 1, 1): the input of a bias. */
static inline void hwt_bias_ones(int32_t n, float one, const float *like, float *y)
{
    (void)like;
    for (int32_t i = 0; i < n; i++)
        y[i] = one;
}

/* y + b. y (batch, positions, out), b (batch, 1, out) -> z (batch, positions, out) */
static inline void hwt_bias_add(int32_t batch, int32_t positions, int32_t out, int32_t shift,
                                const float *y, const float *b, float *z)
{
    (void)shift;
    for (int32_t n = 0; n < batch; n++)
        for (int32_t p = 0; p < positions; p++)
            for (int32_t o = 0; o < out; o++)
                *z++ = *y++ + b[n * out + o];
}

/* x (n) -> y (n) */
static inline void hwt_tanh_forward(int32_t n, const float *x, float *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = hwt_tanh(x[i]);
}

/* d (1 - y^2). d, y (n) -> z (n) */
static inline void hwt_tanh_input_gradient(int32_t n, const float *d, const float *y, float *z)
{
    for (int32_t i = 0; i < n; i++)
        z[i] = d[i] * (1.0f - y[i] * y[i]);
}

/* x (n) -> y (n) */
static inline void hwt_sigmoid_forward(int32_t n, const float *x, float *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = 1.0f / (1.0f + hwt_exp(-x[i]));
}

/* d y (1 - y). d, y (n) -> z (n) */
static inline void hwt_sigmoid_input_gradient(int32_t n, const float *d, const float *y, float *z)
{
    for (int32_t i = 0; i < n; i++)
        z[i] = d[i] * y[i] * (1.0f - y[i]);
}

/* 1 where x >= 0, else 0. x (n) -> y (n) */
static inline void hwt_heaviside_forward(int32_t n, const float *x, float *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = x[i] >= 0.0f ? 1.0f : 0.0f;
}

/* d s (1 - s) with s the logistic function of x. d, x (n) -> z (n) */
static inline void hwt_heaviside_input_gradient(int32_t n, const float *d, const float *x, float *z)
{
    for (int32_t i = 0; i < n; i++) {
        const float s = 1.0f / (1.0f + hwt_exp(-x[i]));
        z[i] = d[i] * s * (1.0f - s);
    }
}

/* The mean of each window, added row by row.
 * x (batch, channels, height, width) -> y (batch, channels, rows, columns) */
static inline void hwt_pool_average_forward(int32_t batch, int32_t channels, int32_t height,
                                            int32_t width, int32_t rows, int32_t columns, int32_t size,
                                            const float *x, float *y)
{
    for (int32_t image = 0; image < batch * channels; image++, x += height * width)
        for (int32_t r = 0; r < rows; r++)
            for (int32_t c = 0; c < columns; c++) {
                float total = 0.0f;
                for (int32_t h = r * size; h < (r + 1) * size; h++)
                    for (int32_t w = c * size; w < (c + 1) * size; w++)
                        total += x[h * width + w];
                *y++ = total / (float)(size * size);
            }
}

/* d / size^2 all over each window, 0 on a rim that no window covers.
 * d (batch, channels, rows, columns) -> y (batch, channels, height, width) */
static inline void hwt_pool_average_input_gradient(int32_t batch, int32_t channels, int32_t rows,
                                                   int32_t columns, int32_t height, int32_t width,
                                                   int32_t size,
                                                   const float *d, float *y)
{
    for (int32_t image = 0; image < batch * channels; image++, d += rows * columns)
        for (int32_t h = 0; h < height; h++)
            for (int32_t w = 0; w < width; w++) {
                const int32_t r = h / size, c = w / size;
                *y++ = r < rows && c < columns ? d[r * columns + c] / (float)(size * size) : 0.0f;
            }
}

/* Softmax and -ln softmax[label]. z (batch, classes), labels (batch) -> loss (batch), p (batch, classes) */
static inline void hwt_softmax_ce_forward(int32_t batch, int32_t classes, const float *z,
                                          const int32_t *labels, float *loss, float *p)
{
    for (int32_t n = 0; n < batch; n++, z += classes, p += classes) {
        float largest = z[0], total = 0.0f;
        for (int32_t c = 1; c < classes; c++)
            largest = z[c] > largest ? z[c] : largest;
        for (int32_t c = 0; c < classes; c++) {
            p[c] = hwt_exp(z[c] - largest);
            total += p[c];
        }
        for (int32_t c = 0; c < classes; c++)
            p[c] = p[c] / total;
        loss[n] = hwt_log(total) - (z[labels[n]] - largest);
    }
}

/* softmax - onehot. p (batch, classes), labels (batch) -> d (batch, classes) */
static inline void hwt_softmax_ce_input_gradient(int32_t batch, int32_t classes, const float *p,
                                                 const int32_t *labels, float *d)
{
    for (int32_t n = 0; n < batch; n++)
        for (int32_t c = 0; c < classes; c++)
            d[n * classes + c] = c == labels[n] ? p[n * classes + c] - 1.0f : p[n * classes + c];
}

/* z - onehot and its mean square. z (batch, classes), labels (batch) -> loss (batch), error (batch, classes) */
static inline void hwt_mse_forward(int32_t batch, int32_t classes, const float *z,
                                   const int32_t *labels, float *loss, float *error)
{
    for (int32_t n = 0; n < batch; n++, z += classes, error += classes) {
        float total = 0.0f;
        for (int32_t c = 0; c < classes; c++) {
            error[c] = c == labels[n] ? z[c] - 1.0f : z[c];
            total += error[c] * error[c];
        }
        loss[n] = total / (float)classes;
    }
}

/* 2 error / classes. error (batch, classes) -> d (batch, classes) */
static inline void hwt_mse_input_gradient(int32_t batch, int32_t classes, const float *error, float *d)
{
    for (int32_t i = 0; i < batch * classes; i++)
        d[i] = error[i] * (float)(2.0 / classes);
}

/* z - onehot and half its square. z (batch, classes), labels (batch) -> loss (batch), d (batch, classes) */
static inline void hwt_squared_error_forward(int32_t batch, int32_t classes, int32_t frac,
                                             int32_t error_frac, const float *z, const int32_t *labels,
                                             float *loss, float *d)
{
    (void)frac;
    (void)error_frac;
    for (int32_t n = 0; n < batch; n++, z += classes, d += classes) {
        float total = 0.0f;
        for (int32_t c = 0; c < classes; c++) {
            d[c] = c == labels[n] ? z[c] - 1.0f : z[c];
            total += d[c] * d[c];
        }
        loss[n] = total * 0.5f;
    }
}

/* Softmax to the base 2: the loss in bits and its gradient.
 * z (batch, classes), labels (batch) -> loss (batch), d (batch, classes) */
static inline void hwt_softmax2_forward(int32_t batch, int32_t classes, int32_t frac,
                                        int32_t error_frac, const float *z, const int32_t *labels,
                                        const int32_t *exp2, const int32_t *reciprocal, float *loss,
                                        float *d)
{
    (void)frac;
    (void)error_frac;
    (void)exp2;
    (void)reciprocal;
    for (int32_t n = 0; n < batch; n++, z += classes, d += classes) {
        float largest = z[0], total = 0.0f;
        for (int32_t c = 1; c < classes; c++)
            largest = z[c] > largest ? z[c] : largest;
        for (int32_t c = 0; c < classes; c++) {
            d[c] = hwt_exp((z[c] - largest) * 0.69314718f);
            total += d[c];
        }
        loss[n] = hwt_log(total) / 0.69314718f - (z[labels[n]] - largest);
        for (int32_t c = 0; c < classes; c++)
            d[c] = c == labels[n] ? d[c] / total - 1.0f : d[c] / total;
    }
}

#endif
