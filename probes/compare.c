/* compare.c - see compare.h. Runs of a prompt: unsteered, each vector alone, each pair together. */
#include "probes/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "probes/axis.h"
#include "probes/diagnose.h"
#include "probes/experiment.h"

static const char *const CHAT[] = {
    "Tell me about your day.",          "What should I cook tonight?",     "Describe a walk you remember.",
    "Write two sentences of a letter.", "How does a person learn to draw?", "What is worth keeping?",
};
static const char *const PLAIN[] = {
    "The door opened slowly and", "Last week I decided to", "There is a simple reason why",
    "She looked at the table and", "Most people agree that", "After a long time, he",
};
enum { N_BUILT_IN = 6, BATCH_FLOATS = 64 << 20 }; /* 256 MiB of captured states at a time */

typedef struct comparison {
    const rh_model *m;
    const rh_value *const *vectors;
    int32_t n, n_runs;
    const rh_compare_options *o;
    rh_compare_report *r;
    rh_action *actions;     /* of all vectors, one a layer; vector i's are [first[i], first[i + 1]) */
    int32_t first[RH_COMPARE_MAX + 1];
    rh_action **of_run;     /* [n_runs] copies, contiguous; NULL: none */
    int32_t *n_of_run;
    rh_prompt *prompts;     /* [n_prompts] */
    double *sum;            /* [n_runs, n_layers, d_model] of states; then effects, run 0 left out */
    double *norms;          /* [n_layers, n_tokens] ‖h‖ unsteered */
    int64_t taken;          /* positions so far */
} comparison;

static double *effect(const comparison *c, int32_t run, int32_t l)
{
    return c->sum + ((size_t)run * (size_t)c->r->n_layers + (size_t)l) * (size_t)c->m->config.d_model;
}

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

static rh_status check_vectors(const comparison *c, const char *const *labels, rh_error *err)
{
    if (c->n < 2 || c->n > RH_COMPARE_MAX)
        return rh_fail(err, RH_ELIMIT, "compare takes 2 to %d expressions, not %d", (int)RH_COMPARE_MAX, (int)c->n);
    for (int32_t i = 0; i < c->n; i++) {
        const rh_value *v = c->vectors[i];
        if (v->kind != RH_VALUE_VECTOR)
            return rh_fail(err, RH_EKIND, "'%s' is %s, and vectors are compared", labels[i], v->kind == RH_VALUE_SCALAR ? "a scalar" : "a span");
        if (v->vector->layers[0] < 0) {
            return rh_hinted(rh_fail(err, RH_ESITE, "'%s' is the same at every layer, and none is chosen", labels[i]),
                             err, "--layer 15, or place it with @ 15");
        }
        if (v->vector->d != rh_model_width(c->m, v->vector->hook))
            return rh_fail(err, RH_ESITE, "'%s' is %d wide, and the model's %s has %d", labels[i], (int)v->vector->d,
                           rh_hook_name(v->vector->hook), (int)rh_model_width(c->m, v->vector->hook));
    }
    return RH_OK;
}

static rh_status make_actions(comparison *c, rh_error *err)
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

static rh_status set_run(comparison *c, int32_t run, int32_t a, int32_t b, rh_error *err)
{
    int32_t na = a < 0 ? 0 : c->first[a + 1] - c->first[a], nb = b < 0 ? 0 : c->first[b + 1] - c->first[b];
    c->of_run[run] = rh_calloc((size_t)(na + nb), sizeof **c->of_run);
    if (!c->of_run[run]) return rh_fail_nomem(err);
    if (na) memcpy(c->of_run[run], c->actions + c->first[a], (size_t)na * sizeof *c->actions);
    if (nb) memcpy(c->of_run[run] + na, c->actions + c->first[b], (size_t)nb * sizeof *c->actions);
    c->n_of_run[run] = na + nb;
    return RH_OK;
}

static rh_status make_runs(comparison *c, rh_error *err)
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
static rh_status choose_layers(comparison *c, rh_error *err)
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

static int32_t n_read(const comparison *c, const rh_prompt *p) { return c->o->last || p->n == 1 ? 1 : p->n - 1; }

