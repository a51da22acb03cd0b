/* tokenizer.h - text to ids and back. Gemma through libsentencepiece, built from whatever the
 * container holds; byte-level BPE with PCRE2. Knows no model, only vocabularies. */
#ifndef RH_ENGINE_TOKENIZER_H
#define RH_ENGINE_TOKENIZER_H

#include "base/mem.h"
#include "engine/files/gguf.h"

typedef struct rh_tokenizer rh_tokenizer; /* immutable; owner: rh_tokenizer_free */

/* From tokenizer.ggml.*. The gguf must stay open while the tokenizer lives. */
rh_status rh_tokenizer_from_gguf(rh_tokenizer **out, rh_gguf *g, rh_error *err);
/* From a model's folder as the Hub has it: tokenizer.model (SentencePiece), else tokenizer.json
 * (BPE: byte-level, or SentencePiece's), with tokenizer_config.json and chat_template.jinja. *out is NULL, with RH_OK,
 * if there is neither. n_rows: of the embedding matrix; added tokens beyond it are left out.
 * RH_EUNSUPPORTED: it asks for something that is not there, named. Ids equal transformers'. */
rh_status rh_tokenizer_from_folder(rh_tokenizer **out, const char *dir, int32_t n_rows, rh_error *err);
void rh_tokenizer_free(rh_tokenizer *t);

/* A token and the bytes [start, end) of the text it covers. Tokens added by templates and
 * BOS have start == end. */
typedef struct rh_token { int32_t id, start, end; } rh_token;
typedef struct rh_tokens { rh_token *items; size_t n, cap; } rh_tokens; /* zero to start */
void rh_tokens_free(rh_tokens *t);

/* Append the ids of text[0..len). special: control tokens spelled in the text become
 * tokens; else they are plain text, and no merge makes them one either. User-defined tokens
 * always are tokens. No BOS is added. Offsets count from `base` and tile the text, but for bytes
 * that a byte-level vocabulary has no token for: they are left out, as in llama.cpp (SmolLM2 has
 * none for U+0004 and some others). Invalid UTF-8: RH_EVALUE with its byte offset. */
rh_status rh_tokenize(const rh_tokenizer *t, rh_tokens *out, const char *text, size_t len,
                      bool special, int32_t base, rh_error *err);
rh_status rh_tokens_push(rh_tokens *t, rh_token token, rh_error *err);

/* Append the bytes a token stands for (spaces, not ▁: to SentencePiece both are the same).
 * control: also control tokens, by their spelling; else those add nothing. A byte token may be
 * part of a code point: the caller joins. */
void rh_token_text(const rh_tokenizer *t, rh_str *out, int32_t id, bool control);
/* The piece as the vocabulary spells it. */
rh_bytes rh_token_piece(const rh_tokenizer *t, int32_t id);
bool rh_token_is_control(const rh_tokenizer *t, int32_t id);

const char *rh_tokenizer_kind(const rh_tokenizer *t); /* "SentencePiece" or "byte-level BPE" */
int32_t rh_tokenizer_n_vocab(const rh_tokenizer *t);
int32_t rh_tokenizer_bos(const rh_tokenizer *t); /* -1: none */
int32_t rh_tokenizer_eos(const rh_tokenizer *t);
bool rh_tokenizer_adds_bos(const rh_tokenizer *t);
int32_t rh_tokenizer_find(const rh_tokenizer *t, const char *piece); /* id of an exact piece, -1 */

/* ---- chat templates, by family, never by running Jinja -------------------------------- */

typedef enum rh_chat { RH_CHAT_NONE = 0, RH_CHAT_GEMMA, RH_CHAT_CHATML, RH_CHAT_LLAMA3, RH_CHAT_MISTRAL } rh_chat;

/* Recognised from tokenizer.chat_template, else from the vocabulary (a Gemma base model has
 * the turn tokens too). RH_CHAT_NONE if nothing fits. MISTRAL is [INST] … [/INST], Llama 2's <<SYS>> too,
 * with the spaces and the place of the system text that the template has. */
rh_chat rh_tokenizer_chat(const rh_tokenizer *t);
const char *rh_chat_name(rh_chat c);

/* Append one user turn and the assistant header: ids equal transformers' apply_chat_template
 * with add_generation_prompt, BOS included where the template has it. Offsets of the user's
 * own tokens point into `user` (the untrimmed text); all others have start == end.
 * system: NULL takes the template's own default (SmolLM2 has one), "" none.
 * user_begin/user_end: index range in out of the tokens of the user's text. */
rh_status rh_chat_prompt(const rh_tokenizer *t, rh_chat c, rh_tokens *out, const char *system,
                         const char *user, size_t user_len, bool special, size_t *user_begin,
                         size_t *user_end, rh_error *err);

/* The same behind earlier turns of user and assistant, text as it is. RH_EVALUE: an order of turns that the
 * template refuses (Gemma's and Mistral's: user and assistant in turn). */
typedef struct rh_chat_turn { bool assistant; const char *text; size_t len; } rh_chat_turn;
rh_status rh_chat_prompt_after(const rh_tokenizer *t, rh_chat c, rh_tokens *out, const char *system,
                               const rh_chat_turn *before, int32_t n_before, const char *user, size_t user_len,
                               bool special, size_t *user_begin, size_t *user_end, rh_error *err);
/* Ids that end an assistant turn (EOS and end-of-turn); returns how many, at most 8. */
int rh_chat_stops(const rh_tokenizer *t, rh_chat c, int32_t out[8]);

#endif
