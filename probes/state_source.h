/* state_source.h - an endless stream of hidden states from files of text: documents are taken from the files in
 * proportion to their size, cut into pieces of `context` tokens (each with a BOS, if the model's texts have one), and
 * run through the model, which stops at the site. Where the files end, they begin again. Knows no SAE. */
#ifndef RH_PROBES_STATE_SOURCE_H
#define RH_PROBES_STATE_SOURCE_H

#include "probes/states.h"

typedef struct rh_state_source rh_state_source; /* owner: rh_state_source_free. Borrows model and paths */

/* RH_EIO, RH_ESITE, RH_EVALUE: a context below 2 or beyond the model's, or a model without a tokenizer. */
rh_status rh_state_source_new(rh_state_source **out, const rh_model *m, int32_t layer, rh_hook hook, const char *const *paths,
                              int32_t n_paths, int32_t context, rh_error *err);
void rh_state_source_free(rh_state_source *s);
/* The next batch: at least one row. *ended: with this batch the files have all been read to their end (again).
 * RH_EVALUE: they hold no text of two tokens. */
rh_status rh_state_source_next(rh_state_rows *out, bool *ended, rh_state_source *s, rh_error *err);
/* The ids of one batch, not run: texts borrowed until the next call; *n may be 0. */
rh_status rh_state_source_texts(const rh_id_text **texts, int32_t *n, bool *ended, rh_state_source *s, rh_error *err);

/* Where it is: documents of each file, how often all were read, tokens fed so far. at [n_paths]. */
void rh_state_source_at(int64_t *at, int64_t *rounds, int64_t *tokens, const rh_state_source *s);
/* A new one goes on from there. RH_EVALUE: a file has fewer documents. */
rh_status rh_state_source_go(rh_state_source *s, const int64_t *at, int64_t rounds, int64_t tokens, rh_error *err);

#endif
