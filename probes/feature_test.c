/* feature_test.c - see feature_test.h. */
#include "probes/feature_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probes/diagnose.h"
#include "probes/steer.h"

/* ---- the report ---------------------------------------------------------------------------------- */

static void page_free(rh_feature_page *p)
{
    for (int32_t i = 0; p->top && i < p->n_top; i++) rh_watch_track_free(&p->top[i].track);
    for (int32_t i = 0; p->samples && i < p->n_samples; i++) rh_watch_track_free(&p->samples[i].track);
    rh_token_changes_free(p->logits.up, p->logits.n_up);
    rh_token_changes_free(p->logits.down, p->logits.n_down);
    free(p->top);
    free(p->samples);
    free(p->bins);
    free(p->label);
}

void rh_test_report_free(rh_test_report *r)
{
    if (!r) return;
    for (int32_t i = 0; r->pages && i < r->n_pages; i++) page_free(&r->pages[i]);
    for (int32_t i = 0; r->tracks && i < r->n_tracks; i++) rh_watch_track_free(&r->tracks[i]);
    for (int32_t i = 0; r->lines && i < r->n_lines; i++) {
        free(r->lines[i].label);
        free(r->lines[i].words);
    }
    free(r->pages);
    free(r->tracks);
    free(r->lines);
    free(r->model);
    free(r->sae);
    free(r);
}

rh_status rh_test_begin(rh_test_report **out, const rh_model *m, const rh_sae *s, const char *path, const rh_seat *seat, rh_error *err)
{
    rh_test_report *r = rh_calloc(1, sizeof *r);
    if (!r) return rh_fail_nomem(err);
    *r = (rh_test_report){.model = rh_strdup(m->name), .sae = rh_strdup(path), .seat = *seat, .n_features = rh_sae_about(s)->d_sae};
    if (r->model && r->sae) {
        *out = r;
        return RH_OK;
    }
    rh_test_report_free(r);
    return rh_fail_nomem(err);
}

/* ---- texts --------------------------------------------------------------------------------------- */

static rh_status fill_track(rh_watch_track *out, const rh_model *m, const int32_t *ids, int32_t n, rh_error *err)
{
    out->activation = true;
    out->tokens = rh_calloc((size_t)n, sizeof *out->tokens);
    if (!out->tokens) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) {
        out->tokens[i] = (rh_shaded){.id = ids[i], .text = rh_piece_text(m->tokenizer, ids[i])};
        if (!out->tokens[i].text) return rh_fail_nomem(err);
        out->n = i + 1;
    }
    return RH_OK;
}

static char *feature_name(int32_t feature, const rh_feature_notes *notes)
{
    rh_str s = {0};
    const rh_feature_note note = rh_feature_notes_get(notes, feature);
    rh_str_printf(&s, "feature %d", (int)feature);
    if (note.label) rh_str_printf(&s, ": %s%s", note.label, note.source == RH_LABEL_AUTO ? " (auto)" : "");
    if (s.failed) rh_str_free(&s);
    return s.data;
}

/* One text, its tracks those of all features. */
static rh_status test_text(rh_watch_track *tracks, const rh_test_report *r, const rh_model *m, rh_states *states, rh_sae_coder *coder,
                           const int32_t *features, int32_t n, const char *text, const rh_feature_notes *notes, rh_error *err)
{
    rh_tokens tokens = {0};
    rh_sae_active a = {0};
    rh_state_rows rows = {0};
    rh_status status = rh_feature_ids(&tokens, m, text, strlen(text), err);
    int32_t *ids = status ? NULL : rh_calloc(tokens.n, sizeof *ids);
    if (!status && !ids) status = rh_fail_nomem(err);
    for (size_t i = 0; !status && i < tokens.n; i++) ids[i] = tokens.items[i].id;
    const rh_id_text one = {ids, (int32_t)tokens.n};
    if (!status) status = rh_states_read(&rows, states, &one, 1, err);
    if (!status && !rows.n) status = rh_fail(err, RH_EVALUE, "a text without a token to read: the first position is left out");
    if (!status) status = rh_sae_encode(&a, coder, rows.x, rows.n, err);
    for (int32_t k = 0; k < n && !status; k++) {
        rh_watch_track *t = &tracks[k];
        t->layer = r->seat.layer;
        t->hook = r->seat.in;
        t->label = feature_name(features[k], notes);
        status = t->label ? fill_track(t, m, ids, one.n, err) : rh_fail_nomem(err);
        if (status) break;
        t->tokens[0].value = NAN;
        for (int32_t row = 0; row < rows.n; row++)
            for (size_t i = a.start[row]; i < a.start[row + 1]; i++)
                if (a.index[i] == features[k]) t->tokens[row + 1].value = a.value[i];
    }
    rh_sae_active_free(&a);
    rh_tokens_free(&tokens);
    free(ids);
    return status;
}

