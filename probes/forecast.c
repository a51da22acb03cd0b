#include "probes/forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "probes/experiment.h"
#include "probes/switches.h"

typedef struct forecasting {
    const rh_model *m;
    const rh_sae *s;
    const rh_forecast_options *o;
    const float *v;
    int32_t d;
    rh_prompt prompt;
    rh_action action;
    rh_sae_coder *coder;
    rh_switches said, fact;
} forecasting;

double rh_forecast_precision(const rh_forecast_list *l) { return l->forecast ? (double)l->both / l->forecast : NAN; }
double rh_forecast_recall(const rh_forecast_list *l) { return l->fact ? (double)l->both / l->fact : NAN; }

static void list_free(rh_forecast_feature *list, int32_t n)
{
    for (int32_t i = 0; list && i < n; i++) free(list[i].label);
    free(list);
}

void rh_forecast_free(rh_forecast *f)
{
    if (!f) return;
    rh_forecast_list *both[2] = {&f->on, &f->off};
    for (int i = 0; i < 2; i++) {
        list_free(both[i]->said, both[i]->n_said);
        list_free(both[i]->missed, both[i]->n_missed);
    }
    free(f->model);
    free(f->expression);
    free(f->prompt);
    free(f->text);
    free(f);
}

/* ---- counting ----------------------------------------------------------------------------------- */

static rh_status forecast(forecasting *f, rh_error *err)
{
    const int32_t n = f->prompt.n;
    const size_t size = (size_t)n * (size_t)f->d;
    float *x = rh_calloc(2 * size, sizeof *x);
    if (!x) return rh_fail_nomem(err);
    const rh_capture c = {.layer = f->action.layer, .hook = f->action.hook, .n = n, .out = x};
    const rh_reading r = {.ids = f->prompt.ids, .n = n, .n_prompt = n, .captures = &c, .n_captures = 1};
    rh_status status = rh_read(f->m, &r, 1, err);
    for (size_t i = 0; i < size; i++) x[size + i] = (float)(x[i] + f->o->strength * f->v[i % (size_t)f->d]);
    if (!status) status = rh_switches_between(&f->said, f->coder, rh_sae_about(f->s)->d_sae, x, x + size, n, 1, err);
    free(x);
    return status;
}

/* The text read without steering and with it: its own tokens alone count. */
static rh_status look(forecasting *f, const rh_generation *g, rh_error *err)
{
    const int32_t n = f->prompt.n + g->n_ids;
    const size_t size = (size_t)n * (size_t)f->d;
    float *x = rh_calloc(2 * size, sizeof *x);
    int32_t *ids = rh_calloc((size_t)n, sizeof *ids);
    rh_status status = x && ids ? RH_OK : rh_fail_nomem(err);
    if (!status) {
        memcpy(ids, f->prompt.ids, (size_t)f->prompt.n * sizeof *ids);
        if (g->n_ids) memcpy(ids + f->prompt.n, g->ids, (size_t)g->n_ids * sizeof *ids);
        const rh_capture c[2] = {{.layer = f->action.layer, .hook = f->action.hook, .n = n, .out = x},
                                 {.layer = f->action.layer, .hook = f->action.hook, .n = n, .out = x + size}};
        const rh_reading r[2] = {{.ids = ids, .n = n, .n_prompt = f->prompt.n, .captures = &c[0], .n_captures = 1},
                                 {.ids = ids, .n = n, .n_prompt = f->prompt.n, .actions = &f->action, .n_actions = 1, .captures = &c[1], .n_captures = 1}};
        status = rh_read(f->m, r, 2, err);
    }
    if (!status) status = rh_switches_between(&f->fact, f->coder, rh_sae_about(f->s)->d_sae, x, x + size, n, f->prompt.n, err);
    free(ids);
    free(x);
    return status;
}

/* ---- the lists ---------------------------------------------------------------------------------- */

static double share(const rh_switches *w, const rh_switch *of, int32_t i) { return w->tokens ? (double)of[i].tokens / (double)w->tokens : NAN; }
static bool switched(double share) { return share >= RH_FORECAST_SHARE; }

static rh_status push_of(double *out, const forecasting *f, int32_t feature, rh_error *err)
{
    *out = NAN;
    if (rh_sae_about(f->s)->norm != RH_SAE_NORM_NONE) return RH_OK;
    float *row = rh_calloc((size_t)f->d, sizeof *row);
    if (!row) return rh_fail_nomem(err);
    rh_status status = rh_sae_encoder_row(row, f->s, feature, err);
    if (!status) *out = f->o->strength * rh_dot(row, f->v, f->d);
    free(row);
    return status;
}

/* Of `ranked`, those that fit, at most top. */
static rh_status choose(rh_forecast_feature **out, int32_t *n_out, const forecasting *f, const rh_switch *said, const rh_switch *fact,
                        const rh_feature_switch *ranked, int32_t n, bool missed, rh_error *err)
{
    rh_forecast_feature *list = *out = rh_calloc((size_t)f->o->top, sizeof *list);
    if (!list) return rh_fail_nomem(err);
    for (int32_t k = 0; k < n && *n_out < f->o->top; k++) {
        const int32_t i = ranked[k].feature;
        const double p = share(&f->said, said, i), q = share(&f->fact, fact, i);
        if (missed ? switched(p) || !switched(q) : !switched(p)) continue;
        rh_forecast_feature *x = &list[(*n_out)++];
        *x = (rh_forecast_feature){.feature = i, .forecast = p, .fact = q};
        const char *label = f->o->notes ? rh_feature_notes_get(f->o->notes, i).label : NULL;
        if (label && !(x->label = rh_strdup(label))) return rh_fail_nomem(err);
        RH_TRY(push_of(&x->push, f, i, err));
    }
    return RH_OK;
}

