/* Cuts the power at every write point of hwt_store_write, and boots. Prints "cuts old new": how many points there
 * were, and after how many of them the old and the new content came back; exits with 1 if anything else did. */
#include <stdio.h>
#include <string.h>

#include "hwt_store.h"

#ifndef CONTENT
#define CONTENT 4001
#endif
#define SLOT 8192
#define MODEL 77u

static unsigned char flash[2 * SLOT];
static long left; /* write points until the cut */
static unsigned seed = 1;

static unsigned char noise(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (unsigned char)(seed >> 24);
}

static int cut(void) { return left-- <= 0; }

static int erase(void *context, size_t offset, size_t bytes)
{
    (void)context;
    for (size_t at = 0; at < bytes; at += 256) { /* a cut leaves the page half erased */
        if (cut()) {
            for (size_t i = 0; i < 256; i++)
                flash[offset + at + i] = noise();
            return 1;
        }
        memset(flash + offset + at, 0xFF, 256);
    }
    return 0;
}

static int write_(void *context, size_t offset, const void *data, size_t bytes)
{
    (void)context;
    if (left < -1)
        return 1;
    if (cut()) { /* the first of the bytes are there, the others are anything */
        const size_t whole = noise() % (bytes + 1);
        memcpy(flash + offset, data, whole);
        for (size_t i = whole; i < bytes; i++)
            flash[offset + i] = noise();
        left = -2;
        return 1;
    }
    memcpy(flash + offset, data, bytes);
    return 0;
}

static int read_(void *context, size_t offset, void *data, size_t bytes)
{
    (void)context;
    memcpy(data, flash + offset, bytes);
    return 0;
}

static void fill(unsigned char *content, unsigned generation)
{
    for (size_t i = 0; i < CONTENT; i++)
        content[i] = (unsigned char)(i * 31 + generation * 101 + (i >> 8));
}

int main(void)
{
    static unsigned char older[CONTENT], newer[CONTENT], found[CONTENT];
    static unsigned char kept[2 * SLOT];
    const hwt_flash it = {NULL, SLOT, erase, write_, read_};
    long cuts = 0, old_ones = 0, new_ones = 0;
    for (unsigned generation = 1; generation < 4; generation++) { /* into either slot, and over an old one */
        fill(older, generation);
        fill(newer, generation + 1);
        left = 1000000;
        if (hwt_store_write(&it, MODEL, older, CONTENT))
            return 1;
        memcpy(kept, flash, sizeof flash);
        for (long point = 0;; point++) {
            memcpy(flash, kept, sizeof flash);
            left = point;
            const int failed = hwt_store_write(&it, MODEL, newer, CONTENT);
            memset(found, 0, sizeof found);
            if (hwt_store_read(&it, MODEL, found, CONTENT))
                return 1;
            const int is_old = !memcmp(found, older, CONTENT), is_new = !memcmp(found, newer, CONTENT);
            if (is_old == is_new || (!failed && is_old))
                return 1;
            if (!failed)
                break;
            cuts++;
            old_ones += is_old;
            new_ones += is_new;
        }
    }
    if (!hwt_store_read(&it, MODEL + 1, found, CONTENT) || !hwt_store_read(&it, MODEL, found, CONTENT - 1))
        return 1; /* another model's weights, or another length's */
    printf("%ld %ld %ld\n", cuts, old_ones, new_ones);
    return 0;
}
