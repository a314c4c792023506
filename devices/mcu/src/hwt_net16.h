/* The kernels of programs whose signals are halves, in freestanding C11: no allocation, no library.
 *
 * Names, arguments and shapes are those of hwtrain/kernels, as in fpga/include; the meaning of each is the NumPy
 * one there. What is not a product works in float on widened halves and rounds once at the end. The order of
 * every operation is part of the meaning: compile with -ffp-contract=off and without fast-math. */
#ifndef HWT_NET16_H
#define HWT_NET16_H

#include "hwt_conv16.h"
#include "hwt_gemm16.h"
#include "hwt_math.h"
#include "hwt_update16.h"

#define HWT_IS_NAN(h) (((h) & 0x7FFFu) > 0x7C00u) /* they stay NaNs: gradients that overflow are looked for */

/* y = W x. w (groups, out, in_), x (batch, groups, in_) -> y (batch, groups, out) */
static inline void hwt_dense_read(int32_t groups, int32_t out, int32_t in_, int32_t batch,
                                  const hwt_half *w, const hwt_half *x, hwt_half *y)
{
    for (int32_t g = 0; g < groups; g++)
        hwt_gemm16_nt(batch, out, in_, x + g * in_, (ptrdiff_t)groups * in_, w + (ptrdiff_t)g * out * in_, in_,
                      y + g * out, (ptrdiff_t)groups * out);
}

/* W^T d. w (groups, out, in_), d (batch, groups, out) -> y (batch, groups, in_) */
static inline void hwt_dense_read_t(int32_t groups, int32_t out, int32_t in_, int32_t batch,
                                    const hwt_half *w, const hwt_half *d, hwt_half *y)
{
    for (int32_t g = 0; g < groups; g++)
        hwt_gemm16_nn(batch, in_, out, d + g * out, (ptrdiff_t)groups * out, w + (ptrdiff_t)g * out * in_, in_,
                      y + g * in_, (ptrdiff_t)groups * in_);
}

/* like (n, ...) -> y (n, 1, 1): the input of a bias. */
static inline void hwt_bias_ones(int32_t n, float one, const hwt_half *like, hwt_half *y)
{
    (void)like;
    for (int32_t i = 0; i < n; i++)
        y[i] = hwt_narrow(one);
}

/* y = a + b */
static inline void hwt_half_sum(int32_t n, const hwt_half *a, const hwt_half *b, hwt_half *y)
{
    for (int32_t i = 0; i < n; i += HV_LANES) {
        const int32_t part = n - i < HV_LANES ? n - i : HV_LANES;
        hv_store_part(y + i, hv_add(hv_load_part(a + i, part), hv_load_part(b + i, part)), part);
    }
}

/* z = d where y > 0, else 0 */
static inline void hwt_half_gate(int32_t n, const hwt_half *d, const hwt_half *y, hwt_half *z)
{
    for (int32_t i = 0; i < n; i += HV_LANES) {
        const int32_t part = n - i < HV_LANES ? n - i : HV_LANES;
        hv_store_part(z + i, hv_gate(hv_load_part(d + i, part), hv_load_part(y + i, part)), part);
    }
}

/* y + b. y (batch, positions, out), b (batch, 1, out) -> z (batch, positions, out) */
static inline void hwt_bias_add(int32_t batch, int32_t positions, int32_t out, int32_t shift,
                                const hwt_half *y, const hwt_half *b, hwt_half *z)
{
    (void)shift;
    for (int32_t row = 0; row < batch * positions; row++)
        hwt_half_sum(out, y + (ptrdiff_t)row * out, b + (ptrdiff_t)(row / positions) * out,
                     z + (ptrdiff_t)row * out);
}

/* a, b (n) -> y (n) */
static inline void hwt_vector_add(int32_t n, const hwt_half *a, const hwt_half *b, hwt_half *y)
{
    hwt_half_sum(n, a, b, y);
}

/* into, a (n) */
static inline void hwt_vector_copy(int32_t n, hwt_half *into, const hwt_half *a)
{
    for (int32_t i = 0; i < n; i++)
        into[i] = a[i];
}

/* x (n) -> y (n) */
static inline void hwt_relu_forward(int32_t n, const hwt_half *x, hwt_half *y) { hwt_half_gate(n, x, x, y); }

/* d, y (n) -> z (n) */
static inline void hwt_relu_input_gradient(int32_t n, const hwt_half *d, const hwt_half *y, hwt_half *z)
{
    hwt_half_gate(n, d, y, z);
}

