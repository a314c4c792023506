/* What compilers call although nobody wrote it. */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int value, size_t n);

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    while (n--) {
        *t++ = *f++;
        __asm__ volatile(""); /* or the loop would be a call of itself */
    }
    return to;
}

void *memset(void *to, int value, size_t n)
{
    unsigned char *t = to;
    while (n--) {
        *t++ = (unsigned char)value;
        __asm__ volatile("");
    }
    return to;
}
