/* Kernels of whole numbers. A code c stands for c / 2^frac. Sums are exact: an accumulator is as wide as
 * the program proves necessary, so the order of its terms is free and nothing ever wraps. */
#ifndef HWT_FIXED_H
#define HWT_FIXED_H

enum { HWT_HALF_UP = 0, HWT_FLOOR = 1, HWT_HALF_EVEN = 2, HWT_STOCHASTIC = 3 };

/* The nearest code of so many bits. */
static inline int64_t hwt_saturate(int64_t value, int32_t bits)
{
    const int64_t high = (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
    return value > high ? high : value < -high - 1 ? -high - 1 : value;
}

/* value / 2^shift by its bits, rounding down: what >> does to negative numbers on every machine that
 * matters, said so that the standard agrees. */
static inline int64_t hwt_shift_right(int64_t value, int32_t shift)
{
    return value < 0 ? -1 - ((-1 - value) >> shift) : value >> shift;
}

/* value / 2^shift, rounded and saturated; a negative shift multiplies. noise: 64 random bits. */
static inline int64_t hwt_requantize(int64_t value, int32_t shift, int32_t bits, int32_t rounding,
                                     uint64_t noise)
{
    if (shift <= 0) {
        const int64_t high = (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
        const int64_t most = -shift < 63 ? high >> -shift : 0; /* beyond it the product saturates */
        if (value > most)
            return high;
        if (value < -most - 1)
            return -high - 1;
        return hwt_saturate(value * ((int64_t)1 << -shift), bits);
    }
    if (rounding == HWT_HALF_UP)
        value += (int64_t)1 << (shift - 1);
    else if (rounding == HWT_HALF_EVEN)
        value += ((int64_t)1 << (shift - 1)) - 1 + (hwt_shift_right(value, shift) & 1);
    else if (rounding == HWT_STOCHASTIC)
        value += (int64_t)(noise & (((uint64_t)1 << shift) - 1));
    return hwt_saturate(hwt_shift_right(value, shift), bits);
}

/* acc (n) -> y (n) */
static inline void hwt_fixed_requantize(int32_t n, int32_t shift, int32_t bits, int32_t rounding,
                                        const hwt_acc *acc, hwt_signal *y)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = (hwt_signal)hwt_requantize(acc[i], shift, bits, rounding, 0);
}

/* y = W x. w (groups, out, in_), x (batch, groups, in_) -> y (batch, groups, out) */
static inline void hwt_dense_read(int32_t groups, int32_t out, int32_t in_, int32_t batch,
                                  const hwt_weight *w, const hwt_signal *x, hwt_acc *y)
{
    for (int32_t b = 0; b < batch; b++)
        for (int32_t g = 0; g < groups; g++)
            for (int32_t o = 0; o < out; o++) {
                const ptrdiff_t sample = (ptrdiff_t)b * groups + g, line = (ptrdiff_t)g * out + o;
                hwt_acc total = 0;
                for (int32_t i = 0; i < in_; i++) {
                    HWT_PIPELINE
                    total += (hwt_acc)((int32_t)w[line * in_ + i] * x[sample * in_ + i]);
                }
                y[sample * out + o] = total;
            }
}

/* W^T d. w (groups, out, in_), d (batch, groups, out) -> y (batch, groups, in_) */
static inline void hwt_dense_read_t(int32_t groups, int32_t out, int32_t in_, int32_t batch,
                                    const hwt_weight *w, const hwt_signal *d, hwt_acc *y)
{
    for (int32_t b = 0; b < batch; b++)
        for (int32_t g = 0; g < groups; g++) {
            const ptrdiff_t sample = (ptrdiff_t)b * groups + g, block = (ptrdiff_t)g * out * in_;
            for (int32_t i = 0; i < in_; i++) {
                HWT_PIPELINE
                y[sample * in_ + i] = 0;
            }
            for (int32_t o = 0; o < out; o++)
                for (int32_t i = 0; i < in_; i++) {
                    HWT_PIPELINE
                    y[sample * in_ + i] += (hwt_acc)((int32_t)w[block + (ptrdiff_t)o * in_ + i] * d[sample * out + o]);
                }
        }
}

/* next = sat(W + round(+- sum_k d[k] x[k]^T / 2^(shift + rate))): the pairs add up, then round once. The noise
 * of weight j is the words of element j at (step, 0, 0) of the stream; what is 0 stays 0 and draws nothing.
 * next may be W. next, w (groups, out, in_), x (pairs, groups, in_), d (pairs, groups, out) */
static inline void hwt_fixed_propose_outer(int32_t groups, int32_t out, int32_t in_, int32_t pairs,
                                           int32_t sign, int32_t rate, int32_t shift, int32_t rounding,
                                           uint32_t key0, uint32_t key1, uint32_t step, hwt_weight *next,
                                           const hwt_weight *w, const hwt_signal *x, const hwt_signal *d)
{
    const uint64_t point = hwt_threefry(key0, key1, step, 0);
    const int32_t cut = shift + rate < 62 ? shift + rate : 62; /* beyond it nothing is left anyway */
    for (int32_t g = 0; g < groups; g++)
        for (int32_t o = 0; o < out; o++)
            for (int32_t i = 0; i < in_; i++) {
                HWT_PIPELINE
                const ptrdiff_t line = (ptrdiff_t)g * out + o, element = line * in_ + i;
                int64_t total = 0;
                uint64_t noise = 0;
                for (int32_t k = 0; k < pairs; k++)
                    total += (int64_t)d[(ptrdiff_t)k * groups * out + line] * x[((ptrdiff_t)k * groups + g) * in_ + i];
                if (rounding == HWT_STOCHASTIC && total != 0)
                    noise = hwt_threefry((uint32_t)point, (uint32_t)(point >> 32), (uint32_t)element, 0);
                const int64_t change = hwt_requantize(sign < 0 ? -total : total, cut, 62, rounding, noise);
                next[element] = (hwt_weight)hwt_saturate(w[element] + change, HWT_WEIGHT_BITS);
            }
}

/* The same in place. w (groups, out, in_), x (pairs, groups, in_), d (pairs, groups, out) */
static inline void hwt_fixed_add_outer(int32_t groups, int32_t out, int32_t in_, int32_t pairs,
                                       int32_t sign, int32_t rate, int32_t shift, int32_t rounding,
                                       uint32_t key0, uint32_t key1, uint32_t step, hwt_weight *w,
                                       const hwt_signal *x, const hwt_signal *d)
{
    hwt_fixed_propose_outer(groups, out, in_, pairs, sign, rate, shift, rounding, key0, key1, step, w, w, x, d);
}

/* y + round(+- d (<x, before> + one^2) / 2^(shift + rate)): what an update not yet written would add to W x + b.
 * y (1, 1, out), x, before (1, 1, in_), d (1, 1, out) -> z (1, 1, out) */
static inline void hwt_fixed_correct(int32_t out, int32_t in_, int32_t sign, int32_t rate, int32_t shift,
                                     int32_t one, const hwt_acc *y, const hwt_signal *x,
                                     const hwt_signal *before, const hwt_signal *d, hwt_acc *z)
{
    const int32_t cut = shift + rate < 62 ? shift + rate : 62;
    int64_t overlap = (int64_t)one * one;
    for (int32_t i = 0; i < in_; i++)
        overlap += (int64_t)x[i] * before[i];
    for (int32_t o = 0; o < out; o++) {
        const int64_t change = (int64_t)d[o] * overlap;
        z[o] = y[o] + (hwt_acc)hwt_requantize(sign < 0 ? -change : change, cut, 31, HWT_HALF_UP, 0);
    }
}

/* codes <- the nearest power of two of w / 2^low. codes, w (n) */
static inline void hwt_pot_encode(int32_t n, int32_t low, int32_t most, hwt_code *codes, const hwt_weight *w)
{
    for (int32_t i = 0; i < n; i++) {
        const int32_t weight = w[i], magnitude = weight < 0 ? -weight : weight;
        int32_t leading = -1, power;
        while (magnitude >> (leading + 1) != 0)
            leading++;
        power = leading - low;
        if (power == -1)
            power = 0;
        else if (leading > 0)
            power += magnitude >> (leading - 1) & 1;
        if (power > most)
            power = most;
        if (magnitude == 0 || power < 0)
            codes[i] = 0;
        else
            codes[i] = (hwt_code)(w[i] < 0 ? -power - 1 : power + 1);
    }
}

/* Codes of d as powers of two, right on average: of the two beside |d| the upper one if noise, drawn at
 * (step, 1, 0) of the stream, is below what |d| has under its leading bit. d (n) -> codes (n) */
static inline void hwt_pot_round_error(int32_t n, uint32_t key0, uint32_t key1, uint32_t step,
                                       const hwt_signal *d, hwt_code *codes)
{
    const uint64_t point = hwt_threefry(key0, key1, step, 256);
    for (int32_t i = 0; i < n; i++) {
        const uint32_t magnitude = (uint32_t)(d[i] < 0 ? -(int32_t)d[i] : (int32_t)d[i]);
        int32_t power = 0;
        if (magnitude == 0) {
            codes[i] = 0;
            continue;
        }
        while (magnitude >> (power + 1) != 0)
            power++;
        const uint32_t mask = ((uint32_t)1 << power) - 1;
        const uint32_t noise = (uint32_t)hwt_threefry((uint32_t)point, (uint32_t)(point >> 32), (uint32_t)i, 0);
        if ((noise & mask) < (magnitude & mask))
            power++;
        codes[i] = (hwt_code)(d[i] < 0 ? -power - 1 : power + 1);
    }
}

/* hwt_fixed_add_outer of errors that are codes: every product is a shift.
 * w (groups, out, in_), x (pairs, groups, in_), codes (pairs, groups, out) */
static inline void hwt_pot_add_outer(int32_t groups, int32_t out, int32_t in_, int32_t pairs,
                                     int32_t sign, int32_t rate, int32_t shift, int32_t rounding,
                                     uint32_t key0, uint32_t key1, uint32_t step, hwt_weight *w,
                                     const hwt_signal *x, const hwt_code *codes)
{
    const uint64_t point = hwt_threefry(key0, key1, step, 0);
    const int32_t cut = shift + rate < 62 ? shift + rate : 62;
    for (int32_t line = 0; line < groups * out; line++) {
        const int32_t group = line / out;
        for (int32_t i = 0; i < in_; i++) {
            const ptrdiff_t element = (ptrdiff_t)line * in_ + i;
            int64_t total = 0;
            for (int32_t k = 0; k < pairs; k++) {
                const int32_t code = codes[(ptrdiff_t)k * groups * out + line];
                const int32_t power = (code < 0 ? -code : code) - 1;
                const int64_t value = x[((ptrdiff_t)k * groups + group) * in_ + i];
                const int64_t shifted = code == 0 ? 0 : (int64_t)((uint64_t)value << power);
                total += code < 0 ? -shifted : shifted;
            }
            if (total == 0)
                continue;
            const uint64_t noise = rounding == HWT_STOCHASTIC
                ? hwt_threefry((uint32_t)point, (uint32_t)(point >> 32), (uint32_t)element, 0) : 0;
            const int64_t change = hwt_requantize(sign < 0 ? -total : total, cut, 62, rounding, noise);
            w[element] = (hwt_weight)hwt_saturate(w[element] + change, HWT_WEIGHT_BITS);
        }
    }
}

/* x * sign * 2^k: a shift and a choice. The shift is that of the bits, for C leaves negative ones open. */
static inline hwt_acc hwt_pot_shift(hwt_code code, hwt_signal x)
{
    const int32_t sign = code, power = (sign < 0 ? -sign : sign) - 1;
    const hwt_acc shifted = sign == 0 ? (hwt_acc)0 : (hwt_acc)((uint64_t)(int64_t)x << power);
    return sign < 0 ? (hwt_acc)-shifted : shifted;
}

/* y = W x by shifts. codes (groups, out, in_), x (batch, groups, in_) -> y (batch, groups, out) */
static inline void hwt_pot_read(int32_t groups, int32_t out, int32_t in_, int32_t batch,
                                const hwt_code *codes, const hwt_signal *x, hwt_acc *y)
{
    for (int32_t b = 0; b < batch; b++)
        for (int32_t g = 0; g < groups; g++)
            for (int32_t o = 0; o < out; o++) {
                const ptrdiff_t sample = (ptrdiff_t)b * groups + g, line = (ptrdiff_t)g * out + o;
                hwt_acc total = 0;
                for (int32_t i = 0; i < in_; i++) {
                    HWT_PIPELINE
                    total += hwt_pot_shift(codes[line * in_ + i], x[sample * in_ + i]);
                }
                y[sample * out + o] = total;
            }
}

/* W^T d by shifts. codes (groups, out, in_), d (batch, groups, out) -> y (batch, groups, in_) */
static inline void hwt_pot_read_t(int32_t groups, int32_t out, int32_t in_, int32_t batch,
                                  const hwt_code *codes, const hwt_signal *d, hwt_acc *y)
{
    for (int32_t b = 0; b < batch; b++)
        for (int32_t g = 0; g < groups; g++) {
            const ptrdiff_t sample = (ptrdiff_t)b * groups + g, block = (ptrdiff_t)g * out * in_;
            for (int32_t i = 0; i < in_; i++) {
                HWT_PIPELINE
                y[sample * in_ + i] = 0;
            }
            for (int32_t o = 0; o < out; o++)
                for (int32_t i = 0; i < in_; i++) {
                    HWT_PIPELINE
                    y[sample * in_ + i] += hwt_pot_shift(codes[block + (ptrdiff_t)o * in_ + i], d[sample * out + o]);
                }
        }
}

/* like (n, ...) -> y (n, 1, 1): the input of a bias. */
static inline void hwt_bias_ones(int32_t n, int32_t one, const hwt_signal *like, hwt_signal *y)
{
    (void)like;
    for (int32_t i = 0; i < n; i++)
        y[i] = (hwt_signal)one;
}

/* y + b, b rounded to y's binary point. y (batch, positions, out), b (batch, 1, out) -> z (batch, positions, out) */
static inline void hwt_bias_add(int32_t batch, int32_t positions, int32_t out, int32_t shift,
                                const hwt_acc *y, const hwt_acc *b, hwt_acc *z)
{
    for (int32_t n = 0; n < batch; n++)
        for (int32_t p = 0; p < positions; p++)
            for (int32_t o = 0; o < out; o++)
                *z++ = *y++ + (hwt_acc)hwt_requantize(b[n * out + o], shift, 63, HWT_HALF_UP, 0);
}

/* The mean of each window of 2^m values, rounded half up.
 * x (batch, channels, height, width) -> y (batch, channels, rows, columns) */
static inline void hwt_pool_average_forward(int32_t batch, int32_t channels, int32_t height,
                                            int32_t width, int32_t rows, int32_t columns, int32_t size,
                                            const hwt_signal *x, hwt_signal *y)
{
    int32_t shift = 0;
    while (1 << shift < size * size)
        shift++;
    for (int32_t image = 0; image < batch * channels; image++, x += height * width)
        for (int32_t r = 0; r < rows; r++)
            for (int32_t c = 0; c < columns; c++) {
                int64_t total = 0;
                for (int32_t h = r * size; h < (r + 1) * size; h++)
                    for (int32_t w = c * size; w < (c + 1) * size; w++)
                        total += x[h * width + w];
                *y++ = (hwt_signal)hwt_requantize(total, shift, HWT_SIGNAL_BITS, HWT_HALF_UP, 0);
            }
}

/* d / size^2 all over each window, 0 on a rim that no window covers.
 * d (batch, channels, rows, columns) -> y (batch, channels, height, width) */
static inline void hwt_pool_average_input_gradient(int32_t batch, int32_t channels, int32_t rows,
                                                   int32_t columns, int32_t height, int32_t width,
                                                   int32_t size,
                                                   const hwt_signal *d, hwt_signal *y)
{
    int32_t shift = 0;
    while (1 << shift < size * size)
        shift++;
    for (int32_t image = 0; image < batch * channels; image++, d += rows * columns)
        for (int32_t h = 0; h < height; h++)
            for (int32_t w = 0; w < width; w++) {
                const int32_t r = h / size, c = w / size;
                *y++ = r < rows && c < columns
                    ? (hwt_signal)hwt_requantize(d[r * columns + c], shift, HWT_SIGNAL_BITS, HWT_HALF_UP, 0)
                    : (hwt_signal)0;
            }
}

/* z - onehot and half its square. z (batch, classes), labels (batch) -> loss (batch), d (batch, classes) */
static inline void hwt_squared_error_forward(int32_t batch, int32_t classes, int32_t frac,
                                             int32_t error_frac, const hwt_signal *z,
                                             const int32_t *labels, hwt_loss *loss, hwt_signal *d)
{
    for (int32_t n = 0; n < batch; n++, z += classes, d += classes) {
        int64_t total = 0;
        for (int32_t c = 0; c < classes; c++) {
            const int64_t error = (int64_t)z[c] - (c == labels[n] ? (int64_t)1 << frac : 0);
            total += error * error;
            d[c] = (hwt_signal)hwt_requantize(error, frac - error_frac, HWT_SIGNAL_BITS, HWT_HALF_UP, 0);
        }
        loss[n] = (hwt_loss)hwt_requantize(total, frac + 1, 32, HWT_HALF_UP, 0);
    }
}

/* 2^(z - max), 15 bits after the point: a table of the fraction, shifted by the whole part. */
static inline int64_t hwt_softmax2_power(int64_t below, int32_t frac, const int32_t *exp2)
{
    const int64_t whole = below >> frac, fraction = below & (((int64_t)1 << frac) - 1);
    return exp2[fraction * 32 >> frac] >> (whole < 31 ? whole : 31);
}

/* Softmax to the base 2: the loss in bits and its gradient, without division. The label's error is minus the
 * others', so that errors add up to 0 however coarse the shares are, and scores do not drift away together.
 * z (batch, classes), labels (batch), exp2 (32), reciprocal (32) -> loss (batch), d (batch, classes) */
static inline void hwt_softmax2_forward(int32_t batch, int32_t classes, int32_t frac,
                                        int32_t error_frac, const hwt_signal *z, const int32_t *labels,
                                        const int32_t *exp2, const int32_t *reciprocal, hwt_loss *loss,
                                        hwt_signal *d)
{
    for (int32_t n = 0; n < batch; n++, z += classes, d += classes) {
        int64_t largest = z[0], total = 0;
        int32_t place = 15;
        for (int32_t c = 1; c < classes; c++)
            largest = z[c] > largest ? (int64_t)z[c] : largest;
        for (int32_t c = 0; c < classes; c++)
            total += hwt_softmax2_power(largest - z[c], frac, exp2);
        while (total >> (place + 1) != 0) /* at least one power is 1, so the leading bit is at 15 or above */
            place++;
        const int64_t inverse = reciprocal[total >> (place - 5) & 31];
        int64_t rest = 0;
        for (int32_t c = 0; c < classes; c++) {
            const int64_t share = (hwt_softmax2_power(largest - z[c], frac, exp2) * inverse) >> place;
            d[c] = (hwt_signal)hwt_requantize(share, 15 - error_frac, HWT_SIGNAL_BITS, HWT_HALF_UP, 0);
            rest += c == labels[n] ? 0 : (int64_t)d[c];
        }
        d[labels[n]] = (hwt_signal)hwt_saturate(-rest, HWT_SIGNAL_BITS);
        const int64_t over = (total - ((int64_t)1 << place)) * ((int64_t)1 << frac) >> place;
        loss[n] = (hwt_loss)hwt_saturate((place - 15) * ((int64_t)1 << frac) + over + (largest - z[labels[n]]), 32);
    }
}

#endif
