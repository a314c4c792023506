/* Reads of a crossbar through its periphery, for the host: the C meaning of hwtrain/kernels/periphery.py.
 *
 * A sample is scaled to its largest value and converted (DAC); every tile of lines adds its currents and one
 * normal an output, of variance sum (noise G x)^2, and converts what comes (ADC); tiles are added digitally.
 * Arrays lie as in hwt_synapse.h, and draws have the addresses of hwtrain/substrates/crossbar.py. */
#ifndef HWT_PERIPHERY_H
#define HWT_PERIPHERY_H

#include "hwt_synapse.h"

enum { HWT_OUTPUTS, HWT_ADC_CLIPPED, HWT_ADC_LOST, HWT_CONVERTED }; /* what converters have counted */

/* Between an array and its digital neighbours. */
typedef struct {
    int32_t dac, adc; /* bits; 0: ideal */
    int32_t tile;     /* most lines that are read together */
    double full;      /* what the output converter can take */
    float noise, offset;
    uint32_t key0, key1, step, number;
    uint32_t first; /* element of the first output of this call */
} hwt_wires;

/* To the symmetric grid of 2^bits - 1 codes over [-full, full]; ties to even. */
static inline float hwt_code(float value, float resolution, int32_t bits)
{
    const float most = (float)((1 << (bits - 1)) - 1);
    return hwt_lesser(most, hwt_greater(-most, rintf(value / resolution)));
}

/* Point.normal of hwtrain/arith/threefry.py. */
static inline float hwt_normal(uint64_t point, uint32_t element)
{
    uint32_t one, other;
    hwt_threefry_words((uint32_t)point, (uint32_t)(point >> 32), element, 0, &one, &other);
    const float radius = sqrtf(-2.0f * logf((float)(one >> 8) * 0x1p-24f + 0x1p-24f));
    return radius * cosf(6.2831855f * ((float)(other >> 8) * 0x1p-24f));
}

/* The largest magnitude of a sample, 1 where all is 0; drive (n) gets the rest of it, converted, from..to. */
static inline float hwt_driven(const hwt_wires *w, int32_t n, const float *x, float *drive, int32_t from,
                               int32_t to)
{
    float largest = 0.0f;
    for (int32_t k = 0; k < n; k++)
        largest = hwt_greater(largest, fabsf(x[k]));
    largest = largest == 0.0f ? 1.0f : largest;
    for (int32_t k = from; k < to; k++) {
        drive[k] = x[k] / largest;
        if (w->dac > 0) {
            const float resolution = (float)(1.0 / ((1 << (w->dac - 1)) - 1));
            drive[k] = hwt_code(drive[k], resolution, w->dac) * resolution;
        }
    }
    return largest;
}

/* Noise and conversion of one tile's currents, from..to, which are added to y. */
static inline void hwt_sensed(const hwt_wires *w, int32_t tile, int32_t from, int32_t to, uint32_t element,
                              const float *current, const float *power, float *y, int64_t *converted)
{
    const uint64_t point = hwt_threefry(w->key0, w->key1, w->step, w->number + (uint32_t)tile);
    for (int32_t k = from; k < to; k++) {
        float value = current[k];
        if (w->noise > 0.0f)
            value += w->noise * sqrtf(power[k]) * hwt_normal(point, element + (uint32_t)k);
        if (w->adc > 0) {
            const float resolution = (float)(w->full / ((1 << (w->adc - 1)) - 1));
            const float code = hwt_code(value, resolution, w->adc);
            converted[HWT_OUTPUTS]++;
            converted[HWT_ADC_CLIPPED] += fabsf(value) > (float)w->full;
            converted[HWT_ADC_LOST] += code == 0.0f && value != 0.0f;
            value = code * resolution;
        }
        y[k] += value;
    }
}

/* The pair of conductances squared, as their noise adds up; ``second`` is a single one's own. */
static inline float hwt_squares(int32_t cell, float first, float second, float offset)
{
    const float one = first + offset, other = second + offset;
    return cell == HWT_SINGLE ? one * one : one * one + other * other;
}

/* y = W x through the periphery. ``look`` (1) is the number of the step before which one evaluates: there the
 * runs of the entry count samples. converted (tallies, 3); drive, current, power (longest);
 * g (branches, groups, in_, out), zero (zeros) as in hwt_synapse.h, x (batch, groups, in_) -> y (batch, groups, out) */
