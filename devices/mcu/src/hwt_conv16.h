/* Convolutions and channels of images of halves, without a buffer for all patches: freestanding C11.
 *
 * Names, arguments and meanings are those of hwtrain/kernels/conv.py, affine.py, strip.py and norm.py. Lanes lie over the
 * positions of an image, which has its channels first, so that patches are copied row by row and never turned
 * round. ``scratch`` is the caller's; what is left there is nobody's. Results may lie over the first image given
 * to affine and norm. */
#ifndef HWT_CONV16_H
#define HWT_CONV16_H

#include "hwt_gemm16.h"
#include "hwt_update16.h"

#define HWT_POSITIONS 32 /* of an input's gradient, at a time */
#define HWT_CONV_ROWS 64 /* of a weight's gradient, at a time: sums of rows times columns lie in scratch */

/* y = round(w x + 0) in every channel. w (channels, 1, 1), x (batch, channels, positions) -> y as x */
HWT_ONCE void hwt_affine_scale(int32_t channels, int32_t batch, int32_t positions, const hwt_half *w,
                               const hwt_half *x, hwt_half *y)
{
    hv_element factor[1];
    for (int32_t n = 0; n < batch; n++)
        for (int32_t c = 0; c < channels; c++, x += positions, y += positions) {
#if HV_EXPAND
            hv_elements(factor, w + c, 1);
#else
            factor[0] = w[c];
#endif
            for (int32_t p = 0; p < positions; p += HV_LANES) {
                const int32_t part = positions - p < HV_LANES ? positions - p : HV_LANES;
                hv_store_part(y + p, hv_fma(hv_zero(), hv_load_part(x + p, part), factor[0]), part);
            }
        }
}

/* x (batch, channels, positions), b (batch, 1, channels) -> y as x */
HWT_ONCE void hwt_affine_add(int32_t batch, int32_t channels, int32_t positions, const hwt_half *x,
                             const hwt_half *b, hwt_half *y)
{
    for (int32_t row = 0; row < batch * channels; row++, x += positions, y += positions) {
        const hv offset = hv_gather(b + row, 0, HV_LANES);
        for (int32_t p = 0; p < positions; p += HV_LANES) {
            const int32_t part = positions - p < HV_LANES ? positions - p : HV_LANES;
            hv_store_part(y + p, hv_add(hv_load_part(x + p, part), offset), part);
        }
    }
}

/* Where a patch's value comes from: channel, row and column of the filter. */
typedef struct { int32_t height, width, across, filter, stride, padding; } hwt_window;

/* One value of each patch, from a channel's plane: of ``count`` positions from ``first`` on, ``step`` apart. */
HWT_ONCE void hwt_patches(const hwt_window *of, const hwt_half *plane, int32_t tap, int32_t first,
                          int32_t count, hwt_half *to, ptrdiff_t step)
{
    const int32_t down = tap / of->filter - of->padding, right = tap % of->filter - of->padding;
    int32_t row = first / of->across, column = first % of->across;
    while (count > 0) { /* the rest of a row of positions */
        const int32_t some = of->across - column < count ? of->across - column : count;
        const int32_t h = row * of->stride + down;
        int32_t w = column * of->stride + right;
        const hwt_half *const line = plane + (ptrdiff_t)h * of->width;
        if (h < 0 || h >= of->height)
            for (int32_t i = 0; i < some; i++, to += step)
                *to = 0;
        else
            for (int32_t i = 0; i < some; i++, to += step, w += of->stride)
                *to = w >= 0 && w < of->width ? line[w] : 0;
        count -= some;
        column = 0;
        row++;
    }
}

/* W x at every position, those of as many at a time as fit.
 * w (groups, out, in_), x (batch, channels, height, width) -> z (batch, filters, positions), columns (scratch) */
