#include "engine/tokenizer/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a, eight bytes a step, with a final mix: pieces are short. */
static uint32_t hash(const char *bytes, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u ^ n;
    for (; n >= 8; bytes += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, bytes, 8);
        h = (h ^ w) * 0x9E3779B97F4A7C15u;
        h ^= h >> 32;
    }
    if (n) {
        uint64_t w = 0;
        memcpy(&w, bytes, n);
        h = (h ^ w) * 0x9E3779B97F4A7C15u;
        h ^= h >> 32;
    }
    return (uint32_t)(h * 0xD6E8FEB86659FD93u >> 32);
}

rh_status rh_piece_table_init(rh_piece_table *t, const rh_bytes *pieces, int64_t n, rh_error *err)
{
    uint32_t size = 16; /* n <= 2^24: at most half full */
    while (size < 2 * n) size *= 2;
    t->slots = rh_calloc(size, sizeof *t->slots);
    if (!t->slots) return rh_fail_nomem(err);
    memset(t->slots, 0xFF, size * sizeof *t->slots);
    t->pieces = pieces;
    t->mask = size - 1;
    return RH_OK;
}

/* The slot of an equal piece, or the free one where it would be. */
static rh_piece_slot *slot_of(const rh_piece_table *t, uint32_t h, const char *bytes, size_t n)
{
    for (uint32_t i = h & t->mask;; i = (i + 1) & t->mask) {
        rh_piece_slot *slot = &t->slots[i];
        if (slot->id < 0) return slot;
        if (slot->hash != h) continue;
        rh_bytes p = t->pieces[slot->id];
        if (p.len == n && memcmp(p.data, bytes, n) == 0) return slot;
    }
}

int32_t rh_piece_table_put(rh_piece_table *t, int32_t id)
{
    rh_bytes p = t->pieces[id];
    uint32_t h = hash(p.data, p.len);
    rh_piece_slot *slot = slot_of(t, h, p.data, p.len);
    if (slot->id < 0) *slot = (rh_piece_slot){ h, id };
    return slot->id;
}

int32_t rh_piece_table_find(const rh_piece_table *t, const char *bytes, size_t n)
{
    return t->slots ? slot_of(t, hash(bytes, n), bytes, n)->id : -1;
}

void rh_piece_table_free(rh_piece_table *t)
{
    free(t->slots);
    *t = (rh_piece_table){ 0 };
}

const char *rh_show_piece(rh_bytes piece, char buffer[192])
{
    char *p = buffer;
    *p++ = '\'';
    for (size_t i = 0; i < piece.len; i++) {
        unsigned char c = (unsigned char)piece.data[i];
        if (i >= 40) {
            memcpy(p, "...", 3);
            p += 3;
            break;
        }
        if (c < 32 || c >= 127) p += sprintf(p, "\\x%02x", c);
        else
            *p++ = (char)c;
    }
    *p++ = '\'';
    *p = 0;
    return buffer;
}

bool rh_is_white_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}