rh_status rh_test_texts(rh_test_report *r, const rh_model *m, const rh_sae *s, const int32_t *features, int32_t n, const char *const *texts,
                        int32_t n_texts, const rh_feature_notes *notes, rh_error *err)
{
    rh_states *states = NULL;
    rh_sae_coder *coder = NULL;
    r->tracks = rh_calloc((size_t)n * (size_t)n_texts, sizeof *r->tracks);
    if (!r->tracks) return rh_fail_nomem(err);
    r->n_tracks = n * n_texts;
    r->n_texts = n_texts;
    rh_status status = rh_states_new(&states, m, r->seat.layer, r->seat.in, r->seat.in, err);
    if (!status) status = rh_sae_coder_new(&coder, s, m->backend, err);
    for (int32_t i = 0; i < n_texts && !status; i++)
        status = test_text(r->tracks + (size_t)i * (size_t)n, r, m, states, coder, features, n, texts[i], notes, err);
    for (int32_t k = 0; k < n && !status; k++) { /* one scale for a feature's texts */
        double hi = 0;
        for (int32_t i = k; i < r->n_tracks; i += n)
            for (int32_t t = 1; t < r->tracks[i].n; t++) hi = fmax(hi, r->tracks[i].tokens[t].value);
        for (int32_t i = k; i < r->n_tracks; i += n) r->tracks[i].hi = hi;
    }
    rh_sae_coder_free(coder);
    rh_states_free(states);
    return status;
}

/* ---- pages --------------------------------------------------------------------------------------- */

static rh_status fill_context(rh_page_context *out, const rh_test_report *r, const rh_model *m, const rh_pages *p, const rh_page_place *x, double hi,
                              rh_error *err)
{
    out->value = x->value;
    out->quantile = NAN;
    out->peak = x->before;
    out->track.layer = r->seat.layer;
    out->track.hook = r->seat.in;
    out->track.hi = hi;
    RH_TRY(fill_track(&out->track, m, p->ids + x->at - x->before, x->n, err));
    for (int32_t i = 0; i < x->n; i++) out->track.tokens[i].value = x->act[i] / 255.0 * (double)x->value;
    return RH_OK;
}

static rh_status fill_contexts(rh_page_context **out, int32_t *n_out, const rh_test_report *r, const rh_model *m, const rh_pages *p,
                               const rh_page_place *places, int32_t n, double hi, rh_error *err)
{
    *out = rh_calloc((size_t)n, sizeof **out);
    if (!*out) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) {
        *n_out = i + 1;
        RH_TRY(fill_context(&(*out)[i], r, m, p, &places[i], hi, err));
    }
    return RH_OK;
}

static int by_value(const void *a, const void *b)
{
    const rh_page_context *x = a, *y = b;
    return (x->value < y->value) - (x->value > y->value);
}

/* From the first bin that is not empty to the last. */
static rh_status fill_bins(rh_feature_page *out, const rh_page_stats *f, rh_error *err)
{
    int32_t lo = 0, hi = RH_PAGE_BINS;
    while (lo < hi && !f->bins[lo]) lo++;
    while (hi > lo && !f->bins[hi - 1]) hi--;
    out->bins = rh_calloc((size_t)(hi - lo), sizeof *out->bins);
    if (!out->bins) return rh_fail_nomem(err);
    out->n_bins = hi - lo;
    for (int32_t b = lo; b < hi; b++)
        out->bins[b - lo] = (rh_page_bin){b ? exp2(b / 4.0 - 6) : 0, b + 1 < RH_PAGE_BINS ? exp2((b + 1) / 4.0 - 6) : INFINITY, f->bins[b]};
    return RH_OK;
}

static rh_status fill_logits(rh_feature_page *out, const rh_test_report *r, const rh_model *m, const rh_sae *s, int32_t top, rh_error *err)
{
    out->has_logits = r->seat.out != RH_ATTN_Z && r->seat.out != RH_MLP_IN && m->final_norm_host && m->output && top > 0 &&
                      rh_sae_about(s)->d_out == m->config.d_model;
    if (!out->has_logits) return RH_OK;
    float *row = rh_calloc((size_t)m->config.d_model, sizeof *row);
    if (!row) return rh_fail_nomem(err);
    rh_status status = rh_sae_decoder_row(row, s, out->feature, err);
    if (!status) status = rh_nearest_tokens(&out->logits, m, row, r->seat.layer, top, err);
    free(row);
    return status;
}

