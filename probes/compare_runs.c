#include "probes/compare_runs.h"

#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "probes/auto.h"
#include "probes/experiment.h"

/* Of one batch, between two looks at Ctrl-C: tokens through the model, and floats of states held. */
enum { BATCH_TOKENS = 1024, BATCH_FLOATS = 64 << 20 };

static double *effect(const rh_compare_runs *c, int32_t run, int32_t l)
{
    return c->sum + ((size_t)run * (size_t)c->r->n_layers + (size_t)l) * (size_t)c->m->config.d_model;
}

const double *rh_compare_effect(const rh_compare_runs *c, int32_t run, int32_t l) { return effect(c, run, l); }

/* ---- what is run ------------------------------------------------------------------------------------ */

static rh_status make_actions(rh_compare_runs *c, rh_error *err)
{
    int32_t total = 0;
    for (int32_t i = 0; i < c->n; i++) total += c->vectors[i]->vector->n_layers;
    c->actions = rh_calloc((size_t)total, sizeof *c->actions);
    if (!c->actions) return rh_fail_nomem(err);
    for (int32_t i = 0, k = 0; i < c->n; i++) {
        const rh_vector *v = c->vectors[i]->vector;
        for (int32_t l = 0; l < v->n_layers; l++)
            c->actions[k++] = (rh_action){.kind = RH_STEER, .layer = v->layers[l], .hook = v->hook, .rank = 1,
                                          .v = v->data + (size_t)l * (size_t)v->d, .strength = (float)c->o->strength};
        c->first[i + 1] = k;
    }
    return RH_OK;
}

static rh_status set_run(rh_compare_runs *c, int32_t run, int32_t a, int32_t b, rh_error *err)
{
    int32_t na = a < 0 ? 0 : c->first[a + 1] - c->first[a], nb = b < 0 ? 0 : c->first[b + 1] - c->first[b];
    c->of_run[run] = rh_calloc((size_t)(na + nb), sizeof **c->of_run);
    if (!c->of_run[run]) return rh_fail_nomem(err);
    if (na) memcpy(c->of_run[run], c->actions + c->first[a], (size_t)na * sizeof *c->actions);
    if (nb) memcpy(c->of_run[run] + na, c->actions + c->first[b], (size_t)nb * sizeof *c->actions);
    c->n_of_run[run] = na + nb;
    return RH_OK;
}

static rh_status make_runs(rh_compare_runs *c, rh_error *err)
{
    int32_t run = 0;
    c->n_runs = 1 + c->n + c->n * (c->n - 1) / 2;
    c->of_run = rh_calloc((size_t)c->n_runs, sizeof *c->of_run);
    c->n_of_run = rh_calloc((size_t)c->n_runs, sizeof *c->n_of_run);
    if (!c->of_run || !c->n_of_run) return rh_fail_nomem(err);
    RH_TRY(set_run(c, run++, -1, -1, err));
    for (int32_t a = 0; a < c->n; a++) RH_TRY(set_run(c, run++, a, -1, err));
    for (int32_t a = 0; a < c->n; a++)
        for (int32_t b = a + 1; b < c->n; b++) RH_TRY(set_run(c, run++, a, b, err));
    return RH_OK;
}

/* Layers whose output lies behind every action. */
static rh_status choose_layers(rh_compare_runs *c, rh_error *err)
{
    int32_t from = 0, n_layers = c->m->config.n_layers;
    for (int32_t i = 0; i < c->first[c->n]; i++) {
        int32_t behind = c->actions[i].layer + (c->actions[i].hook == RH_RESID_POST);
        if (behind > from) from = behind;
    }
    if (from >= n_layers) {
        return rh_hinted(rh_fail(err, RH_ESITE, "no layer lies above the last that is steered, so there is no effect to measure"),
                         err, "the model's layers are 0..%d: choose a lower one", (int)n_layers - 1);
    }
    c->r->n_layers = n_layers - from;
    c->r->layers = rh_calloc((size_t)c->r->n_layers, sizeof *c->r->layers);
    if (!c->r->layers) return rh_fail_nomem(err);
    for (int32_t l = from; l < n_layers; l++) c->r->layers[l - from] = l;
    return RH_OK;
}

