#include "engine/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/tokenizer/vocab.h"

#define MAX_TOKENS (1 << 24)
#define MAX_PIECE UINT16_MAX /* bytes; the longest in use are runs of some hundred spaces */

/* ---- loading ---------------------------------------------------------------------------------- */

static rh_status load_pieces(rh_tokenizer *t, rh_gguf *g, rh_error *err)
{
    int64_t n;
    RH_TRY(rh_gguf_strings(&t->pieces, &n, g, "tokenizer.ggml.tokens", err));
    if (n < 1 || n > MAX_TOKENS)
        return rh_fail(err, RH_EFORMAT, "a vocabulary of %lld tokens; 1 to %d are possible",
                       (long long)n, MAX_TOKENS);
    t->n = (int32_t)n;
    return rh_pieces_check(t, err);
}

rh_status rh_pieces_check(const rh_tokenizer *t, rh_error *err)
{
    for (int32_t id = 0; id < t->n; id++) {
        rh_bytes p = t->pieces[id];
        char shown[192];
        if (!p.len && t->types && t->types[id] == RH_TOKEN_UNUSED) continue;
        if (!p.len) return rh_fail(err, RH_EFORMAT, "token %d is empty", id);
        if (p.len > MAX_PIECE)
            return rh_fail(err, RH_EFORMAT, "token %d is %zu bytes long; %d are possible", id, p.len,
                           MAX_PIECE);
        if (rh_utf8_valid(p.data, p.len) != p.len)
            return rh_fail(err, RH_EFORMAT, "token %d, %s, is not valid UTF-8", id,
                           rh_show_piece(p, shown));
    }
    return RH_OK;
}

static rh_status load_types(rh_tokenizer *t, rh_gguf *g, rh_error *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    rh_status status = RH_OK;
    int64_t n, *types = NULL;
    t->types = rh_calloc((size_t)t->n, 1);
    if (!t->types) return rh_fail_nomem(err);
    memset(t->types, RH_TOKEN_NORMAL, (size_t)t->n);
    if (!rh_gguf_has(g, key)) return RH_OK;
    RH_TRY(rh_gguf_array_n(&n, g, key, err));
    if (n != t->n)
        return rh_fail(err, RH_EFORMAT, "%s has %lld entries for %d tokens", key, (long long)n, t->n);
    types = rh_calloc((size_t)n, sizeof *types);
    if (!types) return rh_fail_nomem(err);
    status = rh_gguf_ints(types, n, g, key, err);
    for (int64_t i = 0; !status && i < n; i++) {
        if (types[i] < 0 || types[i] > RH_TOKEN_BYTE)
            status = rh_fail(err, RH_EFORMAT, "token %lld has the unknown type %lld", (long long)i,
                             (long long)types[i]);
        else if (types[i]) /* 0, undefined, stays normal */
            t->types[i] = (uint8_t)types[i];
    }
    free(types);
    return status;
}

/* An id under `key`; absent: `otherwise` if the vocabulary is as large as that, else -1. */
static rh_status load_id(int32_t *out, const rh_tokenizer *t, const rh_gguf *g, const char *key,
                         int32_t otherwise, rh_error *err)
{
    int64_t id = otherwise < t->n ? otherwise : -1;
    if (rh_gguf_has(g, key)) {
        RH_TRY(rh_gguf_i64(&id, g, key, err));
        if (id == UINT32_MAX) id = -1; /* -1, written as unsigned */
        if (id < -1 || id >= t->n)
            return rh_fail(err, RH_EFORMAT, "%s is %lld, but there are %d tokens", key, (long long)id,
                           t->n);
    }
    *out = (int32_t)id;
    return RH_OK;
}

static rh_status load_flag(bool *out, const rh_gguf *g, const char *key, bool otherwise, rh_error *err)
{
    *out = otherwise;
    return rh_gguf_has(g, key) ? rh_gguf_bool(out, g, key, err) : RH_OK;
}

static bool same(rh_bytes b, const char *text)
{
    return b.len == strlen(text) && memcmp(b.data, text, b.len) == 0;
}

/* Defaults of the keys are llama.cpp's. */
static rh_status load(rh_tokenizer *t, rh_gguf *g, rh_error *err)
{
    rh_bytes model;
    RH_TRY(rh_gguf_string(&model, g, "tokenizer.ggml.model", err));
    bool spm = same(model, "llama"), bpe = same(model, "gpt2");
    if (!spm && !bpe) {
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "unknown tokenizer '%.*s'",
                (int)(model.len < 64 ? model.len : 64), model.data),
                         err, "tokenizer.ggml.model may be 'llama' (SentencePiece) or 'gpt2' "
                       "(byte-level BPE)");
    }
    RH_TRY(load_pieces(t, g, err));
    RH_TRY(load_types(t, g, err));
    RH_TRY(load_id(&t->bos, t, g, "tokenizer.ggml.bos_token_id", spm ? 1 : 11, err));
    RH_TRY(load_id(&t->eos, t, g, "tokenizer.ggml.eos_token_id", spm ? 2 : 11, err));
    RH_TRY(load_id(&t->unk, t, g, "tokenizer.ggml.unknown_token_id", spm ? 0 : -1, err));
    RH_TRY(load_flag(&t->adds_bos, g, "tokenizer.ggml.add_bos_token", spm, err));
    RH_TRY(load_flag(&t->space_prefix, g, "tokenizer.ggml.add_space_prefix", spm, err));
    if (rh_gguf_has(g, "tokenizer.chat_template"))
        RH_TRY(rh_gguf_string(&t->chat_template, g, "tokenizer.chat_template", err));
    RH_TRY(spm ? rh_spm_attach(t, g, err) : rh_bpe_attach(t, g, err));
    return rh_cut_init(t, err);
}

