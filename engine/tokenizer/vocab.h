/* vocab.h - what a tokenizer is made of; only for the files of this room. */
#ifndef RH_ENGINE_TOKENIZER_VOCAB_H
#define RH_ENGINE_TOKENIZER_VOCAB_H

#include "engine/tokenizer/tokenizer.h"

/* tokenizer.ggml.token_type */
enum { RH_TOKEN_NORMAL = 1, RH_TOKEN_UNKNOWN, RH_TOKEN_CONTROL, RH_TOKEN_USER, RH_TOKEN_UNUSED,
       RH_TOKEN_BYTE };

/* Pieces to ids: open addressing. Borrows the pieces. */
typedef struct rh_piece_slot {
    uint32_t hash;  /* beside the id, so that most misses need not look at the piece */
    int32_t id;     /* -1 free */
} rh_piece_slot;
typedef struct rh_piece_table {
    const rh_bytes *pieces;
    rh_piece_slot *slots; /* [mask + 1] */
    uint32_t mask;
} rh_piece_table;
rh_status rh_piece_table_init(rh_piece_table *t, const rh_bytes *pieces, int64_t n, rh_error *err);
/* id, or the id of an equal piece that was there before. */
int32_t rh_piece_table_put(rh_piece_table *t, int32_t id);
int32_t rh_piece_table_find(const rh_piece_table *t, const char *bytes, size_t n); /* -1 */
void rh_piece_table_free(rh_piece_table *t);

/* The two kinds of vocabulary. Both get valid UTF-8 without the tokens that are cut out of the
 * text beforehand; offsets start at `base`. first: nothing stands in front of the text. */
typedef struct rh_vocab_kind {
    const char *name;
    rh_status (*encode)(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len,
                        bool first, int32_t base, rh_error *err);
    void (*decode)(rh_str *out, rh_bytes piece); /* a normal piece as text */
    int32_t (*find)(const rh_tokenizer *t, const char *bytes, size_t n);
    void (*free)(rh_tokenizer *t);
} rh_vocab_kind;

struct rh_tokenizer {
    const rh_bytes *pieces; /* [n], borrowed from the gguf or in `memory` */
    uint8_t *types;         /* [n], RH_TOKEN_* */
    int32_t n;
    int32_t bos, eos, unk;  /* -1: none */
    bool adds_bos;
    bool space_prefix;      /* SentencePiece: text gets a space in front, */
    bool prefix_first_only; /* but not where it has one, nor behind a token cut out of it */
    rh_bytes chat_template; /* as pieces; length 0: none */
    rh_arena *memory;       /* of a tokenizer from a folder; else NULL */
    const rh_vocab_kind *kind;
    void *state;            /* of the kind */

    /* Tokens cut out of the text before anything else: user-defined ones always, control ones
     * if asked. From a GGUF they are tried by length, longest first, as in llama.cpp; from a
     * folder from the left, the longest at each place, as in Hugging Face's tokenizers. */
    uint8_t *added;     /* [n] RH_ADDED_*; NULL: from a GGUF */
    rh_piece_table cut;
    uint8_t *cut_when;  /* [n]: 0 never, CUT_ALWAYS, CUT_SPECIAL */
    int32_t *cut_lengths; /* [n_cut_lengths], falling */
    int32_t n_cut_lengths;
    uint8_t (*cut_first)[256]; /* [n_cut_lengths][first byte]: cut_when of any such token, or-ed */
};
enum { CUT_ALWAYS = 1, CUT_SPECIAL = 2 };

/* A token of a folder's added_tokens. LSTRIP, RSTRIP: it takes the whitespace beside it along.
 * NORMALIZED: it is looked for when those that are not have been cut out. */
enum { RH_ADDED = 1, RH_ADDED_SPECIAL = 2, RH_ADDED_LSTRIP = 4, RH_ADDED_RSTRIP = 8,
       RH_ADDED_NORMALIZED = 16 };

rh_status rh_spm_attach(rh_tokenizer *t, rh_gguf *g, rh_error *err); /* model "llama" */
/* proto: a ModelProto whose pieces begin t's own (spm_proto.h). */
rh_status rh_spm_attach_proto(rh_tokenizer *t, const rh_str *proto, rh_error *err);
rh_status rh_bpe_attach(rh_tokenizer *t, rh_gguf *g, rh_error *err); /* model "gpt2" */

/* Of SentencePiece's: does a ▁ stand in front of a text? UNSPACED: if it does not begin with one; FIRST: nor
 * stands behind a token cut out of the text. */
enum { RH_PREFIX_NONE, RH_PREFIX_ALL, RH_PREFIX_UNSPACED, RH_PREFIX_FIRST };

/* What BPE is made of beside the pieces. */
struct rh_pretokenizer;
typedef struct rh_bpe_parts {
    struct rh_pretokenizer *pre; /* taken over, also on failure */
    bool whole_words;            /* as in rh_pre_traits */
    bool marks_unknown;          /* a symbol without a token is t->unk; else it is left out */
    bool fuses_unknown;          /* neighbouring ones are one token */
    int normal_form;             /* RH_FORM_* of normalize.h */
    bool chars;                  /* symbols are characters, ▁ a space, as SentencePiece has it; else bytes */
    bool byte_fallback;          /* of chars: one without a token is its bytes' <0x..> */
    bool splits_at_spaces;       /* of chars: no merge goes over a ▁ at its right */
    int space_prefix;            /* of chars: RH_PREFIX_* */
    rh_bytes (*merges)[2];       /* [n_merges] left and right, lowest rank first */
    int64_t n_merges;
} rh_bpe_parts;
/* A merge spelled "left right": the space is no letter of the alphabet. */
rh_status rh_merge_split(rh_bytes pair[2], rh_bytes line, int64_t rank, rh_error *err);
rh_status rh_bpe_attach_parts(rh_tokenizer *t, rh_bpe_parts *parts, rh_error *err);

/* No empty, overlong or badly encoded piece; one of type unused may be empty. */
rh_status rh_pieces_check(const rh_tokenizer *t, rh_error *err);

/* rh_tokenize for a part of a text: first is false if something stands in front of it. */
rh_status rh_tokenize_part(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len,
                           bool special, bool first, int32_t base, rh_error *err);

/* cut.c */
rh_status rh_cut_init(rh_tokenizer *t, rh_error *err);
void rh_cut_free(rh_tokenizer *t);
/* *marks [len], malloc'd: an id where a token starts, -2 inside one, -1 plain text. NULL (with
 * RH_OK) if there is nothing to cut. */
rh_status rh_cut_find(int32_t **marks, const rh_tokenizer *t, const char *text, size_t len,
                      bool special, rh_error *err);
/* added.c: the same for a tokenizer from a folder. */
rh_status rh_added_find(int32_t **marks, const rh_tokenizer *t, const char *text, size_t len,
                        bool special, rh_error *err);

/* Whitespace as Unicode has it. */
bool rh_is_white_space(uint32_t cp);

/* "'<|x|>'" for a message: at most 40 bytes, control characters as \xHH. */
const char *rh_show_piece(rh_bytes piece, char buffer[192]);

#endif
