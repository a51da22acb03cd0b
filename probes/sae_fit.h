/* sae_fit.h - how well an autoencoder fits the states of a model. */
#ifndef RH_PROBES_SAE_FIT_H
#define RH_PROBES_SAE_FIT_H

#include "engine/sae.h"
#include "probes/states.h"

/* With x what the SAE reads, y what it should give (the same but for transcoders), ŷ what it gives:
 *     fvu   Σ‖y - ŷ‖² / Σ‖y - mean y‖²    the fraction of variance unexplained; 0 is perfect, the mean alone gives 1
 *     l0    active features a token
 *     dead  the share of features that were active nowhere in these texts */
typedef struct rh_sae_fit {
    int64_t tokens;      /* rows read; the first position of each text is left out */
    double fvu, l0, dead;
} rh_sae_fit;

/* The same, rows at a time. */
typedef struct rh_sae_fitter rh_sae_fitter; /* owner: rh_sae_fitter_free; borrows SAE and backend */
rh_status rh_sae_fitter_new(rh_sae_fitter **out, const rh_sae *s, rh_backend *be, rh_error *err); /* RH_SAE_ENCODE */
void rh_sae_fitter_free(rh_sae_fitter *f);
void rh_sae_fitter_reset(rh_sae_fitter *f); /* as new, but what the SAE was laid out as stays */
/* x [n, d_in], y [n, d_out]. */
rh_status rh_sae_fitter_add(rh_sae_fitter *f, const float *x, const float *y, int32_t n, rh_error *err);
/* RH_EVALUE: fewer than two rows, or all alike. */
rh_status rh_sae_fitter_result(rh_sae_fit *out, const rh_sae_fitter *f, rh_error *err);

/* What an SAE reads and writes: its own hooks, and where it does not say, `hook`. */
void rh_sae_hooks(rh_hook *in, rh_hook *out, const rh_sae *s, rh_hook hook);

/* RH_ESITE: its widths are not the model's. */
rh_status rh_sae_check_fit(const rh_model *m, const rh_sae *s, rh_hook hook, rh_error *err);

/* Of texts [n] (with BOS, if the model is used so) at a layer; opened for RH_SAE_ENCODE. progress may be NULL.
 * RH_ESITE: the widths differ, or there is no such layer. RH_EVALUE: no text has two tokens. */
rh_status rh_sae_measure(rh_sae_fit *out, const rh_model *m, const rh_sae *s, int32_t layer, rh_hook hook,
                         const rh_id_text *texts, int32_t n, rh_progress_fn progress, void *progress_data, rh_error *err);

#endif