/* x (n) -> y (n) */
static inline void hwt_tanh_forward(int32_t n, const hwt_half *x, hwt_half *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = HWT_IS_NAN(x[i]) ? x[i] : hwt_narrow(hwt_tanh(hwt_widen(x[i])));
}

/* d (1 - y^2). d, y (n) -> z (n) */
static inline void hwt_tanh_input_gradient(int32_t n, const hwt_half *d, const hwt_half *y, hwt_half *z)
{
    for (int32_t i = 0; i < n; i++) {
        const float at = hwt_widen(y[i]);
        z[i] = hwt_narrow(hwt_widen(d[i]) * (1.0f - at * at));
    }
}

/* x (n) -> y (n) */
static inline void hwt_sigmoid_forward(int32_t n, const hwt_half *x, hwt_half *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = HWT_IS_NAN(x[i]) ? x[i] : hwt_narrow(1.0f / (1.0f + hwt_exp(-hwt_widen(x[i]))));
}

/* d y (1 - y). d, y (n) -> z (n) */
static inline void hwt_sigmoid_input_gradient(int32_t n, const hwt_half *d, const hwt_half *y, hwt_half *z)
{
    for (int32_t i = 0; i < n; i++) {
        const float at = hwt_widen(y[i]);
        z[i] = hwt_narrow(hwt_widen(d[i]) * at * (1.0f - at));
    }
}

/* One row a position; inside it (channel, filter_h, filter_w).
 * x (batch, channels, height, width) -> y (rows, groups * in_) */
static inline void hwt_im2col_im2col(int32_t batch, int32_t channels, int32_t height, int32_t width,
                                     int32_t rows, int32_t groups, int32_t in_, int32_t filter,
                                     int32_t stride, int32_t padding, const hwt_half *x, hwt_half *y)
{
    const int32_t across = (width + 2 * padding - filter) / stride + 1;
    const int32_t positions = rows / batch;
    (void)groups;
    (void)in_;
    for (int32_t row = 0; row < rows; row++) {
        const int32_t top = row % positions / across * stride - padding;
        const int32_t left = row % positions % across * stride - padding;
        const hwt_half *image = x + (ptrdiff_t)(row / positions) * channels * height * width;
        for (int32_t c = 0; c < channels; c++, image += height * width)
            for (int32_t h = top; h < top + filter; h++)
                for (int32_t w = left; w < left + filter; w++)
                    *y++ = h >= 0 && h < height && w >= 0 && w < width ? image[h * width + w] : 0;
    }
}

/* The adjoint: what overlaps adds up in float, position by position, and is rounded once.
 * columns (rows, groups * in_) -> y (batch, channels, height, width) */
static inline void hwt_im2col_col2im(int32_t rows, int32_t groups, int32_t in_, int32_t batch,
                                     int32_t channels, int32_t height, int32_t width, int32_t filter,
                                     int32_t stride, int32_t padding, const hwt_half *columns, hwt_half *y)
{
    const int32_t across = (width + 2 * padding - filter) / stride + 1;
    const int32_t positions = rows / batch, down = positions / across;
    const ptrdiff_t row = (ptrdiff_t)groups * in_;
    for (int32_t n = 0; n < batch; n++)
        for (int32_t c = 0; c < channels; c++)
            for (int32_t h = padding; h < height + padding; h++)
                for (int32_t w = padding; w < width + padding; w++) {
                    float sum = 0.0f;
                    for (int32_t top = h < filter ? 0 : (h - filter) / stride + 1; top < down; top++) {
                        if (top * stride > h)
                            break;
                        for (int32_t left = w < filter ? 0 : (w - filter) / stride + 1; left < across; left++) {
                            if (left * stride > w)
                                break;
                            const int32_t tap = (h - top * stride) * filter + w - left * stride;
                            sum += hwt_widen(columns[((ptrdiff_t)n * positions + top * across + left) * row
                                                     + c * filter * filter + tap]);
                        }
                    }
                    *y++ = hwt_narrow(sum);
                }
}

/* y (batch, positions, channels) -> z (batch, channels, positions) */
static inline void hwt_layout_channels_first(int32_t batch, int32_t positions, int32_t channels,
                                             const hwt_half *y, hwt_half *z)
{
    for (int32_t n = 0; n < batch; n++)
        for (int32_t c = 0; c < channels; c++)
            for (int32_t p = 0; p < positions; p++)
                *z++ = y[((ptrdiff_t)n * positions + p) * channels + c];
}

/* d (batch, channels, positions) -> z (batch, positions, channels) */
static inline void hwt_layout_channels_last(int32_t batch, int32_t channels, int32_t positions,
                                            const hwt_half *d, hwt_half *z)
{
    hwt_layout_channels_first(batch, channels, positions, d, z);
}

