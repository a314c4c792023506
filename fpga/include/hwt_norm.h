/* Normalisation of a channel over samples and positions, in float32; the sums in 16 lanes, as a dense read. */
#ifndef HWT_NORM_H
#define HWT_NORM_H

/* 1 / sqrt(x) of a positive normal number: a guess from the bits, then Newton's steps. */
static inline float hwt_inverse_root(float x)
{
    float y = hwt_from_bits(0x5F3759DF - (hwt_to_bits(x) >> 1));
    for (int32_t i = 0; i < 4; i++)
        y = y * (1.5f - ((0.5f * x) * y) * y);
    return y;
}

/* Sum over samples and positions of (x - less) * (other, or x - less, or 1) in channel c.
 * x, other (batch, channels, positions) */
static inline float hwt_norm_sum(int32_t batch, int32_t channels, int32_t positions, int32_t c,
                                 const float *x, float less, const float *other, int32_t square)
{
    float lanes[HWT_LANES] = {0};
    int32_t k = 0;
    for (int32_t n = 0; n < batch; n++) {
        const ptrdiff_t row = ((ptrdiff_t)n * channels + c) * positions;
        for (int32_t p = 0; p < positions; p++, k++) {
            const float centred = x[row + p] - less;
            lanes[k % HWT_LANES] += other ? centred * other[row + p] : square ? centred * centred : centred;
        }
    }
    for (int32_t half = HWT_LANES / 2; half > 0; half /= 2)
        for (int32_t i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

/* y = (x - less) * factor in channel c. x, y (batch, channels, positions) */
static inline void hwt_norm_apply(int32_t batch, int32_t channels, int32_t positions, int32_t c,
                                  const float *x, float less, float factor, float *y)
{
    for (int32_t n = 0; n < batch; n++) {
        const ptrdiff_t row = ((ptrdiff_t)n * channels + c) * positions;
        for (int32_t p = 0; p < positions; p++)
            y[row + p] = (x[row + p] - less) * factor;
    }
}

/* x (batch, channels, positions), mean, variance (channels; both moved) -> y as x, inverse (channels) */
static inline void hwt_norm_batch_forward(int32_t batch, int32_t channels, int32_t positions, float momentum,
                                          float eps, const float *x, float *mean, float *variance,
                                          float *y, float *inverse)
{
    const float count = (float)(batch * positions), keep = 1.0f - momentum;
    const float degrees = count - 1.0f > 1.0f ? count - 1.0f : 1.0f;
    for (int32_t c = 0; c < channels; c++) {
        const float m = hwt_norm_sum(batch, channels, positions, c, x, 0.0f, NULL, 0) / count;
        const float squares = hwt_norm_sum(batch, channels, positions, c, x, m, NULL, 1);
        mean[c] = keep * mean[c] + momentum * m;
        variance[c] = keep * variance[c] + momentum * (squares / degrees);
        inverse[c] = hwt_inverse_root(squares / count + eps);
        hwt_norm_apply(batch, channels, positions, c, x, m, inverse[c], y);
    }
}

/* x (batch, channels, positions), mean, variance (channels) -> y as x, inverse (channels) */
static inline void hwt_norm_frozen_forward(int32_t batch, int32_t channels, int32_t positions, float eps,
                                           const float *x, const float *mean, const float *variance,
                                           float *y, float *inverse)
{
    for (int32_t c = 0; c < channels; c++) {
        inverse[c] = hwt_inverse_root(variance[c] + eps);
        hwt_norm_apply(batch, channels, positions, c, x, mean[c], inverse[c], y);
    }
}

/* d, y (batch, channels, positions), inverse (channels) -> z as d */
static inline void hwt_norm_batch_input_gradient(int32_t batch, int32_t channels, int32_t positions,
                                                 const float *d, const float *y, const float *inverse,
                                                 float *z)
{
    const float count = (float)(batch * positions);
    for (int32_t c = 0; c < channels; c++) {
        const float mean = hwt_norm_sum(batch, channels, positions, c, d, 0.0f, NULL, 0) / count;
        const float along = hwt_norm_sum(batch, channels, positions, c, d, 0.0f, y, 0) / count;
        for (int32_t n = 0; n < batch; n++) {
            const ptrdiff_t row = ((ptrdiff_t)n * channels + c) * positions;
            for (int32_t p = 0; p < positions; p++)
                z[row + p] = ((d[row + p] - mean) - y[row + p] * along) * inverse[c];
        }
    }
}

/* d (batch, channels, positions), inverse (channels) -> z as d */
static inline void hwt_norm_frozen_input_gradient(int32_t batch, int32_t channels, int32_t positions,
                                                  const float *d, const float *inverse, float *z)
{
    for (int32_t c = 0; c < channels; c++)
        hwt_norm_apply(batch, channels, positions, c, d, 0.0f, inverse[c], z);
}

#endif
