#include "cli/strength.h"

#include <math.h>
#include <stdlib.h>

#include "cli/when.h"

rh_status cli_strengths_read(cli_strengths *out, cli *c, const cli_texts *given, rh_error *err)
{
    for (size_t i = 0; i < given->n; i++) {
        rh_status status = rh_strength_list(&out->items, &out->n, &out->cap, given->items[i], err);
        if (status == RH_EVALUE) c->wrong_usage = true;
        if (status) return status;
    }
    return RH_OK;
}

static const rh_vector *first_steer(const cli_expression *e)
{
    const rh_evaluation *v = e->evaluation;
    for (int32_t i = 0; v && i < v->n_actions; i++)
        if (v->actions[i].verb == RH_VERB_STEER && v->actions[i].value.kind == RH_VALUE_VECTOR) return v->actions[i].value.vector;
    return NULL;
}

static rh_status sigma_of(double *out, const cli_expression *e, const rh_model *m, const rh_vector *v, const char *expr,
                          double norm, rh_error *err)
{
    char *metadata = NULL, created[CLI_WHEN];
    float *u = rh_calloc((size_t)v->d, sizeof *u);
    if (!u) return rh_fail_nomem(err);
    for (int32_t j = 0; norm > 0 && j < v->d; j++) u[j] = (float)(v->data[j] / norm);
    cli_when(created);
    rh_status status = rh_concepts_metadata(&metadata, e->concepts, expr ? expr : "", v, created, err);
    if (!status) status = rh_pairs_sigma(out, m, metadata, v->layers[0], v->hook, u, err);
    free(metadata);
    free(u);
    return status;
}

rh_status cli_strength_factors(double *out, const cli_strengths *s, const cli_expression *e, const rh_model *m,
                               const char *expr, const char *prompt, const rh_prompt_options *o, rh_error *err)
{
    bool resid = false, sigma = false;
    double norm = 0, median_h = NAN, deviation = NAN;
    for (size_t i = 0; i < s->n; i++) {
        resid = resid || s->items[i].unit == RH_UNIT_RESID;
        sigma = sigma || s->items[i].unit == RH_UNIT_SIGMA;
    }
    if (resid || sigma) {
        const rh_vector *v = first_steer(e);
        if (!v || v->layers[0] < 0)
            return rh_fail(err, RH_EVALUE, "a strength in resid or sigma needs a `steer` action, and there is none");
        norm = rh_norm(v->data, v->d);
        if (resid) RH_TRY(rh_median_norms(&median_h, m, v->layers, 1, v->hook, &prompt, 1, o, err));
        if (sigma) RH_TRY(sigma_of(&deviation, e, m, v, expr, norm, err));
    }
    for (size_t i = 0; i < s->n; i++) RH_TRY(rh_strength_factor(&out[i], s->items[i], norm, median_h, deviation, err));
    return RH_OK;
}
