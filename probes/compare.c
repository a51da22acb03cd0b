/* compare.c - see compare.h: figures of the effects that compare_runs.c measured. */
#include "probes/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "probes/axis.h"
#include "probes/compare_runs.h"
#include "probes/diagnose.h"

/* ---- numbers in float64 ---------------------------------------------------------------------------- */

static double dot(const double *a, const double *b, int32_t d)
{
    double s = 0;
    for (int32_t i = 0; i < d; i++) s += a[i] * b[i];
    return s;
}

static double length(const double *a, int32_t d) { return sqrt(dot(a, a, d)); }

static double cosine(const double *a, const double *b, int32_t d)
{
    double scale = length(a, d) * length(b, d);
    return scale > 0 ? dot(a, b, d) / scale : NAN;
}

/* ---- what is run ------------------------------------------------------------------------------------ */

static rh_status check_vectors(const rh_compare_runs *c, const char *const *labels, rh_error *err)
{
    if (c->n < 2 || c->n > RH_COMPARE_MAX)
        return rh_fail(err, RH_ELIMIT, "compare takes 2 to %d expressions, not %d", (int)RH_COMPARE_MAX, (int)c->n);
    for (int32_t i = 0; i < c->n; i++) {
        const rh_value *v = c->vectors[i];
        if (v->kind != RH_VALUE_VECTOR)
            return rh_fail(err, RH_EKIND, "'%s' is %s, and vectors are compared", labels[i], v->kind == RH_VALUE_SCALAR ? "a scalar" : "a span");
        if (v->vector->layers[0] < 0) {
            return rh_hinted(rh_fail(err, RH_ESITE, "'%s' is the same at every layer, and none is chosen", labels[i]),
                             err, "--layer %d, or place it with @ %d", (int)c->m->config.n_layers / 2, (int)c->m->config.n_layers / 2);
        }
        if (v->vector->d != rh_model_width(c->m, v->vector->hook))
            return rh_fail(err, RH_ESITE, "'%s' is %d wide, and the model's %s has %d", labels[i], (int)v->vector->d,
                           rh_hook_name(v->vector->hook), (int)rh_model_width(c->m, v->vector->hook));
    }
    return RH_OK;
}

/* ---- figures -------------------------------------------------------------------------------------------- */

/* b at the layer, or at the nearest one it has; NULL: not in the residual stream, or zero. */
static const float *direction(const rh_compare_runs *c, int32_t b, int32_t layer, double *norm)
{
    const rh_vector *v = c->vectors[b]->vector;
    int32_t best = 0;
    for (int32_t l = 1; l < v->n_layers; l++)
        if (abs(v->layers[l] - layer) < abs(v->layers[best] - layer)) best = l;
    const float *at = v->data + (size_t)best * (size_t)v->d;
    *norm = rh_norm(at, v->d);
    bool residual = v->d == c->m->config.d_model && v->hook != RH_ATTN_Z && v->hook != RH_MLP_IN;
    return residual && *norm > 0 ? at : NULL;
}

static double projection(const rh_compare_runs *c, const double *x, int32_t b, int32_t layer)
{
    double norm, s = 0;
    const float *v = direction(c, b, layer, &norm);
    for (int32_t j = 0; v && j < c->m->config.d_model; j++) s += x[j] * v[j];
    return v ? s / norm : NAN;
}

static rh_status fill_layers(rh_compare_runs *c, rh_error *err)
{
    rh_compare_report *r = c->r;
    int32_t d = c->m->config.d_model, n = c->n;
    size_t layers = (size_t)r->n_layers;
    r->median_h = rh_calloc(layers, sizeof *r->median_h);
    r->effect_norm = rh_calloc(layers, (size_t)n * sizeof *r->effect_norm);
    r->effect_cosine = rh_calloc(layers, (size_t)(n * n) * sizeof *r->effect_cosine);
    r->moved = rh_calloc(layers, (size_t)(n * n) * sizeof *r->moved);
    if (!r->median_h || !r->effect_norm || !r->effect_cosine || !r->moved) return rh_fail_nomem(err);
    for (int32_t l = 0; l < r->n_layers; l++) {
        r->median_h[l] = rh_median(c->norms + (size_t)l * (size_t)r->n_tokens, r->n_tokens);
        for (int32_t a = 0; a < n; a++) {
            const double *x = rh_compare_effect(c, 1 + a, l);
            r->effect_norm[l * n + a] = length(x, d);
            for (int32_t b = 0; b < n; b++) {
                r->effect_cosine[(l * n + a) * n + b] = cosine(x, rh_compare_effect(c, 1 + b, l), d);
                r->moved[(l * n + a) * n + b] = projection(c, x, b, r->layers[l]);
            }
        }
    }
    return RH_OK;
}

