/* extract.c - the pass itself: batch by batch through the model, states read and summed at once,
 * so that memory does not grow with the number of prompts (unless an atom keeps its samples). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "concepts/pass.h"

/* Kept samples may be much to write: saving takes at most one part in this many of the time. */
static const double SAVE_SHARE = 20;

/* What is read of one prompt in a batch: every site of its atoms at every position of its
 * readings. */
typedef struct window {
    int32_t n_positions;
    const int32_t *positions;  /* [n_positions] ascending, in runner.positions */
    size_t first_capture;      /* n_sites captures */
    int32_t n_sites;
} window;

typedef struct runner {
    rh_pass *pass;
    const rh_model *model;
    const rh_pass_options *options;
    rh_session *session;
    int32_t max_seqs, max_len; /* of the session */
    /* of the batch at hand; the arrays grow and stay */
    window *windows;         size_t n_windows, cap_windows;
    rh_step_input *inputs;   size_t cap_inputs;
    rh_capture *captures;    size_t n_captures, cap_captures;
    int32_t *positions;      size_t n_positions, cap_positions;
    float *states;           size_t cap_states;
    uint8_t *wanted;         /* [RH_N_HOOKS, n_layers]: a site of the prompt at hand */
    double *row;             /* [widest] */
} runner;

/* ---- what to read ------------------------------------------------------------------------- */

/* Merge b [n] into the ascending list at the runner's end, from `first` on. */
static bool positions_merge(runner *r, size_t first, const int32_t *b, int32_t n)
{
    size_t i = first;
    for (int32_t k = 0; k < n; k++) {
        while (i < r->n_positions && r->positions[i] < b[k]) i++;
        if (i < r->n_positions && r->positions[i] == b[k]) continue;
        if (!RH_GROW(r->positions, r->cap_positions, r->n_positions)) return false;
        memmove(r->positions + i + 1, r->positions + i, (r->n_positions - i) * sizeof *r->positions);
        r->positions[i] = b[k];
        r->n_positions++;
    }
    return true;
}

/* The captures of one prompt; `positions` and `out` are filled in when their arrays no longer
 * move. */
static rh_status plan_prompt(runner *r, size_t prompt, rh_error *err)
{
    rh_pass *p = r->pass;
    const rh_pass_prompt *q = &p->prompts[prompt];
    int32_t n_layers = r->model->config.n_layers;
    size_t first = r->n_positions;
    if (!RH_GROW(r->windows, r->cap_windows, r->n_windows)) return rh_fail_nomem(err);
    window *w = &r->windows[r->n_windows++];
    *w = (window){.first_capture = r->n_captures};
    memset(r->wanted, 0, (size_t)RH_N_HOOKS * (size_t)n_layers);
    for (int32_t i = 0; i < q->n; i++) {
        const rh_reading *reading = &p->readings[q->first + (size_t)i];
        const rh_pass_atom *a = &p->atoms[reading->atom];
        if (!positions_merge(r, first, p->pool + reading->positions, reading->n_positions))
            return rh_fail_nomem(err);
        for (int32_t l = 0; l < a->n_layers; l++) r->wanted[(int32_t)a->hook * n_layers + a->layers[l]] = 1;
    }
    w->n_positions = (int32_t)(r->n_positions - first);
    for (int32_t site = 0; site < RH_N_HOOKS * n_layers; site++) {
        if (!r->wanted[site]) continue;
        if (!RH_GROW(r->captures, r->cap_captures, r->n_captures)) return rh_fail_nomem(err);
        r->captures[r->n_captures++] = (rh_capture){
            .layer = site % n_layers, .hook = (rh_hook)(site / n_layers), .n = w->n_positions};
        w->n_sites++;
    }
    return RH_OK;
}

/* Give every capture its positions and its memory. */
static rh_status place_captures(runner *r, rh_error *err)
{
    size_t floats = 0, at = 0, position = 0;
    for (size_t i = 0; i < r->n_captures; i++)
        floats += (size_t)r->captures[i].n * (size_t)rh_model_width(r->model, r->captures[i].hook);
    if (floats > r->cap_states) {
        free(r->states);
        r->cap_states = 0;
        r->states = rh_calloc(floats, sizeof *r->states);
        if (!r->states) return rh_fail_nomem(err);
        r->cap_states = floats;
    }
    for (size_t k = 0; k < r->n_windows; k++) {
        window *w = &r->windows[k];
        w->positions = r->positions + position;
        position += (size_t)w->n_positions;
        for (int32_t s = 0; s < w->n_sites; s++) {
            rh_capture *c = &r->captures[w->first_capture + (size_t)s];
            c->positions = w->positions;
            c->out = r->states + at;
            at += (size_t)c->n * (size_t)rh_model_width(r->model, c->hook);
        }
    }
    return RH_OK;
}

