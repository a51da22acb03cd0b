/* pages.c - the pass: documents become windows, windows states, states activations, activations what is kept of each
 * feature. A batch ends with a document, so that a stopped run goes on at one with the same batches. */
#include "probes/pages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "concepts/feature_notes.h"

#define PAGES_VERSION 2 /* part of the key: counted up when the same corpus would give other numbers */
enum { BATCH = 1536 };  /* tokens, from which on no document is added */

typedef struct window { int64_t base; int32_t n; size_t fed; } window; /* ids at base; what is fed begins at fed */

typedef struct run {
    const rh_model *m;
    const rh_sae *s;
    rh_corpus *corpus;
    const rh_pages_options *o;
    rh_pages *p;
    rh_states *states;
    rh_sae_coder *coder;
    size_t cap_ids;
    int32_t bos;
    window *windows; size_t n_windows, cap_windows;   /* of the batch */
    int32_t *fed; size_t n_fed, cap_fed;              /* their ids as the model gets them */
    rh_tokens tokens;
    float *best;             /* [n_features] of the window: its largest, 0 if it is not active */
    int32_t *best_row;       /* [n_features] */
    int32_t *touched;        /* [n_features] features of the window */
    bool corpus_ends;
} run;

/* ---- batches ------------------------------------------------------------------------------------- */

static rh_status add_window(run *r, const rh_token *tokens, int32_t n, rh_error *err)
{
    if (!RH_GROW(r->windows, r->cap_windows, r->n_windows)) return rh_fail_nomem(err);
    r->windows[r->n_windows++] = (window){.base = r->p->n_ids, .n = n, .fed = r->n_fed};
    for (int32_t i = r->bos >= 0 ? -1 : 0; i < n; i++) {
        if (!RH_GROW(r->fed, r->cap_fed, r->n_fed)) return rh_fail_nomem(err);
        r->fed[r->n_fed++] = i < 0 ? r->bos : tokens[i].id;
    }
    for (int32_t i = 0; i < n; i++) {
        if (!RH_GROW(r->p->ids, r->cap_ids, (size_t)r->p->n_ids)) return rh_fail_nomem(err);
        r->p->ids[r->p->n_ids++] = tokens[i].id;
    }
    return RH_OK;
}

static rh_status add_document(run *r, const char *text, size_t len, rh_error *err)
{
    const int32_t most = r->p->context - (r->bos >= 0);
    r->tokens.n = 0;
    RH_TRY(rh_tokenize(r->m->tokenizer, &r->tokens, text, len, false, 0, err));
    int64_t n = (int64_t)r->tokens.n, room = (r->o->max_tokens ? r->o->max_tokens : INT32_MAX) - r->p->n_ids;
    if (n > room) n = room;
    for (int64_t at = 0; at < n; at += most) {
        const int32_t take = n - at < most ? (int32_t)(n - at) : most;
        if (take + (r->bos >= 0) >= 2) RH_TRY(add_window(r, r->tokens.items + at, take, err));
    }
    return RH_OK;
}

static rh_status fill_batch(run *r, rh_error *err)
{
    const char *text;
    size_t len;
    r->n_windows = r->n_fed = 0;
    while (!r->corpus_ends && r->n_fed < BATCH) {
        RH_TRY(rh_corpus_next(r->corpus, &text, &len, &r->corpus_ends, err));
        if (r->corpus_ends) break;
        RH_TRY(add_document(r, text, len, err));
        r->p->documents++;
        if (r->p->n_ids >= (r->o->max_tokens ? r->o->max_tokens : INT32_MAX)) r->corpus_ends = true;
    }
    return RH_OK;
}

/* ---- what is kept -------------------------------------------------------------------------------- */

static float value_at(const rh_sae_active *a, int32_t row, int32_t feature)
{
    size_t lo = a->start[row], hi = a->start[row + 1];
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (a->index[mid] < feature) lo = mid + 1;
        else hi = mid;
    }
    return lo < a->start[row + 1] && a->index[lo] == feature ? a->value[lo] : 0;
}

