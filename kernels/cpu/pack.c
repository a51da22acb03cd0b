#include <string.h>

#include "kernels/cpu/panel.h"

/* Packing moves 32-bit words: four columns of a row are one lane of a vector. */

const rh_panel_layout *rh_panel_layout_of(rh_dtype t)
{
    static const rh_panel_layout layouts[RH_N_DTYPES] = RH_PANEL_LAYOUTS;
    return &layouts[t];
}

size_t rh_panel_bytes(rh_dtype t, int32_t cols)
{
    const rh_panel_layout *l = rh_panel_layout_of(t);
    size_t blocks = (size_t)cols / RH_BLOCK;
    return blocks * (size_t)(l->codes + l->bits + l->scales) +
           blocks / (size_t)l->per_header * (size_t)l->header;
}

static uint32_t word_at(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* Word r of the 64-byte vector v. */
static void put_word(uint8_t *dst, int v, int r, uint32_t w)
{
    memcpy(dst + 64 * v + 4 * r, &w, sizeof w);
}

static void put_words(uint8_t *dst, int n, int r, const uint8_t *src)
{
    for (int v = 0; v < n; v++) put_word(dst, v, r, word_at(src + 4 * v));
}

/* fifth: bit c is the fifth bit of column c of row r. dst is zeroed. */
static void put_fifth(uint8_t *dst, int r, uint32_t fifth)
{
    for (int v = 0; v < 8; v++)
        dst[8 * v + r / 2] |= (uint8_t)((fifth >> 4 * v & 15) << r % 2 * 4);
}

/* Q4_0, Q4_1, Q5_0, Q5_1: scales (f16), fifth bits, nibbles, in the file's order. */
static void pack_small(uint8_t *dst, const uint8_t *b, int r, int scales, bool five)
{
    const uint8_t *qs = b + 2 * scales + (five ? 4 : 0);
    put_words(dst, 4, r, qs);
    if (five) put_fifth(dst + 256, r, word_at(b + 2 * scales));
    uint8_t *s = dst + 256 + (five ? 64 : 0);
    for (int i = 0; i < scales; i++) memcpy(s + 32 * i + 2 * r, b + 2 * i, 2);
}

static void pack_q8_0(uint8_t *dst, const uint8_t *b, int r)
{
    for (int v = 0; v < 8; v++) put_word(dst, v, r, word_at(b + 2 + 4 * v) ^ 0x80808080);
    memcpy(dst + 512 + 2 * r, b, 2);
}

/* Bit j of 32 bytes as a word: the fifth bits of sub-block j of Q5_K. */
static uint32_t bits_of_bytes(const uint8_t *p, int j)
{
    uint32_t w = 0;
    for (int c = 0; c < 32; c++) w |= (uint32_t)(p[c] >> j & 1) << c;
    return w;
}

/* Sub-blocks 2 g and 2 g + 1 are the low and the high nibbles of the same 32 bytes; in a
 * panel, columns 0..15 are low and 16..31 high. */
static void pack_k45(uint8_t *dst, const uint8_t *b, int r, const rh_panel_layout *l)
{
    const uint8_t *qs = b + (l->bits ? 48 : 16);
    memcpy(dst + 2 * r, b, 2);
    memcpy(dst + 32 + 2 * r, b + 2, 2);
    dst += l->header;
    for (int j = 0; j < 8; j++, dst += l->codes + l->bits + l->scales) {
        for (int v = 0; v < 4; v++) {
            uint32_t lo = word_at(qs + j / 2 * 32 + 4 * v) >> j % 2 * 4 & 0x0f0f0f0f;
            uint32_t hi = word_at(qs + j / 2 * 32 + 16 + 4 * v) >> j % 2 * 4 & 0x0f0f0f0f;
            put_word(dst, v, r, lo | hi << 4);
        }
        if (l->bits) put_fifth(dst + 256, r, bits_of_bytes(b + 16, j));
        uint8_t *s = dst + 256 + l->bits;
        rh_k_scale_min(b + 4, j, s + r, s + 16 + r);
    }
}

/* Sub-block j of 32: half h = j/4 of 128 elements, quarter q = j%4 of it. */
static void pack_q6_k(uint8_t *dst, const uint8_t *b, int r)
{
    memcpy(dst + 2 * r, b + 208, 2);
    dst += 32;
    for (int j = 0; j < 8; j++, dst += 416) {
        int h = j / 4, q = j % 4;
        const uint8_t *ql = b + 64 * h + q % 2 * 32, *qh = b + 128 + 32 * h;
        uint32_t top[2] = { 0, 0 };
        for (int v = 0; v < 4; v++) {
            uint32_t lo = word_at(ql + 4 * v) >> q / 2 * 4 & 0x0f0f0f0f;
            uint32_t hi = word_at(ql + 16 + 4 * v) >> q / 2 * 4 & 0x0f0f0f0f;
            put_word(dst, v, r, lo | hi << 4);
            top[0] |= (word_at(qh + 4 * v) >> 2 * q & 0x03030303) << 2 * v;
            top[1] |= (word_at(qh + 16 + 4 * v) >> 2 * q & 0x03030303) << 2 * v;
        }
        put_word(dst + 256, 0, r, top[0]);
        put_word(dst + 256, 1, r, top[1]);
        dst[384 + r] = b[192 + 2 * j];
        dst[400 + r] = b[192 + 2 * j + 1];
    }
}

/* Bytes 0 1 2 3 as 0 2 1 3. */
static uint32_t crossed(uint32_t w) { return (w & 0xff0000ff) | (w >> 8 & 0xff00) | (w << 8 & 0xff0000); }

/* Columns 0..31 are the low nibbles of the block's 32 bytes, 32..63 the high ones. */
static void pack_nf4(uint8_t *dst, const uint8_t *b, int r)
{
    memcpy(dst + 4 * r, b, 4);
    dst += 64;
    for (int j = 0; j < 2; j++, dst += 256)
        for (int v = 0; v < 4; v++) {
            uint32_t lo = word_at(b + 4 + 4 * v) >> 4 * j & 0x0f0f0f0f;
            uint32_t hi = word_at(b + 20 + 4 * v) >> 4 * j & 0x0f0f0f0f;
            put_word(dst, v, r, crossed(lo | hi << 4));
        }
}

/* One block (K types: 8; NF4: 2) of row r of the panel. */
static void pack_block(uint8_t *dst, const uint8_t *b, int r, rh_dtype t, const rh_panel_layout *l)
{
    switch (t) {
    case RH_Q4_0: pack_small(dst, b, r, 1, false); break;
    case RH_Q4_1: pack_small(dst, b, r, 2, false); break;
    case RH_Q5_0: pack_small(dst, b, r, 1, true); break;
    case RH_Q5_1: pack_small(dst, b, r, 2, true); break;
    case RH_Q8_0: pack_q8_0(dst, b, r); break;
    case RH_Q4_K:
    case RH_Q5_K: pack_k45(dst, b, r, l); break;
    case RH_Q6_K: pack_q6_k(dst, b, r); break;
    case RH_NF4: pack_nf4(dst, b, r); break;
    default: break;
    }
}

void rh_pack_generic(RH_PACK_PARAMS)
{
    const rh_panel_layout *l = rh_panel_layout_of(type);
    const rh_dtype_info *info = rh_dtype_get(type);
    size_t record = (size_t)l->header + (size_t)(l->codes + l->bits + l->scales) * (size_t)l->per_header;
    (void)next;
    for (int32_t b = 0; b < cols / info->block; b++, dst += record) {
        if (n < RH_PANEL || l->bits) memset(dst, 0, record);
        for (int r = 0; r < n; r++)
            pack_block(dst, rows[r] + (size_t)b * (size_t)info->bytes, r, type, l);
    }
}
