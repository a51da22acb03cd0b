/* projection.c - the projection of h on û before and after each action, at its own sites and at
 * later layers.
 *
 * û at a layer is that of the action's deepest layer at or below it. States are captured while
 * generation reads the prompt. An action that leaves the prompt alone is measured on the generated tokens
 * it acts on: run and unsteered model both read the run's text again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probes/axis.h"
#include "probes/diagnose.h"
#include "probes/experiment.h"

enum {
    MAX_OWN_SITES = 8,    /* of a family: more are thinned out evenly */
    MAX_POSITIONS = 512,  /* a mean over more tokens is taken over as many, evenly spread */
    MAX_SITES = MAX_OWN_SITES + 5
};

typedef struct site {
    int32_t layer;
    rh_hook hook;
    bool acts;
    const rh_axis *axis;
} site;

/* Where one sequence is read: `acted` positions whose mean is taken, and the last prompt token. */
typedef struct places { int32_t *positions; int32_t n, last; bool *acted; int32_t n_acted; } places;

/* One action. states of a sequence: [2, n_sites, n, d]: entering each site, leaving it. */
typedef struct track {
    int32_t action;
    rh_axes axes;
    site sites[MAX_SITES];
    int32_t n_sites, d;
    bool generated;       /* acts on no prompt token */
    places places;        /* in the prompt */
} track;

typedef struct sequence { rh_capture *captures; int32_t n_captures; float **states; } sequence; /* states: [n_tracks] */

struct rh_projector {
    const rh_experiment *x;
    track *tracks;
    int32_t n_tracks;
    sequence *runs;       /* [n_runs], of generation */
};

/* ---- sites ------------------------------------------------------------------------------------ */

static void add_site(track *t, int32_t layer, rh_hook hook, bool acts, const rh_axis *axis)
{
    if (t->n_sites && !acts && t->sites[t->n_sites - 1].layer == layer && t->sites[t->n_sites - 1].hook == hook) return;
    t->sites[t->n_sites++] = (site){layer, hook, acts, axis};
}

/* The action's own sites; the stream leaving its last block, if it acts inside it; then the
 * quarter points above, and the last layer. A û of attn_z or mlp_in means nothing in the stream. */
static void choose_sites(track *t, int32_t n_layers)
{
    const rh_axes *a = &t->axes;
    int32_t own = a->n < MAX_OWN_SITES ? a->n : MAX_OWN_SITES;
    for (int32_t i = 0; i < own; i++) {
        const rh_axis *axis = &a->items[own > 1 ? (int64_t)i * (a->n - 1) / (own - 1) : 0];
        add_site(t, axis->layer, axis->hook, true, axis);
    }
    const rh_axis *top = &a->items[a->n - 1];
    if (top->hook == RH_ATTN_Z || top->hook == RH_MLP_IN) return;
    add_site(t, top->layer, RH_RESID_POST, false, top);
    for (int32_t q = 1; q <= 4; q++)
        add_site(t, top->layer + ((n_layers - 1 - top->layer) * q + 3) / 4, RH_RESID_POST, false, top);
}

/* ---- positions -------------------------------------------------------------------------------- */

static const rh_mask *mask_of(const rh_experiment *x, int32_t run, int32_t action)
{
    int32_t first;
    return rh_bound_items(&first, x, run, action) ? &x->actions[run].items[first].mask : NULL;
}

static void places_free(places *p)
{
    free(p->positions);
    free(p->acted);
    *p = (places){0};
}

/* Positions of ids[from..to) that the mask covers, thinned to MAX_POSITIONS, position 0 left out
 * unless it is the only one; and the last prompt token. */
static rh_status find_places(places *out, const rh_experiment *x, int32_t run, const rh_mask *mask,
                             int32_t from, int32_t to, rh_error *err)
{
    places p = {0};
    int32_t last = x->prompt.n - 1, n = 0;
    const int32_t *ids = from ? x->tokens[run] : x->prompt.ids;
    int32_t *covered = rh_calloc((size_t)(to - from) + 1, sizeof *covered);
    p.positions = rh_calloc(MAX_POSITIONS + 1, sizeof *p.positions);
    p.acted = rh_calloc(MAX_POSITIONS + 1, sizeof *p.acted);
    if (!covered || !p.positions || !p.acted) {
        free(covered);
        places_free(&p);
        return rh_fail_nomem(err);
    }
    for (int32_t pos = from; mask && pos < to; pos++)
        if (rh_mask_covers(mask, pos, x->prompt.n, rh_token_is_control(x->m->tokenizer, ids[pos]))) covered[n++] = pos;
    if (n > 1 && covered[0] == 0) memmove(covered, covered + 1, (size_t)--n * sizeof *covered);
    int32_t keep = n < MAX_POSITIONS ? n : MAX_POSITIONS;
    p.last = -1;
    if (from) { /* generated positions come after the last prompt token */
        p.last = 0;
        p.positions[p.n++] = last;
    }
    for (int32_t i = 0; i < keep; i++) {
        int32_t pos = covered[keep > 1 ? (int64_t)i * (n - 1) / (keep - 1) : 0];
        if (pos == last) p.last = p.n;
        p.acted[p.n] = true;
        p.positions[p.n++] = pos;
    }
    p.n_acted = keep;
    if (p.last < 0) {
        p.last = p.n;
        p.positions[p.n++] = last;
    }
    free(covered);
    *out = p;
    return RH_OK;
}