/* ---- running ------------------------------------------------------------------------------ */

static rh_status fit_session(runner *r, const rh_pass_batch *b, rh_error *err)
{
    if (r->session && r->max_seqs >= b->n && r->max_len >= b->longest) {
        rh_session_reset(r->session);
        return RH_OK;
    }
    rh_session_free(r->session);
    r->session = NULL;
    RH_TRY(rh_session_new(&r->session, r->model, b->n, b->longest, err));
    r->max_seqs = b->n;
    r->max_len = b->longest;
    rh_session_share(r->session, !r->options->no_share);
    return RH_OK;
}

static rh_status run_batch(runner *r, const rh_pass_batch *b, rh_error *err)
{
    rh_pass *p = r->pass;
    r->n_windows = r->n_captures = r->n_positions = 0;
    for (int32_t k = 0; k < b->n; k++) RH_TRY(plan_prompt(r, b->first + (size_t)k, err));
    RH_TRY(place_captures(r, err));
    RH_TRY(fit_session(r, b, err));
    if (r->cap_inputs < (size_t)b->n) {
        rh_step_input *more = rh_realloc_array(r->inputs, (size_t)b->n, sizeof *more);
        if (!more) return rh_fail_nomem(err);
        r->inputs = more;
        r->cap_inputs = (size_t)b->n;
    }
    for (int32_t k = 0; k < b->n; k++) {
        const rh_reading *q = &p->readings[p->prompts[b->first + (size_t)k].first];
        const window *w = &r->windows[k];
        rh_step_input *in = &r->inputs[k];
        *in = (rh_step_input){.ids = p->pool + q->ids, .n = q->n_ids, .want = RH_LOGITS_NONE,
                              .captures = r->captures + w->first_capture, .n_captures = w->n_sites};
        RH_TRY(rh_session_add(r->session, &in->seq, q->n_ids, NULL, 0, err));
    }
    return rh_session_step(r->session, r->inputs, b->n, err);
}

/* ---- summing ------------------------------------------------------------------------------ */

/* sum [d] += weight · Σ states at the reading's positions; the window has these and maybe more. */
static void add_states(double *sum, double *row, const rh_capture *c, const int32_t *positions, int32_t n,
                       double weight, int32_t d)
{
    memset(row, 0, (size_t)d * sizeof *row);
    int32_t at = 0;
    for (int32_t k = 0; k < n; k++) {
        while (c->positions[at] != positions[k]) at++;
        const float *h = c->out + (size_t)at * (size_t)d;
        for (int32_t j = 0; j < d; j++) row[j] += (double)h[j];
    }
    for (int32_t j = 0; j < d; j++) sum[j] += weight * row[j];
}

static const rh_capture *find_capture(const runner *r, const window *w, rh_hook hook, int32_t layer)
{
    const rh_capture *c = r->captures + w->first_capture;
    while (c->hook != hook || c->layer != layer) c++;
    return c;
}

/* The mean state of a reading, and the mean of the norms. */
static void mean_states(double *row, double *norm, const rh_capture *c, const int32_t *positions, int32_t n,
                        int32_t d)
{
    int32_t at = 0;
    memset(row, 0, (size_t)d * sizeof *row);
    *norm = 0;
    for (int32_t k = 0; k < n; k++) {
        while (c->positions[at] != positions[k]) at++;
        const float *h = c->out + (size_t)at * (size_t)d;
        double square = 0;
        for (int32_t j = 0; j < d; j++) {
            row[j] += (double)h[j];
            square += (double)h[j] * h[j];
        }
        *norm += sqrt(square) / n;
    }
    for (int32_t j = 0; j < d; j++) row[j] /= n;
}

static rh_status hand_over(runner *r, const window *w, const rh_reading *q, rh_error *err)
{
    const rh_pass_atom *a = &r->pass->atoms[q->atom];
    for (int32_t l = 0; l < a->n_layers; l++) {
        double norm;
        mean_states(r->row, &norm, find_capture(r, w, a->hook, a->layers[l]), r->pass->pool + q->positions,
                    q->n_positions, a->d);
        RH_TRY(r->options->sink(r->options->sink_data, q, a->layers[l], r->row, norm, err));
    }
    return RH_OK;
}

/* The samples of a reading, one by one, to what the atom keeps. */
static void keep_states(runner *r, rh_pass_atom *a, int32_t layer, const rh_reading *q, const rh_capture *c)
{
    const int32_t *positions = r->pass->pool + q->positions;
    int32_t samples = q->each ? q->n_positions : 1, n = q->each ? 1 : q->n_positions;
    double norm;
    for (int32_t k = 0; k < samples; k++) {
        mean_states(r->row, &norm, c, positions + k, n, a->d);
        rh_keep_sample(a, layer, q->cls, q->row + (size_t)k, r->row, q->count);
    }
}