static rh_status fill(rh_forecast_list *out, const forecasting *f, const rh_switch *said, const rh_switch *fact, rh_error *err)
{
    const int32_t m = f->said.d_sae;
    rh_feature_switch *ranked = NULL;
    int32_t n = 0, total;
    for (int32_t i = 0; i < m; i++) {
        const bool a = switched(share(&f->said, said, i)), b = switched(share(&f->fact, fact, i));
        out->forecast += a;
        out->fact += b;
        out->both += a && b;
    }
    rh_status status = rh_switches_rank(&ranked, &n, &total, said, m, m, err);
    if (!status) status = choose(&out->said, &out->n_said, f, said, fact, ranked, n, false, err);
    free(ranked);
    ranked = NULL;
    if (!status) status = rh_switches_rank(&ranked, &n, &total, fact, m, m, err);
    if (!status) status = choose(&out->missed, &out->n_missed, f, said, fact, ranked, n, true, err);
    free(ranked);
    return status;
}

/* ---- all ---------------------------------------------------------------------------------------- */

/* A copy without NULs, which a byte token can put into a text. */
static char *copy_text(const rh_str *s)
{
    char *copy = rh_calloc(s->len + 1, 1);
    for (size_t i = 0; copy && i < s->len; i++) copy[i] = s->data[i] ? s->data[i] : ' ';
    return copy;
}

static rh_status run(rh_forecast *out, forecasting *f, rh_error *err)
{
    rh_generation g = {.prompt = f->prompt.ids, .n_prompt = f->prompt.n, .actions = &f->action, .n_actions = 1};
    rh_status status = rh_sae_coder_new(&f->coder, f->s, f->m->backend, err);
    if (!status) status = forecast(f, err);
    if (!status) status = rh_generate(f->m, &g, 1, &f->o->generate, err);
    if (!status) status = look(f, &g, err);
    if (!status) status = fill(&out->on, f, f->said.on, f->fact.on, err);
    if (!status) status = fill(&out->off, f, f->said.off, f->fact.off, err);
    if (!status) {
        out->n_prompt = (int32_t)f->said.tokens;
        out->n_generated = (int32_t)f->fact.tokens;
        out->text = copy_text(&g.text);
        if (!out->text) status = rh_fail_nomem(err);
    }
    rh_generation_free(&g);
    return status;
}

static rh_status check(const rh_model *m, const rh_sae *s, rh_hook hook, const rh_forecast_options *o, rh_error *err)
{
    const rh_sae_facts *k = rh_sae_about(s);
    if (k->transcoder)
        return rh_fail(err, RH_EUNSUPPORTED, "'%.200s' is a transcoder, which reads elsewhere than it writes: nothing to forecast", rh_sae_path(s));
    if (k->d_in != rh_model_width(m, hook))
        return rh_fail(err, RH_ESITE, "'%.200s' reads %d numbers, and %s of %.80s has %d", rh_sae_path(s), (int)k->d_in, rh_hook_name(hook), m->name,
                       (int)rh_model_width(m, hook));
    if (!isfinite(o->strength)) return rh_fail(err, RH_EVALUE, "a strength must be a finite number");
    return RH_OK;
}

rh_status rh_forecast_make(rh_forecast **out, const rh_model *m, const rh_sae *s, int32_t layer, rh_hook hook, const float *v,
                           const char *expression, const char *prompt, const rh_forecast_options *o, rh_error *err)
{
    const double start = rh_seconds();
    forecasting f = {.m = m, .s = s, .o = o, .v = v, .d = rh_sae_about(s)->d_in};
    RH_TRY(check(m, s, hook, o, err));
    rh_forecast *r = rh_calloc(1, sizeof *r);
    if (!r) return rh_fail_nomem(err);
    *r = (rh_forecast){.layer = layer, .hook = hook, .strength = o->strength, .norm = rh_norm(v, f.d)};
    f.action = (rh_action){.kind = RH_STEER, .layer = layer, .hook = hook, .v = v, .rank = 1, .strength = (float)o->strength};
    r->model = rh_strdup(m->name);
    r->expression = rh_strdup(expression);
    r->prompt = rh_strdup(prompt);
    rh_status status = r->model && r->expression && r->prompt ? RH_OK : rh_fail_nomem(err);
    if (!status) status = rh_prompt_make(&f.prompt, m, prompt, strlen(prompt), &o->prompt, err);
    if (!status && f.prompt.n < 2)
        status = rh_hinted(rh_fail(err, RH_EVALUE, "a forecast needs a prompt of two tokens, and this has %d", (int)f.prompt.n), err,
                           "the first token's states are like no others, and are left out");
    if (!status) status = run(r, &f, err);
    rh_switches_free(&f.said);
    rh_switches_free(&f.fact);
    rh_sae_coder_free(f.coder);
    rh_prompt_free(&f.prompt);
    r->seconds = rh_seconds() - start;
    if (status) rh_forecast_free(r);
    else *out = r;
    return status;
}