HWT_ONCE void hwt_conv_forward(int32_t groups, int32_t out, int32_t in_, int32_t batch, int32_t channels,
                               int32_t height, int32_t width, int32_t filters, int32_t positions,
                               int32_t scratch, int32_t filter, int32_t stride, int32_t padding,
                               const hwt_half *w, const hwt_half *x, hwt_half *z, hwt_half *columns)
{
    const hwt_window of = {height, width, (width + 2 * padding - filter) / stride + 1, filter, stride, padding};
    const int32_t taps = filter * filter, each = channels / groups, plane = height * width;
    const int32_t most = scratch / in_;
    (void)filters;
    for (int32_t n = 0; n < batch; n++)
        for (int32_t g = 0; g < groups; g++, x += (ptrdiff_t)each * plane, z += (ptrdiff_t)out * positions) {
            const hwt_half *const weights = w + (ptrdiff_t)g * out * in_;
            if (taps == 1 && stride == 1 && padding == 0) { /* the image is its patches */
                hwt_gemm16_nn(out, positions, in_, weights, in_, x, positions, z, positions);
                continue;
            }
            for (int32_t from = 0; from < positions; from += most) {
                const int32_t some = positions - from < most ? positions - from : most;
                for (int32_t k = 0; k < in_; k++)
                    hwt_patches(&of, x + (ptrdiff_t)(k / taps) * plane, k % taps, from, some,
                                columns + (ptrdiff_t)k * most, 1);
                hwt_gemm16_nn(out, some, in_, weights, in_, columns, most, z + from, positions);
            }
        }
}

/* W^T d at every position; what overlaps adds up in float, position by position, and is rounded once. Some
 * channels at a time: their sums lie in scratch, then the products of some positions.
 * w (groups, out, in_), d (batch, filters, positions) -> y (batch, channels, height, width), sums (scratch) */
HWT_ONCE void hwt_conv_input_gradient(int32_t groups, int32_t out, int32_t in_, int32_t batch, int32_t filters,
                                      int32_t positions, int32_t channels, int32_t height, int32_t width,
                                      int32_t scratch, int32_t filter, int32_t stride, int32_t padding,
                                      const hwt_half *w, const hwt_half *d, hwt_half *y, float *sums)
{
    const int32_t across = (width + 2 * padding - filter) / stride + 1;
    const int32_t taps = filter * filter, each = channels / groups, plane = height * width;
    const int32_t most = scratch / (plane + taps * HWT_POSITIONS / 2);
    (void)filters;
    for (int32_t image = 0; image < batch * groups; image++, d += (ptrdiff_t)out * positions)
        for (int32_t c = 0; c < each; c += most) {
            const int32_t block = each - c < most ? each - c : most;
            const hwt_half *const weights = w + (ptrdiff_t)(image % groups) * out * in_ + c * taps;
            hwt_half *const columns = (hwt_half *)(void *)(sums + (ptrdiff_t)block * plane);
            for (int32_t i = 0; i < block * plane; i++)
                sums[i] = 0.0f;
            for (int32_t from = 0; from < positions; from += HWT_POSITIONS) {
                const int32_t some = positions - from < HWT_POSITIONS ? positions - from : HWT_POSITIONS;
                hwt_gemm16_tn(block * taps, some, out, weights, in_, d + from, positions, columns, HWT_POSITIONS);
                /* A value's taps from the last to the first are its positions from the first to the last. */
                for (int32_t k = 0; k < block; k++)
                    for (int32_t tap = taps - 1; tap >= 0; tap--) {
                        const hwt_half *const line = columns + (ptrdiff_t)(k * taps + tap) * HWT_POSITIONS;
                        int32_t row = from / across, column = from % across;
                        for (int32_t i = 0; i < some; i++) {
                            const int32_t h = row * stride + tap / filter - padding;
                            const int32_t v = column * stride + tap % filter - padding;
                            if (h >= 0 && h < height && v >= 0 && v < width)
                                sums[k * plane + h * width + v] += hwt_widen(line[i]);
                            if (++column == across) {
                                column = 0;
                                row++;
                            }
                        }
                    }
            }
            for (int32_t i = 0; i < block * plane; i++)
                *y++ = hwt_narrow(sums[i]);
        }
}

