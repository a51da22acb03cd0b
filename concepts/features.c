/* features.c - the SAEs that a book names: opened once, put at their site, and asked for decoder rows. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "concepts/feature_notes.h"
#include "concepts/room.h"

/* ---- where it lives ------------------------------------------------------------------------- */

/* A Gemma Scope file outside its folders says nothing of its hook: resid_post is then only the likeliest. */
static bool hook_is_said(const rh_sae_facts *f)
{
    return f->hook_out_known && (f->format != RH_SAE_GEMMA_SCOPE || f->model[0] || f->hook_name[0]);
}

/* The rows live where it writes; of a transcoder an @ may also name what it reads. */
static rh_status place_hook(rh_named_sae *s, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(s->sae);
    s->hook = f->hook_out_known ? f->hook_out : RH_RESID_POST;
    if (!s->asked_hook && !f->hook_out_known && f->hook_name[0])
        return rh_hinted(rh_fail(err, RH_ESITE, "'%.200s' was trained at '%.80s', which is no hook of Rhumb's", s->path, f->hook_name),
                         err, "if it is another name of one, say which: @ 20.resid_post");
    if (!s->asked_hook || s->of_hook == s->hook || (f->transcoder && f->hook_known && s->of_hook == f->hook)) return RH_OK;
    if (hook_is_said(f))
        return rh_hinted(rh_fail(err, RH_ESITE, "'%.200s' belongs to %s, not to %s", s->path, rh_hook_name(s->hook), rh_hook_name(s->of_hook)),
                         err, "leave the hook out: @ with a layer keeps the SAE's own");
    s->hook = s->of_hook;
    return RH_OK;
}

static rh_status place_layer(rh_named_sae *s, rh_error *err)
{
    int32_t own = rh_sae_about(s->sae)->layer;
    s->layer = s->asked_layer >= 0 ? s->asked_layer : own;
    if (s->layer < 0)
        return rh_hinted(rh_fail(err, RH_ESITE, "neither '%.200s' nor its path says for which layer it is", s->path), err,
                         "write it behind the path: sae s = \"…\" @ 20");
    if (own >= 0 && own != s->layer)
        return rh_hinted(rh_fail(err, RH_ESITE, "'%.200s' belongs to layer %d, not to layer %d", s->path, (int)own, (int)s->layer), err,
                         "leave @ out: the file says its layer");
    return RH_OK;
}

static rh_status fits_model(const rh_named_sae *s, const rh_model *m, rh_error *err)
{
    if (!m) return RH_OK;
    int32_t width = rh_model_width(m, s->hook), d = rh_sae_about(s->sae)->d_out;
    if (s->layer >= m->config.n_layers)
        return rh_hinted(rh_fail(err, RH_ESITE, "'%.200s' is for layer %d, but %.80s has layers 0..%d", s->path, (int)s->layer, m->name,
                                 (int)m->config.n_layers - 1), err, "it was trained on another model");
    if (d != width)
        return rh_hinted(rh_fail(err, RH_ESITE, "'%.200s' has rows of %d numbers, but %s of %.80s is %d wide", s->path, (int)d,
                                 rh_hook_name(s->hook), m->name, (int)width), err, "it was trained on another model, or at another hook");
    return RH_OK;
}

/* "google/gemma-2-9b-it" and "Gemma 2 9B IT Q4_K_M.gguf" say the same as far as the shorter goes: letters and digits. */
bool rh_model_names_agree(const char *a, const char *b)
{
    const char *slash_a = strrchr(a, '/'), *slash_b = strrchr(b, '/');
    if (slash_a) a = slash_a + 1;
    if (slash_b) b = slash_b + 1;
    for (;;) {
        while (*a && !isalnum((unsigned char)*a)) a++;
        while (*b && !isalnum((unsigned char)*b)) b++;
        if (!*a || !*b) return true;
        if (tolower((unsigned char)*a++) != tolower((unsigned char)*b++)) return false;
    }
}