/* The place of row t of a window whose rows begin at `first`; row t is the token base + t + skip. */
static rh_page_place make_place(const run *r, const window *w, const rh_sae_active *a, int32_t first, int32_t t, int32_t feature, float value)
{
    const int32_t skip = r->bos < 0, at = t + skip, before = at < RH_PAGE_BEFORE ? at : RH_PAGE_BEFORE, from = at - before;
    const int32_t n = w->n - from < RH_PAGE_CONTEXT ? w->n - from : RH_PAGE_CONTEXT;
    rh_page_place x = {.value = value, .at = (int32_t)(w->base + at), .before = (uint8_t)before, .n = (uint8_t)n};
    for (int32_t k = 0; k < n; k++) {
        const int32_t row = from + k - skip;
        const float v = row < 0 ? 0 : value_at(a, first + row, feature);
        x.act[k] = (uint8_t)(v <= 0 ? 0 : v >= value ? 255 : fmaxf(1, v / value * 255));
    }
    return x;
}

/* The same words again: a corpus often repeats itself. */
static bool same_words(const rh_pages *p, const rh_page_place *a, const rh_page_place *b)
{
    if (fabsf(a->value - b->value) > 1e-3f * a->value) return false;
    for (int32_t k = 0; k < 6 && k <= a->before && k <= b->before; k++)
        if (p->ids[a->at - k] != p->ids[b->at - k]) return false;
    return true;
}

static void offer_top(run *r, const window *w, const rh_sae_active *a, int32_t first, int32_t feature)
{
    rh_page_stats *f = &r->p->features[feature];
    const float value = r->best[feature];
    if (f->n_top == RH_PAGE_TOP && value <= f->top[RH_PAGE_TOP - 1].value) return;
    const rh_page_place x = make_place(r, w, a, first, r->best_row[feature], feature, value);
    for (int32_t i = 0; i < f->n_top; i++)
        if (same_words(r->p, &f->top[i], &x)) return;
    if (f->n_top < RH_PAGE_TOP) f->n_top++;
    int32_t at = f->n_top - 1;
    for (; at > 0 && f->top[at - 1].value < value; at--) f->top[at] = f->top[at - 1];
    f->top[at] = x;
}

/* Ranks are drawn from feature and token alone: the smallest ones are an even sample of the active tokens. */
static void offer_sample(run *r, const window *w, const rh_sae_active *a, int32_t first, int32_t t, int32_t feature, float value)
{
    rh_page_stats *f = &r->p->features[feature];
    const uint64_t rank = rh_random_u64(1, (uint64_t)feature, (uint64_t)(w->base + t));
    if (f->n_samples == RH_PAGE_SAMPLES && rank >= f->ranks[RH_PAGE_SAMPLES - 1]) return;
    if (f->n_samples < RH_PAGE_SAMPLES) f->n_samples++;
    int32_t at = f->n_samples - 1;
    for (; at > 0 && f->ranks[at - 1] > rank; at--) {
        f->ranks[at] = f->ranks[at - 1];
        f->samples[at] = f->samples[at - 1];
    }
    f->ranks[at] = rank;
    f->samples[at] = make_place(r, w, a, first, t, feature, value);
}

static int bin_of(float value)
{
    const int b = (int)floorf(4 * (log2f(value) + 6));
    return b < 0 ? 0 : b >= RH_PAGE_BINS ? RH_PAGE_BINS - 1 : b;
}

/* Rows [first, first + n) of the active ones are this window's. */
static void keep_window(run *r, const window *w, const rh_sae_active *a, int32_t first, int32_t n)
{
    int32_t n_touched = 0;
    for (int32_t t = 0; t < n; t++)
        for (size_t i = a->start[first + t]; i < a->start[first + t + 1]; i++) {
            const int32_t feature = a->index[i];
            const float value = a->value[i];
            rh_page_stats *f = &r->p->features[feature];
            f->active++;
            f->sum += value;
            f->bins[bin_of(value)]++;
            offer_sample(r, w, a, first, t, feature, value);
            if (r->best[feature] == 0) r->touched[n_touched++] = feature;
            if (value <= r->best[feature]) continue;
            r->best[feature] = value;
            r->best_row[feature] = t;
        }
    for (int32_t i = 0; i < n_touched; i++) {
        offer_top(r, w, a, first, r->touched[i]);
        r->best[r->touched[i]] = 0;
    }
    r->p->tokens += n;
}