/* The gradient of rows top.. and columns left.. of group g, as hwt_gradient16 adds it up. */
HWT_ONCE void hwt_conv_gradient(const hwt_window *of, int32_t batch, int32_t channels, int32_t filters,
                                int32_t positions, int32_t first, int32_t top, int32_t m, int32_t left,
                                int32_t n, int32_t wide, const hwt_half *x, const hwt_half *d, float *sums,
                                hwt_half *columns)
{
    const int32_t taps = of->filter * of->filter;
    const ptrdiff_t plane = (ptrdiff_t)of->height * of->width;
    hwt_half *const rows = columns + HWT_CHUNK * wide;
    for (int32_t i = 0; i < m * wide; i++)
        sums[i] = 0.0f;
    for (int32_t from = 0; from < batch * positions; from += HWT_CHUNK) {
        const int32_t left_over = batch * positions - from;
        const int32_t terms = left_over < HWT_CHUNK ? left_over : HWT_CHUNK;
        const hwt_half *a = rows;
        ptrdiff_t a_row = HWT_CHUNK;
        for (int32_t done = 0; done < terms;) { /* a chunk may end in another sample */
            const int32_t sample = (from + done) / positions, at = (from + done) % positions;
            const int32_t some = positions - at < terms - done ? positions - at : terms - done;
            const hwt_half *const image = x + (ptrdiff_t)sample * channels * plane;
            const hwt_half *const error = d + ((ptrdiff_t)sample * filters + top) * positions + at;
            for (int32_t j = 0; j < n; j++)
                hwt_patches(of, image + (first + (left + j) / taps) * plane, (left + j) % taps, at, some,
                            columns + (ptrdiff_t)done * wide + j, wide);
            if (some == terms) {
                a = error;
                a_row = positions;
            } else
                for (int32_t r = 0; r < m; r++)
                    for (int32_t i = 0; i < some; i++)
                        rows[r * HWT_CHUNK + done + i] = error[(ptrdiff_t)r * positions + i];
            done += some;
        }
        hwt_multiply(0, m, n, terms, a, a_row, columns, wide, 1, NULL, sums, wide);
    }
}

/* As HWT_UPDATE, of an image's patches. */
#define HWT_CONV_UPDATE(keep) \
    const hwt_window of = {height, width, (width + 2 * padding - filter) / stride + 1, filter, stride, padding}; \
    const float factor = scale * hwt_power(-scaling[0]); \
    const int32_t most = out < HWT_CONV_ROWS ? out : HWT_CONV_ROWS; \
    const int32_t mixed = batch > 1 && positions % HWT_CHUNK ? most * HWT_CHUNK / 2 : 0; \
    const int32_t wide = (scratch - mixed) / (most + HWT_CHUNK / 2); /* columns at a time */ \
    hwt_half *const columns = (hwt_half *)(void *)(sums + most * wide); \
    for (int32_t g = 0; g < groups; g++) \
        for (int32_t top = 0; top < out; top += most) \
            for (int32_t left = 0; left < in_; left += wide) { \
                const int32_t m = out - top < most ? out - top : most; \
                const int32_t n = in_ - left < wide ? in_ - left : wide; \
                hwt_conv_gradient(&of, batch, channels, filters, positions, g * (channels / groups), \
                                  g * out + top, m, left, n, wide, x, d, sums, columns); \
                HWT_KEEP(wide, keep) \
            }

/* As hwt_half_add_to_master, of patches. w, master (groups, out, in_), x (batch, channels, height, width),
 * d (batch, filters, positions), scaling (4), counts (2) -> sums (scratch) */
HWT_ONCE void hwt_conv_add_to_master(int32_t groups, int32_t out, int32_t in_, int32_t batch, int32_t channels,
                                     int32_t height, int32_t width, int32_t filters, int32_t positions,
                                     int32_t scratch, float scale, int32_t filter, int32_t stride,
                                     int32_t padding, hwt_half *w, float *master, const hwt_half *x,
                                     const hwt_half *d, int32_t *scaling, int32_t *counts, float *sums)
{
    HWT_CONV_UPDATE(HWT_TO_MASTER)
}

/* As hwt_half_add_compensated, of patches. */
HWT_ONCE void hwt_conv_add_compensated(int32_t groups, int32_t out, int32_t in_, int32_t batch,
                                       int32_t channels, int32_t height, int32_t width, int32_t filters,
                                       int32_t positions, int32_t scratch, float scale, int32_t filter,
                                       int32_t stride, int32_t padding, hwt_half *w, hwt_half *rest,
                                       const hwt_half *x, const hwt_half *d, int32_t *scaling,
                                       int32_t *counts, float *sums)
{
    HWT_CONV_UPDATE(HWT_COMPENSATED)
}