/* A name is what people call a model, and no proof: width and layer fit, so that it is said and no error. */
static rh_status warn_of_model(rh_concepts *c, const rh_named_sae *s, rh_error *err)
{
    const char *trained_on = rh_sae_about(s->sae)->model;
    if (!c->model || !trained_on[0] || rh_model_names_agree(trained_on, c->model->name)) return RH_OK;
    return rh_concepts_warn(c, err, "%s was trained on %.80s, and this is %.80s: its features may mean nothing here", s->path, trained_on, c->model->name);
}

/* ---- what it is ------------------------------------------------------------------------------ */

static void hash_head(rh_sha256 *h, const rh_sae *s)
{
    const rh_sae_facts *f = rh_sae_about(s);
    char head[160];
    int n = snprintf(head, sizeof head, "rhumb sae 1 %s %s %d %d %d %d %d %d %d %d\n", rh_sae_kind_name(f->kind), rh_sae_norm_name(f->norm), (int)f->d_in,
                     (int)f->d_out, (int)f->d_sae, (int)f->k, f->subtract_b_dec, f->rescale, f->transcoder, f->has_threshold);
    rh_sha256_add(h, head, (size_t)n);
    rh_sha256_add(h, rh_sae_b_dec(s), (size_t)f->d_out * sizeof(float));
    for (int32_t i = 0; i < f->d_sae; i++) {
        const float of_feature[2] = {rh_sae_bias(s, i), rh_sae_threshold(s, i)};
        rh_sha256_add(h, of_feature, sizeof of_feature);
    }
}

/* All biases and thresholds, and some decoder rows from first to last: no two SAEs agree in them, and gigabytes
 * need not be read. */
rh_status rh_sae_fingerprint(char out[65], const rh_sae *s, rh_error *err)
{
    enum { ROWS = 18 };
    const rh_sae_facts *f = rh_sae_about(s);
    rh_sha256 *h = rh_sha256_new();
    float *row = rh_calloc((size_t)f->d_out, sizeof *row);
    rh_status status = h && row ? RH_OK : rh_fail_nomem(err);
    if (!status) hash_head(h, s);
    for (int32_t i = 0; i < ROWS && !status; i++) {
        status = rh_sae_decoder_row(row, s, (int32_t)((int64_t)(f->d_sae - 1) * i / (ROWS - 1)), err);
        if (!status) rh_sha256_add(h, row, (size_t)f->d_out * sizeof *row);
    }
    if (!status) rh_sha256_hex(h, out);
    rh_sha256_free(h);
    free(row);
    return status;
}

/* ---- once ------------------------------------------------------------------------------------- */

void rh_named_sae_free(rh_named_sae *s)
{
    if (!s) return;
    rh_sae_free(s->sae);
    rh_sae_free(s->encoder);
    rh_feature_notes_free(s->notes);
    free(s->path);
    free(s->name);
    free(s);
}

static rh_status open_sae(rh_named_sae **out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err)
{
    rh_named_sae *s = rh_calloc(1, sizeof *s);
    if (!s) return rh_fail_nomem(err);
    s->asked_layer = spec->layer;
    s->asked_hook = spec->has_hook;
    s->of_hook = spec->hook;
    s->path = rh_strndup(spec->text, spec->text_len);
    s->name = rh_strdup(spec->name ? spec->name : "");
    rh_status status = s->path && s->name ? rh_sae_open(&s->sae, s->path, RH_SAE_ROWS, err) : rh_fail_nomem(err);
    if (!status) status = place_layer(s, err);
    if (!status) status = place_hook(s, err);
    if (!status) status = fits_model(s, c->model, err);
    if (!status) status = rh_sae_fingerprint(s->fingerprint, s->sae, err);
    if (!status) status = warn_of_model(c, s, err);
    if (status)
        rh_named_sae_free(s);
    else
        *out = s;
    return status;
}

