/* words.h - the words of the language and the nearest one to a misspelling. All words are
 * contextual: where they are looked for is the parser's business. */
#ifndef RH_DSL_WORDS_H
#define RH_DSL_WORDS_H

#include "dsl/diag.h"

/* `let` … `scale`: begin a statement, cannot be bound. */
bool rh_is_statement_word(const char *name, size_t len);
bool rh_is_word(const char *name, size_t len, const char *word);

/* A search for the known word nearest to `name` by edit distance on code points. Feed
 * candidates, then read `best` (NULL: none is near enough to be what was meant). */
typedef struct rh_nearest {
    const char *name;
    size_t name_len;
    const char *best;
    size_t best_len;
    int distance;
} rh_nearest;
rh_nearest rh_nearest_to(const char *name, size_t len);
void rh_nearest_try(rh_nearest *n, const char *word, size_t len);

#endif