/* The largest value of each window and where in its image it stood, the first one among equals.
 * x (batch, channels, height, width) -> y, where (batch, channels, rows, columns) */
static inline void hwt_pool_max_forward(int32_t batch, int32_t channels, int32_t height, int32_t width,
                                        int32_t rows, int32_t columns, int32_t size,
                                        const hwt_half *x, hwt_half *y, int32_t *where)
{
    for (int32_t image = 0; image < batch * channels; image++, x += height * width)
        for (int32_t r = 0; r < rows; r++)
            for (int32_t c = 0; c < columns; c++) {
                int32_t best = r * size * width + c * size;
                for (int32_t h = r * size; h < (r + 1) * size; h++)
                    for (int32_t w = c * size; w < (c + 1) * size; w++)
                        if (hwt_widen(x[h * width + w]) > hwt_widen(x[best])
                            || (HWT_IS_NAN(x[h * width + w]) && !HWT_IS_NAN(x[best])))
                            best = h * width + w;
                *y++ = x[best];
                *where++ = best;
            }
}

/* d at the place of each largest value, 0 elsewhere.
 * d, where (batch, channels, rows, columns) -> y (batch, channels, height, width) */
static inline void hwt_pool_max_input_gradient(int32_t batch, int32_t channels, int32_t rows,
                                               int32_t columns, int32_t height, int32_t width,
                                               const hwt_half *d, const int32_t *where, hwt_half *y)
{
    for (int32_t i = 0; i < batch * channels * height * width; i++)
        y[i] = 0;
    for (int32_t image = 0; image < batch * channels; image++, y += height * width)
        for (int32_t i = 0; i < rows * columns; i++)
            y[*where++] = *d++;
}

/* The mean of each window, added in float row by row.
 * x (batch, channels, height, width) -> y (batch, channels, rows, columns) */
static inline void hwt_pool_average_forward(int32_t batch, int32_t channels, int32_t height, int32_t width,
                                            int32_t rows, int32_t columns, int32_t size,
                                            const hwt_half *x, hwt_half *y)
{
    for (int32_t image = 0; image < batch * channels; image++, x += height * width)
        for (int32_t r = 0; r < rows; r++)
            for (int32_t c = 0; c < columns; c++) {
                float total = 0.0f;
                for (int32_t h = r * size; h < (r + 1) * size; h++)
                    for (int32_t w = c * size; w < (c + 1) * size; w++)
                        total += hwt_widen(x[h * width + w]);
                *y++ = hwt_narrow(total / (float)(size * size));
            }
}

/* d / size^2 all over each window, 0 on a rim that no window covers.
 * d (batch, channels, rows, columns) -> y (batch, channels, height, width) */
static inline void hwt_pool_average_input_gradient(int32_t batch, int32_t channels, int32_t rows,
                                                   int32_t columns, int32_t height, int32_t width, int32_t size,
                                                   const hwt_half *d, hwt_half *y)
{
    for (int32_t image = 0; image < batch * channels; image++, d += rows * columns)
        for (int32_t h = 0; h < height; h++)
            for (int32_t w = 0; w < width; w++) {
                const int32_t r = h / size, c = w / size;
                const int inside = r < rows && c < columns;
                *y++ = inside ? hwt_narrow(hwt_widen(d[r * columns + c]) / (float)(size * size)) : 0;
            }
}