static inline void hwt_periphery_read(int32_t branches, int32_t groups, int32_t in_, int32_t out, int32_t zeros, int32_t tallies,
                                      int32_t longest, int32_t batch, int32_t cell, int32_t dac, int32_t adc, int32_t tile, double full,
                                      double noise, double offset, uint32_t key0, uint32_t key1, int32_t number,
                                      uint32_t step, int32_t evaluating, const float *g, const float *zero, const int64_t *look,
                                      int64_t *converted, float *drive, float *current, float *power, const float *x,
                                      float *y HWT_TEAM)
{
    const ptrdiff_t weights = (ptrdiff_t)groups * in_ * out, second = branches == 1 ? 0 : weights;
    const uint32_t sample = evaluating ? step - (uint32_t)look[0] : 0;
    const hwt_wires w = {dac, adc, tile, full, (float)noise, (float)offset, key0, key1,
                         evaluating ? (uint32_t)look[0] : step, (uint32_t)number,
                         sample * (uint32_t)(batch * groups * out)};
    const int32_t mine = HWT_ME, threads = HWT_THREADS, width = groups * in_;
    const int32_t lower = hwt_share(out, mine, threads), upper = hwt_share(out, mine + 1, threads);
    (void)tallies; (void)longest;
    for (int32_t n = 0; n < batch; n++) {
        const float *input = x + (ptrdiff_t)n * groups * in_;
        const float largest = hwt_driven(&w, width, input, drive, hwt_share(width, mine, threads),
                                         hwt_share(width, mine + 1, threads));
        HWT_MEET(); /* the inputs are converted */
        for (int32_t group = 0; group < groups; group++) {
            const float *matrix = g + (ptrdiff_t)group * in_ * out;
            float *output = y + ((ptrdiff_t)n * groups + group) * out;
            const uint32_t element = w.first + (uint32_t)((n * groups + group) * out);
            for (int32_t o = lower; o < upper; o++)
                output[o] = 0.0f;
            for (int32_t from = 0, part = 0; from < in_; from += tile, part++) {
                for (int32_t o = lower; o < upper; o++)
                    current[o] = power[o] = 0.0f;
                for (int32_t i = from; i < in_ && i < from + tile; i++) {
                    const float *restrict row = matrix + (ptrdiff_t)i * out, v = drive[group * in_ + i];
                    const float *restrict origin = zeros == weights ? zero + (row - g) : NULL;
                    float *restrict to = current, *restrict deviation = power;
                    if (v == 0.0f)
                        continue;
                    for (int32_t o = lower; o < upper; o++)
                        to[o] += (hwt_weight_of(cell, row[o], row[second + o]) - (origin ? origin[o] : 0.0f)) * v;
                    for (int32_t o = lower; o < upper && w.noise > 0.0f; o++)
                        deviation[o] += hwt_squares(cell, row[o], row[second + o], w.offset) * (v * v);
                }
                hwt_sensed(&w, part, lower, upper, element, current, power, output,
                           converted + mine * HWT_CONVERTED);
            }
            for (int32_t o = lower; o < upper; o++)
                output[o] *= largest;
        }
        HWT_MEET(); /* the inputs have been used */
    }
}

/* W^T d through the periphery, in 16 lanes. The other arguments as above;
 * d (batch, groups, out) -> y (batch, groups, in_) */
static inline void hwt_periphery_read_t(int32_t branches, int32_t groups, int32_t in_, int32_t out, int32_t zeros, int32_t tallies,
                                        int32_t longest, int32_t batch, int32_t cell, int32_t dac, int32_t adc, int32_t tile,
                                        double full, double noise, double offset, uint32_t key0, uint32_t key1,
                                        int32_t number, uint32_t step, int32_t evaluating, const float *g,
                                        const float *zero, const int64_t *look, int64_t *converted, float *drive, float *current,
                                        float *power, const float *d, float *y HWT_TEAM)
{
    const ptrdiff_t weights = (ptrdiff_t)groups * in_ * out, second = branches == 1 ? 0 : weights;
    const uint32_t sample = evaluating ? step - (uint32_t)look[0] : 0;
    const hwt_wires w = {dac, adc, tile, full, (float)noise, (float)offset, key0, key1,
                         evaluating ? (uint32_t)look[0] : step, (uint32_t)number,
                         sample * (uint32_t)(batch * groups * in_)};
    const int32_t mine = HWT_ME, threads = HWT_THREADS, width = groups * out;
    const int32_t lower = hwt_share(in_, mine, threads), upper = hwt_share(in_, mine + 1, threads);
    (void)tallies; (void)longest;
    for (int32_t n = 0; n < batch; n++) {
        const float *error = d + (ptrdiff_t)n * groups * out;
        const float largest = hwt_driven(&w, width, error, drive, hwt_share(width, mine, threads),
                                         hwt_share(width, mine + 1, threads));
        HWT_MEET(); /* the errors are converted */
        for (int32_t group = 0; group < groups; group++) {
            const float *matrix = g + (ptrdiff_t)group * in_ * out, *v = drive + group * out;
            float *output = y + ((ptrdiff_t)n * groups + group) * in_;
            const uint32_t element = w.first + (uint32_t)((n * groups + group) * in_);
            for (int32_t i = lower; i < upper; i++)
                output[i] = 0.0f;
            for (int32_t from = 0, part = 0; from < out; from += tile, part++) {
                const int32_t to = from + tile < out ? from + tile : out;
                for (int32_t i = lower; i < upper; i++) {
                    const float *row = matrix + (ptrdiff_t)i * out;
                    const float *origin = zeros == weights ? zero + (row - g) : NULL;
                    float lane[HWT_LANES] = {0.0f}, square[HWT_LANES] = {0.0f};
                    int32_t o = from;
                    for (; o + HWT_LANES <= to; o += HWT_LANES)
                        for (int32_t l = 0; l < HWT_LANES; l++) {
                            const float first = row[o + l], other = row[second + o + l], drives = v[o + l];
                            lane[l] += (hwt_weight_of(cell, first, other) - (origin ? origin[o + l] : 0.0f)) * drives;
                            square[l] += hwt_squares(cell, first, other, w.offset) * (drives * drives);
                        }
                    for (; o < to; o++) {
                        lane[0] += (hwt_weight_of(cell, row[o], row[second + o]) - (origin ? origin[o] : 0.0f)) * v[o];
                        square[0] += hwt_squares(cell, row[o], row[second + o], w.offset) * (v[o] * v[o]);
                    }
                    for (int32_t half = HWT_LANES / 2; half > 0; half /= 2)
                        for (int32_t l = 0; l < half; l++) {
                            lane[l] += lane[l + half];
                            square[l] += square[l + half];
                        }
                    current[i] = lane[0];
                    power[i] = square[0];
                }
                hwt_sensed(&w, part, lower, upper, element, current, power, output,
                           converted + mine * HWT_CONVERTED);
            }
            for (int32_t i = lower; i < upper; i++)
                output[i] *= largest;
        }
        HWT_MEET(); /* the errors have been used */
    }
}

#endif
