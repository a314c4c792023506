/* The kernels in C++ on ap_int and ap_fixed (Vitis has the headers; others take hls4ml's, or another's). Codes have as
 * many bits as their format, sums HWT_ACC_WIDTH, and an accumulator becomes a signal by an ap_fixed that rounds and
 * saturates, in place of hwt_fixed_requantize. */
#ifndef HWT_AP_H
#define HWT_AP_H

#include <ap_fixed.h>
#include <ap_int.h>

#define HWT_AP
#include "hwt.h"

template <int rounding> struct hwt_ap_mode;
template <> struct hwt_ap_mode<HWT_HALF_UP> { static const ap_q_mode mode = AP_RND; };
template <> struct hwt_ap_mode<HWT_FLOOR> { static const ap_q_mode mode = AP_TRN; };
template <> struct hwt_ap_mode<HWT_HALF_EVEN> { static const ap_q_mode mode = AP_RND_CONV; };

/* acc (n) -> y (n) */
template <int shift, int bits, int rounding>
static void hwt_ap_requantize(int32_t n, const hwt_acc *acc, hwt_signal *y)
{
    for (int32_t i = 0; i < n; i++) {
        HWT_PIPELINE
        ap_fixed<HWT_ACC_WIDTH, HWT_ACC_WIDTH - shift> value;
        value.range() = acc[i].range();
        const ap_fixed<bits, bits, hwt_ap_mode<rounding>::mode, AP_SAT> code = value;
        y[i] = code.to_int();
    }
}

#define hwt_fixed_requantize(n, shift, bits, rounding, acc, y) hwt_ap_requantize<shift, bits, rounding>(n, acc, y)

#endif
