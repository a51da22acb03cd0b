/* bpe.c - a vocabulary of pieces and ranked merges of two; bpe_bytes.c and bpe_chars.c say what a text's
 * symbols are, bpe_merge.c merges them. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/bpe.h"

int32_t rh_bpe_find(const rh_tokenizer *t, const char *bytes, size_t n)
{
    const rh_bpe *b = t->state;
    return rh_piece_table_find(&b->table, bytes, n);
}

void rh_bpe_free(rh_tokenizer *t)
{
    rh_bpe *b = t->state;
    rh_piece_table_free(&b->table);
    rh_pretokenizer_free(b->pre);
    free(b->merges);
    free(b);
}

static rh_status load_pieces(rh_bpe *b, const rh_tokenizer *t, rh_error *err)
{
    RH_TRY(rh_piece_table_init(&b->table, t->pieces, t->n, err));
    for (int32_t id = 0; id < t->n; id++) {
        char shown[192];
        if (!t->pieces[id].len) continue; /* an id that a folder's vocabulary leaves out */
        int32_t there = rh_piece_table_put(&b->table, id);
        if (there != id)
            return rh_fail(err, RH_EFORMAT, "tokens %d and %d are both %s", there, id,
                           rh_show_piece(t->pieces[id], shown));
    }
    return RH_OK;
}

/* The id of a merge's result. Trainers number tokens in the order of their merges, so that the
 * one after the last result is the likely one, and costs no search. */
static int32_t find_result(const rh_piece_table *t, int32_t n, int32_t last, const char *joint,
                           size_t len)
{
    if (last + 1 < n && t->pieces[last + 1].len == len &&
        memcmp(t->pieces[last + 1].data, joint, len) == 0)
        return last + 1;
    return rh_piece_table_find(t, joint, len);
}

rh_status rh_merge_split(rh_bytes pair[2], rh_bytes line, int64_t rank, rh_error *err)
{
    char shown[192];
    const char *space = line.len > 2 ? memchr(line.data + 1, ' ', line.len - 2) : NULL;
    if (!space)
        return rh_fail(err, RH_EFORMAT, "merge %lld, %s, is not two tokens with a space between",
                       (long long)rank, rh_show_piece(line, shown));
    size_t n = (size_t)(space - line.data);
    pair[0] = (rh_bytes){ line.data, n };
    pair[1] = (rh_bytes){ space + 1, line.len - n - 1 };
    return RH_OK;
}

/* Both parts and their joint must be tokens. joint: room for 2 * UINT16_MAX bytes. */
static rh_status load_merge(rh_bpe *b, int32_t *last, int32_t n, const rh_bytes parts[2], int32_t rank,
                            char *joint, rh_error *err)
{
    char l[192], r[192];
    const rh_bytes a = parts[0], c = parts[1];
    if (a.len > UINT16_MAX || c.len > UINT16_MAX)
        return rh_fail(err, RH_EFORMAT, "merge %d is of %zu and %zu bytes; %d are possible", rank, a.len, c.len,
                       UINT16_MAX);
    memcpy(joint, a.data, a.len);
    memcpy(joint + a.len, c.data, c.len);
    int32_t left = rh_piece_table_find(&b->table, a.data, a.len);
    int32_t right = rh_piece_table_find(&b->table, c.data, c.len);
    int32_t id = *last = find_result(&b->table, n, *last, joint, a.len + c.len);
    if (left < 0 || right < 0 || id < 0)
        return rh_fail(err, RH_EFORMAT, "merge %d, %s %s: %s not in the vocabulary", rank,
                       rh_show_piece(a, l), rh_show_piece(c, r),
                       left < 0 ? "the left part is" : right < 0 ? "the right part is" : "the result is");
    uint64_t pair = (uint64_t)left << 32 | (uint32_t)right, i = rh_bpe_pair_hash(pair) & b->mask;
    while (b->merges[i].pair != RH_NO_PAIR && b->merges[i].pair != pair) i = (i + 1) & b->mask;
    if (b->merges[i].pair == RH_NO_PAIR) b->merges[i] = (rh_bpe_merge){ pair, rank, id };
    return RH_OK;
}

static rh_status load_merges(rh_bpe *b, int32_t n_vocab, const rh_bpe_parts *parts, rh_error *err)
{
    const int64_t n = parts->n_merges;
    if (n > 1 << 24) return rh_fail(err, RH_EFORMAT, "%lld merges are too many", (long long)n);
    uint64_t size = 16;
    while (size < 2 * (uint64_t)n) size *= 2;
    b->mask = size - 1;
    b->merges = rh_calloc(size, sizeof *b->merges);
    char *joint = rh_calloc(2 * UINT16_MAX, 1);
    rh_status status = b->merges && joint ? RH_OK : rh_fail_nomem(err);
    if (!status) memset(b->merges, 0xFF, size * sizeof *b->merges);
    int32_t last = -1;
    for (int64_t i = 0; !status && i < n; i++)
        status = load_merge(b, &last, n_vocab, parts->merges[i], (int32_t)i, joint, err);
    free(joint);
    return status;
}

rh_status rh_bpe_attach_parts(rh_tokenizer *t, rh_bpe_parts *parts, rh_error *err)
{
    rh_bpe *b = rh_calloc(1, sizeof *b);
    if (!b) {
        rh_pretokenizer_free(parts->pre);
        parts->pre = NULL;
        return rh_fail_nomem(err);
    }
    b->pre = parts->pre;
    parts->pre = NULL;
    b->whole_words = parts->whole_words;
    b->marks_unknown = parts->marks_unknown;
    b->fuses_unknown = parts->fuses_unknown;
    b->normal_form = parts->normal_form;
    b->splits_at_spaces = parts->splits_at_spaces;
    b->space_prefix = parts->space_prefix;
    t->state = b;
    t->kind = parts->chars ? &rh_bpe_chars : &rh_bpe_bytes; /* from here rh_tokenizer_free frees all */
    RH_TRY(load_pieces(b, t, err));
    if (parts->chars) rh_bpe_chars_init(b, t, parts->byte_fallback);
    else RH_TRY(rh_bpe_bytes_init(b, t, err));
    return load_merges(b, t->n, parts, err);
}

rh_status rh_bpe_attach(rh_tokenizer *t, rh_gguf *g, rh_error *err)
{
    rh_bytes pre = { "default", 7 };
    rh_pre_traits traits = { 0 };
    rh_bpe_parts parts = { 0 };
    const rh_bytes *lines;
    if (rh_gguf_has(g, "tokenizer.ggml.pre"))
        RH_TRY(rh_gguf_string(&pre, g, "tokenizer.ggml.pre", err));
    RH_TRY(rh_gguf_strings(&lines, &parts.n_merges, g, "tokenizer.ggml.merges", err));
    rh_bytes(*pairs)[2] = rh_calloc((size_t)parts.n_merges, sizeof *pairs);
    rh_status status = pairs ? rh_pretokenizer_new(&parts.pre, &traits, pre.data, pre.len, err) : rh_fail_nomem(err);
    for (int64_t i = 0; i < parts.n_merges && !status; i++) status = rh_merge_split(pairs[i], lines[i], i, err);
    if (!status) {
        parts.merges = pairs;
        parts.whole_words = traits.whole_words;
        status = rh_bpe_attach_parts(t, &parts, err);
        if (!rh_gguf_has(g, "tokenizer.ggml.add_bos_token")) t->adds_bos = traits.adds_bos;
    }
    rh_pretokenizer_free(parts.pre);
    free(pairs);
    return status;
}