static void add_reading(runner *r, const window *w, const rh_reading *q)
{
    rh_pass_atom *a = &r->pass->atoms[q->atom];
    double weight = q->each ? q->count : (double)q->count / q->n_positions;
    a->n[q->cls] += q->each ? (double)q->count * q->n_positions : q->count;
    for (int32_t l = 0; l < a->n_layers; l++) {
        const rh_capture *c = find_capture(r, w, a->hook, a->layers[l]);
        if (a->keep != RH_KEEP_SUMS) {
            keep_states(r, a, l, q, c);
            continue;
        }
        double *sum = a->sum + ((size_t)q->cls * (size_t)a->n_layers + (size_t)l) * (size_t)a->d;
        add_states(sum, r->row, c, r->pass->pool + q->positions, q->n_positions, weight, a->d);
    }
}

static rh_status add_batch(runner *r, const rh_pass_batch *b, rh_error *err)
{
    for (int32_t k = 0; k < b->n; k++) {
        const rh_pass_prompt *q = &r->pass->prompts[b->first + (size_t)k];
        for (int32_t i = 0; i < q->n; i++) {
            const rh_reading *reading = &r->pass->readings[q->first + (size_t)i];
            if (r->options->sink) RH_TRY(hand_over(r, &r->windows[k], reading, err));
            else add_reading(r, &r->windows[k], reading);
        }
    }
    if (!r->options->sink) rh_keep_settle(r->pass);
    return RH_OK;
}

/* ---- the loop ----------------------------------------------------------------------------- */

static rh_status report(const runner *r, int64_t done, rh_error *err)
{
    const rh_pass_options *o = r->options;
    int64_t total = (int64_t)r->pass->n_prompts;
    if (!o->progress || o->progress(o->progress_data, "prompts read", done, total)) return RH_OK;
    rh_fail(err, RH_ECANCELLED, "stopped after %lld of %lld prompts", (long long)done, (long long)total);
    if (o->cache_dir && done) rh_hint(err, "run it again: it goes on from there");
    return RH_ECANCELLED;
}

static int64_t prompts_before(const rh_pass *p, size_t batch)
{
    return batch < p->n_batches ? (int64_t)p->batches[batch].first : (int64_t)p->n_prompts;
}

static rh_status run_batches(runner *r, size_t *done, rh_error *err)
{
    rh_pass *p = r->pass;
    const rh_pass_options *o = r->options;
    double saved = rh_seconds();
    while (*done < p->n_batches) {
        RH_TRY(report(r, prompts_before(p, *done), err));
        RH_TRY(run_batch(r, &p->batches[*done], err));
        RH_TRY(add_batch(r, &p->batches[*done], err));
        ++*done;
        if (o->cache_dir && *done < p->n_batches && rh_seconds() - saved >= o->save_seconds) {
            /* A full disk must not stop the work: the sums are a convenience. */
            double start = rh_seconds();
            if (rh_partial_save(p, *done, o->cache_dir, NULL) == RH_ENOMEM) return rh_fail_nomem(err);
            saved = rh_seconds() + SAVE_SHARE * (rh_seconds() - start);
        }
    }
    /* The last call only says that it is done: stopping now would throw away nothing but results. */
    (void)report(r, (int64_t)p->n_prompts, NULL);
    return RH_OK;
}

static void runner_free(runner *r)
{
    rh_session_free(r->session);
    free(r->windows);
    free(r->inputs);
    free(r->captures);
    free(r->positions);
    free(r->states);
    free(r->wanted);
    free(r->row);
}

rh_status rh_pass_run(rh_pass *p, const rh_model *m, const rh_pass_options *o, int64_t *resumed,
                      rh_error *err)
{
    runner r = {.pass = p, .model = m, .options = o};
    size_t start = 0, done = 0;
    rh_status status = RH_OK;
    int32_t widest = 0;
    *resumed = 0;
    for (int hook = 0; hook < RH_N_HOOKS; hook++)
        if (rh_model_width(m, (rh_hook)hook) > widest) widest = rh_model_width(m, (rh_hook)hook);
    r.wanted = rh_calloc((size_t)RH_N_HOOKS, (size_t)m->config.n_layers);
    r.row = rh_calloc((size_t)widest, sizeof *r.row);
    status = r.wanted && r.row ? RH_OK : rh_fail_nomem(err);
    if (!status && !o->sink) status = rh_keep_alloc(p, err);
    if (status) goto done;
    if (o->cache_dir) status = rh_partial_load(&start, p, o->cache_dir, err);
    if (status) goto done;
    done = start;
    *resumed = start ? prompts_before(p, start) : 0;
    status = run_batches(&r, &done, err);
    if (status && o->cache_dir && done > start) (void)rh_partial_save(p, done, o->cache_dir, NULL);
done:
    runner_free(&r);
    return status;
}
