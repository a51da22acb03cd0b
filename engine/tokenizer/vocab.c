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
static uint32_t slot_of(const rh_piece_table *t, const char *bytes, size_t n)
{
    uint32_t i = hash(bytes, n) & t->mask;
    for (; t->slots[i] >= 0; i = (i + 1) & t->mask) {
        rh_bytes p = t->pieces[t->slots[i]];
        if (p.len == n && memcmp(p.data, bytes, n) == 0) break;
    }
    return i;
}

int32_t rh_piece_table_put(rh_piece_table *t, int32_t id)
{
    uint32_t i = slot_of(t, t->pieces[id].data, t->pieces[id].len);
    if (t->slots[i] < 0) t->slots[i] = id;
    return t->slots[i];
}

int32_t rh_piece_table_find(const rh_piece_table *t, const char *bytes, size_t n)
{
    return t->slots ? t->slots[slot_of(t, bytes, n)] : -1;
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
