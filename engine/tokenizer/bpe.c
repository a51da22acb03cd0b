/* bpe.c - byte-level BPE: a word is the sequence of its bytes, and of all neighbours that form a
 * known pair the one of lowest rank (leftmost if equal) is merged until there is none.
 * Pieces are spelled in GPT-2's alphabet, a printable character for each byte.
 * Source: Sennrich et al. 2016; GPT-2's encoder.py for the alphabet. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/pretokenize.h"
#include "engine/tokenizer/vocab.h"

typedef struct merge {
    uint64_t pair; /* left << 32 | right; NO_PAIR free */
    int32_t rank, id;
} merge;
#define NO_PAIR UINT64_MAX

typedef struct bpe {
    rh_piece_table table;
    rh_pretokenizer *pre;
    bool whole_words, marks_unknown, fuses_unknown; /* as in rh_bpe_parts */
    int normal_form;
    int32_t byte_ids[256]; /* -1: the vocabulary has no such byte */
    merge *merges;         /* [mask + 1], open addressing */
    uint64_t mask;
} bpe;

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

/* ---- merging ------------------------------------------------------------------------------ */

static uint64_t pair_hash(uint64_t pair)
{
    pair *= 0x9E3779B97F4A7C15u;
    return pair ^ pair >> 32;
}

static const merge *find_merge(const bpe *b, int32_t left, int32_t right)
{
    if (left < 0 || right < 0) return NULL;
    uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;
    for (uint64_t i = pair_hash(pair) & b->mask;; i = (i + 1) & b->mask) {
        if (b->merges[i].pair == pair) return &b->merges[i];
        if (b->merges[i].pair == NO_PAIR) return NULL;
    }
}

/* Symbols of a word, a doubly linked list. A merged one lives on in its left part. */
typedef struct symbol {
    int32_t id, prev, next; /* id -1: a byte without a token, or merged away */
    int32_t start, end;     /* bytes of the text */
} symbol;

/* A possible merge, outdated if the symbols there are others by now. */
typedef struct candidate {
    int32_t rank, left;      /* ordered by these */
    int32_t left_id, right_id, id;
} candidate;

typedef struct work { /* of one call */
    symbol *symbols;
    candidate *heap;
    size_t symbols_cap, heap_n, heap_cap;
    rh_ends ends;
    rh_str spelled;
    int32_t unknown_end; /* of the text, if the last token is an unknown byte of this word; or -1 */
} work;

