/* Log-mel features of a spoken word: the bits of hwtrain/data/logmel.py, which says what they are.
 *
 * Freestanding C99 in float32; compile without contraction to fused multiply-adds and without fast-math. */
#ifndef HWT_LOGMEL_H
#define HWT_LOGMEL_H

#include <stdint.h>

#include "hwt_math.h"

#define HWT_LOGMEL_RATE 8000 /* samples a second */
#define HWT_LOGMEL_FRAMES 16
#define HWT_LOGMEL_BANDS 16
#define HWT_LOGMEL_SIZE 256 /* samples of a frame */
#define HWT_LOGMEL_HOP 320  /* from one frame to the next */
#define HWT_LOGMEL_SPAN (HWT_LOGMEL_HOP * (HWT_LOGMEL_FRAMES - 1) + HWT_LOGMEL_SIZE)
#define HWT_LOGMEL_ROOM (2 * HWT_LOGMEL_SIZE) /* floats that a frame is worked on in */
#define HWT_LOGMEL_FLOOR 1e-9f
#define HWT_LOGMEL_DEPTH 12.0f

/* cos(2 pi k / SIZE), 0 <= k <= SIZE / 2. */
static inline float hwt_logmel_cos(int32_t k)
{
    static const float quarter[HWT_LOGMEL_SIZE / 4 + 1] = {
        0x1p+0f, 0x1.ffd886p-1f, 0x1.ff621ep-1f, 0x1.fe9cdap-1f, 0x1.fd88dap-1f, 0x1.fc2648p-1f,
        0x1.fa7558p-1f, 0x1.f8765p-1f, 0x1.f6297cp-1f, 0x1.f38f3ap-1f, 0x1.f0a7fp-1f, 0x1.ed740ep-1f,
        0x1.e9f416p-1f, 0x1.e6288ep-1f, 0x1.e2121p-1f, 0x1.ddb13cp-1f, 0x1.d906bcp-1f, 0x1.d4134ep-1f,
        0x1.ced7bp-1f, 0x1.c954b2p-1f, 0x1.c38b3p-1f, 0x1.bd7c0ap-1f, 0x1.b72834p-1f, 0x1.b090a6p-1f,
        0x1.a9b662p-1f, 0x1.a29a7ap-1f, 0x1.9b3e04p-1f, 0x1.93a224p-1f, 0x1.8bc806p-1f, 0x1.83b0ep-1f,
        0x1.7b5df2p-1f, 0x1.72d084p-1f, 0x1.6a09e6p-1f, 0x1.610b76p-1f, 0x1.57d694p-1f, 0x1.4e6cacp-1f,
        0x1.44cf32p-1f, 0x1.3affa2p-1f, 0x1.30ff8p-1f, 0x1.26d054p-1f, 0x1.1c73b4p-1f, 0x1.11eb36p-1f,
        0x1.07387ap-1f, 0x1.f8ba4ep-2f, 0x1.e2b5d4p-2f, 0x1.cc66eap-2f, 0x1.b5d1p-2f, 0x1.9ef794p-2f,
        0x1.87de2ap-2f, 0x1.708854p-2f, 0x1.58f9a8p-2f, 0x1.4135cap-2f, 0x1.294062p-2f, 0x1.111d26p-2f,
        0x1.f19f98p-3f, 0x1.c0b826p-3f, 0x1.8f8b84p-3f, 0x1.5e2144p-3f, 0x1.2c8106p-3f, 0x1.f564e6p-4f,
        0x1.917a6cp-4f, 0x1.2d520ap-4f, 0x1.91f66p-5f, 0x1.92156p-6f, 0.0f};
    return k <= HWT_LOGMEL_SIZE / 4 ? quarter[k] : -quarter[HWT_LOGMEL_SIZE / 2 - k];
}

/* |X|^2 of a frame under its window, in place of the frame: transformed by radix 2, decimated in time.
 * real (SIZE), in the order of reversed bits; imag (SIZE). */