rh_status rh_tokenizer_from_gguf(rh_tokenizer **out, rh_gguf *g, rh_error *err)
{
    rh_tokenizer *t = rh_calloc(1, sizeof *t);
    if (!t) return rh_fail_nomem(err);
    rh_status status = load(t, g, err);
    if (status) rh_tokenizer_free(t);
    else
        *out = t;
    return rh_in_file(status, err, rh_gguf_map(g)->path);
}

void rh_tokenizer_free(rh_tokenizer *t)
{
    if (!t) return;
    if (t->kind) t->kind->free(t);
    rh_cut_free(t);
    free(t->types);
    free(t->added);
    rh_arena_free(t->memory);
    free(t);
}

/* ---- text to ids -------------------------------------------------------------------------------- */

rh_status rh_tokens_push(rh_tokens *t, rh_token token, rh_error *err)
{
    if (!RH_GROW(t->items, t->cap, t->n)) return rh_fail_nomem(err);
    t->items[t->n++] = token;
    return RH_OK;
}

void rh_tokens_free(rh_tokens *t)
{
    free(t->items);
    *t = (rh_tokens){ 0 };
}

static rh_status check_text(const char *text, size_t len, int32_t base, rh_error *err)
{
    if (len > (size_t)INT32_MAX - 1 || base > INT32_MAX - (int32_t)len)
        return rh_fail(err, RH_ELIMIT, "a text of %zu bytes is too long", len);
    size_t valid = rh_utf8_valid(text, len);
    if (valid < len)
        return rh_fail(err, RH_EVALUE, "the text is not valid UTF-8: byte 0x%02x at offset %zu",
                       (unsigned char)text[valid], valid);
    return RH_OK;
}

rh_status rh_tokenize(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len,
                      bool special, int32_t base, rh_error *err)
{
    return rh_tokenize_part(t, out, text, len, special, true, base, err);
}

rh_status rh_tokenize_part(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len,
                           bool special, bool first, int32_t base, rh_error *err)
{
    int32_t *marks = NULL;
    RH_TRY(check_text(text, len, base, err));
    RH_TRY(rh_cut_find(&marks, t, text, len, special, err));
    rh_status status = RH_OK;
    size_t n_before = out->n;
    for (size_t i = 0, end; !status && i < len; i = end) {
        int32_t at = base + (int32_t)i;
        if (marks && marks[i] >= 0) {
            end = i + 1;
            while (end < len && marks[end] == -2) end++;
            status = rh_tokens_push(out, (rh_token){ marks[i], at, base + (int32_t)end }, err);
            continue;
        }
        end = marks ? i + 1 : len;
        while (end < len && marks[end] == -1) end++;
        status = t->kind->encode(t, out, text + i, end - i, first && !i, at, err);
    }
    free(marks);
    if (status) out->n = n_before;
    return status;
}

/* ---- ids to text ---------------------------------------------------------------------------------- */

static bool known(const rh_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n;
}

/* "<0x0A>" -> 10, else -1 */
static int byte_value(rh_bytes p)
{
    static const char digits[] = "0123456789ABCDEF";
    if (p.len != 6 || memcmp(p.data, "<0x", 3) != 0 || p.data[5] != '>') return -1;
    const char *hi = memchr(digits, p.data[3], 16), *lo = memchr(digits, p.data[4], 16);
    return hi && lo ? (int)(hi - digits) * 16 + (int)(lo - digits) : -1;
}

void rh_token_text(const rh_tokenizer *t, rh_str *out, int32_t id, bool control)
{
    if (!known(t, id)) return;
    rh_bytes p = t->pieces[id];
    int byte;
    switch (t->types[id]) {
    case RH_TOKEN_UNKNOWN:
    case RH_TOKEN_CONTROL:
        if (control) rh_str_add(out, p.data, p.len);
        break;
    case RH_TOKEN_USER: rh_str_add(out, p.data, p.len); break;
    case RH_TOKEN_BYTE:
        byte = byte_value(p);
        if (byte >= 0) rh_str_add(out, &(char){ (char)byte }, 1);
        else
            rh_str_add(out, p.data, p.len);
        break;
    default: t->kind->decode(out, p);
    }
}

rh_bytes rh_token_piece(const rh_tokenizer *t, int32_t id)
{
    return known(t, id) ? t->pieces[id] : (rh_bytes){ "", 0 };
}

bool rh_token_is_control(const rh_tokenizer *t, int32_t id)
{
    return known(t, id) && (t->types[id] == RH_TOKEN_CONTROL || t->types[id] == RH_TOKEN_UNKNOWN);
}

const char *rh_tokenizer_kind(const rh_tokenizer *t) { return t->kind->name; }
int32_t rh_tokenizer_n_vocab(const rh_tokenizer *t) { return t->n; }
int32_t rh_tokenizer_bos(const rh_tokenizer *t) { return t->bos; }
int32_t rh_tokenizer_eos(const rh_tokenizer *t) { return t->eos; }
bool rh_tokenizer_adds_bos(const rh_tokenizer *t) { return t->adds_bos && t->bos >= 0; }

int32_t rh_tokenizer_find(const rh_tokenizer *t, const char *piece)
{
    return t->kind->find(t, piece, strlen(piece));
}
