/* fit_measure.c - states of the calibration text at the sites of several ways, and how much of each the SAE explains. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/calibration.h"
#include "probes/experiment.h"
#include "probes/fit_ways.h"

/* LONGEST: tokens of a text. Every fourth text is enough to tell a fit from none, and a large model reads them in a
 * minute; what other ways are compared with has read the same. */
enum { LONGEST = 64, EVERY = 4 };

void rh_fit_ways_forget_prompts(rh_fit_ways *c)
{
    for (int32_t i = 0; i < c->n_prompts; i++) rh_prompt_free(&c->prompts[i]);
    free(c->prompts);
    c->prompts = NULL;
    c->n_prompts = 0;
}

/* The BOS that the tokenizer does not put there by itself. */
static rh_status put_bos(rh_prompt *p, int32_t bos, rh_error *err)
{
    int32_t *ids = rh_calloc((size_t)p->n + 1, sizeof *ids);
    if (!ids) return rh_fail_nomem(err);
    if (p->n) memcpy(ids + 1, p->ids, (size_t)p->n * sizeof *ids);
    ids[0] = bos;
    free(p->ids);
    p->ids = ids;
    p->n++;
    return RH_OK;
}

static rh_status make_prompts(rh_fit_ways *c, bool other_bos, rh_error *err)
{
    rh_pairs texts = {0};
    const bool has_bos = c->m->tokenizer && rh_tokenizer_adds_bos(c->m->tokenizer);
    const rh_prompt_options o = {.no_bos = other_bos && has_bos};
    rh_fit_ways_forget_prompts(c);
    RH_TRY(rh_calibration_read(&texts, err));
    c->prompts = rh_calloc(texts.n, sizeof *c->prompts);
    rh_status status = c->prompts ? RH_OK : rh_fail_nomem(err);
    c->tokens = 0;
    const int32_t most = c->m->config.n_ctx < LONGEST ? c->m->config.n_ctx : LONGEST;
    for (size_t i = 0; i < texts.n && !status; i += EVERY) {
        rh_prompt *p = &c->prompts[c->n_prompts++];
        status = rh_prompt_make(p, c->m, texts.rows[i].text, texts.rows[i].len, &o, err);
        p->user = NULL; /* the text goes */
        if (!status && other_bos && !has_bos) status = put_bos(p, rh_tokenizer_bos(c->m->tokenizer), err);
        if (p->n > most) p->n = most;
        c->tokens += p->n;
    }
    rh_pairs_free(&texts);
    return status;
}

/* Rows of one site, the first of each text left out, into out [<= tokens, width]; *n of them. */
static void gather(float *out, int32_t *n, const rh_fit_ways *c, const float *states, int32_t width)
{
    size_t at = 0;
    *n = 0;
    for (int32_t i = 0; i < c->n_prompts; i++) {
        const size_t rows = c->prompts[i].n > 1 ? (size_t)c->prompts[i].n - 1 : 0;
        memcpy(out + (size_t)*n * (size_t)width, states + (at + 1) * (size_t)width, rows * (size_t)width * sizeof *out);
        *n += (int32_t)rows;
        at += (size_t)c->prompts[i].n;
    }
}

static double root_of_squares(const float *x, int32_t d, double mean)
{
    double sum = 0;
    for (int32_t j = 0; j < d; j++) sum += (x[j] - mean) * (x[j] - mean);
    return sqrt(sum);
}

static void rescale(float *x, int32_t n, int32_t d, rh_fit_scale how)
{
    double average = 0;
    for (int32_t t = 0; t < n; t++) average += root_of_squares(x + (size_t)t * (size_t)d, d, 0) / n;
    for (int32_t t = 0; t < n; t++) {
        float *row = x + (size_t)t * (size_t)d;
        double mean = 0;
        for (int32_t j = 0; j < d && how == RH_FIT_STANDARDISED; j++) mean += row[j] / (double)d;
        const double norm = how == RH_FIT_AVERAGE_TO_ROOT_D ? average : root_of_squares(row, d, mean);
        for (int32_t j = 0; j < d && norm > 0; j++) row[j] = (float)((row[j] - mean) * sqrt(d) / norm);
    }
}

/* in and out [tokens, width] of v's sites; changed. One that cannot be measured stays unknown. */
static rh_status measure(rh_fit_way *v, rh_fit_ways *c, float *in, float *out, int32_t n, rh_error *err)
{
    rh_sae_fit fit = {0};
    rh_error why = {0};
    const rh_sae_facts *k = rh_sae_about(c->encoder);
    if (v->scale) rescale(in, n, k->d_in, v->scale);
    rh_status status = c->fitter ? RH_OK : rh_sae_fitter_new(&c->fitter, c->encoder, c->m->backend, &why);
    if (!status) {
        rh_sae_fitter_reset(c->fitter);
        status = rh_sae_fitter_add(c->fitter, in, out ? out : in, n, &why);
    }
    if (!status) status = rh_sae_fitter_result(&fit, c->fitter, &why);
    if (status && status != RH_EVALUE) {
        if (err) *err = why;
        return status;
    }
    v->known = !status && isfinite(fit.fvu);
    if (v->known) v->fit = (rh_feature_fit){.fvu = fit.fvu, .l0 = fit.l0, .tokens = fit.tokens};
    else if (err) *err = why;
    return RH_OK;
}