/* ---- captures --------------------------------------------------------------------------------- */

static void sequence_free(sequence *s, int32_t n_tracks)
{
    for (int32_t k = 0; s->states && k < n_tracks; k++) free(s->states[k]);
    free(s->states);
    free(s->captures);
}

/* Captures of the tracks whose places are given (places[k].n > 0) for one sequence. */
static rh_status sequence_make(sequence *out, const track *tracks, const places *const *where,
                               int32_t n_tracks, rh_error *err)
{
    out->states = rh_calloc((size_t)n_tracks, sizeof *out->states);
    out->captures = rh_calloc((size_t)n_tracks, 2 * MAX_SITES * sizeof *out->captures);
    if (!out->states || !out->captures) return rh_fail_nomem(err);
    for (int32_t k = 0; k < n_tracks; k++) {
        const track *t = &tracks[k];
        const places *p = where[k];
        if (!p || !p->n) continue;
        size_t rows = (size_t)p->n * (size_t)t->d;
        float *at = out->states[k] = rh_calloc((size_t)(2 * t->n_sites), rows * sizeof *at);
        if (!at) return rh_fail_nomem(err);
        for (int32_t c = 0; c < 2 * t->n_sites; c++) {
            const site *s = &t->sites[c % t->n_sites];
            bool before = c < t->n_sites;
            if (!before || s->acts)
                out->captures[out->n_captures++] =
                    (rh_capture){.layer = s->layer, .hook = s->hook, .before_actions = before,
                                 .positions = p->positions, .n = p->n, .out = at + (size_t)c * rows};
        }
    }
    return RH_OK;
}

/* ---- the projector ---------------------------------------------------------------------------- */

void rh_projector_free(rh_projector *p)
{
    if (!p) return;
    for (int32_t r = 0; p->runs && r < p->x->n_runs; r++) sequence_free(&p->runs[r], p->n_tracks);
    for (int32_t k = 0; p->tracks && k < p->n_tracks; k++) {
        rh_axes_free(&p->tracks[k].axes);
        places_free(&p->tracks[k].places);
    }
    free(p->runs);
    free(p->tracks);
    free(p);
}

static rh_status make_track(track *t, const rh_experiment *x, int32_t action, rh_error *err)
{
    int32_t run = x->n_runs - 1; /* a steered one: masks are the same in all of them */
    const rh_mask *mask = mask_of(x, run, action);
    t->action = action;
    t->d = t->axes.items[0].d;
    choose_sites(t, x->m->config.n_layers);
    RH_TRY(find_places(&t->places, x, run, mask, 0, x->prompt.n, err));
    t->generated = !t->places.n_acted;
    return RH_OK;
}

rh_status rh_projector_new(rh_projector **out, const rh_experiment *x, rh_error *err)
{
    rh_status status = RH_OK;
    rh_projector *p = rh_calloc(1, sizeof *p);
    const places **where = rh_calloc((size_t)x->e->n_actions + 1, sizeof *where);
    if (!p || !where) {
        free(p);
        free(where);
        return rh_fail_nomem(err);
    }
    p->x = x;
    p->tracks = rh_calloc((size_t)x->e->n_actions + 1, sizeof *p->tracks);
    p->runs = rh_calloc((size_t)x->n_runs, sizeof *p->runs);
    if (!p->tracks || !p->runs) status = rh_fail_nomem(err);
    for (int32_t i = 0; !status && x->n_runs > 1 && i < x->e->n_actions; i++) {
        track *t = &p->tracks[p->n_tracks];
        status = rh_axes_make(&t->axes, &x->e->actions[i].value, err);
        if (status) break;
        if (!t->axes.n) { /* the zero vector: nothing to project on */
            rh_axes_free(&t->axes);
            continue;
        }
        p->n_tracks++;
        status = make_track(t, x, i, err);
    }
    for (int32_t k = 0; k < p->n_tracks; k++) where[k] = p->tracks[k].generated ? NULL : &p->tracks[k].places;
    for (int32_t r = 0; !status && r < x->n_runs; r++)
        status = sequence_make(&p->runs[r], p->tracks, where, p->n_tracks, err);
    free(where);
    if (status)
        rh_projector_free(p);
    else
        *out = p;
    return status;
}