static rh_status fill_pairs(rh_compare_runs *c, rh_error *err)
{
    rh_compare_report *r = c->r;
    int32_t d = c->m->config.d_model, run = 1 + c->n;
    double *sum = rh_calloc((size_t)d, sizeof *sum);
    rh_status status = RH_OK;
    r->pairs = rh_calloc((size_t)(c->n_runs - run), sizeof *r->pairs);
    if (!sum || !r->pairs) status = rh_fail_nomem(err);
    for (int32_t a = 0; !status && a < c->n; a++)
        for (int32_t b = a + 1; !status && b < c->n; b++, run++) {
            rh_compare_pair *p = &r->pairs[r->n_pairs++];
            *p = (rh_compare_pair){.a = a, .b = b};
            p->cosine = rh_calloc((size_t)r->n_layers, sizeof *p->cosine);
            p->ratio = rh_calloc((size_t)r->n_layers, sizeof *p->ratio);
            if (!p->cosine || !p->ratio) status = rh_fail_nomem(err);
            for (int32_t l = 0; !status && l < r->n_layers; l++) {
                const double *x = rh_compare_effect(c, 1 + a, l), *y = rh_compare_effect(c, 1 + b, l), *both = rh_compare_effect(c, run, l);
                for (int32_t j = 0; j < d; j++) sum[j] = x[j] + y[j];
                p->cosine[l] = cosine(both, sum, d);
                p->ratio[l] = length(sum, d) > 0 ? length(both, d) / length(sum, d) : NAN;
            }
        }
    free(sum);
    return status;
}

static double vector_cosine(const rh_vector *a, const rh_vector *b)
{
    for (int32_t l = 0; a->hook == b->hook && l < a->n_layers; l++) {
        rh_vector_view x = rh_vector_at(a, a->layers[l]), y = rh_vector_at(b, a->layers[l]);
        if (y.data) return rh_norm(x.data, x.d) > 0 && rh_norm(y.data, y.d) > 0 ? rh_cosine(x.data, y.data, x.d) : NAN;
    }
    return NAN;
}

static rh_status describe(rh_compare_runs *c, const char *const *labels, rh_error *err)
{
    rh_compare_report *r = c->r;
    size_t n = (size_t)c->n;
    rh_str notes = {0};
    r->strength = c->o->strength;
    r->last = c->o->last;
    r->model = rh_strdup(c->m->name);
    r->expressions = rh_calloc(n, sizeof *r->expressions);
    r->sites = rh_calloc(n, sizeof *r->sites);
    r->norm = rh_calloc(n, sizeof *r->norm);
    r->cosine = rh_calloc(n * n, sizeof *r->cosine);
    if (!r->model || !r->expressions || !r->sites || !r->norm || !r->cosine) return rh_fail_nomem(err);
    r->n = c->n;
    rh_str_puts(&notes, "");
    for (int32_t i = 0; i < c->n; i++) {
        const rh_vector *v = c->vectors[i]->vector;
        rh_str site = {0};
        rh_layers_text(&site, v->layers, v->n_layers, v->hook);
        r->sites[i] = site.data;
        r->expressions[i] = rh_strdup(labels[i]);
        if (!r->sites[i] || site.failed || !r->expressions[i]) notes.failed = true;
        r->norm[i] = rh_norm(v->data, v->d);
        if (r->norm[i] == 0) rh_str_printf(&notes, "%s%s is zero: it does nothing", notes.len ? "\n" : "", labels[i]);
        for (int32_t j = 0; j < c->n; j++) r->cosine[(size_t)i * n + (size_t)j] = vector_cosine(v, c->vectors[j]->vector);
    }
    r->notes = notes.data;
    return notes.failed ? rh_fail_nomem(err) : RH_OK;
}

/* ---- all -------------------------------------------------------------------------------------------------- */

static void free_texts(char **texts, int32_t n)
{
    for (int32_t i = 0; texts && i < n; i++) free(texts[i]);
    free(texts);
}

void rh_compare_report_free(rh_compare_report *r)
{
    if (!r) return;
    free_texts(r->expressions, r->n);
    free_texts(r->sites, r->n);
    free_texts(r->prompts, r->n_prompts);
    for (int32_t i = 0; i < r->n_pairs; i++) {
        free(r->pairs[i].cosine);
        free(r->pairs[i].ratio);
    }
    free(r->pairs);
    free(r->model);
    free(r->norm);
    free(r->cosine);
    free(r->layers);
    free(r->median_h);
    free(r->effect_norm);
    free(r->effect_cosine);
    free(r->moved);
    free(r->notes);
    free(r);
}

rh_status rh_probe_compare(rh_compare_report **out, const rh_model *m, const rh_value *const *vectors, const char *const *labels,
                           int32_t n, const rh_compare_options *o, rh_error *err)
{
    double begun = rh_seconds();
    rh_compare_runs c = {.m = m, .vectors = vectors, .n = n, .o = o};
    RH_TRY(check_vectors(&c, labels, err));
    c.r = rh_calloc(1, sizeof *c.r);
    if (!c.r) return rh_fail_nomem(err);
    rh_status status = describe(&c, labels, err);
    if (!status) status = rh_compare_run(&c, err);
    if (!status) status = fill_layers(&c, err);
    if (!status) status = fill_pairs(&c, err);
    c.r->seconds = rh_seconds() - begun;
    rh_compare_runs_free(&c);
    if (status)
        rh_compare_report_free(c.r);
    else
        *out = c.r;
    return status;
}
