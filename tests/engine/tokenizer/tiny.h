/* tiny.h - small GGUF files with a vocabulary and nothing else, valid or not. */
#ifndef RH_TEST_TOKENIZER_TINY_H
#define RH_TEST_TOKENIZER_TINY_H

#include "engine/tokenizer/tokenizer.h"
#include "support/scratch.h"

/* Keys in the order of the calls. */
typedef struct tiny {
    rh_str keys;
    uint64_t n;
} tiny;
void tiny_string(tiny *g, const char *key, const char *value);
void tiny_u32(tiny *g, const char *key, uint32_t value);
void tiny_bool(tiny *g, const char *key, bool value);
void tiny_strings(tiny *g, const char *key, const rh_bytes *items, size_t n);
void tiny_i32s(tiny *g, const char *key, const int32_t *items, size_t n);
void tiny_f32s(tiny *g, const char *key, const float *items, size_t n);
/* The file's bytes; g is empty again. */
rh_str tiny_bytes(tiny *g);

/* A vocabulary to be changed before it is written. Pieces are not copied; those of single bytes
 * live in `letters`. */
enum { TINY_MAX = 600 };
typedef struct tiny_vocab {
    const char *model, *pre, *chat_template; /* NULL: key left out */
    rh_bytes pieces[TINY_MAX];
    int32_t types[TINY_MAX];
    float scores[TINY_MAX];
    size_t n, n_types, n_scores;
    rh_bytes merges[TINY_MAX];
    size_t n_merges;
    bool has_merges, no_space_prefix;
    int64_t bos, eos, unk; /* -1: left out */
    char letters[256][8];
} tiny_vocab;
void tiny_add(tiny_vocab *v, const char *piece, int32_t type, float score);
void tiny_merge(tiny_vocab *v, const char *merge);
/* All 256 bytes; merges "a b", "ab c", "c d"; control <x> (0), <y> (1); user-defined <u>, "  ". */
void tiny_byte_level(tiny_vocab *v);
/* <unk> (0), <s> (1), </s> (2), 256 byte tokens, user-defined <u>; ▁ a b c, ▁a, ab, abc. */
void tiny_sentencepiece(tiny_vocab *v);
rh_str tiny_vocab_bytes(const tiny_vocab *v);

/* Opens the vocabulary as a file of the scratch folder; on failure both outs are NULL. */
rh_status tiny_open(rh_gguf **g, rh_tokenizer **t, scratch *s, const tiny_vocab *v, rh_error *err);
rh_status tiny_open_bytes(rh_gguf **g, rh_tokenizer **t, scratch *s, const void *bytes, size_t n,
                          rh_error *err);

#endif
