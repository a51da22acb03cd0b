/* compare_runs.h - the runs of a comparison: each prompt unsteered, with each vector, with each pair, read
 * for what they make of later hidden states. For probes/compare*.c alone. */
#ifndef RH_PROBES_COMPARE_RUNS_H
#define RH_PROBES_COMPARE_RUNS_H

#include "probes/compare.h"

typedef struct rh_compare_runs {
    const rh_model *m;
    const rh_value *const *vectors; /* [n] */
    int32_t n, n_runs;              /* runs: unsteered, n alone, pairs (0, 1), (0, 2), … (1, 2), … */
    const rh_compare_options *o;
    rh_compare_report *r;
    rh_action *actions;     /* of all vectors, one a layer; vector i's are [first[i], first[i + 1]) */
    int32_t first[RH_COMPARE_MAX + 1];
    rh_action **of_run;     /* [n_runs] copies, contiguous; NULL: none */
    int32_t *n_of_run;
    rh_prompt *prompts;     /* [n_prompts] */
    int32_t *row_of_prompt; /* [n_prompts] its first among n_tokens */
    double *sum;            /* [n_runs, n_layers, d_model] of states; then effects, run 0 left out */
    double *norms;          /* [n_layers, n_tokens] ‖h‖ unsteered */
} rh_compare_runs;

/* With m, vectors, n, o and r set: run all, and fill the report's layers, prompts and n_tokens. */
rh_status rh_compare_run(rh_compare_runs *c, rh_error *err);
/* D_l of a run > 0, l an index of the report's layers. [d_model] */
const double *rh_compare_effect(const rh_compare_runs *c, int32_t run, int32_t l);
void rh_compare_runs_free(rh_compare_runs *c);

#endif
