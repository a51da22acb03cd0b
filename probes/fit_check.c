#include "probes/fit_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "concepts/calibration.h"
#include "concepts/feature_notes.h"
#include "probes/experiment.h"
#include "probes/sae_fit.h"

/* LONGEST: tokens of a text. Every fourth text is enough to tell a fit from none, and a large model reads them in a
 * minute; what other ways are compared with has read the same. */
enum { NEIGHBOURS = 3, MAX_VARIANTS = 24, LONGEST = 64, EVERY = 4 };
/* Another way must explain the states, and leave so much less, to be named as the cause. */
static const double CLEARLY = 0.7;

/* One way to use the SAE. */
typedef enum scaling { AS_IT_SAYS = 0, TO_ROOT_D, AVERAGE_TO_ROOT_D, STANDARDISED } scaling;
typedef struct variant {
    int32_t layer;
    rh_hook in, out;
    bool other_bos;         /* BOS left out where the tokenizer puts one, or put where it does not */
    scaling scale;
    rh_feature_fit fit;
    bool known;
} variant;

typedef struct checking {
    const rh_model *m;
    const rh_sae *s, *encoder;
    rh_sae *own;            /* opened here */
    rh_sae_fitter *fitter;  /* one for all variants: laying out a wide encoder takes longer than what they read */
    rh_prompt *prompts;
    int32_t n_prompts;
    int64_t tokens;
    variant list[MAX_VARIANTS]; /* the first is the one in use */
    int32_t n;
    rh_progress_fn progress;
    void *data;
} checking;

/* ---- what is kept ------------------------------------------------------------------------------- */

/* The SAE where it says it lives is found by the model's own fingerprint; all else by a hash with what differs. */
static rh_status key_of(char out[65], const checking *c, const variant *v, rh_error *err)
{
    char text[256];
    const rh_sae_facts *f = rh_sae_about(c->s);
    if (v == c->list && f->layer == v->layer && f->hook_out_known && f->hook_out == v->out && strlen(c->m->fingerprint) == 64) {
        memcpy(out, c->m->fingerprint, 65);
        return RH_OK;
    }
    snprintf(text, sizeof text, "rhumb fit 1 %s %d %d %d %d %d", c->m->fingerprint, (int)v->layer, (int)v->in, (int)v->out, v->other_bos, (int)v->scale);
    rh_sha256 *h = rh_sha256_new();
    if (!h) return rh_fail_nomem(err);
    rh_sha256_add(h, text, strlen(text));
    rh_sha256_hex(h, out);
    rh_sha256_free(h);
    return RH_OK;
}

static rh_status look_up(checking *c, const rh_feature_notes *notes, int32_t first, rh_error *err)
{
    for (int32_t i = first; i < c->n; i++) {
        char key[65];
        RH_TRY(key_of(key, c, &c->list[i], err));
        c->list[i].known = rh_feature_notes_fit(&c->list[i].fit, notes, key);
    }
    return RH_OK;
}

/* Opened anew, so that what others wrote meanwhile stays; and a cache that cannot be written is no reason to stop. */
static rh_status keep(const checking *c, const char *cache_dir, int32_t first, rh_error *err)
{
    rh_feature_notes *notes = NULL;
    rh_status status = cache_dir ? rh_feature_notes_open(&notes, cache_dir, c->s, err) : RH_OK;
    for (int32_t i = first; notes && i < c->n && !status; i++) {
        char key[65];
        status = key_of(key, c, &c->list[i], err);
        if (!status && c->list[i].known) status = rh_feature_notes_set_fit(notes, key, &c->list[i].fit, err);
    }
    if (notes && !status) status = rh_feature_notes_write(notes, err);
    rh_feature_notes_free(notes);
    return status == RH_EIO || status == RH_EVALUE ? RH_OK : status;
}

/* ---- measuring ---------------------------------------------------------------------------------- */

static void forget_prompts(checking *c)
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

