/* survey.h - the facts that both forms of explain print. Inside dsl/ only. */
#ifndef RH_DSL_SURVEY_H
#define RH_DSL_SURVEY_H

#include "dsl/compiled.h"

typedef struct rh_survey {
    const rh_program *p;
    rh_atom_request *requests;
    rh_atom_survey *atoms;      /* [plan.n_requests] */
    rh_plan_survey all;
    bool *main;                 /* [plan.n] an action or the value needs this step, not only a part or name */
    int32_t *atom_number;       /* [plan.n] from 1, 0 for other steps */
    double *coefficient;        /* [n_requests] */
    int32_t *uses;              /* [n_requests] 1: coefficient is meant */
    char **labels;              /* [n_requests] the call as written, on one line */
    rh_compiled_value *results; /* [n_results] actions, or the value */
    size_t n_results;
} rh_survey;

rh_status rh_survey_new(rh_survey *out, const rh_program *p, rh_error *err);
void rh_survey_free(rh_survey *s);

#endif
