/* prompt.h - which positions of a prompt a source reads (LANGUAGE.md §4, `at=`).
 * Knows tokens and byte ranges; runs nothing. */
#ifndef RH_CONCEPTS_PROMPT_H
#define RH_CONCEPTS_PROMPT_H

#include "concepts/concepts.h"
#include "dsl/resolver.h"

/* What a source's options make of one text. */
typedef struct rh_text_prompt {
    rh_prompt prompt;      /* prompt.user points to `text` */
    char *text;            /* prefix + the row's text; owned */
    int32_t *positions;    /* [n_positions] ascending; owned */
    int32_t n_positions;
} rh_text_prompt;
/* RH_EVALUE: nothing to read; RH_ELIMIT: longer than the model's context. */
rh_status rh_text_prompt_make(rh_text_prompt *out, const rh_model *m, const rh_atom_spec *spec,
                              const rh_text_row *row, bool special, rh_error *err);
void rh_text_prompt_free(rh_text_prompt *p);

/* out [p->n]: the positions read, ascending. text_begin: where in p->user the text proper begins
 * (behind a prefix). Position 0 is left out of means unless there is nothing else. */
rh_status rh_prompt_positions(int32_t *out, int32_t *n, const rh_prompt *p, rh_at at,
                              uint32_t text_begin, const struct rh_byte_range *marks, int32_t n_marks,
                              rh_error *err);

/* The prompt with the tokens at positions in brackets, cut around the first of them:
 * "…mayor of San[ Francisco]". out is valid UTF-8. */
rh_status rh_prompt_sample(char *out, size_t size, const rh_model *m, const rh_prompt *p,
                           const int32_t *positions, int32_t n_positions, rh_error *err);

/* Ids of a text by itself, without BOS. Borrowed by nobody; rh_tokens_free. */
rh_status rh_text_ids(rh_tokens *out, const rh_model *m, const char *text, size_t len, bool special,
                      rh_error *err);
/* "[San][ Francisco]" */
void rh_text_split(rh_str *out, const rh_model *m, const rh_tokens *tokens);

#endif