/* As hwt_half_add_at_random, of patches. */
HWT_ONCE void hwt_conv_add_at_random(int32_t groups, int32_t out, int32_t in_, int32_t batch, int32_t channels,
                                     int32_t height, int32_t width, int32_t filters, int32_t positions,
                                     int32_t scratch, float scale, uint32_t key0, uint32_t key1, uint32_t step,
                                     int32_t filter, int32_t stride, int32_t padding, hwt_half *w,
                                     const hwt_half *x, const hwt_half *d, int32_t *scaling, int32_t *counts,
                                     float *sums)
{
    const uint64_t point = hwt_threefry(key0, key1, step, 0);
    HWT_CONV_UPDATE(HWT_AT_RANDOM)
}

/* As hwt_half_add_to_nearest, of patches. */
HWT_ONCE void hwt_conv_add_to_nearest(int32_t groups, int32_t out, int32_t in_, int32_t batch, int32_t channels,
                                      int32_t height, int32_t width, int32_t filters, int32_t positions,
                                      int32_t scratch, float scale, int32_t filter, int32_t stride,
                                      int32_t padding, hwt_half *w, const hwt_half *x, const hwt_half *d,
                                      int32_t *scaling, int32_t *counts, float *sums)
{
    HWT_CONV_UPDATE(HWT_TO_NEAREST)
}

/* Rows first.. of the image a and then b, zeros where they have none, and at both sides as many as padding.
 * a, b (batch, channels, upper and lower, width) -> y (batch, channels, rows, wide) */
HWT_ONCE void hwt_strip_join(int32_t batch, int32_t channels, int32_t upper, int32_t width, int32_t lower,
                             int32_t rows, int32_t wide, int32_t first, int32_t padding, const hwt_half *a,
                             const hwt_half *b, hwt_half *y)
{
    for (int32_t c = 0; c < batch * channels; c++)
        for (int32_t row = first; row < first + rows; row++) {
            const hwt_half *line = NULL;
            if (row >= 0 && row < upper)
                line = a + ((ptrdiff_t)c * upper + row) * width;
            else if (row >= upper && row < upper + lower)
                line = b + ((ptrdiff_t)c * lower + row - upper) * width;
            for (int32_t w = 0; w < wide; w++)
                y[w] = 0;
            for (int32_t w = 0; line && w < width; w++)
                y[padding + w] = line[w];
            y += wide;
        }
}

/* The same of one image. x (batch, channels, height, width) -> y (batch, channels, rows, wide) */
HWT_ONCE void hwt_strip_cut(int32_t batch, int32_t channels, int32_t height, int32_t width, int32_t rows,
                            int32_t wide, int32_t first, int32_t padding, const hwt_half *x, hwt_half *y)
{
    hwt_strip_join(batch, channels, height, width, 0, rows, wide, first, padding, x, x, y);
}

/* Rows first.. of an image <- x. into (batch, channels, height, width), x (batch, channels, rows, width) */
HWT_ONCE void hwt_strip_put(int32_t batch, int32_t channels, int32_t height, int32_t width, int32_t rows,
                            int32_t first, hwt_half *into, const hwt_half *x)
{
    for (int32_t c = 0; c < batch * channels; c++)
        for (int32_t i = 0; i < rows * width; i++)
            into[((ptrdiff_t)c * height + first) * width + i] = *x++;
}

/* An image whose first rows are x, and then zeros. x (batch, channels, rows, width) -> y (batch, channels, height,
 * width) */
HWT_ONCE void hwt_strip_begin(int32_t batch, int32_t channels, int32_t rows, int32_t width, int32_t height,
                              const hwt_half *x, hwt_half *y)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)batch * channels * height * width; i++)
        y[i] = 0;
    hwt_strip_put(batch, channels, height, width, rows, 0, y, x);
}

/* 1 / sqrt(x) of a positive normal number, as fpga/include/hwt_norm.h has it. */
static inline float hwt_inverse_root(float x)
{
    float y = hwt_bits_float(0x5F3759DFu - (hwt_float_bits(x) >> 1));
    for (int32_t i = 0; i < 4; i++)
        y = y * (1.5f - ((0.5f * x) * y) * y);
    return y;
}

/* Sum over samples and positions of (x - less) (other, or x - less, or 1) of one channel, whose rows lie ``apart``;
 * in 16 lanes, then a tree. */