static rh_status make_prompts(comparison *c, rh_error *err)
{
    rh_compare_report *r = c->r;
    const char *const *texts = c->o->n_prompts ? c->o->prompts : c->o->prompt.chat ? CHAT : PLAIN;
    int32_t n = c->o->n_prompts ? c->o->n_prompts : N_BUILT_IN;
    c->prompts = rh_calloc((size_t)n, sizeof *c->prompts);
    r->prompts = rh_calloc((size_t)n, sizeof *r->prompts);
    if (!c->prompts || !r->prompts) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) {
        r->n_prompts = i + 1;
        r->prompts[i] = rh_strdup(texts[i]);
        if (!r->prompts[i]) return rh_fail_nomem(err);
        RH_TRY(rh_prompt_make(&c->prompts[i], c->m, texts[i], strlen(texts[i]), &c->o->prompt, err));
        if (c->prompts[i].n < 1) return rh_fail(err, RH_EVALUE, "prompt %d is empty", (int)i + 1);
        r->n_tokens += n_read(c, &c->prompts[i]);
    }
    size_t cells = (size_t)r->n_layers * (size_t)c->m->config.d_model;
    c->sum = rh_calloc((size_t)c->n_runs * cells, sizeof *c->sum);
    c->norms = rh_calloc((size_t)r->n_layers * (size_t)r->n_tokens, sizeof *c->norms);
    return c->sum && c->norms ? RH_OK : rh_fail_nomem(err);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

/* Prompts from `first`: every run's states at the positions that count. positions [n_ctx] are 0, 1, 2 … */
static rh_status read_batch(comparison *c, int32_t first, int32_t n, const int32_t *positions, rh_error *err)
{
    int32_t d = c->m->config.d_model, n_layers = c->r->n_layers, n_readings = n * c->n_runs;
    size_t rows = 0, used = 0;
    for (int32_t i = 0; i < n; i++) rows += (size_t)n_read(c, &c->prompts[first + i]) * (size_t)c->n_runs * (size_t)n_layers;
    rh_status status = RH_OK;
    float *states = rh_calloc(rows, (size_t)d * sizeof *states);
    rh_capture *captures = rh_calloc((size_t)n_readings * (size_t)n_layers, sizeof *captures);
    rh_reading *readings = rh_calloc((size_t)n_readings, sizeof *readings);
    if (!states || !captures || !readings) {
        status = rh_fail_nomem(err);
        goto done;
    }
    for (int32_t k = 0; k < n_readings; k++) {
        const rh_prompt *p = &c->prompts[first + k / c->n_runs];
        int32_t run = k % c->n_runs, n_rows = n_read(c, p);
        rh_capture *mine = captures + (size_t)k * (size_t)n_layers;
        for (int32_t l = 0; l < n_layers; l++, used += (size_t)n_rows * (size_t)d)
            mine[l] = (rh_capture){.layer = c->r->layers[l], .hook = RH_RESID_POST, .positions = positions + p->n - n_rows, .n = n_rows,
                                   .out = states + used};
        readings[k] = (rh_reading){.ids = p->ids, .n = p->n, .n_prompt = p->n, .actions = c->of_run[run], .n_actions = c->n_of_run[run],
                                   .captures = mine, .n_captures = n_layers};
    }
    status = rh_read(c->m, readings, n_readings, err);
    for (int32_t k = 0; !status && k < n_readings; k++) {
        int32_t run = k % c->n_runs;
        for (int32_t l = 0; l < n_layers; l++) {
            const rh_capture *from = &readings[k].captures[l];
            double *to = effect(c, run, l);
            for (int32_t t = 0; t < from->n; t++) {
                const float *h = from->out + (size_t)t * (size_t)d;
                for (int32_t j = 0; j < d; j++) to[j] += h[j];
                if (run == 0) c->norms[(size_t)l * (size_t)c->r->n_tokens + (size_t)(c->taken + t)] = rh_norm(h, d);
            }
        }
        if (run == c->n_runs - 1) c->taken += n_read(c, &c->prompts[first + k / c->n_runs]);
    }
done:
    free(states);
    free(captures);
    free(readings);
    return status;
}

