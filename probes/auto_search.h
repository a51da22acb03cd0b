/* auto_search.h - what the files of the search share. For probes/ alone.
 *
 *   auto.c        checks, candidates, units, the report
 *   auto_sweep.c  screening of layers × strengths, and the final round among the leaders
 *   auto_test.c   what was picked on held-out prompts, beside its controls
 *   auto_score.c  cells become scores */
#ifndef RH_PROBES_AUTO_SEARCH_H
#define RH_PROBES_AUTO_SEARCH_H

#include "probes/auto_batch.h"

typedef struct rh_search {
    rh_auto_batch batch;
    rh_auto_report *report;
    const rh_vector *v;
    rh_strength *strengths;   /* of the first round */
    int32_t n_strengths;
    int32_t *sites;           /* [n_sites] candidate indices into v's layers; `together`: one, for all */
    int32_t n_sites;
    double *median;           /* [v->n_layers] ‖h‖ */
    double *sigma;            /* [v->n_layers], or NULL */
    double base, spread;      /* of the unsteered texts' projections, in the round under way */
    size_t cap_settings;
} rh_search;

/* auto.c: ‖v‖ at v's i-th layer; the index of a layer in v, all together begin at the first; how many layers an
 * arm takes. */
double rh_search_norm(const rh_search *s, int32_t i);
int32_t rh_search_site(const rh_search *s, int32_t layer);
int32_t rh_search_count(const rh_search *s);

/* auto_score.c: mean and deviation of h·u over the unsteered texts, cells [n, stride], arm 0. */
void rh_search_base(rh_search *s, const rh_auto_cell *cells, int32_t n, int32_t stride);
/* Arm `arm` of cells [n, stride]. threshold: what counts as a hit where there is no target; NaN: nothing. */
rh_auto_score rh_search_score(const rh_search *s, const rh_auto_cell *cells, int32_t n, int32_t stride, int32_t arm,
                              double threshold);
/* Value, cost and health of a setting beside the unsteered texts of the same prompts. */
rh_knee_point rh_search_judge(const rh_search *s, const rh_auto_score *setting, const rh_auto_score *unsteered);

/* auto_sweep.c: fills settings and `picked`. auto_test.c: fills tests and verdict. */
rh_status rh_search_sweep(rh_search *s, rh_error *err);
rh_status rh_search_test(rh_search *s, rh_error *err);

#endif
