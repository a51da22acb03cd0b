/* search.c - see search.h. */
#include "probes/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probes/diagnose.h"
#include "probes/experiment.h"

void rh_search_report_free(rh_search_report *r)
{
    if (!r) return;
    for (int32_t i = 0; r->tokens && i < r->n_tokens; i++) free(r->tokens[i].text);
    for (int32_t i = 0; r->saes && i < r->n_saes; i++) free(r->saes[i].path);
    for (int32_t i = 0; r->hits && i < r->n_hits; i++) {
        free(r->hits[i].act);
        free(r->hits[i].label);
    }
    free(r->model);
    free(r->text);
    free(r->tokens);
    free(r->saes);
    free(r->hits);
    free(r);
}

typedef struct search {
    const rh_model *m;
    const rh_search_options *o;
    rh_search_report *r;
    rh_tokens tokens;
    rh_capture *captures; int32_t n_captures; /* one a site, whoever reads there */
    int32_t *capture_of;                      /* [n_saes] */
    double *score, *max;                      /* [d_sae] of the SAE being read */
    int32_t *at;
} search;

/* ---- tokens -------------------------------------------------------------------------------------- */

static rh_status choose_tokens(search *s, rh_error *err)
{
    rh_search_report *r = s->r;
    for (int32_t i = 0; i < s->o->n_tokens; i++) {
        const int32_t at = s->o->tokens[i];
        if (at < 1 || at >= r->n_tokens)
            return rh_hinted(rh_fail(err, RH_EVALUE, "there is no token %d to rank by", (int)at), err, "the text's tokens are 1 to %d", (int)r->n_tokens - 1);
        r->tokens[at].value = 1;
    }
    for (int32_t i = 1; i < r->n_tokens; i++) {
        if (!s->o->n_tokens) r->tokens[i].value = 1;
        r->n_ranked += r->tokens[i].value != 0;
    }
    if (!r->n_ranked) return rh_fail(err, RH_EVALUE, "the text has no token to rank by: the first position is not read");
    return RH_OK;
}

static rh_status read_text(search *s, const char *text, rh_error *err)
{
    RH_TRY(rh_feature_ids(&s->tokens, s->m, text, strlen(text), err));
    s->r->tokens = rh_calloc(s->tokens.n, sizeof *s->r->tokens);
    if (!s->r->tokens) return rh_fail_nomem(err);
    for (size_t i = 0; i < s->tokens.n; i++) {
        const int32_t id = s->tokens.items[i].id;
        s->r->tokens[i] = (rh_shaded){.id = id, .text = rh_piece_text(s->m->tokenizer, id)};
        if (!s->r->tokens[i].text) return rh_fail_nomem(err);
        s->r->n_tokens++;
    }
    return choose_tokens(s, err);
}

/* ---- one pass ------------------------------------------------------------------------------------ */

static rh_status add_capture(search *s, int32_t i, rh_error *err)
{
    const rh_seat *seat = &s->r->saes[i].seat;
    for (int32_t k = 0; k < s->n_captures; k++)
        if (s->captures[k].layer == seat->layer && s->captures[k].hook == seat->in) {
            s->capture_of[i] = k;
            return RH_OK;
        }
    float *out = rh_calloc((size_t)s->r->n_tokens * (size_t)rh_model_width(s->m, seat->in), sizeof *out);
    if (!out) return rh_fail_nomem(err);
    s->captures[s->n_captures] = (rh_capture){.layer = seat->layer, .hook = seat->in, .n = s->r->n_tokens, .out = out};
    s->capture_of[i] = s->n_captures++;
    return RH_OK;
}