static rh_status copy_label(char **label, rh_label_source *source, const rh_feature_notes *notes, int32_t feature, rh_error *err)
{
    const rh_feature_note note = rh_feature_notes_get(notes, feature);
    *source = note.source;
    if (!note.label) return RH_OK;
    *label = rh_strdup(note.label);
    return *label ? RH_OK : rh_fail_nomem(err);
}

static rh_status fill_page(rh_feature_page *out, const rh_test_report *r, const rh_model *m, const rh_sae *s, const rh_pages *p, int32_t feature,
                           int32_t top_tokens, const rh_feature_notes *notes, rh_error *err)
{
    const rh_page_stats *f = &p->features[feature];
    const double max = f->n_top ? (double)f->top[0].value : 0;
    *out = (rh_feature_page){.feature = feature, .active = f->active, .density = (double)f->active / (double)p->tokens, .max = max,
                             .mean = f->active ? f->sum / (double)f->active : 0};
    RH_TRY(copy_label(&out->label, &out->source, notes, feature, err));
    RH_TRY(fill_bins(out, f, err));
    RH_TRY(fill_contexts(&out->top, &out->n_top, r, m, p, f->top, f->n_top, max, err));
    RH_TRY(fill_contexts(&out->samples, &out->n_samples, r, m, p, f->samples, f->n_samples, max, err));
    qsort(out->samples, (size_t)out->n_samples, sizeof *out->samples, by_value);
    for (int32_t i = 0; i < out->n_samples; i++) out->samples[i].quantile = 1 - (i + 0.5) / out->n_samples;
    return fill_logits(out, r, m, s, top_tokens, err);
}

static void about_corpus(rh_test_report *r, const rh_pages *p)
{
    r->tokens = p->tokens;
    r->documents = p->documents;
    r->context = p->context;
    r->dead = 0;
    for (int32_t i = 0; i < p->n_features; i++) r->dead += !p->features[i].active;
}

/* Ids of a damaged file could be anything. */
static rh_status check_ids(const rh_pages *p, const rh_model *m, rh_error *err)
{
    const int32_t n = rh_tokenizer_n_vocab(m->tokenizer);
    for (int64_t i = 0; i < p->n_ids; i++)
        if (p->ids[i] < 0 || p->ids[i] >= n) return rh_fail(err, RH_EFORMAT, "the stored pages have a token %d, and the vocabulary ends at %d", (int)p->ids[i], (int)n - 1);
    return RH_OK;
}

rh_status rh_test_pages(rh_test_report *r, const rh_model *m, const rh_sae *s, const rh_pages *p, const int32_t *features, int32_t n,
                        int32_t top_tokens, const rh_feature_notes *notes, rh_error *err)
{
    RH_TRY(check_ids(p, m, err));
    about_corpus(r, p);
    r->pages = rh_calloc((size_t)n, sizeof *r->pages);
    if (!r->pages) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) {
        r->n_pages = i + 1;
        RH_TRY(fill_page(&r->pages[i], r, m, s, p, features[i], top_tokens, notes, err));
    }
    return RH_OK;
}

static int by_density(const void *a, const void *b)
{
    const rh_feature_line *x = a, *y = b;
    if (x->density != y->density) return x->density < y->density ? 1 : -1;
    return (x->feature > y->feature) - (x->feature < y->feature);
}

rh_status rh_test_lines(rh_test_report *r, const rh_model *m, const rh_pages *p, const rh_feature_notes *notes, rh_error *err)
{
    RH_TRY(check_ids(p, m, err));
    about_corpus(r, p);
    r->lines = rh_calloc((size_t)p->n_features, sizeof *r->lines);
    if (!r->lines) return rh_fail_nomem(err);
    for (int32_t i = 0; i < p->n_features; i++) {
        const rh_page_stats *f = &p->features[i];
        rh_str words = {0};
        if (!f->active) continue;
        rh_feature_line *line = &r->lines[r->n_lines++];
        *line = (rh_feature_line){.feature = i, .density = (double)f->active / (double)p->tokens, .max = f->n_top ? (double)f->top[0].value : 0};
        RH_TRY(copy_label(&line->label, &line->source, notes, i, err));
        rh_status status = rh_page_words(&words, m, p, i, err);
        line->words = words.data;
        if (status) return status;
    }
    qsort(r->lines, (size_t)r->n_lines, sizeof *r->lines, by_density);
    return RH_OK;
}