static rh_status get(rh_named_sae **out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err)
{
    for (size_t i = 0; i < c->n_saes; i++) {
        rh_named_sae *s = c->saes[i];
        if (strcmp(s->path, spec->text) || s->asked_layer != spec->layer || s->asked_hook != spec->has_hook || s->of_hook != spec->hook) continue;
        *out = s;
        return RH_OK;
    }
    if (!RH_GROW(c->saes, c->cap_saes, c->n_saes)) return rh_fail_nomem(err);
    RH_TRY(open_sae(&c->saes[c->n_saes], c, spec, err));
    *out = c->saes[c->n_saes++];
    return RH_OK;
}

rh_status rh_named_sae_get(const rh_named_sae **out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err)
{
    rh_named_sae *s = NULL;
    RH_TRY(get(&s, c, spec, err));
    *out = s;
    return RH_OK;
}

rh_status rh_atom_fill_feature(rh_concepts *c, const rh_atom_request *r, rh_error *err)
{
    const rh_named_sae *s = NULL;
    RH_TRY(rh_named_sae_get(&s, c, r->spec, err));
    int32_t d = rh_sae_about(s->sae)->d_out;
    if (d != r->d || r->n_layers != 1 || r->layers[0] != s->layer || r->hook != s->hook)
        return rh_fail(err, RH_ESITE, "'%.200s' has rows of %d numbers at layer %d, %s, and others are needed here", s->path, (int)d, (int)s->layer,
                       rh_hook_name(s->hook));
    RH_TRY(rh_sae_check_feature(s->sae, r->spec->feature, err));
    RH_TRY(rh_sae_check(s->sae, err));
    RH_TRY(rh_sae_decoder_row(r->out, s->sae, r->spec->feature, err));
    return rh_note_feature(c, r->spec, s, err);
}

/* ---- acting and encoding ------------------------------------------------------------------------ */

static rh_status open_encoder(rh_named_sae *s, rh_error *err)
{
    RH_TRY(rh_sae_check(s->sae, err));
    return s->encoder ? RH_OK : rh_sae_open(&s->encoder, s->path, RH_SAE_ENCODE, err);
}

rh_status rh_concepts_acting(const rh_sae **out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err)
{
    rh_named_sae *s = NULL;
    RH_TRY(get(&s, c, spec, err));
    const rh_sae_facts *f = rh_sae_about(s->sae);
    if (f->transcoder && ((f->hook_known && f->hook != RH_MLP_IN) || s->hook != RH_MLP_OUT))
        return rh_fail(err, RH_EUNSUPPORTED, "'%.200s' reads %s and writes %s: only transcoders from mlp_in to mlp_out act in a run", s->path,
                       rh_hook_name(f->hook), rh_hook_name(s->hook));
    if (f->kind == RH_SAE_TOPK) RH_TRY(open_encoder(s, err));
    *out = f->kind == RH_SAE_TOPK ? s->encoder : s->sae;
    return RH_OK;
}

int32_t rh_concepts_n_saes(const rh_concepts *c) { return (int32_t)c->n_saes; }

rh_concept_sae rh_concepts_sae(const rh_concepts *c, int32_t i)
{
    const rh_named_sae *s = c->saes[i];
    return (rh_concept_sae){.sae = s->sae, .name = s->name, .path = s->path, .fingerprint = s->fingerprint, .layer = s->layer,
                            .hook = s->hook, .reads = rh_sae_about(s->sae)->transcoder ? RH_MLP_IN : s->hook};
}

rh_status rh_concepts_sae_of(int32_t *i, rh_concepts *c, const rh_atom_spec *spec, rh_error *err)
{
    rh_named_sae *s = NULL;
    RH_TRY(get(&s, c, spec, err));
    for (*i = 0; c->saes[*i] != s;) ++*i;
    return RH_OK;
}

rh_status rh_concepts_encoder(const rh_sae **out, rh_concepts *c, int32_t i, rh_error *err)
{
    RH_TRY(open_encoder(c->saes[i], err));
    *out = c->saes[i]->encoder;
    return RH_OK;
}