static bool before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static bool heap_push(work *w, candidate c)
{
    if (!RH_GROW(w->heap, w->heap_cap, w->heap_n)) return false;
    size_t i = w->heap_n++;
    for (; i && before(&c, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
    return true;
}

static candidate heap_pop(work *w)
{
    candidate top = w->heap[0], last = w->heap[--w->heap_n];
    size_t i = 0, n = w->heap_n;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!before(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
    }
    if (n) w->heap[i] = last;
    return top;
}

static bool consider(const bpe *b, work *w, int32_t left)
{
    if (left < 0 || w->symbols[left].next < 0) return true;
    const symbol *l = &w->symbols[left], *r = &w->symbols[l->next];
    const merge *m = find_merge(b, l->id, r->id);
    if (!m) return true;
    return heap_push(w, (candidate){ m->rank, left, l->id, r->id, m->id });
}

static bool merge_all(const bpe *b, work *w)
{
    while (w->heap_n) {
        candidate c = heap_pop(w);
        symbol *l = &w->symbols[c.left];
        if (l->id != c.left_id || l->next < 0) continue;
        symbol *r = &w->symbols[l->next];
        if (r->id != c.right_id) continue;
        l->id = c.id;
        l->end = r->end;
        l->next = r->next;
        r->id = -1;
        if (l->next >= 0) w->symbols[l->next].prev = c.left;
        if (!consider(b, w, l->prev) || !consider(b, w, c.left)) return false;
    }
    return true;
}

/* A word text[start..end) whose whole spelling is a token: its id, else -1. */
static int32_t whole_word(const rh_tokenizer *t, work *w, const char *text, size_t start, size_t end)
{
    const bpe *b = t->state;
    w->spelled.len = 0;
    for (size_t i = start; i < end; i++) {
        char letter[4];
        rh_str_add(&w->spelled, letter, rh_utf8_put(letter, letter_of((unsigned char)text[i])));
    }
    if (w->spelled.failed) return -1;
    int32_t id = rh_piece_table_find(&b->table, w->spelled.data, w->spelled.len);
    return id >= 0 && t->types[id] == RH_TOKEN_NORMAL ? id : -1;
}

static rh_status push_unknown(const rh_tokenizer *t, work *w, rh_tokens *out, const symbol *s,
                              int32_t base, rh_error *err)
{
    const bpe *b = t->state;
    if (b->fuses_unknown && w->unknown_end == s->start) out->items[out->n - 1].end = base + s->end;
    else RH_TRY(rh_tokens_push(out, (rh_token){ t->unk, base + s->start, base + s->end }, err));
    w->unknown_end = s->end;
    return RH_OK;
}

static rh_status encode_word(const rh_tokenizer *t, work *w, rh_tokens *out, const char *text,
                             size_t start, size_t end, int32_t base, rh_error *err)
{
    const bpe *b = t->state;
    size_t n = end - start;
    if (b->whole_words) {
        int32_t id = whole_word(t, w, text, start, end);
        if (w->spelled.failed) return rh_fail_nomem(err);
        if (id >= 0)
            return rh_tokens_push(out, (rh_token){ id, base + (int32_t)start, base + (int32_t)end }, err);
    }
    if (!RH_GROW(w->symbols, w->symbols_cap, n)) return rh_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        int32_t at = (int32_t)(start + i);
        w->symbols[i] = (symbol){ b->byte_ids[(unsigned char)text[at]], (int32_t)i - 1,
                                  i + 1 < n ? (int32_t)i + 1 : -1, at, at + 1 };
    }
    w->heap_n = 0;
    w->unknown_end = -1;
    for (size_t i = 0; i + 1 < n; i++)
        if (!consider(b, w, (int32_t)i)) return rh_fail_nomem(err);
    if (!merge_all(b, w)) return rh_fail_nomem(err);
    for (int32_t i = 0; i >= 0; i = w->symbols[i].next) {
        const symbol *s = &w->symbols[i];
        if (s->id < 0 && !b->marks_unknown) continue; /* left out, as in llama.cpp */
        if (s->id < 0) {
            RH_TRY(push_unknown(t, w, out, s, base, err));
            continue;
        }
        w->unknown_end = -1;
        RH_TRY(rh_tokens_push(out, (rh_token){ s->id, base + s->start, base + s->end }, err));
    }
    return RH_OK;
}

static rh_status encode_words(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len,
                              int32_t base, rh_error *err)
{
    const bpe *b = t->state;
    work w = { 0 };
    rh_status status = rh_pretokenize(&w.ends, b->pre, text, len, err);
    for (size_t i = 0; !status && i < w.ends.n; i++)
        status = encode_word(t, &w, out, text, i ? w.ends.items[i - 1] : 0, w.ends.items[i], base, err);
    free(w.symbols);
    free(w.heap);
    free(w.ends.items);
    rh_str_free(&w.spelled);
    return status;
}

static rh_status bpe_encode(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len,
                            bool first, int32_t base, rh_error *err)
{
    const bpe *b = t->state;
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

/* ---- loading -------------------------------------------------------------------------------- */

static int32_t bpe_find(const rh_tokenizer *t, const char *bytes, size_t n)
{
    const bpe *b = t->state;
    return rh_piece_table_find(&b->table, bytes, n);
}

static void bpe_free(rh_tokenizer *t)
{
    bpe *b = t->state;
    rh_piece_table_free(&b->table);
    rh_pretokenizer_free(b->pre);
    free(b->merges);
    free(b);
}

static const rh_vocab_kind byte_level = { "byte-level BPE", bpe_encode, bpe_decode, bpe_find, bpe_free };

static rh_status load_pieces(bpe *b, const rh_tokenizer *t, rh_error *err)
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
static rh_status load_merge(bpe *b, int32_t *last, int32_t n, const rh_bytes parts[2], int32_t rank,
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
    uint64_t pair = (uint64_t)left << 32 | (uint32_t)right, i = pair_hash(pair) & b->mask;
    while (b->merges[i].pair != NO_PAIR && b->merges[i].pair != pair) i = (i + 1) & b->mask;
    if (b->merges[i].pair == NO_PAIR) b->merges[i] = (merge){ pair, rank, id };
    return RH_OK;
}

static rh_status load_merges(bpe *b, int32_t n_vocab, const rh_bpe_parts *parts, rh_error *err)
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
    bpe *b = rh_calloc(1, sizeof *b);
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
    t->state = b;
    t->kind = &byte_level; /* from here rh_tokenizer_free frees all */
    RH_TRY(load_pieces(b, t, err));
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
