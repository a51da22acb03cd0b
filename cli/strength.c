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

static const rh_eval_action *first_steer(const cli_expression *e)
{
    const rh_evaluation *v = e->evaluation;
    for (int32_t i = 0; v && i < v->n_actions; i++)
        if (v->actions[i].verb == RH_VERB_STEER && v->actions[i].value.kind == RH_VALUE_VECTOR) return &v->actions[i];
    return NULL;
}

/* How long the vector is that the feature writes at its largest activation. All steer actions are multiplied by one
 * number, so that it means something only where there is one. */
static rh_status maxact_of(double *out, const cli_expression *e, const rh_eval_action *a, double norm, rh_error *err)
{
    int n = 0;
    for (int32_t i = 0; i < e->evaluation->n_actions; i++) n += e->evaluation->actions[i].verb == RH_VERB_STEER;
    if (n != 1 || !a->of_feature.spec) {
        rh_fail(err, RH_EVALUE, "a strength in maxact needs one `steer` of one feature, times a number: %s",
                n != 1 ? "here are several" : "this vector is made otherwise");
        return rh_hinted(RH_EVALUE, err, "write steer s[3]; in a sum, max_act(s[3])*s[3] says the same");
    }
    double most;
    int32_t sae;
    RH_TRY(rh_feature_max_act(&most, e->concepts, a->of_feature.spec, err));
    RH_TRY(rh_concepts_sae_of(&sae, e->concepts, a->of_feature.spec, err));
    const bool unit = rh_sae_about(rh_concepts_sae(e->concepts, sae).sae)->rescale; /* activations count ‖W_dec[i]‖ in */
    *out = unit ? most : most * norm / fabs(a->of_feature.scale);
    return RH_OK;
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
    bool resid = false, sigma = false, maxact = false;
    double norm = 0;
    rh_unit_figures figures = {NAN, NAN, NAN};
    for (size_t i = 0; i < s->n; i++) {
        resid = resid || s->items[i].unit == RH_UNIT_RESID;
        sigma = sigma || s->items[i].unit == RH_UNIT_SIGMA;
        maxact = maxact || s->items[i].unit == RH_UNIT_MAXACT;
    }
    if (resid || sigma || maxact) {
        const rh_eval_action *a = first_steer(e);
        const rh_vector *v = a ? a->value.vector : NULL;
        if (!v || v->layers[0] < 0)
            return rh_fail(err, RH_EVALUE, "a strength in resid, sigma or maxact needs a `steer` action, and there is none");
        norm = rh_norm(v->data, v->d);
        if (resid) RH_TRY(rh_median_norms(&figures.resid, m, v->layers, 1, v->hook, &prompt, 1, o, err));
        if (sigma) RH_TRY(sigma_of(&figures.sigma, e, m, v, expr, norm, err));
        if (maxact) RH_TRY(maxact_of(&figures.maxact, e, a, norm, err));
    }
    for (size_t i = 0; i < s->n; i++) RH_TRY(rh_strength_factor(&out[i], s->items[i], norm, &figures, err));
    return RH_OK;
}