static rh_status make_prompts(checking *c, bool other_bos, rh_error *err)
{
    rh_pairs texts = {0};
    const bool has_bos = c->m->tokenizer && rh_tokenizer_adds_bos(c->m->tokenizer);
    const rh_prompt_options o = {.no_bos = other_bos && has_bos};
    forget_prompts(c);
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
static void gather(float *out, int32_t *n, const checking *c, const float *states, int32_t width)
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

static void rescale(float *x, int32_t n, int32_t d, scaling how)
{
    double average = 0;
    for (int32_t t = 0; t < n; t++) average += root_of_squares(x + (size_t)t * (size_t)d, d, 0) / n;
    for (int32_t t = 0; t < n; t++) {
        float *row = x + (size_t)t * (size_t)d;
        double mean = 0;
        for (int32_t j = 0; j < d && how == STANDARDISED; j++) mean += row[j] / (double)d;
        const double norm = how == AVERAGE_TO_ROOT_D ? average : root_of_squares(row, d, mean);
        for (int32_t j = 0; j < d && norm > 0; j++) row[j] = (float)((row[j] - mean) * sqrt(d) / norm);
    }
}

/* in and out [tokens, width] of v's sites; changed. One that cannot be measured stays unknown. */
static rh_status measure(variant *v, checking *c, float *in, float *out, int32_t n, rh_error *err)
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

/* All variants first .. of the same BOS, in one pass to the deepest of their sites. */
static rh_status measure_all(checking *c, int32_t first, bool other_bos, rh_error *err)
{
    int32_t which[MAX_VARIANTS], n = 0;
    size_t width = 0, widest = 0;
    for (int32_t i = first; i < c->n; i++) {
        const variant *v = &c->list[i];
        if (v->known || v->other_bos != other_bos) continue;
        which[n++] = i;
        width += (size_t)rh_model_width(c->m, v->in) + (v->in == v->out ? 0 : (size_t)rh_model_width(c->m, v->out));
        for (int k = 0; k < 2; k++) {
            const size_t w = (size_t)rh_model_width(c->m, k ? v->out : v->in);
            if (w > widest) widest = w;
        }
    }
    if (!n) return RH_OK;
    RH_TRY(make_prompts(c, other_bos, err));
    const size_t tokens = (size_t)c->tokens;
    float *states = rh_calloc(tokens, width * sizeof *states), *rows = rh_calloc(2 * tokens, widest * sizeof *rows);
    rh_capture *captures = rh_calloc((size_t)c->n_prompts, 2 * (size_t)n * sizeof *captures);
    rh_reading *readings = rh_calloc((size_t)c->n_prompts, sizeof *readings);
    rh_status status = states && rows && captures && readings ? RH_OK : rh_fail_nomem(err);
    size_t token = 0;
    for (int32_t p = 0; p < c->n_prompts && !status; p++) {
        rh_capture *of = captures + (size_t)p * 2 * (size_t)n;
        int32_t k = 0;
        size_t at = 0; /* sites one after the other, each with all tokens */
        for (int32_t i = 0; i < n; i++) {
            const variant *v = &c->list[which[i]];
            for (int side = 0; side < 1 + (v->in != v->out); side++) {
                const rh_hook hook = side ? v->out : v->in;
                const size_t w = (size_t)rh_model_width(c->m, hook);
                of[k++] = (rh_capture){.layer = v->layer, .hook = hook, .n = c->prompts[p].n, .out = states + at + token * w};
                at += tokens * w;
            }
        }
        readings[p] = (rh_reading){.ids = c->prompts[p].ids, .n = c->prompts[p].n, .n_prompt = c->prompts[p].n, .captures = of, .n_captures = k};
        token += (size_t)c->prompts[p].n;
    }
    if (!status) status = rh_read(c->m, readings, c->n_prompts, err);
    size_t at = 0;
    for (int32_t i = 0; i < n && !status; i++) {
        variant *v = &c->list[which[i]];
        const int32_t w = rh_model_width(c->m, v->in), w_out = rh_model_width(c->m, v->out);
        float *out = v->in == v->out ? NULL : rows + tokens * widest;
        int32_t count;
        gather(rows, &count, c, states + at, w);
        at += tokens * (size_t)w;
        if (out) {
            gather(out, &count, c, states + at, w_out);
            at += tokens * (size_t)w_out;
        }
        status = measure(v, c, rows, out, count, err);
        if (!status && c->progress && !c->progress(c->data, "fit", i + 1, n)) status = rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    free(readings);
    free(captures);
    free(rows);
    free(states);
    return status;
}

/* ---- what else it could be ---------------------------------------------------------------------- */

static void add(checking *c, variant v)
{
    const rh_sae_facts *f = rh_sae_about(c->s);
    if (v.layer < 0 || v.layer >= c->m->config.n_layers || rh_model_width(c->m, v.in) != f->d_in || rh_model_width(c->m, v.out) != f->d_out) return;
    if (c->n < MAX_VARIANTS) c->list[c->n++] = v;
}

static void add_variants(checking *c)
{
    const rh_sae_facts *f = rh_sae_about(c->s);
    const variant used = {.layer = c->list[0].layer, .in = c->list[0].in, .out = c->list[0].out};
    static const rh_hook hooks[] = {RH_RESID_POST, RH_ATTN_OUT, RH_MLP_OUT, RH_MLP_IN};
    for (int32_t by = 1; by <= NEIGHBOURS; by++)
        for (int sign = -1; sign <= 1; sign += 2) {
            variant v = used;
            v.layer += sign * by;
            add(c, v);
        }
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks && !f->transcoder; i++) {
        variant v = used;
        v.in = v.out = hooks[i];
        if (hooks[i] != used.in) add(c, v);
    }
    for (int scale = TO_ROOT_D; scale <= STANDARDISED; scale++) {
        variant v = used;
        v.scale = (scaling)scale;
        if (!f->transcoder && f->norm == RH_SAE_NORM_NONE) add(c, v);
    }
    if (c->m->tokenizer && rh_tokenizer_bos(c->m->tokenizer) >= 0) {
        variant v = used;
        v.other_bos = true;
        add(c, v);
    }
}

static const variant *best_of(const checking *c)
{
    const variant *best = NULL;
    for (int32_t i = 1; i < c->n; i++)
        if (c->list[i].known && (!best || c->list[i].fit.fvu < best->fit.fvu)) best = &c->list[i];
    return best && best->fit.fvu <= RH_FIT_POOR && best->fit.fvu < CLEARLY * c->list[0].fit.fvu ? best : NULL;
}

static void name_cause(char *out, size_t size, const checking *c)
{
    const variant *used = &c->list[0], *best = best_of(c);
    const rh_sae_facts *f = rh_sae_about(c->s);
    static const char *const scales[] = {"", "each state scaled to the norm √d", "states scaled to the norm √d on average",
                                         "each state standardised, as layer_norm does"};
    if (!best && f->model[0] && !rh_model_names_agree(f->model, c->m->name))
        snprintf(out, size, "No other layer near, hook, BOS or normalisation fits better: it was trained on %.80s, and this is %.80s. That a chat model "
                 "differs from its base is enough for some SAEs", f->model, c->m->name);
    else if (!best)
        snprintf(out, size, "No other layer near, hook, BOS or normalisation fits better: it was trained little, on texts of another kind, or on another "
                 "model");
    else if (best->layer != used->layer)
        snprintf(out, size, "At layer %d it leaves %.0f %%: it was probably trained there", (int)best->layer, 100 * best->fit.fvu);
    else if (best->in != used->in)
        snprintf(out, size, "At %s it leaves %.0f %%: it was probably trained there", rh_hook_name(best->in), 100 * best->fit.fvu);
    else if (best->other_bos)
        snprintf(out, size, "With%s BOS in front of the text it leaves %.0f %%: it was probably trained so", rh_tokenizer_adds_bos(c->m->tokenizer) ? "out" : "",
                 100 * best->fit.fvu);
    else
        snprintf(out, size, "With %s it leaves %.0f %%: it was probably trained so, and its configuration does not say it", scales[best->scale],
                 100 * best->fit.fvu);
}

/* ---- all ---------------------------------------------------------------------------------------- */

static rh_status need_encoder(checking *c, rh_error *err)
{
    c->encoder = c->own ? c->own : c->s;
    if (rh_sae_opened_for(c->encoder) == RH_SAE_ENCODE) return RH_OK;
    RH_TRY(rh_sae_open(&c->own, rh_sae_path(c->s), RH_SAE_ENCODE, err));
    c->encoder = c->own;
    return RH_OK;
}

static rh_status measure_first(checking *c, const char *cache_dir, rh_error *err)
{
    rh_error why = {0};
    RH_TRY(need_encoder(c, err));
    rh_status status = measure_all(c, 0, false, &why);
    if (!status && !c->list[0].known) status = RH_EVALUE;
    if (status) {
        if (err) *err = why;
        return status;
    }
    return keep(c, cache_dir, 0, err);
}

static rh_status find_cause(checking *c, const rh_feature_notes *notes, const char *cache_dir, rh_error *err)
{
    bool all = true;
    add_variants(c);
    RH_TRY(look_up(c, notes, 1, err));
    for (int32_t i = 1; i < c->n; i++) all = all && c->list[i].known;
    if (all) return RH_OK;
    RH_TRY(need_encoder(c, err));
    RH_TRY(measure_all(c, 1, false, err));
    RH_TRY(measure_all(c, 1, true, err));
    return keep(c, cache_dir, 1, err);
}

rh_status rh_check_fit(rh_fit_check *out, const rh_model *m, const rh_sae *s, int32_t layer, rh_hook hook, const char *cache_dir,
                       rh_progress_fn progress, void *progress_data, rh_error *err)
{
    checking c = {.m = m, .s = s, .progress = progress, .data = progress_data};
    rh_feature_notes *notes = NULL;
    rh_hook in, hook_out;
    rh_sae_hooks(&in, &hook_out, s, hook);
    if (!rh_sae_about(s)->transcoder) in = hook_out = hook;
    add(&c, (variant){.layer = layer, .in = in, .out = hook_out});
    if (!c.n) return rh_fail(err, RH_ESITE, "'%.200s' does not fit %d.%s of %.80s", rh_sae_path(s), (int)layer, rh_hook_name(hook), m->name);
    *out = (rh_fit_check){0};
    rh_status status = rh_feature_notes_open(&notes, cache_dir, s, err);
    if (!status) status = look_up(&c, notes, 0, err);
    if (!status && !c.list[0].known) {
        out->measured = true;
        status = measure_first(&c, cache_dir, err);
    }
    if (!status) {
        const rh_feature_fit *fit = &c.list[0].fit;
        *out = (rh_fit_check){.fvu = fit->fvu, .l0 = fit->l0, .tokens = fit->tokens, .poor = fit->fvu > RH_FIT_POOR, .measured = out->measured};
        if (out->poor) status = find_cause(&c, notes, cache_dir, err);
        if (!status && out->poor) name_cause(out->cause, sizeof out->cause, &c);
    }
    forget_prompts(&c);
    rh_feature_notes_free(notes);
    rh_sae_fitter_free(c.fitter);
    rh_sae_free(c.own);
    return status;
}
