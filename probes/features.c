/* features.c - which features of the SAEs at hand steering switched on and off. Each steered run's prompt and text are
 * read twice, with the run's actions and without: the tokens are the same, so what differs is the actions' work. */
#include <stdlib.h>

#include "probes/experiment.h"
#include "probes/switches.h"

/* An SAE that some action of the run can reach. */
typedef struct reached { int32_t index; rh_concept_sae sae; const rh_sae *encoder; int32_t width; } reached;
typedef struct reading { const rh_experiment *x; reached *saes; int32_t n; size_t width; rh_sae_coder **coders; /* by index */ } reading;

static bool reaches(const rh_experiment *x, int32_t run, const rh_concept_sae *s)
{
    for (int32_t i = 0; i < x->actions[run].n; i++) {
        const rh_action *a = &x->actions[run].items[i];
        if (a->layer * RH_N_HOOKS + (int32_t)a->hook <= s->layer * RH_N_HOOKS + (int32_t)s->reads) return true;
    }
    return false;
}

static rh_status choose(reading *r, int32_t run, rh_error *err)
{
    rh_concepts *c = r->x->o->concepts;
    const int32_t n = rh_concepts_n_saes(c);
    r->n = 0;
    r->width = 0;
    for (int32_t i = 0; i < n; i++) {
        reached s = {.index = i, .sae = rh_concepts_sae(c, i)};
        s.width = rh_sae_about(s.sae.sae)->d_in;
        if (!reaches(r->x, run, &s.sae) || s.width != rh_model_width(r->x->m, s.sae.reads)) continue;
        RH_TRY(rh_concepts_encoder(&s.encoder, c, i, err));
        r->saes[r->n++] = s;
        r->width += (size_t)s.width;
    }
    return RH_OK;
}

/* states [2][sum of n_tokens * width]: without the actions, with them. */
static rh_status read_states(float *states, const reading *r, int32_t run, rh_error *err)
{
    const rh_experiment *x = r->x;
    const int32_t n = x->n_tokens[run];
    rh_reading readings[2];
    rh_capture *captures = rh_calloc(2 * (size_t)r->n, sizeof *captures);
    size_t at = 0;
    if (!captures) return rh_fail_nomem(err);
    for (int32_t with = 0; with < 2; with++) {
        readings[with] = (rh_reading){.ids = x->tokens[run], .n = n, .n_prompt = x->prompt.n, .captures = captures + with * r->n,
                                      .n_captures = r->n};
        if (with) {
            readings[with].actions = x->actions[run].items;
            readings[with].n_actions = x->actions[run].n;
        }
        for (int32_t k = 0; k < r->n; k++) {
            captures[with * r->n + k] = (rh_capture){.layer = r->saes[k].sae.layer, .hook = r->saes[k].sae.reads, .n = n, .out = states + at};
            at += (size_t)n * (size_t)r->saes[k].width;
        }
    }
    rh_status status = rh_read(x->m, readings, 2, err);
    free(captures);
    return status;
}

/* The first token's states are like no others. A coder serves all runs: to lay out a wide encoder takes longer than what is read. */
static rh_status compare(rh_switches *out, reading *r, const reached *s, const float *before, const float *after, int32_t n, rh_error *err)
{
    rh_sae_coder **coder = &r->coders[s->index];
    if (!*coder) RH_TRY(rh_sae_coder_new(coder, s->encoder, r->x->m->backend, err));
    return rh_switches_between(out, *coder, rh_sae_about(s->encoder)->d_sae, before, after, n, n > 1, err);
}

static rh_status add_labels(rh_feature_switch *list, int32_t n, rh_concepts *c, int32_t sae, rh_error *err)
{
    for (int32_t i = 0; i < n; i++) {
        const char *label = NULL;
        RH_TRY(rh_feature_label(&label, c, sae, list[i].feature, err));
        if (label && !(list[i].label = rh_strdup(label))) return rh_fail_nomem(err);
    }
    return RH_OK;
}

static rh_status fill(rh_sae_switches *out, const reached *s, const rh_switches *w, const rh_steer_options *o, rh_error *err)
{
    *out = (rh_sae_switches){.layer = s->sae.layer, .hook = s->sae.reads, .n_tokens = (int32_t)w->tokens};
    out->name = rh_strdup(s->sae.name);
    out->path = rh_strdup(s->sae.path);
    if (!out->name || !out->path) return rh_fail_nomem(err);
    out->active_before = (double)w->active[0] / (double)w->tokens;
    out->active_after = (double)w->active[1] / (double)w->tokens;
    RH_TRY(rh_switches_rank(&out->on, &out->n_on, &out->total_on, w->on, w->d_sae, o->top_features, err));
    RH_TRY(rh_switches_rank(&out->off, &out->n_off, &out->total_off, w->off, w->d_sae, o->top_features, err));
    RH_TRY(add_labels(out->on, out->n_on, o->concepts, s->index, err));
    return add_labels(out->off, out->n_off, o->concepts, s->index, err);
}

static rh_status look_at(rh_steer_run *run, reading *r, int32_t which, rh_error *err)
{
    const size_t n = (size_t)r->x->n_tokens[which];
    RH_TRY(choose(r, which, err));
    if (!r->n) return RH_OK;
    float *states = rh_calloc(2 * n, r->width * sizeof *states);
    run->switches = rh_calloc((size_t)r->n, sizeof *run->switches);
    rh_status status = states && run->switches ? read_states(states, r, which, err) : rh_fail_nomem(err);
    size_t at = 0;
    for (int32_t k = 0; k < r->n && !status; k++) {
        rh_switches w = {0};
        status = compare(&w, r, &r->saes[k], states + at, states + n * r->width + at, (int32_t)n, err);
        if (!status) status = fill(&run->switches[run->n_switches++], &r->saes[k], &w, r->x->o, err);
        if (status == RH_EVALUE) status = RH_OK; /* a state that overflowed has no features; the report shows it otherwise */
        rh_switches_free(&w);
        at += n * (size_t)r->saes[k].width;
    }
    free(states);
    return status;
}

rh_status rh_switched_features(rh_steer_run *runs, const rh_experiment *x, rh_error *err)
{
    if (!x->o->concepts || x->o->top_features < 1 || !rh_concepts_n_saes(x->o->concepts)) return RH_OK;
    const int32_t n = rh_concepts_n_saes(x->o->concepts);
    reading r = {.x = x, .saes = rh_calloc((size_t)n, sizeof *r.saes), .coders = rh_calloc((size_t)n, sizeof *r.coders)};
    rh_status status = r.saes && r.coders ? RH_OK : rh_fail_nomem(err);
    for (int32_t i = 1; i < x->n_runs && !status; i++) status = look_at(&runs[i], &r, i, err);
    for (int32_t i = 0; r.coders && i < n; i++) rh_sae_coder_free(r.coders[i]);
    free(r.coders);
    free(r.saes);
    return status;
}