const rh_capture *rh_projector_captures(const rh_projector *p, int32_t run, int32_t *n)
{
    *n = p->runs[run].n_captures;
    return p->runs[run].captures;
}

/* ---- figures ---------------------------------------------------------------------------------- */

/* Mean over the acted positions of states [n, d], and the value at the last prompt token. */
static void project(double *mean, double *last, const rh_axis *a, const float *states, const places *p)
{
    double sum = 0;
    for (int32_t i = 0; i < p->n; i++) {
        double x = rh_axis_project(a, states + (size_t)i * (size_t)a->d);
        if (p->acted[i]) sum += x;
        if (i == p->last) *last = x;
    }
    *mean = p->n_acted ? sum / p->n_acted : NAN;
}

/* steered, unsteered [2, n_sites, n, d] of the same tokens. */
static void measure(rh_steer_run *run, const track *t, const places *p, const float *steered,
                    const float *unsteered)
{
    size_t rows = (size_t)p->n * (size_t)t->d, leaving = (size_t)t->n_sites * rows;
    for (int32_t i = 0; i < t->n_sites; i++) {
        const site *s = &t->sites[i];
        rh_projection *out = &run->projections[run->n_projections++];
        *out = (rh_projection){.action = t->action, .layer = s->layer, .hook = s->hook, .acts = s->acts,
                               .generated = t->generated, .n_tokens = p->n_acted};
        const float *before = (s->acts ? steered : unsteered + leaving) + (size_t)i * rows;
        project(&out->before_mean, &out->before_last, s->axis, before, p);
        project(&out->after_mean, &out->after_last, s->axis, steered + leaving + (size_t)i * rows, p);
    }
}

/* Projections of run r for the tracks that act on generated tokens only. */
static rh_status measure_generated(rh_steer_run *run, const rh_projector *p, int32_t r, rh_error *err)
{
    const rh_experiment *x = p->x;
    rh_status status = RH_OK;
    sequence steered = {0}, unsteered = {0};
    places *found = rh_calloc((size_t)p->n_tracks + 1, sizeof *found);
    const places **where = rh_calloc((size_t)p->n_tracks + 1, sizeof *where);
    if (!found || !where) status = rh_fail_nomem(err);
    for (int32_t k = 0; !status && k < p->n_tracks; k++) {
        if (!p->tracks[k].generated) continue;
        status = find_places(&found[k], x, r, mask_of(x, r, p->tracks[k].action), x->prompt.n, x->n_tokens[r], err);
        if (!status && found[k].n_acted) where[k] = &found[k];
    }
    if (!status) status = sequence_make(&steered, p->tracks, where, p->n_tracks, err);
    if (!status) status = sequence_make(&unsteered, p->tracks, where, p->n_tracks, err);
    if (!status && steered.n_captures) {
        rh_reading readings[2] = {
            {.ids = x->tokens[r], .n = x->n_tokens[r], .n_prompt = x->prompt.n, .actions = x->actions[r].items,
             .n_actions = x->actions[r].n, .captures = steered.captures, .n_captures = steered.n_captures},
            {.ids = x->tokens[r], .n = x->n_tokens[r], .n_prompt = x->prompt.n,
             .captures = unsteered.captures, .n_captures = unsteered.n_captures}};
        status = rh_read(x->m, readings, 2, err);
    }
    for (int32_t k = 0; !status && k < p->n_tracks; k++)
        if (where[k]) measure(run, &p->tracks[k], where[k], steered.states[k], unsteered.states[k]);
    sequence_free(&steered, p->n_tracks);
    sequence_free(&unsteered, p->n_tracks);
    for (int32_t k = 0; found && k < p->n_tracks; k++) places_free(&found[k]);
    free(found);
    free(where);
    return status;
}

rh_status rh_projector_finish(rh_steer_run *runs, rh_projector *p, rh_error *err)
{
    bool generated = false;
    for (int32_t k = 0; k < p->n_tracks; k++) generated = generated || p->tracks[k].generated;
    for (int32_t r = 0; p->n_tracks && r < p->x->n_runs; r++) {
        runs[r].projections = rh_calloc((size_t)p->n_tracks, MAX_SITES * sizeof *runs[r].projections);
        if (!runs[r].projections) return rh_fail_nomem(err);
        for (int32_t k = 0; k < p->n_tracks; k++)
            if (!p->tracks[k].generated)
                measure(&runs[r], &p->tracks[k], &p->tracks[k].places, p->runs[r].states[k], p->runs[0].states[k]);
        if (generated && r > 0) RH_TRY(measure_generated(&runs[r], p, r, err));
    }
    return RH_OK;
}
