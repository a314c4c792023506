/* What a C programmer would write for one net: 784-128-10, tanh, softmax cross-entropy, batch 1, with the
 * order of operations of hwtrain's float32 kernels. native_overhead.py times it beside the program. */
#include <stdint.h>

enum { IN = 784, HIDDEN = 128, OUT = 10, LANES = 16 };

float exp_(float x);
float log_(float x);
float tanh_(float x);

static float dot(const float *w, const float *x, int n)
{
    float lane[LANES] = {0.0f};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += w[i + l] * x[i + l];
    for (; i < n; i++)
        lane[i % LANES] += w[i] * x[i];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

void train(int64_t samples, const float *x, const int32_t *labels, float lr, float *w1, float *b1, float *w2,
           float *b2, float *loss)
{
    for (int64_t s = 0; s < samples; s++, x += IN) {
        float h[HIDDEN], p[OUT], d1[HIDDEN], largest, total = 0.0f, z;
        for (int j = 0; j < HIDDEN; j++)
            h[j] = tanh_(dot(w1 + j * IN, x, IN) + b1[j]);
        for (int k = 0; k < OUT; k++)
            p[k] = dot(w2 + k * HIDDEN, h, HIDDEN) + b2[k];
        largest = p[0];
        for (int k = 1; k < OUT; k++)
            largest = p[k] > largest ? p[k] : largest;
        z = p[labels[s]] - largest;
        for (int k = 0; k < OUT; k++) {
            p[k] = exp_(p[k] - largest);
            total += p[k];
        }
        loss[s] = log_(total) - z;
        for (int k = 0; k < OUT; k++)
            p[k] = p[k] / total;
        p[labels[s]] -= 1.0f;
        for (int j = 0; j < HIDDEN; j++)
            d1[j] = 0.0f;
        for (int k = 0; k < OUT; k++)
            for (int j = 0; j < HIDDEN; j++)
                d1[j] += w2[k * HIDDEN + j] * p[k];
        for (int j = 0; j < HIDDEN; j++)
            d1[j] = d1[j] * (1.0f - h[j] * h[j]);
        for (int k = 0; k < OUT; k++) {
            const float step = -lr * p[k];
            for (int j = 0; j < HIDDEN; j++)
                w2[k * HIDDEN + j] += step * h[j];
            b2[k] += step;
        }
        for (int j = 0; j < HIDDEN; j++) {
            const float step = -lr * d1[j];
            for (int i = 0; i < IN; i++)
                w1[j * IN + i] += step * x[i];
            b1[j] += step;
        }
    }
}

#include "hwt.h"
float exp_(float x) { return hwt_exp(x); }
float log_(float x) { return hwt_log(x); }
float tanh_(float x) { return hwt_tanh(x); }
