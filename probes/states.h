/* states.h - hidden states of many texts at the sites an autoencoder reads and writes, one step a batch. The first
 * position of every text is left out: models keep something else there (attention sinks, norms a hundred times larger).
 * Knows ids and sites; no SAE. */
#ifndef RH_PROBES_STATES_H
#define RH_PROBES_STATES_H

#include "engine/session.h"

enum { RH_STATES_BATCH = 2048 }; /* tokens of one step, where no single text is longer */

typedef struct rh_id_text { const int32_t *ids; int32_t n; } rh_id_text; /* borrowed */

/* The rows of a batch, text after text, positions ascending; borrowed until the next reading. */
typedef struct rh_state_rows {
    const float *x; /* [n, width of in] */
    const float *y; /* [n, width of out]; x itself if both are one hook */
    int32_t n;
} rh_state_rows;

typedef struct rh_states rh_states; /* owner: rh_states_free. Borrows the model; belongs to one thread */

/* RH_ESITE: there is no such layer. */
rh_status rh_states_new(rh_states **out, const rh_model *m, int32_t layer, rh_hook in, rh_hook hook_out, rh_error *err);
void rh_states_free(rh_states *s);
/* How many of texts [n] one step takes, at least 1. */
int32_t rh_states_fit(const rh_id_text *texts, int32_t n);
/* One step over texts [n]. RH_ELIMIT: a text is longer than the model's context. RH_EVALUE: a state is not finite. */
rh_status rh_states_read(rh_state_rows *out, rh_states *s, const rh_id_text *texts, int32_t n, rh_error *err);

#endif