static inline void hwt_logmel_power(float *real, float *imag)
{
    for (int32_t half = 1; half < HWT_LOGMEL_SIZE; half *= 2) {
        for (int32_t at = 0; at < HWT_LOGMEL_SIZE; at += 2 * half) {
            for (int32_t k = 0; k < half; k++) {
                const int32_t turn = k * (HWT_LOGMEL_SIZE / 2 / half), past = turn - HWT_LOGMEL_SIZE / 4;
                const float c = hwt_logmel_cos(turn), s = hwt_logmel_cos(past < 0 ? -past : past);
                const int32_t i = at + k, j = i + half;
                const float turned = real[j] * c + imag[j] * s, other = imag[j] * c - real[j] * s;
                const float a = real[i], b = imag[i];
                real[i] = a + turned;
                imag[i] = b + other;
                real[j] = a - turned;
                imag[j] = b - other;
            }
        }
    }
    for (int32_t k = 0; k < HWT_LOGMEL_SIZE; k++)
        real[k] = real[k] * real[k] + imag[k] * imag[k];
}

/* Natural logarithms of a frame's energies in the triangles. power (SIZE) -> logs (BANDS) */
static inline void hwt_logmel_bands(const float *power, float *logs)
{
    static const int16_t edges[HWT_LOGMEL_BANDS + 2] = {
        2, 5, 8, 11, 15, 19, 24, 29, 35, 42, 49, 57, 66, 76, 87, 99, 113, 128};
    for (int32_t band = 0; band < HWT_LOGMEL_BANDS; band++) {
        const int32_t low = edges[band], middle = edges[band + 1], high = edges[band + 2];
        float total = 0.0f;
        for (int32_t k = low + 1; k < high; k++) {
            const float share = k <= middle ? (float)(k - low) / (float)(middle - low)
                                            : (float)(high - k) / (float)(high - middle);
            total = total + share * power[k];
        }
        logs[band] = hwt_log(total + HWT_LOGMEL_FLOOR);
    }
}

/* word (n) of 16-bit samples -> features (FRAMES, BANDS) from 0 to 1; room (HWT_LOGMEL_ROOM) is scratch. */
static inline void hwt_logmel(int32_t n, const int16_t *word, float *features, float *room)
{
    /* The middle of the word; half of an odd number, rounded down, as Python does. */
    const int32_t apart = n - HWT_LOGMEL_SPAN, skip = (apart - (apart < 0 && apart % 2 != 0)) / 2;
    float *const real = room, *const imag = room + HWT_LOGMEL_SIZE;
    float loudest = 0.0f;
    for (int32_t frame = 0; frame < HWT_LOGMEL_FRAMES; frame++) {
        for (int32_t k = 0, back = 0; k < HWT_LOGMEL_SIZE; k++) {
            const int32_t at = skip + frame * HWT_LOGMEL_HOP + k;
            const float sample = at >= 0 && at < n ? (float)word[at] * (1.0f / 32768.0f) : 0.0f;
            const float turn = hwt_logmel_cos(k <= HWT_LOGMEL_SIZE / 2 ? k : HWT_LOGMEL_SIZE - k);
            real[back] = sample * (0.5f - 0.5f * turn);
            imag[back] = 0.0f;
            int32_t bit = HWT_LOGMEL_SIZE / 2; /* back: the bits of k + 1, the lowest first */
            while (back & bit) {
                back ^= bit;
                bit /= 2;
            }
            back |= bit;
        }
        hwt_logmel_power(real, imag);
        hwt_logmel_bands(real, features + frame * HWT_LOGMEL_BANDS);
    }
    for (int32_t i = 0; i < HWT_LOGMEL_FRAMES * HWT_LOGMEL_BANDS; i++)
        loudest = i == 0 || features[i] > loudest ? features[i] : loudest;
    for (int32_t i = 0; i < HWT_LOGMEL_FRAMES * HWT_LOGMEL_BANDS; i++) {
        const float share = 1.0f - (loudest - features[i]) * (1.0f / HWT_LOGMEL_DEPTH);
        features[i] = share > 0.0f ? share : 0.0f;
    }
}

#endif