/* Sites from the files' facts; no weight is read yet. */
static rh_status seat_all(search *s, const char *const *paths, int32_t n, rh_error *err)
{
    for (int32_t i = 0; i < n; i++) {
        rh_sae *sae = NULL;
        rh_search_sae *one = &s->r->saes[i];
        one->path = rh_strdup(paths[i]);
        if (!one->path) return rh_fail_nomem(err);
        s->r->n_saes = i + 1;
        rh_status status = rh_sae_open(&sae, paths[i], RH_SAE_FACTS, err);
        if (!status) {
            const int32_t own = rh_sae_about(sae)->layer;
            status = rh_sae_seat(&one->seat, sae, paths[i], s->m, own >= 0 ? -1 : s->o->layer, s->o->force_model, err);
            one->n_features = rh_sae_about(sae)->d_sae;
        }
        rh_sae_free(sae);
        if (!status) status = add_capture(s, i, err);
        if (status) return status;
    }
    return RH_OK;
}

static rh_status run_model(const search *s, rh_error *err)
{
    const int32_t n = s->r->n_tokens;
    int32_t *ids = rh_calloc((size_t)n, sizeof *ids);
    if (!ids) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) ids[i] = s->tokens.items[i].id;
    const rh_reading text = {.ids = ids, .n = n, .n_prompt = n, .captures = s->captures, .n_captures = s->n_captures};
    rh_status status = rh_read(s->m, &text, 1, err);
    free(ids);
    return status;
}

/* ---- ranking ------------------------------------------------------------------------------------- */

static bool better(const rh_search_hit *a, const rh_search_hit *b)
{
    if (a->score != b->score) return a->score > b->score;
    return a->sae != b->sae ? a->sae < b->sae : a->feature < b->feature;
}

/* Into its place among the best `top`; what falls out is freed. */
static rh_status keep(search *s, const rh_search_hit *h, const rh_sae_active *a, rh_error *err)
{
    rh_search_report *r = s->r;
    if (r->n_hits == s->o->top && !better(h, &r->hits[r->n_hits - 1])) return RH_OK;
    rh_search_hit new = *h;
    new.act = rh_calloc((size_t)r->n_tokens, sizeof *new.act);
    if (!new.act) return rh_fail_nomem(err);
    for (int32_t t = 0; t < a->n; t++)
        for (size_t i = a->start[t]; i < a->start[t + 1]; i++)
            if (a->index[i] == h->feature) new.act[t + 1] = a->value[i];
    if (r->n_hits == s->o->top) {
        free(r->hits[--r->n_hits].act);
        free(r->hits[r->n_hits].label);
    }
    int32_t at = r->n_hits++;
    for (; at > 0 && better(&new, &r->hits[at - 1]); at--) r->hits[at] = r->hits[at - 1];
    r->hits[at] = new;
    return RH_OK;
}

static rh_status rank(search *s, int32_t sae, const rh_sae_active *a, rh_error *err)
{
    rh_search_sae *one = &s->r->saes[sae];
    for (int32_t t = 0; t < a->n; t++) {
        if (s->r->tokens[t + 1].value == 0) continue;
        one->active += (double)(a->start[t + 1] - a->start[t]) / s->r->n_ranked;
        for (size_t i = a->start[t]; i < a->start[t + 1]; i++) {
            const int32_t f = a->index[i];
            s->score[f] += a->value[i];
            if (a->value[i] > s->max[f]) {
                s->max[f] = a->value[i];
                s->at[f] = t + 1;
            }
        }
    }
    for (int32_t f = 0; f < one->n_features; f++) {
        const rh_search_hit h = {.sae = sae, .feature = f, .score = s->o->by_sum ? s->score[f] : s->max[f], .max = s->max[f], .at = s->at[f],
                                 .max_act = NAN, .density = NAN};
        if (h.score > 0) RH_TRY(keep(s, &h, a, err));
    }
    return RH_OK;
}

