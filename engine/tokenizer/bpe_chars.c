/* bpe_chars.c - BPE as tokenizer.json spells SentencePiece's: a text's symbols are its characters, spaces
 * as ▁; one without a token is the tokens <0x..> of its bytes. libsentencepiece knows scores of pieces
 * and not merges of pairs, of which a file may have others, and in an order of their own. */
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/tokenizer/bpe.h"

static const char space[] = "\xe2\x96\x81"; /* ▁ */
enum { SPACE = 3 };

static bool begins_word(const char *text, size_t len)
{
    return len >= SPACE && !memcmp(text, space, SPACE);
}

void rh_bpe_chars_init(rh_bpe *b, rh_tokenizer *t, bool byte_fallback)
{
    for (int byte = 0; byte < 256; byte++) {
        char piece[8];
        const int n = snprintf(piece, sizeof piece, "<0x%02X>", (unsigned)byte);
        const int32_t id = byte_fallback ? rh_piece_table_find(&b->table, piece, (size_t)n) : -1;
        b->byte_ids[byte] = id >= 0 && t->types[id] == RH_TOKEN_NORMAL ? id : -1;
        if (b->byte_ids[byte] >= 0) t->types[id] = RH_TOKEN_BYTE;
    }
    for (int32_t id = 0; id < t->n; id++) /* an added "▁▁" is cut out of the text, and spelled as pieces are */
        if (t->types[id] == RH_TOKEN_USER) t->types[id] = RH_TOKEN_NORMAL;
}

static bool takes_prefix(const rh_bpe *b, const char *text, size_t len, bool first)
{
    if (b->space_prefix == RH_PREFIX_NONE || b->space_prefix == RH_PREFIX_ALL) return b->space_prefix == RH_PREFIX_ALL;
    if (b->space_prefix == RH_PREFIX_FIRST && !first) return false;
    return !(len && text[0] == ' ') && !begins_word(text, len);
}

/* The text in the vocabulary's spelling, with the byte of the text that each of its bytes comes from. */
static rh_status spell(rh_normalized *out, const rh_bpe *b, const char *text, size_t len, bool first, rh_error *err)
{
    *out = (rh_normalized){ .origin = rh_calloc(SPACE * (len + 1) + 1, sizeof *out->origin) };
    if (!out->origin) return rh_fail_nomem(err);
    if (takes_prefix(b, text, len, first)) rh_str_add(&out->text, space, SPACE); /* its origin is 0 */
    for (size_t i = 0; i < len && !out->text.failed; i++) {
        const size_t at = out->text.len;
        if (text[i] == ' ') rh_str_add(&out->text, space, SPACE);
        else rh_str_add(&out->text, text + i, 1);
        for (size_t j = at; j < out->text.len; j++) out->origin[j] = (uint32_t)i;
    }
    out->origin[out->text.len] = (uint32_t)len;
    if (!out->text.failed) return RH_OK;
    rh_normalized_free(out);
    return rh_fail_nomem(err);
}

/* The symbols of a character: its token, else its bytes' if all have one, else one without a token. */
static bool add_char(const rh_tokenizer *t, rh_bpe_work *w, const char *text, size_t at, size_t n)
{
    const rh_bpe *b = t->state;
    const int32_t found = rh_piece_table_find(&b->table, text + at, n);
    const int32_t id = found >= 0 && t->types[found] == RH_TOKEN_NORMAL ? found : -1;
    bool bytes = id < 0;
    for (size_t i = 0; bytes && i < n; i++) bytes = b->byte_ids[(unsigned char)text[at + i]] >= 0;
    if (!bytes) return rh_bpe_symbol_add(w, id, at, at + n);
    for (size_t i = 0; i < n; i++)
        if (!rh_bpe_symbol_add(w, b->byte_ids[(unsigned char)text[at + i]], at + i, at + i + 1)) return false;
    return true;
}

static rh_status encode_word(const rh_tokenizer *t, rh_bpe_work *w, rh_tokens *out, const char *text, size_t start,
                             size_t end, rh_error *err)
{
    const rh_bpe *b = t->state;
    const int32_t whole = b->whole_words ? rh_piece_table_find(&b->table, text + start, end - start) : -1;
    if (whole >= 0 && t->types[whole] == RH_TOKEN_NORMAL)
        return rh_tokens_push(out, (rh_token){ whole, (int32_t)start, (int32_t)end }, err);
    w->n = 0;
    for (size_t i = start, n; i < end; i += n) {
        uint32_t cp;
        n = rh_utf8_next(&cp, text + i, end - i);
        if (!n) n = 1;
        if (!add_char(t, w, text, i, n)) return rh_fail_nomem(err);
    }
    return rh_bpe_merge_symbols(t, w, out, 0, err);
}

static rh_status encode_words(const rh_tokenizer *t, rh_tokens *out, const rh_str *text, rh_error *err)
{
    const rh_bpe *b = t->state;
    rh_bpe_work w = { 0 };
    rh_status status = RH_OK;
    for (size_t start = 0, end; !status && start < text->len; start = end) {
        end = b->splits_at_spaces ? start + 1 : text->len;
        while (end < text->len && !begins_word(text->data + end, text->len - end)) end++;
        status = encode_word(t, &w, out, text->data, start, end, err);
    }
    rh_bpe_work_free(&w);
    return status;
}

static rh_status encode(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len, bool first, int32_t base,
                        rh_error *err)
{
    rh_normalized n;
    const size_t from = out->n;
    RH_TRY(spell(&n, t->state, text, len, first, err));
    rh_status status = encode_words(t, out, &n.text, err);
    for (size_t i = from; i < out->n; i++) { /* a ▁ put in front is nobody's byte */
        rh_token *k = &out->items[i];
        k->start = base + (int32_t)n.origin[k->start];
        k->end = base + (int32_t)n.origin[k->end];
    }
    rh_normalized_free(&n);
    return status;
}

/* "▁" stands for a space. */
static void decode(rh_str *out, rh_bytes piece)
{
    for (size_t i = 0, n; i < piece.len; i += n) {
        const bool is_space = begins_word(piece.data + i, piece.len - i);
        n = is_space ? SPACE : 1;
        rh_str_add(out, is_space ? " " : piece.data + i, 1);
    }
}

const rh_vocab_kind rh_bpe_chars = { "SentencePiece", encode, decode, rh_bpe_find, rh_bpe_free };
