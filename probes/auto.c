/* auto.c - the search: what is swept and where it is read; then the sweep, the test and the report.
 *
 * Presence is read at one later layer for all settings, so that they compare: four fifths up, or above the
 * vector's own layer. */
#include "probes/auto.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "algebra/algebra.h"
#include "probes/auto_search.h"

enum { COARSE_LAYERS = 6 };

/* Steps of ‖strength·v‖ / median ‖h‖: below the first nothing shows, above the last nothing is left. */
static const double COARSE[] = {0.15, 0.3, 0.45, 0.65};
static const double ONE_SITE[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9};

double rh_search_norm(const rh_search *s, int32_t i)
{
    return rh_norm(s->v->data + (size_t)i * (size_t)s->v->d, s->v->d);
}

int32_t rh_search_site(const rh_search *s, int32_t layer)
{
    for (int32_t i = 0; i < s->v->n_layers; i++)
        if (s->v->layers[i] == layer) return i;
    return 0;
}

int32_t rh_search_count(const rh_search *s) { return s->batch.o->together ? s->v->n_layers : 1; }

/* ---- preparing -------------------------------------------------------------------------------- */

static rh_status check(const rh_evaluation *e, rh_error *err)
{
    if (e->n_actions != 1 || e->actions[0].verb != RH_VERB_STEER || e->actions[0].value.kind != RH_VALUE_VECTOR) {
        rh_fail(err, RH_EUNSUPPORTED, "the search is for one direction that is added, and this is %s",
                e->n_actions == 1 ? "an action of another kind" : e->n_actions ? "several actions" : "nothing");
        rh_hint(err, "give one expression, such as sf + 0.5*rain");
        return RH_EUNSUPPORTED;
    }
    const rh_vector *v = e->actions[0].value.vector;
    if (v->layers[0] < 0) return rh_fail(err, RH_ESITE, "the vector has no layer");
    if (v->hook == RH_ATTN_Z || v->hook == RH_MLP_IN) {
        rh_fail(err, RH_EUNSUPPORTED, "a direction of %s cannot be read in the residual stream", rh_hook_name(v->hook));
        rh_hint(err, "give --strength and --layer by hand");
        return RH_EUNSUPPORTED;
    }
    return RH_OK;
}