/* What is known of this SAE's hits so far, while it is open. */
static rh_status annotate(search *s, int32_t sae, const rh_sae *open, rh_error *err)
{
    rh_feature_notes *notes = NULL;
    RH_TRY(rh_feature_notes_open(&notes, s->o->cache_dir, open, err));
    rh_status status = RH_OK;
    for (int32_t i = 0; i < s->r->n_hits && !status; i++) {
        rh_search_hit *h = &s->r->hits[i];
        if (h->sae != sae) continue;
        rh_feature_note note = rh_feature_notes_get(notes, h->feature);
        h->source = note.source;
        h->measured = note.measured;
        if (note.measured) h->max_act = note.max_act, h->density = note.density;
        if (note.label && !(h->label = rh_strdup(note.label))) status = rh_fail_nomem(err);
    }
    rh_feature_notes_free(notes);
    return status;
}

static rh_status read_sae(search *s, int32_t i, rh_error *err)
{
    const rh_search_sae *one = &s->r->saes[i];
    const size_t n = (size_t)one->n_features;
    const rh_capture *c = &s->captures[s->capture_of[i]];
    rh_sae *sae = NULL;
    rh_sae_coder *coder = NULL;
    rh_sae_active a = {0};
    s->score = rh_calloc(n, sizeof *s->score);
    s->max = rh_calloc(n, sizeof *s->max);
    s->at = rh_calloc(n, sizeof *s->at);
    rh_status status = s->score && s->max && s->at ? rh_sae_open(&sae, one->path, RH_SAE_ENCODE, err) : rh_fail_nomem(err);
    if (!status && (size_t)rh_sae_about(sae)->d_sae != n) status = rh_fail(err, RH_EIO, "'%.200s' was changed while it was read", one->path);
    if (!status) status = rh_sae_coder_new(&coder, sae, s->m->backend, err);
    if (!status) status = rh_sae_encode(&a, coder, c->out + rh_model_width(s->m, c->hook), s->r->n_tokens - 1, err);
    if (!status) status = rank(s, i, &a, err);
    if (!status) status = annotate(s, i, sae, err);
    rh_sae_active_free(&a);
    rh_sae_coder_free(coder);
    rh_sae_free(sae);
    free(s->score);
    free(s->max);
    free(s->at);
    return status;
}

static rh_status read_all(search *s, rh_error *err)
{
    for (int32_t i = 0; i < s->r->n_saes; i++) {
        if (s->o->progress && !s->o->progress(s->o->progress_data, "SAEs", i, s->r->n_saes)) return rh_fail(err, RH_ECANCELLED, "interrupted");
        RH_TRY(read_sae(s, i, err));
    }
    return RH_OK;
}

rh_status rh_probe_search(rh_search_report **out, const rh_model *m, const char *const *paths, int32_t n_paths, const char *text,
                          const rh_search_options *o, rh_error *err)
{
    search s = {.m = m, .o = o};
    s.r = rh_calloc(1, sizeof *s.r);
    s.captures = rh_calloc((size_t)n_paths, sizeof *s.captures);
    s.capture_of = rh_calloc((size_t)n_paths, sizeof *s.capture_of);
    rh_status status = s.r && s.captures && s.capture_of ? RH_OK : rh_fail_nomem(err);
    if (!status) {
        s.r->by_sum = o->by_sum;
        s.r->model = rh_strdup(m->name);
        s.r->text = rh_strdup(text);
        s.r->saes = rh_calloc((size_t)n_paths, sizeof *s.r->saes);
        s.r->hits = rh_calloc((size_t)o->top, sizeof *s.r->hits);
        if (!s.r->model || !s.r->text || !s.r->saes || !s.r->hits) status = rh_fail_nomem(err);
    }
    if (!status) status = read_text(&s, text, err);
    if (!status) status = seat_all(&s, paths, n_paths, err);
    if (!status) status = run_model(&s, err);
    if (!status) status = read_all(&s, err);
    for (int32_t i = 0; s.captures && i < s.n_captures; i++) free(s.captures[i].out);
    free(s.captures);
    free(s.capture_of);
    rh_tokens_free(&s.tokens);
    if (status) rh_search_report_free(s.r);
    else *out = s.r;
    return status;
}
