/* eval.h - running a plan: one call of the resolver for all atoms, then every step in order.
 * Vectors are float32, sums and dot products float64 (LANGUAGE.md §7). */
#ifndef RH_DSL_EVAL_H
#define RH_DSL_EVAL_H

#include "dsl/plan.h"

typedef struct rh_step_value { /* one of the three, by the step's kind; an atom that is a scalar has two */
    double *scalar;            /* [n] */
    float *vector;             /* [n, d] */
    rh_span *span;             /* [n] */
    bool failed;               /* a step that is not hard met an error, or one before it did */
} rh_step_value;

typedef struct rh_run {
    const rh_plan *plan;
    const rh_graph *graph;
    rh_step_value *values;     /* [plan->n] */
} rh_run;

/* RH_OK: every hard step has a value. Else err is filled, and diags too where the error has a
 * place. Freed by rh_run_free in any case. */
rh_status rh_run_plan(rh_run *out, const rh_plan *plan, const rh_graph *g, const rh_resolver *resolver, rh_diags *diags,
                      rh_error *err);
void rh_run_free(rh_run *r);

/* Requests for all atoms of a plan, out NULL: what explain asks about. Freed by the caller. */
rh_atom_request *rh_plan_requests(const rh_plan *plan, const rh_graph *g);

/* A step's value at a site (-1: as a constant); a step of one layer is repeated. */
rh_status rh_run_value(rh_value *out, const rh_run *r, int32_t step, int32_t site, rh_error *err);
rh_status rh_run_vector(rh_vector **out, const rh_run *r, int32_t step, int32_t site, rh_error *err);
void rh_value_clear(rh_value *v);

#endif