/* ---- one pass for several ways ------------------------------------------------------------------ */

typedef struct pass { /* of the ways which[n]; sites one after the other, each with all tokens */
    int32_t which[RH_FIT_MAX_WAYS], n;
    size_t width, widest;    /* of all sites together, of one */
    float *states;           /* [tokens * width] */
    float *rows;             /* [2, tokens, widest] of one way, gathered */
    rh_capture *captures;    /* [n_prompts, 2 n] */
    rh_reading *readings;    /* [n_prompts] */
} pass;

static size_t width_of(const rh_fit_ways *c, rh_hook hook) { return (size_t)rh_model_width(c->m, hook); }

static void choose(pass *p, const rh_fit_ways *c, int32_t first, bool other_bos)
{
    for (int32_t i = first; i < c->n; i++) {
        const rh_fit_way *v = &c->list[i];
        if (v->known || v->other_bos != other_bos) continue;
        p->which[p->n++] = i;
        p->width += width_of(c, v->in) + (v->in == v->out ? 0 : width_of(c, v->out));
        if (width_of(c, v->in) > p->widest) p->widest = width_of(c, v->in);
        if (width_of(c, v->out) > p->widest) p->widest = width_of(c, v->out);
    }
}

static rh_status allocate(pass *p, const rh_fit_ways *c, rh_error *err)
{
    const size_t tokens = (size_t)c->tokens, prompts = (size_t)c->n_prompts;
    p->states = rh_calloc(tokens, p->width * sizeof *p->states);
    p->rows = rh_calloc(2 * tokens, p->widest * sizeof *p->rows);
    p->captures = rh_calloc(prompts, 2 * (size_t)p->n * sizeof *p->captures);
    p->readings = rh_calloc(prompts, sizeof *p->readings);
    return p->states && p->rows && p->captures && p->readings ? RH_OK : rh_fail_nomem(err);
}

/* What prompt i, whose first token is number `token` of all, leaves where. */
static void plan_prompt(pass *p, const rh_fit_ways *c, int32_t i, size_t token)
{
    const rh_prompt *of = &c->prompts[i];
    rh_capture *captures = p->captures + (size_t)i * 2 * (size_t)p->n;
    int32_t k = 0;
    size_t at = 0;
    for (int32_t j = 0; j < p->n; j++) {
        const rh_fit_way *v = &c->list[p->which[j]];
        for (int side = 0; side < 1 + (v->in != v->out); side++) {
            const rh_hook hook = side ? v->out : v->in;
            captures[k++] = (rh_capture){.layer = v->layer, .hook = hook, .n = of->n, .out = p->states + at + token * width_of(c, hook)};
            at += (size_t)c->tokens * width_of(c, hook);
        }
    }
    p->readings[i] = (rh_reading){.ids = of->ids, .n = of->n, .n_prompt = of->n, .captures = captures, .n_captures = k};
}

static rh_status measure_each(const pass *p, rh_fit_ways *c, rh_error *err)
{
    const size_t tokens = (size_t)c->tokens;
    size_t at = 0;
    for (int32_t i = 0; i < p->n; i++) {
        rh_fit_way *v = &c->list[p->which[i]];
        float *out = v->in == v->out ? NULL : p->rows + tokens * p->widest;
        int32_t count;
        gather(p->rows, &count, c, p->states + at, rh_model_width(c->m, v->in));
        at += tokens * width_of(c, v->in);
        if (out) {
            gather(out, &count, c, p->states + at, rh_model_width(c->m, v->out));
            at += tokens * width_of(c, v->out);
        }
        RH_TRY(measure(v, c, p->rows, out, count, err));
        if (c->progress && !c->progress(c->data, "fit", i + 1, p->n)) return rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    return RH_OK;
}

rh_status rh_fit_ways_measure(rh_fit_ways *c, int32_t first, bool other_bos, rh_error *err)
{
    pass p = {0};
    size_t token = 0;
    choose(&p, c, first, other_bos);
    if (!p.n) return RH_OK;
    RH_TRY(make_prompts(c, other_bos, err));
    rh_status status = allocate(&p, c, err);
    for (int32_t i = 0; i < c->n_prompts && !status; i++) {
        plan_prompt(&p, c, i, token);
        token += (size_t)c->prompts[i].n;
    }
    if (!status) status = rh_read(c->m, p.readings, c->n_prompts, err);
    if (!status) status = measure_each(&p, c, err);
    free(p.readings);
    free(p.captures);
    free(p.rows);
    free(p.states);
    return status;
}
