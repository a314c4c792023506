/* Vectors of halves: a dozen operations, one back end for each kind of hardware.
 *
 *   hv                     HV_LANES halves, in the form that the hardware computes with
 *   hv_zero()              +0 in every lane
 *   hv_load(p)             HV_LANES halves from p, which is aligned to HV_ALIGN bytes
 *   hv_load_part(p, n)     n halves from p, which need no alignment; anything in the other lanes
 *   hv_gather(p, step, n)  the same from p, p + step, p + 2 step ...
 *   hv_turn(to, p, step, k, n)  hv_gather from p, p + 1 ... p + k - 1, all lanes one after the other to ``to``; for those
 *                          back ends that define HV_TURNS, as they do better than term after term
 *   hv_store(p, v)         all lanes to p, aligned
 *   hv_store_part(p, v, n) the first n lanes to p
 *   hv_fma(acc, v, e)      acc + v e, rounded once; the factor e is an hv_element
 *   hv_elements(e, p, n)   n halves as factors, where HV_EXPAND says that they need another form
 *   hv_add(a, b)           a + b, rounded
 *   hv_gate(d, y)          d where y is above 0, else +0
 *   hv_add_to(c, v, n)     c + v for the first n lanes of v and the n floats at c
 *   hwt_widen, hwt_narrow  a half as a float and back, to the nearest
 *
 * HV_PANEL is how many halves of the other factor may be copied to the stack, 64 rows of lanes at least.
 * HV_ROWS is how many rows a tile of a product has, HV_UNROLL how many of its terms are written out,
 * HV_PART_COSTS whether a row that is not whole is better copied once, HV_COPY_ROWS whether any row is. None of them changes a bit. */
#ifndef HWT_VEC_H
#define HWT_VEC_H

#include "hwt_half.h"

#if defined(HWT_PORTABLE)
#include "hwt_vec_portable.h"
#elif defined(HWT_V2F16)
#include "hwt_vec_v2f16.h"
#elif defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#include "hwt_vec_helium.h"
#elif defined(__riscv_zvfh)
#include "hwt_vec_rvv.h"
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "hwt_vec_avx512.h"
#elif defined(__arm__) || defined(__riscv)
#error "this core has no 16-bit float vectors: compile for one that has, or name HWT_PORTABLE and be slow"
#else
#include "hwt_vec_portable.h"
#endif

#endif