static int32_t n_read(const rh_compare_runs *c, const rh_prompt *p) { return c->o->last || p->n == 1 ? 1 : p->n - 1; }

static rh_status make_prompts(rh_compare_runs *c, rh_error *err)
{
    rh_compare_report *r = c->r;
    int32_t n = c->o->n_prompts;
    const char *const *texts = n ? c->o->prompts : rh_auto_prompts(&n, c->o->prompt.chat);
    c->prompts = rh_calloc((size_t)n, sizeof *c->prompts);
    c->row_of_prompt = rh_calloc((size_t)n, sizeof *c->row_of_prompt);
    r->prompts = rh_calloc((size_t)n, sizeof *r->prompts);
    if (!c->prompts || !c->row_of_prompt || !r->prompts) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) {
        r->n_prompts = i + 1;
        r->prompts[i] = rh_strdup(texts[i]);
        if (!r->prompts[i]) return rh_fail_nomem(err);
        RH_TRY(rh_prompt_make(&c->prompts[i], c->m, texts[i], strlen(texts[i]), &c->o->prompt, err));
        if (c->prompts[i].n < 1) return rh_fail(err, RH_EVALUE, "prompt %d is empty", (int)i + 1);
        c->row_of_prompt[i] = r->n_tokens;
        r->n_tokens += n_read(c, &c->prompts[i]);
    }
    size_t cells = (size_t)r->n_layers * (size_t)c->m->config.d_model;
    c->sum = rh_calloc((size_t)c->n_runs * cells, sizeof *c->sum);
    c->norms = rh_calloc((size_t)r->n_layers * (size_t)r->n_tokens, sizeof *c->norms);
    return c->sum && c->norms ? RH_OK : rh_fail_nomem(err);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

/* Reading k is run k % n_runs of prompt k / n_runs: runs of one prompt stand together, since they share all
 * that lies before their first action. */
static const rh_prompt *prompt_of(const rh_compare_runs *c, int64_t k) { return &c->prompts[k / c->n_runs]; }

/* Floats of states that a reading brings. */
static size_t floats_of(const rh_compare_runs *c, int64_t k)
{
    return (size_t)n_read(c, prompt_of(c, k)) * (size_t)c->r->n_layers * (size_t)c->m->config.d_model;
}

/* How many readings from `first` on make a batch: whole prompts; if even one is too large, some of its runs. */
static int32_t batch_from(const rh_compare_runs *c, int64_t first)
{
    int64_t n = 0, all = (int64_t)c->r->n_prompts * c->n_runs;
    for (int64_t tokens = 0, floats = 0; first + n < all;) {
        const rh_prompt *p = prompt_of(c, first + n);
        int64_t runs = c->n_runs - (first + n) % c->n_runs;
        if (n && (tokens + runs * p->n > BATCH_TOKENS || floats + runs * (int64_t)floats_of(c, first + n) > BATCH_FLOATS)) break;
        while (n == 0 && runs > 1 && (runs * p->n > BATCH_TOKENS || runs * (int64_t)floats_of(c, first) > BATCH_FLOATS)) runs--;
        tokens += runs * p->n;
        floats += runs * (int64_t)floats_of(c, first + n);
        n += runs;
        if ((first + n) % c->n_runs) break;
    }
    return (int32_t)n;
}

static void add_states(rh_compare_runs *c, int64_t k, const rh_capture *captures)
{
    int32_t d = c->m->config.d_model, run = (int32_t)(k % c->n_runs), row = c->row_of_prompt[k / c->n_runs];
    for (int32_t l = 0; l < c->r->n_layers; l++) {
        double *to = effect(c, run, l);
        for (int32_t t = 0; t < captures[l].n; t++) {
            const float *h = captures[l].out + (size_t)t * (size_t)d;
            for (int32_t j = 0; j < d; j++) to[j] += h[j];
            if (run == 0) c->norms[(size_t)l * (size_t)c->r->n_tokens + (size_t)(row + t)] = rh_norm(h, d);
        }
    }
}