static rh_status read_all(comparison *c, rh_error *err)
{
    int32_t longest = 1;
    for (int32_t i = 0; i < c->r->n_prompts; i++)
        if (c->prompts[i].n > longest) longest = c->prompts[i].n;
    int32_t *positions = rh_calloc((size_t)longest, sizeof *positions);
    if (!positions) return rh_fail_nomem(err);
    for (int32_t i = 0; i < longest; i++) positions[i] = i;
    size_t per_row = (size_t)c->n_runs * (size_t)c->r->n_layers * (size_t)c->m->config.d_model;
    rh_status status = RH_OK;
    for (int32_t first = 0, n; !status && first < c->r->n_prompts; first += n) {
        size_t rows = 0;
        for (n = 0; first + n < c->r->n_prompts; n++) {
            rows += (size_t)n_read(c, &c->prompts[first + n]);
            if (n && rows * per_row > BATCH_FLOATS) break;
        }
        status = read_batch(c, first, n, positions, err);
    }
    free(positions);
    return status;
}

/* ---- figures -------------------------------------------------------------------------------------------- */

/* Sums become means, and the steered ones their difference to the unsteered. */
static void make_effects(comparison *c)
{
    size_t cells = (size_t)c->r->n_layers * (size_t)c->m->config.d_model;
    for (int32_t run = 1; run < c->n_runs; run++)
        for (size_t j = 0; j < cells; j++) {
            double *x = c->sum + (size_t)run * cells + j;
            *x = (*x - c->sum[j]) / c->r->n_tokens;
        }
}

/* b at the layer, or at the nearest one it has; NULL: not of the residual stream's width, or zero. */
static const float *direction(const comparison *c, int32_t b, int32_t layer, double *norm)
{
    const rh_vector *v = c->vectors[b]->vector;
    int32_t best = 0;
    for (int32_t l = 1; l < v->n_layers; l++)
        if (abs(v->layers[l] - layer) < abs(v->layers[best] - layer)) best = l;
    const float *at = v->data + (size_t)best * (size_t)v->d;
    *norm = rh_norm(at, v->d);
    return v->d == c->m->config.d_model && *norm > 0 ? at : NULL;
}

static double projection(const comparison *c, const double *x, int32_t b, int32_t layer)
{
    double norm, s = 0;
    const float *v = direction(c, b, layer, &norm);
    for (int32_t j = 0; v && j < c->m->config.d_model; j++) s += x[j] * v[j];
    return v ? s / norm : NAN;
}

static rh_status fill_layers(comparison *c, rh_error *err)
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
            const double *x = effect(c, 1 + a, l);
            r->effect_norm[l * n + a] = length(x, d);
            for (int32_t b = 0; b < n; b++) {
                r->effect_cosine[(l * n + a) * n + b] = cosine(x, effect(c, 1 + b, l), d);
                r->moved[(l * n + a) * n + b] = projection(c, x, b, r->layers[l]);
            }
        }
    }
    return RH_OK;
}

static rh_status fill_pairs(comparison *c, rh_error *err)
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
                const double *x = effect(c, 1 + a, l), *y = effect(c, 1 + b, l), *both = effect(c, run, l);
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

static rh_status describe(comparison *c, const char *const *labels, rh_error *err)
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

static void comparison_free(comparison *c)
{
    for (int32_t i = 0; c->of_run && i < c->n_runs; i++) free(c->of_run[i]);
    for (int32_t i = 0; c->prompts && i < c->r->n_prompts; i++) rh_prompt_free(&c->prompts[i]);
    free(c->of_run);
    free(c->n_of_run);
    free(c->actions);
    free(c->prompts);
    free(c->sum);
    free(c->norms);
}

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

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

rh_status rh_probe_compare(rh_compare_report **out, const rh_model *m, const rh_value *const *vectors, const char *const *labels,
                           int32_t n, const rh_compare_options *o, rh_error *err)
{
    double begun = seconds_now();
    comparison c = {.m = m, .vectors = vectors, .n = n, .o = o};
    RH_TRY(check_vectors(&c, labels, err));
    c.r = rh_calloc(1, sizeof *c.r);
    if (!c.r) return rh_fail_nomem(err);
    rh_status status = describe(&c, labels, err);
    if (!status) status = make_actions(&c, err);
    if (!status) status = make_runs(&c, err);
    if (!status) status = choose_layers(&c, err);
    if (!status) status = make_prompts(&c, err);
    if (!status) status = read_all(&c, err);
    if (!status) {
        make_effects(&c);
        status = fill_layers(&c, err);
    }
    if (!status) status = fill_pairs(&c, err);
    c.r->seconds = seconds_now() - begun;
    comparison_free(&c);
    if (status)
        rh_compare_report_free(c.r);
    else
        *out = c.r;
    return status;
}
