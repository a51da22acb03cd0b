/* pretokenize.h - text into the words that byte-level BPE merges within, by the patterns that
 * tokenizer.ggml.pre names or a tokenizer.json spells out. Knows PCRE2; no vocabulary. */
#ifndef RH_ENGINE_TOKENIZER_PRETOKENIZE_H
#define RH_ENGINE_TOKENIZER_PRETOKENIZE_H

#include "base/mem.h"

typedef struct rh_pretokenizer rh_pretokenizer; /* immutable, any thread */

typedef struct rh_pre_traits {
    bool whole_words; /* a word that is in the vocabulary is one token, whatever the merges say */
    bool adds_bos;    /* unless the file says otherwise */
} rh_pre_traits;

/* An unknown name is RH_EUNSUPPORTED and named. */
rh_status rh_pretokenizer_new(rh_pretokenizer **out, rh_pre_traits *traits, const char *name,
                              size_t name_len, rh_error *err);

/* Patterns of a tokenizer.json, one after the other; each isolates what it matches. */
typedef enum rh_cut_kind {
    RH_CUT_GPT2,    /* ByteLevel's own */
    RH_CUT_DIGIT,   /* every digit by itself */
    RH_CUT_DIGITS,  /* runs of digits */
    RH_CUT_REGEX,   /* text, as Oniguruma reads it */
    RH_CUT_LITERAL  /* text */
} rh_cut_kind;
typedef struct rh_cut_rule { rh_cut_kind kind; const char *text; } rh_cut_rule;
enum { RH_MAX_CUT_RULES = 16 };
/* RH_EUNSUPPORTED: a pattern with what is not there yet, named; RH_EFORMAT: PCRE2's words. */
rh_status rh_pretokenizer_from_rules(rh_pretokenizer **out, const rh_cut_rule *rules, int n, rh_error *err);
void rh_pretokenizer_free(rh_pretokenizer *p);

/* Where each word ends, in order; the last is len. A list may be used again. Text is valid
 * UTF-8 and at most 2^31 - 1 bytes. */
typedef struct rh_ends { uint32_t *items; size_t n, cap; } rh_ends;
rh_status rh_pretokenize(rh_ends *out, const rh_pretokenizer *p, const char *text, size_t len,
                         rh_error *err);

#endif