/* û where presence is read: the family's own there, else its deepest below. */
static rh_status choose_reader(rh_search *s, float *u, rh_error *err)
{
    const rh_vector *v = s->v;
    int32_t n = s->batch.m->config.n_layers, layer = n * 4 / 5, k = 0;
    bool pinned = s->batch.o->together || v->n_layers == 1;
    if (pinned && layer <= v->layers[v->n_layers - 1]) layer = v->layers[v->n_layers - 1] + 1;
    if (layer > n - 1) layer = n - 1;
    for (int32_t i = 0; i < v->n_layers; i++)
        if (v->layers[i] <= layer) k = i;
    const float *row = v->data + (size_t)k * (size_t)v->d;
    double norm = rh_norm(row, v->d);
    if (!(norm > 0)) return rh_fail(err, RH_EVALUE, "the vector is zero at layer %d", (int)v->layers[k]);
    for (int32_t j = 0; j < v->d; j++) u[j] = (float)(row[j] / norm);
    s->batch.u = u;
    s->batch.read_layer = s->report->read_layer = layer;
    return RH_OK;
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The layer that the book has in mind, among the candidates: in place of the nearest. */
static void choose_also(rh_search *s, int32_t layer)
{
    int32_t nearest = 0, site = rh_search_site(s, layer);
    if (s->v->layers[site] != layer || !s->n_sites) return;
    for (int32_t k = 1; k < s->n_sites; k++)
        if (abs(s->sites[k] - site) < abs(s->sites[nearest] - site)) nearest = k;
    s->sites[nearest] = site;
    qsort(s->sites, (size_t)s->n_sites, sizeof *s->sites, ascending);
}

/* Candidates of the first round: evenly spread, between a sixth of the model and the layer read; all those
 * that were asked for, if they are few. */
static rh_status choose_sites(rh_search *s, rh_error *err)
{
    const rh_vector *v = s->v;
    int32_t lo = 0, hi = v->n_layers, n_layers = s->batch.m->config.n_layers;
    s->sites = rh_calloc((size_t)v->n_layers, sizeof *s->sites);
    if (!s->sites) return rh_fail_nomem(err);
    if (s->batch.o->together) {
        s->n_sites = 1;
        return RH_OK;
    }
    if (v->n_layers > COARSE_LAYERS) {
        while (lo < hi && v->layers[lo] < n_layers / 6) lo++;
        while (hi > lo && v->layers[hi - 1] >= s->batch.read_layer) hi--;
        if (hi - lo < 1) lo = 0, hi = v->n_layers;
    }
    int32_t n = hi - lo < COARSE_LAYERS ? hi - lo : COARSE_LAYERS;
    for (int32_t i = 0; i < n; i++) s->sites[s->n_sites++] = lo + (n > 1 ? i * (hi - lo - 1) / (n - 1) : 0);
    if (s->batch.o->also) choose_also(s, *s->batch.o->also);
    return RH_OK;
}

static rh_status choose_strengths(rh_search *s, rh_error *err)
{
    const rh_auto_options *o = s->batch.o;
    const double *list = s->n_sites > 1 ? COARSE : ONE_SITE;
    int32_t n = s->n_sites > 1 ? (int32_t)(sizeof COARSE / sizeof *COARSE) : (int32_t)(sizeof ONE_SITE / sizeof *ONE_SITE);
    if (o->n_strengths) n = o->n_strengths;
    s->strengths = rh_calloc((size_t)n, sizeof *s->strengths);
    if (!s->strengths) return rh_fail_nomem(err);
    s->n_strengths = n;
    for (int32_t i = 0; i < n; i++)
        s->strengths[i] = o->n_strengths ? o->strengths[i] : (rh_strength){list[i], RH_UNIT_RESID};
    return RH_OK;
}

/* The figures behind the units. */
static rh_status measure_units(rh_search *s, rh_error *err)
{
    const rh_auto_options *o = s->batch.o;
    const rh_vector *v = s->v;
    bool sigma = false;
    s->median = rh_calloc((size_t)v->n_layers, sizeof *s->median);
    s->sigma = rh_calloc((size_t)v->n_layers, sizeof *s->sigma);
    float *u = rh_calloc((size_t)v->d, sizeof *u);
    rh_status status = s->median && s->sigma && u ? RH_OK : rh_fail_nomem(err);
    if (!status)
        status = rh_median_norms(s->median, s->batch.m, v->layers, v->n_layers, v->hook, o->prompts, o->n_prompts,
                                 &o->prompt, err);
    for (int32_t i = 0; i < s->n_strengths; i++) sigma = sigma || s->strengths[i].unit == RH_UNIT_SIGMA;
    for (int32_t i = 0; i < s->n_strengths && !status; i++)
        if (s->strengths[i].unit == RH_UNIT_MAXACT)
            status = rh_hinted(rh_fail(err, RH_EVALUE, "a search over layers has no strength in maxact: a feature lives at one"), err,
                               "use resid, or steer without --auto");
    if (!status && sigma && !o->metadata) status = rh_fail(err, RH_EVALUE, "sigma needs the pairs the vector was made of");
    for (int32_t k = 0; !status && sigma && k < s->n_sites; k++) {
        int32_t i = s->sites[k];
        double norm = rh_norm(v->data + (size_t)i * (size_t)v->d, v->d);
        for (int32_t j = 0; norm > 0 && j < v->d; j++) u[j] = (float)(v->data[(size_t)i * (size_t)v->d + (size_t)j] / norm);
        status = rh_pairs_sigma(&s->sigma[i], s->batch.m, o->metadata, v->layers[i], v->hook, u, err);
    }
    free(u);
    return status;
}

/* ---- the report ------------------------------------------------------------------------------- */

static rh_status copy_texts(char ***out, int32_t *n_out, const char *const *texts, int32_t n, rh_error *err)
{
    *out = rh_calloc((size_t)n, sizeof **out);
    if (!*out) return rh_fail_nomem(err);
    *n_out = n;
    for (int32_t i = 0; i < n; i++)
        if (!((*out)[i] = rh_strdup(texts[i]))) return rh_fail_nomem(err);
    return RH_OK;
}

static rh_status describe(rh_search *s, const char *expression, rh_error *err)
{
    rh_auto_report *r = s->report;
    const rh_auto_options *o = s->batch.o;
    r->model = rh_strdup(s->batch.m->name);
    r->expression = rh_strdup(expression ? expression : "");
    r->target = o->target ? rh_strdup(o->target) : NULL;
    r->versus = o->versus ? rh_strdup(o->versus) : NULL;
    if (!r->model || !r->expression || (o->target && !r->target) || (o->versus && !r->versus)) return rh_fail_nomem(err);
    r->hook = s->v->hook;
    r->n_layers = s->batch.m->config.n_layers;
    r->together = o->together;
    r->max_tokens = o->generate.max_tokens;
    RH_TRY(copy_texts(&r->prompts, &r->n_prompts, o->prompts, o->n_prompts, err));
    return copy_texts(&r->held_out, &r->n_held_out, o->held_out, o->n_held_out, err);
}

static rh_status run_search(rh_search *s, rh_error *err)
{
    s->report->verdict = RH_AUTO_NOTHING;
    RH_TRY(rh_search_sweep(s, err));
    return s->report->picked < 0 ? RH_OK : rh_search_test(s, err);
}

rh_status rh_probe_auto(rh_auto_report **out, const rh_model *m, const rh_evaluation *e, const char *expression,
                        const rh_auto_options *options, rh_diags *diags, rh_error *err)
{
    struct timespec begun, ended;
    rh_auto_options o = *options;
    float *u = NULL;
    RH_TRY(check(e, err));
    clock_gettime(CLOCK_MONOTONIC, &begun);
    if (!o.n_prompts) o.prompts = rh_auto_prompts(&o.n_prompts, o.prompt.chat);
    if (!o.n_held_out) o.held_out = rh_auto_held_out(&o.n_held_out, o.prompt.chat);
    rh_search s = {.batch = {.m = m, .e = e, .o = &o, .diags = diags}, .v = e->actions[0].value.vector};
    if (s.v->n_layers == 1) o.together = true;
    s.report = rh_calloc(1, sizeof *s.report);
    u = rh_calloc((size_t)s.v->d, sizeof *u);
    rh_status status = s.report && u ? RH_OK : rh_fail_nomem(err);
    if (s.report) s.report->picked = -1;
    if (!status) status = describe(&s, expression, err);
    if (!status) status = choose_reader(&s, u, err);
    if (!status) status = choose_sites(&s, err);
    if (!status) status = choose_strengths(&s, err);
    if (!status) status = measure_units(&s, err);
    if (!status) status = run_search(&s, err);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    if (!status) {
        s.report->tokens = s.batch.tokens;
        s.report->seconds = (double)(ended.tv_sec - begun.tv_sec) + 1e-9 * (double)(ended.tv_nsec - begun.tv_nsec);
        *out = s.report;
    } else {
        rh_auto_report_free(s.report);
    }
    free(s.strengths);
    free(s.sites);
    free(s.median);
    free(s.sigma);
    free(u);
    return status;
}

static void free_texts(char **texts, int32_t n)
{
    for (int32_t i = 0; texts && i < n; i++) free(texts[i]);
    free(texts);
}

void rh_auto_report_free(rh_auto_report *r)
{
    if (!r) return;
    for (int32_t i = 0; i < r->n_settings; i++) free(r->settings[i].sample);
    for (int32_t i = 0; r->tests && i < r->n_tests; i++) {
        free(r->tests[i].label);
        free_texts(r->tests[i].texts, r->tests[i].score.n);
    }
    free(r->settings);
    free(r->tests);
    free_texts(r->prompts, r->n_prompts);
    free_texts(r->held_out, r->n_held_out);
    free(r->unsteered_sample);
    free(r->model);
    free(r->expression);
    free(r->target);
    free(r->versus);
    free(r);
}
