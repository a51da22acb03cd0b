/* sae_eval.h - how well an autoencoder stands in for a model's states: its fit, and the loss that the model has left
 * when the reconstruction takes their place.
 *
 * Loss is the mean surprisal of the next token, in nats, of those behind the first position, which is neither read nor
 * replaced. recovered = (zero - spliced)/(zero - clean): 1 loses nothing, 0 is as bad as zeros at the site. */
#ifndef RH_PROBES_SAE_EVAL_H
#define RH_PROBES_SAE_EVAL_H

#include "probes/sae_fit.h"

typedef struct rh_sae_eval_options {
    int32_t layer;             /* where the SAE does not say */
    rh_hook hook;
    const char *const *corpus; /* [n_corpus] */
    int32_t n_corpus, context;
    int64_t tokens;            /* rows for the fit, about; less if the corpus ends */
    int64_t loss_tokens;       /* of these, predictions for the loss, about */
    rh_progress_fn progress;   /* may be NULL */
    void *progress_data;
} rh_sae_eval_options;

typedef struct rh_sae_eval {
    int32_t layer;
    rh_hook hook_in, hook_out;
    rh_sae_fit fit;
    int64_t predictions;
    double clean, spliced, zero, recovered;
} rh_sae_eval;

/* The SAE is opened for RH_SAE_ENCODE. RH_ESITE: it does not fit the model. RH_EVALUE: the corpus holds too little. */
rh_status rh_sae_evaluate(rh_sae_eval *out, const rh_model *m, const rh_sae *s, const rh_sae_eval_options *o, rh_error *err);

#endif