static rh_status run_batch(run *r, rh_error *err)
{
    rh_status status = RH_OK;
    rh_id_text *texts = rh_calloc(r->n_windows, sizeof *texts);
    if (!texts) return rh_fail_nomem(err);
    for (size_t i = 0; i < r->n_windows; i++) texts[i] = (rh_id_text){r->fed + r->windows[i].fed, r->windows[i].n + (r->bos >= 0)};
    for (int32_t i = 0, step; !status && i < (int32_t)r->n_windows; i += step) {
        rh_state_rows rows;
        rh_sae_active a = {0};
        step = rh_states_fit(texts + i, (int32_t)r->n_windows - i);
        status = rh_states_read(&rows, r->states, texts + i, step, err);
        if (!status && rows.n) status = rh_sae_encode(&a, r->coder, rows.x, rows.n, err);
        for (int32_t k = 0, first = 0; !status && rows.n && k < step; first += texts[i + k].n - 1, k++)
            keep_window(r, &r->windows[i + k], &a, first, texts[i + k].n - 1);
        rh_sae_active_free(&a);
    }
    free(texts);
    return status;
}

/* ---- the whole ----------------------------------------------------------------------------------- */

/* What the numbers depend on. key "" for a corpus that cannot be read twice: nothing of it can be taken up again. */
static rh_status make_key(run *r, const rh_seat *seat, rh_error *err)
{
    char corpus[65];
    const rh_status status = rh_corpus_hash(corpus, r->corpus, err);
    if (status) return status == RH_ENOMEM ? status : RH_OK;
    rh_sha256 *h = rh_sha256_new();
    if (!h) return rh_fail_nomem(err);
    const int64_t numbers[] = {PAGES_VERSION, sizeof(rh_page_stats), r->p->context, r->o->max_tokens, seat->layer, seat->in, r->bos, BATCH,
                               r->m->backend->exact};
    rh_sha256_add(h, numbers, sizeof numbers);
    rh_sha256_add(h, r->p->sae, 64);
    rh_sha256_add(h, r->p->model, 64);
    rh_sha256_add(h, corpus, 64);
    rh_sha256_hex(h, r->p->key);
    rh_sha256_free(h);
    return RH_OK;
}

/* A file of these pages takes their place: the last one stored, or one that was stopped. */
static rh_status take_up(run *r, rh_error *err)
{
    if (!r->o->cache_dir || !r->p->key[0]) return RH_OK;
    for (int pass = 0; pass < 2; pass++) {
        rh_pages *p = NULL;
        r->p->done = pass == 0;
        char *path = rh_pages_path(r->p, r->o->cache_dir);
        r->p->done = false;
        rh_status status = path ? rh_pages_load(&p, path, err) : rh_fail_nomem(err);
        free(path);
        if (status) return status;
        if (!p) continue;
        const bool same = !strcmp(p->key, r->p->key) && !strcmp(p->sae, r->p->sae) && p->n_features == r->p->n_features && p->done == (pass == 0);
        if (!same) {
            rh_pages_free(p);
            continue;
        }
        rh_pages_free(r->p);
        r->p = p;
        r->cap_ids = (size_t)p->n_ids;
        if (r->o->resumed) *r->o->resumed = p->tokens;
        if (!p->done) return rh_corpus_skip(r->corpus, p->documents, err);
        return RH_OK;
    }
    return RH_OK;
}

static rh_status save(const run *r, rh_error *err)
{
    if (!r->o->cache_dir || (!r->p->done && !r->p->key[0])) return RH_OK;
    char *path = rh_pages_path(r->p, r->o->cache_dir);
    rh_status status = path ? rh_pages_save(r->p, path, err) : rh_fail_nomem(err);
    free(path);
    return status;
}

static bool go_on(const run *r)
{
    int64_t read, all, total = r->o->max_tokens;
    rh_corpus_bytes(r->corpus, &read, &all);
    const int64_t guess = read > 0 ? (int64_t)((double)r->p->n_ids * (double)all / (double)read) : 0;
    if (!total || (guess > 0 && guess < total)) total = guess;
    return !r->o->progress || r->o->progress(r->o->progress_data, "tokens", r->p->n_ids, total > r->p->n_ids ? total : r->p->n_ids);
}

static rh_status read_corpus(run *r, rh_error *err)
{
    double saved = rh_seconds();
    while (!r->corpus_ends) {
        RH_TRY(fill_batch(r, err));
        if (r->n_windows) RH_TRY(run_batch(r, err));
        if (!go_on(r)) {
            RH_TRY(save(r, err));
            return rh_fail(err, RH_ECANCELLED, "interrupted after %lld tokens", (long long)r->p->tokens);
        }
        if (rh_seconds() - saved < r->o->save_seconds) continue;
        RH_TRY(save(r, err));
        saved = rh_seconds();
    }
    return r->p->tokens ? RH_OK : rh_fail(err, RH_EVALUE, "the corpus has no token to read");
}

