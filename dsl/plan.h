/* plan.h - what has to be computed for some values, in order. The graph says what a value is;
 * a plan says it at the sites where it is used, with every linear expression flattened to
 * sum_i c_i leaf_i and nothing kept that ends up with coefficient 0. Computes nothing. */
#ifndef RH_DSL_PLAN_H
#define RH_DSL_PLAN_H

#include "dsl/graph.h"

typedef struct rh_step {
    rh_op op;           /* RH_OP_SUM is a linear form; AT and FREE do not occur */
    rh_value_kind kind;
    int32_t site;       /* -1: constant */
    int32_t n;          /* layers: the site's, or 1. An input has as many, or 1 */
    int32_t d;          /* width of the vector or span, or of the vectors a scalar is made of; 1 for an atom
                           that is a scalar */
    int32_t n_in;
    int32_t *in;        /* steps before this one */
    double *coef;       /* SUM */
    double number;
    int32_t atom;
    rh_range range;
    bool hard;          /* an action or the expression needs it, not only a name that is shown beside */
} rh_step;

typedef struct rh_root {   /* in: all but step */
    int32_t node;
    int32_t site;          /* where the value is wanted; -1: constant */
    int32_t d;             /* width from context where there is no site, or 0 */
    bool hard;             /* an error in it is one of the program's; else the value is left out */
    bool part;             /* a term of another root: its errors are reported there */
    rh_range range;        /* for errors of placing */
    int32_t step;
} rh_root;

typedef struct rh_plan {
    rh_step *steps;
    int32_t n;
    int32_t *requests;     /* [n_requests] the steps that are atoms */
    int32_t n_requests;
} rh_plan;

/* Memory of the plan is the arena's. Errors go into diags, with RH_OK; RH_ENOMEM is returned. */
rh_status rh_plan_make(rh_plan *out, rh_arena *arena, const rh_graph *g, const rh_resolver *resolver, rh_root *roots,
                       size_t n_roots, rh_diags *diags);

#endif
