/* bpe.h - what the files of BPE share; only for bpe*.c. */
#ifndef RH_ENGINE_TOKENIZER_BPE_H
#define RH_ENGINE_TOKENIZER_BPE_H

#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/pretokenize.h"
#include "engine/tokenizer/vocab.h"

typedef struct rh_bpe_merge {
    uint64_t pair; /* left << 32 | right; RH_NO_PAIR free */
    int32_t rank, id;
} rh_bpe_merge;
#define RH_NO_PAIR UINT64_MAX

typedef struct rh_bpe {
    rh_piece_table table;
    rh_pretokenizer *pre;  /* NULL with characters */
    bool whole_words, marks_unknown, fuses_unknown; /* as in rh_bpe_parts */
    int normal_form;
    bool splits_at_spaces; /* and the next: of characters */
    int space_prefix;
    int32_t byte_ids[256]; /* -1: the vocabulary has no such byte */
    rh_bpe_merge *merges;  /* [mask + 1], open addressing */
    uint64_t mask;
} rh_bpe;

/* Symbols of a word, a doubly linked list. A merged one lives on in its left part. */
typedef struct rh_bpe_symbol {
    int32_t id, prev, next; /* id -1: one without a token, or merged away */
    int32_t start, end;     /* bytes of the text */
} rh_bpe_symbol;

/* A possible merge, outdated if the symbols there are others by now. */
typedef struct rh_bpe_candidate {
    int32_t rank, left;      /* ordered by these */
    int32_t left_id, right_id, id;
} rh_bpe_candidate;

typedef struct rh_bpe_work { /* of one call */
    rh_bpe_symbol *symbols;
    rh_bpe_candidate *heap;
    size_t n, symbols_cap, heap_n, heap_cap;
    rh_ends ends;
    rh_str spelled;
    int32_t unknown_end; /* of the text, if the last token is an unknown symbol of this word; or -1 */
} rh_bpe_work;
void rh_bpe_work_free(rh_bpe_work *w);

/* Another symbol behind w->n, not merged yet; false: no memory. */
bool rh_bpe_symbol_add(rh_bpe_work *w, int32_t id, size_t start, size_t end);
/* bpe_merge.c: all merges among w->symbols, and what is left as tokens, in the order of the text. */
rh_status rh_bpe_merge_symbols(const rh_tokenizer *t, rh_bpe_work *w, rh_tokens *out, int32_t base, rh_error *err);
uint64_t rh_bpe_pair_hash(uint64_t pair);

/* The two alphabets: bytes in GPT-2's (bpe_bytes.c), characters with ▁ in SentencePiece's (bpe_chars.c).
 * The inits set byte_ids. */
extern const rh_vocab_kind rh_bpe_bytes, rh_bpe_chars;
rh_status rh_bpe_bytes_init(rh_bpe *b, const rh_tokenizer *t, rh_error *err);
void rh_bpe_chars_init(rh_bpe *b, rh_tokenizer *t, bool byte_fallback);

int32_t rh_bpe_find(const rh_tokenizer *t, const char *bytes, size_t n);
void rh_bpe_free(rh_tokenizer *t);

#endif