HWT_ONCE float hwt_norm_sum(int32_t batch, ptrdiff_t apart, int32_t positions, const hwt_half *x, float less,
                            const hwt_half *other, int32_t square)
{
    float lanes[16] = {0};
    int32_t k = 0;
    for (int32_t n = 0; n < batch; n++)
        for (int32_t p = 0; p < positions; p++, k++) {
            const float centred = hwt_widen(x[n * apart + p]) - less;
            const float by = other ? hwt_widen(other[n * apart + p]) : centred;
            lanes[k % 16] += other || square ? centred * by : centred;
        }
    for (int32_t half = 8; half > 0; half /= 2)
        for (int32_t i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

/* y = (x - less) factor in one channel. */
HWT_ONCE void hwt_norm_apply(int32_t batch, ptrdiff_t apart, int32_t positions, const hwt_half *x, float less,
                             float factor, hwt_half *y)
{
    for (int32_t n = 0; n < batch; n++)
        for (int32_t p = 0; p < positions; p++)
            y[n * apart + p] = hwt_narrow((hwt_widen(x[n * apart + p]) - less) * factor);
}

/* x (batch, channels, positions), mean, variance (channels; both moved) -> y as x, inverse (channels) */
HWT_ONCE void hwt_norm_batch_forward(int32_t batch, int32_t channels, int32_t positions, float momentum,
                                     float eps, const hwt_half *x, float *mean, float *variance,
                                     hwt_half *y, hwt_half *inverse)
{
    const float count = (float)(batch * positions), keep = 1.0f - momentum;
    const float degrees = count - 1.0f > 1.0f ? count - 1.0f : 1.0f;
    const ptrdiff_t apart = (ptrdiff_t)channels * positions;
    for (int32_t c = 0; c < channels; c++, x += positions, y += positions) {
        const float m = hwt_norm_sum(batch, apart, positions, x, 0.0f, NULL, 0) / count;
        const float squares = hwt_norm_sum(batch, apart, positions, x, m, NULL, 1);
        const float root = hwt_inverse_root(squares / count + eps);
        mean[c] = keep * mean[c] + momentum * m;
        variance[c] = keep * variance[c] + momentum * (squares / degrees);
        inverse[c] = hwt_narrow(root);
        hwt_norm_apply(batch, apart, positions, x, m, root, y);
    }
}

/* x (batch, channels, positions), mean, variance (channels) -> y as x, inverse (channels) */
HWT_ONCE void hwt_norm_frozen_forward(int32_t batch, int32_t channels, int32_t positions, float eps,
                                      const hwt_half *x, const float *mean, const float *variance,
                                      hwt_half *y, hwt_half *inverse)
{
    const ptrdiff_t apart = (ptrdiff_t)channels * positions;
    for (int32_t c = 0; c < channels; c++, x += positions, y += positions) {
        const float root = hwt_inverse_root(variance[c] + eps);
        inverse[c] = hwt_narrow(root);
        hwt_norm_apply(batch, apart, positions, x, mean[c], root, y);
    }
}

/* d, y (batch, channels, positions), inverse (channels) -> z as d */
HWT_ONCE void hwt_norm_batch_input_gradient(int32_t batch, int32_t channels, int32_t positions,
                                            const hwt_half *d, const hwt_half *y, const hwt_half *inverse,
                                            hwt_half *z)
{
    const float count = (float)(batch * positions);
    const ptrdiff_t apart = (ptrdiff_t)channels * positions;
    for (int32_t c = 0; c < channels; c++, d += positions, y += positions, z += positions) {
        const float mean = hwt_norm_sum(batch, apart, positions, d, 0.0f, NULL, 0) / count;
        const float along = hwt_norm_sum(batch, apart, positions, d, 0.0f, y, 0) / count;
        const float root = hwt_widen(inverse[c]);
        for (int32_t n = 0; n < batch; n++)
            for (int32_t p = 0; p < positions; p++) {
                const ptrdiff_t at = n * apart + p;
                z[at] = hwt_narrow(((hwt_widen(d[at]) - mean) - hwt_widen(y[at]) * along) * root);
            }
    }
}

/* d (batch, channels, positions), inverse (channels) -> z as d */
HWT_ONCE void hwt_norm_frozen_input_gradient(int32_t batch, int32_t channels, int32_t positions,
                                             const hwt_half *d, const hwt_half *inverse, hwt_half *z)
{
    const ptrdiff_t apart = (ptrdiff_t)channels * positions;
    for (int32_t c = 0; c < channels; c++, d += positions, z += positions)
        hwt_norm_apply(batch, apart, positions, d, 0.0f, hwt_widen(inverse[c]), z);
}

#endif