/* Softmax and -ln softmax[label]. z (batch, classes), labels (batch) -> loss (batch), p (batch, classes) */
static inline void hwt_softmax_ce_forward(int32_t batch, int32_t classes, const hwt_half *z,
                                          const int32_t *labels, float *loss, float *p)
{
    for (int32_t n = 0; n < batch; n++, z += classes, p += classes) {
        float largest = hwt_widen(z[0]), total = 0.0f;
        for (int32_t c = 1; c < classes; c++)
            largest = hwt_widen(z[c]) > largest ? hwt_widen(z[c]) : largest;
        for (int32_t c = 0; c < classes; c++) {
            const float power = hwt_widen(z[c]) - largest;
            p[c] = power != power ? power : hwt_exp(power);
            total += p[c];
        }
        for (int32_t c = 0; c < classes; c++)
            p[c] = p[c] / total;
        loss[n] = (total != total ? total : hwt_log(total)) - (hwt_widen(z[labels[n]]) - largest);
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
static inline void hwt_mse_forward(int32_t batch, int32_t classes, const hwt_half *z,
                                   const int32_t *labels, float *loss, float *error)
{
    for (int32_t n = 0; n < batch; n++, z += classes, error += classes) {
        float total = 0.0f;
        for (int32_t c = 0; c < classes; c++) {
            error[c] = c == labels[n] ? hwt_widen(z[c]) - 1.0f : hwt_widen(z[c]);
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

#define HWT_LARGEST_LOG2 15
#define HWT_PATIENCE 200

/* round(d 2^log2), the scale first halved if a gradient overflowed, or doubled if none did for long.
 * d (batch, classes), scaling (4) -> y (batch, classes) */
static inline void hwt_half_scaled(int32_t batch, int32_t classes, const float *d, int32_t *scaling, hwt_half *y)
{
    if (scaling[2]) {
        scaling[0] = scaling[0] > 0 ? scaling[0] - 1 : 0;
        scaling[1] = scaling[2] = 0;
    } else if (++scaling[1] >= HWT_PATIENCE) {
        scaling[0] = scaling[0] < HWT_LARGEST_LOG2 ? scaling[0] + 1 : HWT_LARGEST_LOG2;
        scaling[1] = 0;
    }
    for (int32_t i = 0; i < batch * classes; i++) {
        y[i] = hwt_narrow(d[i] * hwt_power(scaling[0]));
        scaling[3] += d[i] != 0.0f && (y[i] & 0x7FFFu) == 0;
    }
}

#define HWT_STRIP_ROWS 4
#define HWT_STRIP_COLUMNS 64

/* The gradient of some rows and columns of W, for as many as fit the stack at a time; then ``keep``. */
#define HWT_UPDATE(keep) \
    const float factor = scale * hwt_power(-scaling[0]); \
    float sums[HWT_STRIP_ROWS * HWT_STRIP_COLUMNS]; \
    for (int32_t g = 0; g < groups; g++) \
        for (int32_t top = 0; top < out; top += HWT_STRIP_ROWS) \
            for (int32_t left = 0; left < in_; left += HWT_STRIP_COLUMNS) { \
                const int32_t m = out - top < HWT_STRIP_ROWS ? out - top : HWT_STRIP_ROWS; \
                const int32_t n = in_ - left < HWT_STRIP_COLUMNS ? in_ - left : HWT_STRIP_COLUMNS; \
                for (int32_t i = 0; i < m * HWT_STRIP_COLUMNS; i++) \
                    sums[i] = 0.0f; \
                hwt_gradient16(m, n, pairs, d + g * out + top, (ptrdiff_t)groups * out, x + g * in_ + left, \
                               (ptrdiff_t)groups * in_, sums, HWT_STRIP_COLUMNS); \
                HWT_KEEP(HWT_STRIP_COLUMNS, keep) \
            }

/* master += change in float; w = round(master).
 * w, master (groups, out, in_), x (pairs, groups, in_), d (pairs, groups, out), scaling (4), counts (2) */
static inline void hwt_half_add_to_master(int32_t groups, int32_t out, int32_t in_, int32_t pairs, float scale,
                                          hwt_half *w, float *master, const hwt_half *x, const hwt_half *d,
                                          int32_t *scaling, int32_t *counts)
{
    HWT_UPDATE(HWT_TO_MASTER)
}

/* t = w + (2^-11 rest + change) in float; w = round(t); rest = round(2^11 (t - w)). Shapes as above. */
static inline void hwt_half_add_compensated(int32_t groups, int32_t out, int32_t in_, int32_t pairs, float scale,
                                            hwt_half *w, hwt_half *rest, const hwt_half *x, const hwt_half *d,
                                            int32_t *scaling, int32_t *counts)
{
    HWT_UPDATE(HWT_COMPENSATED)
}

/* w = w + change, rounded at random. Shapes as above. */
static inline void hwt_half_add_at_random(int32_t groups, int32_t out, int32_t in_, int32_t pairs, float scale,
                                          uint32_t key0, uint32_t key1, uint32_t step, hwt_half *w,
                                          const hwt_half *x, const hwt_half *d, int32_t *scaling, int32_t *counts)
{
    const uint64_t point = hwt_threefry(key0, key1, step, 0);
    HWT_UPDATE(HWT_AT_RANDOM)
}

/* w = round(w + change). Shapes as above. */
static inline void hwt_half_add_to_nearest(int32_t groups, int32_t out, int32_t in_, int32_t pairs, float scale,
                                           hwt_half *w, const hwt_half *x, const hwt_half *d, int32_t *scaling,
                                           int32_t *counts)
{
    HWT_UPDATE(HWT_TO_NEAREST)
}

#endif
