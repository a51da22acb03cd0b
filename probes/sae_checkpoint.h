/* sae_checkpoint.h - a training that was stopped. A safetensors file: the dictionary's arrays, the buffer's rows, and
 * under "sae_train" what run it belongs to and where that was. For probes/ alone. */
#ifndef RH_PROBES_SAE_CHECKPOINT_H
#define RH_PROBES_SAE_CHECKPOINT_H

#include "algebra/dictionary.h"
#include "probes/sae_product.h"
#include "probes/sae_train.h"
#include "probes/state_buffer.h"

typedef struct rh_sae_run {
    const rh_model *m;
    const rh_sae_training *t;
    char key[65];              /* of all that decides the result */
    rh_state_source *source;
    rh_state_buffer *buffer;
    rh_dictionary *dictionary;
    rh_sae_product *product;
    int64_t learned;           /* rows */
} rh_sae_run;

/* The key of a run: model, corpus, options. */
rh_status rh_sae_run_key(rh_sae_run *r, rh_error *err);
rh_status rh_sae_checkpoint_save(const rh_sae_run *r, const char *path, rh_error *err);
/* *found false: there is none. RH_EMODEL: of another run. RH_EFORMAT: damaged. The run may then be half set. */
rh_status rh_sae_checkpoint_load(bool *found, rh_sae_run *r, const char *path, rh_error *err);

#endif
