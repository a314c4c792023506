/* Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, SC 2011): random words by address.
 * Key 0 and counter 0 give 6b200159 99ba4efe, with 13 rounds 9d1c5ec6 8bd50731. hwtrain/arith/threefry.py is
 * the same in Python. */
#ifndef HWT_THREEFRY_H
#define HWT_THREEFRY_H

#include <stdint.h>

#define HWT_ROUND(rotation)                                                                        \
    x0 += x1;                                                                                      \
    x1 = (x1 << (rotation)) | (x1 >> (32 - (rotation)));                                           \
    x1 ^= x0;
#define HWT_ROUNDS(a, b, c, d) HWT_ROUND(a) HWT_ROUND(b) HWT_ROUND(c) HWT_ROUND(d)
#define HWT_ADD_KEY(first, second, group)                                                          \
    x0 += (first);                                                                                 \
    x1 += (second) + (group);

/* The block, its two words apart: loops of it become vectors of 32 bits a lane. */
static inline void hwt_threefry_words(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t *first,
                                      uint32_t *second)
{
    const uint32_t k2 = 0x1BD11BDAu ^ k0 ^ k1;
    uint32_t x0 = c0 + k0, x1 = c1 + k1;
    HWT_ROUNDS(13, 15, 26, 6) HWT_ADD_KEY(k1, k2, 1u)
    HWT_ROUNDS(17, 29, 16, 24) HWT_ADD_KEY(k2, k0, 2u)
    HWT_ROUNDS(13, 15, 26, 6) HWT_ADD_KEY(k0, k1, 3u)
    HWT_ROUNDS(17, 29, 16, 24) HWT_ADD_KEY(k1, k2, 4u)
    HWT_ROUNDS(13, 15, 26, 6) HWT_ADD_KEY(k2, k0, 5u)
    *first = x0;
    *second = x1;
}

/* The block after 13 rounds, for what is drawn by the ten thousand. */
static inline void hwt_threefry13_words(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t *first,
                                        uint32_t *second)
{
    const uint32_t k2 = 0x1BD11BDAu ^ k0 ^ k1;
    uint32_t x0 = c0 + k0, x1 = c1 + k1;
    HWT_ROUNDS(13, 15, 26, 6) HWT_ADD_KEY(k1, k2, 1u)
    HWT_ROUNDS(17, 29, 16, 24) HWT_ADD_KEY(k2, k0, 2u)
    HWT_ROUNDS(13, 15, 26, 6) HWT_ADD_KEY(k0, k1, 3u)
    HWT_ROUND(17)
    *first = x0;
    *second = x1;
}

/* The block: first word in the low half, second word in the high half. */
static inline uint64_t hwt_threefry(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1)
{
    uint32_t first, second;
    hwt_threefry_words(k0, k1, c0, c1, &first, &second);
    return (uint64_t)second << 32 | first;
}

#endif
