#include "probes/fit_check.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "probes/fit_ways.h"

enum { NEIGHBOURS = 3 };
/* Another way must explain the states, and leave so much less, to be named as the cause. */
static const double CLEARLY = 0.7;

/* ---- what is kept ------------------------------------------------------------------------------- */

/* The SAE where it says it lives is found by the model's own fingerprint; all else by a hash with what differs. */
static rh_status key_of(char out[65], const rh_fit_ways *c, const rh_fit_way *v, rh_error *err)
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

static rh_status look_up(rh_fit_ways *c, const rh_feature_notes *notes, int32_t first, rh_error *err)
{
    for (int32_t i = first; i < c->n; i++) {
        char key[65];
        RH_TRY(key_of(key, c, &c->list[i], err));
        c->list[i].known = rh_feature_notes_fit(&c->list[i].fit, notes, key);
    }
    return RH_OK;
}

/* Opened anew, so that what others wrote meanwhile stays; and a cache that cannot be written is no reason to stop. */
static rh_status keep(const rh_fit_ways *c, const char *cache_dir, int32_t first, rh_error *err)
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

/* ---- what else it could be ---------------------------------------------------------------------- */

static void add(rh_fit_ways *c, rh_fit_way v)
{
    const rh_sae_facts *f = rh_sae_about(c->s);
    if (v.layer < 0 || v.layer >= c->m->config.n_layers || rh_model_width(c->m, v.in) != f->d_in || rh_model_width(c->m, v.out) != f->d_out) return;
    if (c->n < RH_FIT_MAX_WAYS) c->list[c->n++] = v;
}

static void add_variants(rh_fit_ways *c)
{
    const rh_sae_facts *f = rh_sae_about(c->s);
    const rh_fit_way used = {.layer = c->list[0].layer, .in = c->list[0].in, .out = c->list[0].out};
    static const rh_hook hooks[] = {RH_RESID_POST, RH_ATTN_OUT, RH_MLP_OUT, RH_MLP_IN};
    for (int32_t by = 1; by <= NEIGHBOURS; by++)
        for (int sign = -1; sign <= 1; sign += 2) {
            rh_fit_way v = used;
            v.layer += sign * by;
            add(c, v);
        }
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks && !f->transcoder; i++) {
        rh_fit_way v = used;
        v.in = v.out = hooks[i];
        if (hooks[i] != used.in) add(c, v);
    }
    for (int scale = RH_FIT_TO_ROOT_D; scale <= RH_FIT_STANDARDISED; scale++) {
        rh_fit_way v = used;
        v.scale = (rh_fit_scale)scale;
        if (!f->transcoder && f->norm == RH_SAE_NORM_NONE) add(c, v);
    }
    if (c->m->tokenizer && rh_tokenizer_bos(c->m->tokenizer) >= 0) {
        rh_fit_way v = used;
        v.other_bos = true;
        add(c, v);
    }
}

static const rh_fit_way *best_of(const rh_fit_ways *c)
{
    const rh_fit_way *best = NULL;
    for (int32_t i = 1; i < c->n; i++)
        if (c->list[i].known && (!best || c->list[i].fit.fvu < best->fit.fvu)) best = &c->list[i];
    return best && best->fit.fvu <= RH_FIT_POOR && best->fit.fvu < CLEARLY * c->list[0].fit.fvu ? best : NULL;
}

static void name_cause(char *out, size_t size, const rh_fit_ways *c)
{
    const rh_fit_way *used = &c->list[0], *best = best_of(c);
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

static rh_status need_encoder(rh_fit_ways *c, rh_error *err)
{
    c->encoder = c->own ? c->own : c->s;
    if (rh_sae_opened_for(c->encoder) == RH_SAE_ENCODE) return RH_OK;
    RH_TRY(rh_sae_open(&c->own, rh_sae_path(c->s), RH_SAE_ENCODE, err));
    c->encoder = c->own;
    return RH_OK;
}

static rh_status measure_first(rh_fit_ways *c, const char *cache_dir, rh_error *err)
{
    rh_error why = {0};
    RH_TRY(need_encoder(c, err));
    rh_status status = rh_fit_ways_measure(c, 0, false, &why);
    if (!status && !c->list[0].known) status = RH_EVALUE;
    if (status) {
        if (err) *err = why;
        return status;
    }
    return keep(c, cache_dir, 0, err);
}

static rh_status find_cause(rh_fit_ways *c, const rh_feature_notes *notes, const char *cache_dir, rh_error *err)
{
    bool all = true;
    add_variants(c);
    RH_TRY(look_up(c, notes, 1, err));
    for (int32_t i = 1; i < c->n; i++) all = all && c->list[i].known;
    if (all) return RH_OK;
    RH_TRY(need_encoder(c, err));
    RH_TRY(rh_fit_ways_measure(c, 1, false, err));
    RH_TRY(rh_fit_ways_measure(c, 1, true, err));
    return keep(c, cache_dir, 1, err);
}

rh_status rh_check_fit(rh_fit_check *out, const rh_model *m, const rh_sae *s, int32_t layer, rh_hook hook, const char *cache_dir,
                       rh_progress_fn progress, void *progress_data, rh_error *err)
{
    rh_fit_ways c = {.m = m, .s = s, .progress = progress, .data = progress_data};
    rh_feature_notes *notes = NULL;
    rh_hook in, hook_out;
    rh_sae_hooks(&in, &hook_out, s, hook);
    if (!rh_sae_about(s)->transcoder) in = hook_out = hook;
    add(&c, (rh_fit_way){.layer = layer, .in = in, .out = hook_out});
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
    rh_fit_ways_forget_prompts(&c);
    rh_feature_notes_free(notes);
    rh_sae_fitter_free(c.fitter);
    rh_sae_free(c.own);
    return status;
}