/* Readings [first, first + n). positions [longest prompt] are 0, 1, 2 … */
static rh_status read_batch(rh_compare_runs *c, int64_t first, int32_t n, const int32_t *positions, rh_error *err)
{
    int32_t n_layers = c->r->n_layers;
    size_t floats = 0, used = 0;
    for (int32_t i = 0; i < n; i++) floats += floats_of(c, first + i);
    rh_status status = RH_OK;
    float *states = rh_calloc(floats, sizeof *states);
    rh_capture *captures = rh_calloc((size_t)n * (size_t)n_layers, sizeof *captures);
    rh_reading *readings = rh_calloc((size_t)n, sizeof *readings);
    if (!states || !captures || !readings) status = rh_fail_nomem(err);
    for (int32_t i = 0; i < n && !status; i++) {
        const rh_prompt *p = prompt_of(c, first + i);
        int32_t run = (int32_t)((first + i) % c->n_runs), rows = n_read(c, p);
        rh_capture *mine = captures + (size_t)i * (size_t)n_layers;
        for (int32_t l = 0; l < n_layers; l++, used += (size_t)rows * (size_t)c->m->config.d_model)
            mine[l] = (rh_capture){.layer = c->r->layers[l], .hook = RH_RESID_POST, .positions = positions + p->n - rows, .n = rows,
                                   .out = states + used};
        readings[i] = (rh_reading){.ids = p->ids, .n = p->n, .n_prompt = p->n, .actions = c->of_run[run], .n_actions = c->n_of_run[run],
                                   .captures = mine, .n_captures = n_layers};
    }
    if (!status) status = rh_read(c->m, readings, n, err);
    for (int32_t i = 0; i < n && !status; i++) add_states(c, first + i, readings[i].captures);
    free(states);
    free(captures);
    free(readings);
    return status;
}

static bool go_on(const rh_compare_runs *c, int64_t done, int64_t all)
{
    return !c->o->progress || c->o->progress(c->o->progress_data, "comparing", done, all);
}

static rh_status read_all(rh_compare_runs *c, rh_error *err)
{
    int32_t longest = 1;
    int64_t all = (int64_t)c->r->n_prompts * c->n_runs;
    for (int32_t i = 0; i < c->r->n_prompts; i++)
        if (c->prompts[i].n > longest) longest = c->prompts[i].n;
    int32_t *positions = rh_calloc((size_t)longest, sizeof *positions);
    if (!positions) return rh_fail_nomem(err);
    for (int32_t i = 0; i < longest; i++) positions[i] = i;
    rh_status status = RH_OK;
    for (int64_t first = 0, n; first < all && !status; first += n) {
        n = batch_from(c, first);
        if (go_on(c, first, all)) status = read_batch(c, first, (int32_t)n, positions, err);
        else status = rh_fail(err, RH_ECANCELLED, "stopped after %lld of %lld runs", (long long)first, (long long)all);
    }
    if (!status) go_on(c, all, all);
    free(positions);
    return status;
}

/* ---- all -------------------------------------------------------------------------------------------------- */

/* Sums become means, and the steered ones their difference to the unsteered. */
static void make_effects(rh_compare_runs *c)
{
    size_t cells = (size_t)c->r->n_layers * (size_t)c->m->config.d_model;
    for (int32_t run = 1; run < c->n_runs; run++)
        for (size_t j = 0; j < cells; j++) {
            double *x = c->sum + (size_t)run * cells + j;
            *x = (*x - c->sum[j]) / c->r->n_tokens;
        }
}

rh_status rh_compare_run(rh_compare_runs *c, rh_error *err)
{
    RH_TRY(make_actions(c, err));
    RH_TRY(make_runs(c, err));
    RH_TRY(choose_layers(c, err));
    RH_TRY(make_prompts(c, err));
    RH_TRY(read_all(c, err));
    make_effects(c);
    return RH_OK;
}

void rh_compare_runs_free(rh_compare_runs *c)
{
    for (int32_t i = 0; c->of_run && i < c->n_runs; i++) free(c->of_run[i]);
    for (int32_t i = 0; c->prompts && i < c->r->n_prompts; i++) rh_prompt_free(&c->prompts[i]);
    free(c->of_run);
    free(c->n_of_run);
    free(c->actions);
    free(c->prompts);
    free(c->row_of_prompt);
    free(c->sum);
    free(c->norms);
}
