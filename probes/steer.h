/* steer.h - the main experiment: unsteered and steered side by side, with the diagnostics of
 * DESIGN §4. */
#ifndef RH_PROBES_STEER_H
#define RH_PROBES_STEER_H

#include "concepts/concepts.h"
#include "probes/report.h"

typedef struct rh_steer_options {
    const double *strengths; int32_t n_strengths;  /* none: 1. The unsteered run is always added, once */
    rh_prompt_options prompt;
    rh_generate_options generate;
    const rh_evaluation *const *watches;           /* bare_value evaluations, one a --watch */
    const char *const *watch_labels; int32_t n_watches;
    int32_t top_tokens;                            /* rises and falls to keep; < 0: 8 */
    rh_concepts *concepts;                         /* where the SAEs are that expressions name; NULL: no features are looked at */
    int32_t top_features;                          /* switched on and off, to keep of each SAE; 0: none are looked for */
} rh_steer_options;

/* Runs[0] is unsteered, then one run a strength in the order given. Strength 0 is the unsteered run
 * itself, unless an action is not multiplied by it (`ablate`); without any steer there is one steered run,
 * of strength 1. evaluation may have no actions: then only
 * the unsteered run. All runs go in one batch.
 *
 *   prompt  NUL-terminated UTF-8
 *   diags   takes text selectors that match nothing in the prompt
 * RH_EVALUE: a prompt without tokens, a strength that is not finite. RH_ELIMIT: longer than the context.
 * RH_ESITE: a watch without a place. RH_ECANCELLED: on_step said so. */
rh_status rh_probe_steer(rh_steer_report **out, const rh_model *m, const rh_evaluation *e,
                         const char *expression, const char *prompt, const rh_steer_options *o,
                         rh_diags *diags, rh_error *err);

/* vec: norms, cosines to names, nearest tokens (top_tokens each way; 0: none). model may be NULL (no
 * tokens then). e: of a program with bare_value; with all_names for the cosines. */
rh_status rh_probe_vec(rh_vec_report **out, const rh_model *m, const rh_evaluation *e,
                       const char *expression, int32_t top_tokens, rh_error *err);

/* W_U·(γ⊙v), v [d_model] in the residual stream: the `top` tokens whose logits it raises and lowers most. Also after a
 * failure out is freed by its owner. */
rh_status rh_nearest_tokens(rh_nearest *out, const rh_model *m, const float *v, int32_t layer, int32_t top, rh_error *err);

#endif
