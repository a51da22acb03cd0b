/* steer.h - the main experiment: unsteered and steered side by side, with the diagnostics of
 * DESIGN §4. */
#ifndef RH_PROBES_STEER_H
#define RH_PROBES_STEER_H

#include "concepts/concepts.h"
#include "probes/report.h"

typedef struct rh_steer_options {
    const double *strengths; int32_t n_strengths;  /* the unsteered run is always added, once */
    rh_prompt_options prompt;
    rh_generate_options generate;
    const rh_evaluation *const *watches;           /* bare_value evaluations, one a --watch */
    const char *const *watch_labels; int32_t n_watches;
    int32_t top_tokens;                            /* rises and falls to keep; default 8 */
} rh_steer_options;

/* evaluation may have no actions: then only the unsteered run. All runs go in one batch. */
rh_status rh_probe_steer(rh_steer_report **out, const rh_model *m, const rh_evaluation *e,
                         const char *expression, const char *prompt, const rh_steer_options *o,
                         rh_diags *diags, rh_error *err);

/* vec: norms, cosines to names, nearest tokens. model may be NULL (no tokens then). */
rh_status rh_probe_vec(rh_vec_report **out, const rh_model *m, const rh_evaluation *e,
                       const char *expression, int32_t top_tokens, rh_error *err);

#endif