static rh_status note_all(const run *r, rh_error *err)
{
    rh_feature_notes *notes = NULL;
    RH_TRY(rh_feature_notes_open(&notes, r->o->cache_dir, r->s, err));
    for (int32_t i = 0; i < r->p->n_features; i++) {
        const rh_page_stats *f = &r->p->features[i];
        rh_feature_notes_measure(notes, i, f->n_top ? f->top[0].value : 0, (float)((double)f->active / (double)r->p->tokens), r->p->tokens);
    }
    rh_status status = rh_feature_notes_write(notes, err);
    rh_feature_notes_free(notes);
    return status;
}

/* Read to its end: stored in place of what was there, and the stopped run is no longer needed. */
static rh_status finish(run *r, rh_error *err)
{
    if (!r->o->cache_dir) {
        r->p->done = true;
        return RH_OK;
    }
    char *part = rh_pages_path(r->p, r->o->cache_dir);
    if (!part) return rh_fail_nomem(err);
    r->p->done = true;
    rh_status status = save(r, err);
    if (!status) status = note_all(r, err);
    if (!status) unlink(part);
    free(part);
    return status;
}

static rh_status begin(run *r, const rh_seat *seat, rh_error *err)
{
    const int32_t n = rh_sae_about(r->s)->d_sae;
    r->p = rh_calloc(1, sizeof *r->p);
    if (!r->p) return rh_fail_nomem(err);
    r->p->n_features = n;
    r->p->context = r->o->context < r->m->config.n_ctx ? r->o->context : r->m->config.n_ctx;
    r->p->features = rh_calloc((size_t)n, sizeof *r->p->features);
    r->best = rh_calloc((size_t)n, sizeof *r->best);
    r->best_row = rh_calloc((size_t)n, sizeof *r->best_row);
    r->touched = rh_calloc((size_t)n, sizeof *r->touched);
    if (!r->p->features || !r->best || !r->best_row || !r->touched) return rh_fail_nomem(err);
    memcpy(r->p->model, r->m->fingerprint, 65);
    RH_TRY(rh_sae_fingerprint(r->p->sae, r->s, err));
    RH_TRY(make_key(r, seat, err));
    return take_up(r, err);
}

rh_status rh_pages_run(rh_pages **out, const rh_model *m, const rh_sae *s, const rh_seat *seat, rh_corpus *corpus,
                       const rh_pages_options *o, rh_error *err)
{
    if (!m->tokenizer) return rh_fail(err, RH_EUNSUPPORTED, "%.80s has no tokenizer, and texts need one", m->name);
    run r = {.m = m, .s = s, .corpus = corpus, .o = o, .bos = rh_feature_bos(m)};
    rh_status status = begin(&r, seat, err);
    if (!status && !r.p->done) {
        status = rh_states_new(&r.states, m, seat->layer, seat->in, seat->in, err);
        if (!status) status = rh_sae_coder_new(&r.coder, s, m->backend, err);
        if (!status) status = read_corpus(&r, err);
        if (!status) status = finish(&r, err);
    }
    rh_states_free(r.states);
    rh_sae_coder_free(r.coder);
    rh_tokens_free(&r.tokens);
    free(r.windows);
    free(r.fed);
    free(r.best);
    free(r.best_row);
    free(r.touched);
    if (status) rh_pages_free(r.p);
    else *out = r.p;
    return status;
}

rh_status rh_pages_stored(rh_pages **out, const rh_model *m, const rh_sae *s, const char *cache_dir, rh_error *err)
{
    rh_pages like = {.done = true};
    *out = NULL;
    if (!cache_dir) return RH_OK;
    memcpy(like.model, m->fingerprint, 65);
    RH_TRY(rh_sae_fingerprint(like.sae, s, err));
    char *path = rh_pages_path(&like, cache_dir);
    rh_status status = path ? rh_pages_load(out, path, err) : rh_fail_nomem(err);
    free(path);
    if (status || !*out) return status;
    if (!strcmp((*out)->sae, like.sae) && !strcmp((*out)->model, like.model) && (*out)->done && (*out)->n_features == rh_sae_about(s)->d_sae) return RH_OK;
    rh_pages_free(*out);
    *out = NULL;
    return RH_OK;
}
