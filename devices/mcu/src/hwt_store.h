/* What a net has learned, kept in flash through power cuts: two slots, of which one is always whole.
 *
 * A slot is its content, then a head that says so. The head is written last, and a slot counts only if the check sum
 * over content and head is right; of two that count, the later one. Writing goes to the other slot, so a cut at any
 * time leaves the old content or the new one. */
#ifndef HWT_STORE_H
#define HWT_STORE_H

#include <stddef.h>
#include <stdint.h>

#define HWT_STORE_UNIT 8u /* bytes that are written at once; a slot is a multiple of it */

/* The caller's flash: both slots lie in it, slot 1 from ``slot_bytes`` on. Each function returns 0 if it went well.
 * ``erase`` may leave any bytes where it is interrupted, ``write`` any in the unit that it is interrupted in. */
typedef struct {
    void *context;
    size_t slot_bytes;
    int (*erase)(void *context, size_t offset, size_t bytes);
    int (*write)(void *context, size_t offset, const void *data, size_t bytes);
    int (*read)(void *context, size_t offset, void *data, size_t bytes);
} hwt_flash;

typedef struct {
    uint32_t model, sequence, bytes, check;
} hwt_store_head;

#define HWT_STORE_BYTES(bytes) \
    (((bytes) + HWT_STORE_UNIT - 1u) / HWT_STORE_UNIT * HWT_STORE_UNIT + sizeof(hwt_store_head))

/* CRC-32 (IEEE 802.3), continued from ``crc``; 0 at first. */
static inline uint32_t hwt_crc(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *p = (const uint8_t *)data;
    crc = ~crc;
    while (bytes--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

static inline size_t hwt_store_head_at(const hwt_flash *flash, int slot, size_t bytes)
{
    return (size_t)slot * flash->slot_bytes + HWT_STORE_BYTES(bytes) - sizeof(hwt_store_head);
}

/* Whether a slot holds content of this model and length that is whole; its head. */
static inline int hwt_store_valid(const hwt_flash *flash, int slot, uint32_t model, size_t bytes, hwt_store_head *head)
{
    uint8_t part[64];
    uint32_t crc = 0;
    if (flash->read(flash->context, hwt_store_head_at(flash, slot, bytes), head, sizeof *head))
        return 0;
    if (head->model != model || head->bytes != bytes)
        return 0;
    for (size_t at = 0; at < bytes; at += sizeof part) {
        const size_t n = bytes - at < sizeof part ? bytes - at : sizeof part;
        if (flash->read(flash->context, (size_t)slot * flash->slot_bytes + at, part, n))
            return 0;
        crc = hwt_crc(crc, part, n);
    }
    return head->check == hwt_crc(crc, head, offsetof(hwt_store_head, check));
}

/* The slot that counts, its sequence number in ``sequence``; -1 if none does. */
static inline int hwt_store_latest(const hwt_flash *flash, uint32_t model, size_t bytes, uint32_t *sequence)
{
    int found = -1;
    for (int slot = 0; slot < 2; slot++) {
        hwt_store_head head;
        if (hwt_store_valid(flash, slot, model, bytes, &head)
            && (found < 0 || (int32_t)(head.sequence - *sequence) > 0)) {
            found = slot;
            *sequence = head.sequence;
        }
    }
    return found;
}

/* Write the content to the slot that does not count; 0 if it went well. */
static inline int hwt_store_write(const hwt_flash *flash, uint32_t model, const void *content, size_t bytes)
{
    hwt_store_head head = {model, 0, (uint32_t)bytes, 0};
    uint32_t sequence = 0;
    const int slot = hwt_store_latest(flash, model, bytes, &sequence) == 0 ? 1 : 0;
    const size_t from = (size_t)slot * flash->slot_bytes;
    if (HWT_STORE_BYTES(bytes) > flash->slot_bytes || flash->erase(flash->context, from, flash->slot_bytes))
        return 1;
    const size_t whole = bytes / HWT_STORE_UNIT * HWT_STORE_UNIT;
    for (size_t at = 0; at < bytes; at += HWT_STORE_UNIT) {
        uint8_t unit[HWT_STORE_UNIT] = {0};
        const size_t n = at < whole ? HWT_STORE_UNIT : bytes - whole;
        for (size_t i = 0; i < n; i++)
            unit[i] = ((const uint8_t *)content)[at + i];
        if (flash->write(flash->context, from + at, unit, HWT_STORE_UNIT))
            return 1;
    }
    head.sequence = sequence + 1u;
    head.check = hwt_crc(hwt_crc(0, content, bytes), &head, offsetof(hwt_store_head, check));
    for (size_t at = 0; at < sizeof head; at += HWT_STORE_UNIT)
        if (flash->write(flash->context, hwt_store_head_at(flash, slot, bytes) + at, (const uint8_t *)&head + at,
                         HWT_STORE_UNIT))
            return 1;
    return 0;
}

/* Read what was written last; 0 if it went well, 1 if there is nothing of this model (content is as before). */
static inline int hwt_store_read(const hwt_flash *flash, uint32_t model, void *content, size_t bytes)
{
    uint32_t sequence = 0;
    const int slot = hwt_store_latest(flash, model, bytes, &sequence);
    return slot < 0 || flash->read(flash->context, (size_t)slot * flash->slot_bytes, content, bytes);
}

#endif
