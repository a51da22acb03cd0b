/* help.h - tokenizers of the two real models, lines of committed text, ids as text. */
#ifndef RH_TEST_TOKENIZER_HELP_H
#define RH_TEST_TOKENIZER_HELP_H

#include "engine/tokenizer/tokenizer.h"

typedef struct opened {
    rh_gguf *gguf;
    rh_tokenizer *t;
} opened;

/* From RHUMB_TEST_MODELS/name.gguf; skips the test if there is none, fails if it does not open. */
void open_model(opened *o, const char *name);
void open_file(opened *o, const char *path); /* must succeed */
void close_model(opened *o);

/* tests/data/tokenizer/name, whole, NUL-terminated; free() it. */
char *read_data(const char *name);
/* The next line of *text, ended by NUL in place; NULL at the end. */
char *next_line(char **text);
/* \xHH and \\ become bytes, in place; returns the length. */
size_t unescape(char *line);

/* "1 2 3"; free() it. */
char *ids_text(const rh_tokens *t);
/* rh_tokenize, which must succeed, as ids_text. */
char *ids_of(const rh_tokenizer *t, const char *text, size_t len, bool special);

/* Offsets tile [0, len): every token covers at least a byte and begins where the last ended; a
 * gap may hold only bytes that the vocabulary has no token for (gaps true). */
void check_tiles(const rh_tokens *t, size_t len, bool gaps, const char *what);
/* Tokens [begin, end) of a chat tile a part of the user's text [0, len); the others cover nothing. */
void check_user_tiles(const rh_tokens *t, size_t begin, size_t end, size_t len, const char *what);

#endif
