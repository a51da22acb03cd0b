/* bpe_bytes.c - byte-level BPE: a word's symbols are its bytes. Pieces are spelled in GPT-2's alphabet, a
 * printable character for each byte. Source: GPT-2's encoder.py. */
#include <string.h>

#include "base/utf8.h"
#include "engine/tokenizer/bpe.h"

/* ---- the alphabet ------------------------------------------------------------------------ */

/* Printable Latin-1 stands for itself, the other 68 bytes for U+0100 and on, in order. */
static bool is_itself(int b)
{
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
}

static uint32_t letter_of(int byte)
{
    if (is_itself(byte)) return (uint32_t)byte;
    return (uint32_t)(byte <= 32 ? 0x100 + byte : byte <= 160 ? 0x121 + byte - 127 : 0x143);
}

/* -1 for a character outside the alphabet. */
static int byte_of(uint32_t letter)
{
    if (letter < 0x100) return is_itself((int)letter) ? (int)letter : -1;
    if (letter < 0x121) return (int)letter - 0x100;          /* 0..32 */
    if (letter < 0x143) return (int)letter - 0x121 + 127;    /* 127..160 */
    return letter == 0x143 ? 173 : -1;
}

static void bpe_decode(rh_str *out, rh_bytes piece)
{
    for (size_t i = 0; i < piece.len;) {
        uint32_t cp;
        size_t n = rh_utf8_next(&cp, piece.data + i, piece.len - i);
        int byte = n ? byte_of(cp) : -1;
        char c = (char)byte;
        if (byte >= 0) rh_str_add(out, &c, 1);
        else
            rh_str_add(out, piece.data + i, n ? n : 1);
        i += n ? n : 1;
    }
}

rh_status rh_bpe_bytes_init(rh_bpe *b, const rh_tokenizer *t, rh_error *err)
{
    int known = 0;
    for (int byte = 0; byte < 256; byte++) {
        char letter[4];
        int32_t id = rh_piece_table_find(&b->table, letter, rh_utf8_put(letter, letter_of(byte)));
        b->byte_ids[byte] = id >= 0 && t->types[id] != RH_TOKEN_CONTROL ? id : -1;
        known += b->byte_ids[byte] >= 0;
    }
    if (!known) return rh_fail(err, RH_EFORMAT, "the vocabulary has no token of a single byte");
    return RH_OK;
}

/* ---- encoding ----------------------------------------------------------------------------- */

/* A word text[start..end) whose whole spelling is a token: its id, else -1. */
static int32_t whole_word(const rh_tokenizer *t, rh_bpe_work *w, const char *text, size_t start, size_t end)
{
    const rh_bpe *b = t->state;
    w->spelled.len = 0;
    for (size_t i = start; i < end; i++) {
        char letter[4];
        rh_str_add(&w->spelled, letter, rh_utf8_put(letter, letter_of((unsigned char)text[i])));
    }
    if (w->spelled.failed) return -1;
    int32_t id = rh_piece_table_find(&b->table, w->spelled.data, w->spelled.len);
    return id >= 0 && t->types[id] == RH_TOKEN_NORMAL ? id : -1;
}

static rh_status encode_word(const rh_tokenizer *t, rh_bpe_work *w, rh_tokens *out, const char *text,
                             size_t start, size_t end, int32_t base, rh_error *err)
{
    const rh_bpe *b = t->state;
    if (b->whole_words) {
        int32_t id = whole_word(t, w, text, start, end);
        if (w->spelled.failed) return rh_fail_nomem(err);
        if (id >= 0)
            return rh_tokens_push(out, (rh_token){ id, base + (int32_t)start, base + (int32_t)end }, err);
    }
    w->n = 0;
    for (size_t i = start; i < end; i++)
        if (!rh_bpe_symbol_add(w, b->byte_ids[(unsigned char)text[i]], i, i + 1)) return rh_fail_nomem(err);
    return rh_bpe_merge_symbols(t, w, out, base, err);
}

static rh_status encode_words(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len,
                              int32_t base, rh_error *err)
{
    const rh_bpe *b = t->state;
    rh_bpe_work w = { 0 };
    rh_status status = rh_pretokenize(&w.ends, b->pre, text, len, err);
    for (size_t i = 0; !status && i < w.ends.n; i++)
        status = encode_word(t, &w, out, text, i ? w.ends.items[i - 1] : 0, w.ends.items[i], base, err);
    rh_bpe_work_free(&w);
    return status;
}

static rh_status bpe_encode(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len,
                            bool first, int32_t base, rh_error *err)
{
    const rh_bpe *b = t->state;
    rh_normalized n;
    size_t from = out->n;
    (void)first;
    bool normal = b->normal_form == RH_FORM_NONE;
    if (!normal) RH_TRY(rh_is_normal(&normal, b->normal_form, text, len, err));
    if (normal) return encode_words(t, out, text, len, base, err);
    RH_TRY(rh_normalize(&n, b->normal_form, text, len, err));
    rh_status status = n.text.len ? encode_words(t, out, n.text.data, n.text.len, 0, err) : RH_OK;
    for (size_t i = from; i < out->n; i++) { /* back to bytes of the text; each has at least one */
        rh_token *k = &out->items[i];
        int32_t begin = (int32_t)n.origin[k->start], end = (int32_t)n.origin[k->end];
        k->start = base + begin;
        k->end = base + (end > begin ? end : begin + 1);
    }
    rh_normalized_free(&n);
    return status;
}

const rh_vocab_kind rh_bpe_bytes = { "byte-level BPE", bpe_encode, bpe_decode, rh_bpe_find, rh_bpe_free };
