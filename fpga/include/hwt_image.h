/* Images: patches, pooling windows, and where the channels stand. Signals of any format. */
#ifndef HWT_IMAGE_H
#define HWT_IMAGE_H

/* The first row or column of a patch in the unpadded image is position * stride - padding. */

/* One row a position; inside it (channel, filter_h, filter_w).
 * x (batch, channels, height, width) -> y (rows, groups * in_) */
static inline void hwt_im2col_im2col(int32_t batch, int32_t channels, int32_t height, int32_t width,
                                     int32_t rows, int32_t groups, int32_t in_, int32_t filter,
                                     int32_t stride, int32_t padding, const hwt_signal *x, hwt_signal *y)
{
    const int32_t across = (width + 2 * padding - filter) / stride + 1;
    const int32_t positions = rows / batch;
    (void)groups;
    (void)in_;
    for (int32_t row = 0; row < rows; row++) {
        const int32_t n = row / positions, position = row % positions;
        const int32_t top = position / across * stride - padding;
        const int32_t left = position % across * stride - padding;
        for (int32_t c = 0; c < channels; c++)
            for (int32_t h = top; h < top + filter; h++)
                for (int32_t w = left; w < left + filter; w++) {
                    const int inside = h >= 0 && h < height && w >= 0 && w < width;
                    *y++ = inside ? x[((n * channels + c) * height + h) * width + w] : (hwt_signal)0;
                }
    }
}

/* The adjoint, position by position. columns (rows, groups * in_) -> y (batch, channels, height, width) */
static inline void hwt_im2col_col2im(int32_t rows, int32_t groups, int32_t in_, int32_t batch,
                                     int32_t channels, int32_t height, int32_t width, int32_t filter,
                                     int32_t stride, int32_t padding, const hwt_acc *columns, hwt_acc *y)
{
    const int32_t across = (width + 2 * padding - filter) / stride + 1;
    const int32_t positions = rows / batch;
    (void)groups;
    (void)in_;
    for (int32_t i = 0; i < batch * channels * height * width; i++)
        y[i] = 0;
    for (int32_t row = 0; row < rows; row++) {
        const int32_t n = row / positions, position = row % positions;
        const int32_t top = position / across * stride - padding;
        const int32_t left = position % across * stride - padding;
        for (int32_t c = 0; c < channels; c++)
            for (int32_t h = top; h < top + filter; h++)
                for (int32_t w = left; w < left + filter; w++, columns++)
                    if (h >= 0 && h < height && w >= 0 && w < width)
                        y[((n * channels + c) * height + h) * width + w] += *columns;
    }
}

/* y (batch, positions, channels) -> z (batch, channels, positions) */
static inline void hwt_layout_channels_first(int32_t batch, int32_t positions, int32_t channels,
                                             const hwt_signal *y, hwt_signal *z)
{
    for (int32_t n = 0; n < batch; n++)
        for (int32_t c = 0; c < channels; c++)
            for (int32_t p = 0; p < positions; p++)
                *z++ = y[(n * positions + p) * channels + c];
}

/* d (batch, channels, positions) -> z (batch, positions, channels) */
static inline void hwt_layout_channels_last(int32_t batch, int32_t channels, int32_t positions,
                                            const hwt_signal *d, hwt_signal *z)
{
    for (int32_t n = 0; n < batch; n++)
        for (int32_t p = 0; p < positions; p++)
            for (int32_t c = 0; c < channels; c++)
                *z++ = d[(n * channels + c) * positions + p];
}

/* a (batch, channels, positions), b (batch, more, positions) -> z (batch, channels + more, positions) */
static inline void hwt_layout_join(int32_t batch, int32_t channels, int32_t positions, int32_t more,
                                   int32_t joined, const hwt_signal *a, const hwt_signal *b, hwt_signal *z)
{
    (void)joined;
    for (int32_t n = 0; n < batch; n++) {
        for (int32_t i = 0; i < channels * positions; i++)
            *z++ = *a++;
        for (int32_t i = 0; i < more * positions; i++)
            *z++ = *b++;
    }
}

/* x (batch, joined, positions) -> z (batch, end - start, positions) */
static inline void hwt_layout_part(int32_t batch, int32_t joined, int32_t positions, int32_t channels,
                                   int32_t start, int32_t end, const hwt_signal *x, hwt_signal *z)
{
    (void)channels;
    for (int32_t n = 0; n < batch; n++)
        for (int32_t c = start; c < end; c++)
            for (int32_t p = 0; p < positions; p++)
                *z++ = x[(n * joined + c) * positions + p];
}

/* The largest value of each window and where in its image it stood, the first one among equals.
 * x (batch, channels, height, width) -> y, where (batch, channels, rows, columns) */
static inline void hwt_pool_max_forward(int32_t batch, int32_t channels, int32_t height, int32_t width,
                                        int32_t rows, int32_t columns, int32_t size,
                                        const hwt_signal *x, hwt_signal *y, int32_t *where)
{
    for (int32_t image = 0; image < batch * channels; image++, x += height * width)
        for (int32_t r = 0; r < rows; r++)
            for (int32_t c = 0; c < columns; c++) {
                int32_t best = r * size * width + c * size;
                for (int32_t h = r * size; h < (r + 1) * size; h++)
                    for (int32_t w = c * size; w < (c + 1) * size; w++)
                        if (x[h * width + w] > x[best])
                            best = h * width + w;
                *y++ = x[best];
                *where++ = best;
            }
}

/* d at the place of each largest value, 0 elsewhere.
 * d, where (batch, channels, rows, columns) -> y (batch, channels, height, width) */
static inline void hwt_pool_max_input_gradient(int32_t batch, int32_t channels, int32_t rows,
                                               int32_t columns, int32_t height, int32_t width,
                                               const hwt_signal *d,
                                               const int32_t *where, hwt_signal *y)
{
    for (int32_t i = 0; i < batch * channels * height * width; i++)
        y[i] = 0;
    for (int32_t image = 0; image < batch * channels; image++, y += height * width)
        for (int32_t i = 0; i < rows * columns; i++)
            y[*where++] = *d++;
}

#endif
