/* The kernels of hwtrain programs, in freestanding C99: header only, no allocation, no library.
 *
 * A program has one number format, told by these macros before the first include:
 *   HWT_SIGNAL_BITS  8 or 16: signals and errors are codes of so many bits; 0 (or none): float
 *   HWT_WEIGHT_BITS  8 or 16: weights
 *   HWT_ACC_BITS     32 or 64: accumulators
 * Every function is hwt_<family>_<kernel>; its arguments are the sizes, the numbers, the tensors, the
 * results, as in hwtrain/kernels. Tensors are dense and row-major, their shapes stand beside them.
 */
#ifndef HWT_H
#define HWT_H

#include <stddef.h>
#include <stdint.h>

#ifndef HWT_SIGNAL_BITS
#define HWT_SIGNAL_BITS 0
#endif

#if HWT_SIGNAL_BITS == 0
typedef float hwt_signal;
typedef float hwt_weight;
typedef float hwt_acc;
typedef float hwt_loss;
#else
typedef int32_t hwt_loss;
#ifdef HWT_AP /* C++, by way of hwt_ap.h */
typedef ap_int<HWT_SIGNAL_BITS> hwt_signal;
typedef ap_int<HWT_WEIGHT_BITS> hwt_weight;
typedef ap_int<HWT_ACC_WIDTH> hwt_acc;
typedef ap_int<8> hwt_code;
#else
typedef int8_t hwt_code;
#if HWT_SIGNAL_BITS == 8
typedef int8_t hwt_signal;
#else
typedef int16_t hwt_signal;
#endif
#if HWT_WEIGHT_BITS == 8
typedef int8_t hwt_weight;
#else
typedef int16_t hwt_weight;
#endif
#if HWT_ACC_BITS == 32
typedef int32_t hwt_acc;
#else
typedef int64_t hwt_acc;
#endif
#endif
#endif

#include "hwt_pragmas.h"
#include "hwt_threefry.h"

#include "hwt_image.h"
#if HWT_SIGNAL_BITS == 0
#include "hwt_float32.h"
#include "hwt_norm.h"
#else
#include "hwt_fixed.h"
#endif
#include "hwt_vector.h"
#include "hwt_slots.h"

#endif
