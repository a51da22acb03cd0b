/* Which files make up an SAE, and what their names and folders say of its site and model. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "engine/sae_internal.h"

/* ---- files ---------------------------------------------------------------------------------- */

/* In a folder the first that is there. */
static const struct layout { const char *weights, *config; rh_sae_format format; } LAYOUTS[] = {
    { "params.npz", NULL, RH_SAE_GEMMA_SCOPE },
    { "params.safetensors", "config.json", RH_SAE_GEMMA_SCOPE_2 },
    { "sae_weights.safetensors", "cfg.json", RH_SAE_SAELENS },
    { "sae.safetensors", "cfg.json", RH_SAE_SPARSIFY },
};
enum { N_LAYOUTS = sizeof LAYOUTS / sizeof *LAYOUTS };

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcasecmp(s + n - m, end);
}

/* config NULL, or not there: none. Frees nothing on failure; rh_sae_place_free does. */
static rh_status place_at(rh_sae_place *out, char *weights, const char *dir, const char *config, rh_error *err)
{
    out->weights = weights;
    if (!weights) return rh_fail_nomem(err);
    if (!config) return RH_OK;
    out->config = rh_path_join(dir, config);
    if (!out->config) return rh_fail_nomem(err);
    if (!rh_is_file(out->config)) {
        free(out->config);
        out->config = NULL;
    }
    return RH_OK;
}

static rh_status find_in_folder(rh_sae_place *out, const char *dir, rh_error *err)
{
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        char *path = rh_path_join(dir, LAYOUTS[i].weights);
        if (!path) return rh_fail_nomem(err);
        bool there = rh_is_file(path);
        free(path);
        if (!there) continue;
        out->format = LAYOUTS[i].format;
        return place_at(out, rh_path_join(dir, LAYOUTS[i].weights), dir, LAYOUTS[i].config, err);
    }
    return rh_hinted(rh_fail(err, RH_EIO, "the folder '%s' has no sparse autoencoder in it", dir), err,
                     "expected is params.npz, params.safetensors, sae_weights.safetensors or sae.safetensors");
}

/* Files may have been renamed: the tensors tell. One that rh_sae_write made brings its configuration. */
static rh_status read_format(rh_sae_place *out, const char **config, const char *path, rh_error *err)
{
    rh_safetensors *s = NULL;
    RH_TRY(rh_safetensors_open(&s, path, err));
    out->format = rh_safetensors_find(s, "encoder.weight") ? RH_SAE_SPARSIFY
                : rh_safetensors_find(s, "w_enc")          ? RH_SAE_GEMMA_SCOPE_2 : RH_SAE_SAELENS;
    *config = rh_safetensors_meta(s, "sae") ? NULL : out->format == RH_SAE_GEMMA_SCOPE_2 ? "config.json" : "cfg.json";
    rh_safetensors_close(s);
    return RH_OK;
}

static rh_status find_file(rh_sae_place *out, const char *path, const char *dir, rh_error *err)
{
    const char *config = NULL;
    if (ends_with(path, ".npz")) out->format = RH_SAE_GEMMA_SCOPE;
    else if (ends_with(path, ".safetensors")) RH_TRY(read_format(out, &config, path, err));
    else {
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s' does not look like a sparse autoencoder", path), err,
                         "expected is a .npz, a .safetensors, or a folder with one");
    }
    return place_at(out, rh_strdup(path), dir, config, err);
}

rh_status rh_sae_find(rh_sae_place *out, const char *path, rh_error *err)
{
    if (rh_is_dir(path)) return find_in_folder(out, path, err);
    if (!rh_is_file(path)) return rh_fail(err, RH_EIO, "there is no sparse autoencoder '%s': no file and no folder", path);
    char *dir = rh_path_dir(path);
    if (!dir) return rh_fail_nomem(err);
    rh_status status = ends_with(path, ".json") ? find_in_folder(out, dir, err) : find_file(out, path, dir, err);
    free(dir);
    return status;
}

void rh_sae_place_free(rh_sae_place *p)
{
    free(p->weights);
    free(p->config);
    *p = (rh_sae_place){ 0 };
}

/* ---- names of sites ------------------------------------------------------------------------- */

/* A number's digits at text; NULL if there are none. */
static const char *number(int32_t *out, const char *text)
{
    int32_t x = 0;
    const char *p = text;
    for (; isdigit((unsigned char)*p); p++) {
        if (x > 99999) return NULL;
        x = 10 * x + (*p - '0');
    }
    *out = x;
    return p > text ? p : NULL;
}

bool rh_sae_site_of_name(rh_hook *hook, int32_t *layer, const char *name)
{
    static const struct { const char *rest; rh_hook hook; } rows[] = {
        /* TransformerLens */
        { "hook_resid_pre", RH_RESID_PRE }, { "hook_resid_post", RH_RESID_POST }, { "attn.hook_z", RH_ATTN_Z },
        { "hook_attn_out", RH_ATTN_OUT }, { "hook_mlp_in", RH_MLP_IN }, { "ln2.hook_normalized", RH_MLP_IN },
        { "hook_mlp_out", RH_MLP_OUT },
        /* modules of transformers */
        { "input", RH_RESID_PRE }, { "output", RH_RESID_POST }, { "self_attn.o_proj.input", RH_ATTN_Z },
        { "pre_feedforward_layernorm.output", RH_MLP_IN }, { "mlp.input", RH_MLP_IN },
        { "post_feedforward_layernorm.output", RH_MLP_OUT },
        /* Sparsify */
        { "", RH_RESID_POST }, { "mlp", RH_MLP_OUT }, { "self_attn", RH_ATTN_OUT }, { "attn", RH_ATTN_OUT },
    };
    const char *at = strstr(name, "layers."), *rest;
    at = at ? at + 7 : strstr(name, "blocks.") ? strstr(name, "blocks.") + 7 : NULL;
    *layer = -1;
    if (!at || !(rest = number(layer, at))) {
        *layer = -1;
        return false;
    }
    if (*rest == '.') rest++;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].rest, rest)) {
            *hook = rows[i].hook;
            return true;
        }
    return false;
}

/* ---- names of folders ----------------------------------------------------------------------- */

static void set_hook(rh_sae_facts *f, rh_hook hook)
{
    if (f->hook_known) return;
    f->hook = hook;
    f->hook_known = true;
}

static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

/* "gemma-scope-9b-it-res", "models--google--gemma-scope-2-270m-pt": the model, and in the first
 * series the site. Base models are called -pt there, and by their makers only from 1b on. */
static rh_status repository(rh_sae *s, const char *folder, rh_error *err)
{
    const char *at = strstr(folder, "gemma-scope-");
    if (!at) return RH_OK;
    at += strlen("gemma-scope-");
    const char *series = begins(at, "2-") ? "gemma-3-" : "gemma-2-";
    if (begins(at, "2-")) at += 2;
    const char *kind = strchr(at, '-'), *rest = kind ? strchr(kind + 1, '-') : NULL;
    if (!kind) return RH_OK;
    const size_t size = (size_t)(kind - at), kind_len = rest ? (size_t)(rest - kind) : strlen(kind);
    const bool base = kind_len == 3 && !strncmp(kind, "-pt", 3);
    const bool named = series[6] == '3' && !begins(at, "270m"); /* gemma-3-1b-pt, gemma-3-270m, gemma-2-2b */
    if (!s->model) {
        rh_str name = { 0 };
        rh_str_puts(&name, series);
        rh_str_add(&name, at, size + (base && !named ? 0 : kind_len));
        if (name.failed) {
            rh_str_free(&name);
            return rh_fail_nomem(err);
        }
        s->model = name.data;
    }
    if (!rest) return RH_OK;
    if (begins(rest, "-res")) set_hook(&s->facts, RH_RESID_POST);
    else if (begins(rest, "-mlp")) set_hook(&s->facts, RH_MLP_OUT);
    else if (begins(rest, "-att")) set_hook(&s->facts, RH_ATTN_Z);
    else if (begins(rest, "-transcoders")) s->facts.transcoder = true;
    return RH_OK;
}

static rh_status folder_name(rh_sae *s, const char *name, bool nearest, rh_error *err)
{
    rh_sae_facts *f = &s->facts;
    int32_t layer;
    rh_hook hook;
    if (begins(name, "layer_") && number(&layer, name + 6) && f->layer < 0) f->layer = layer;
    if (f->format == RH_SAE_SPARSIFY && nearest && !f->hook_known && rh_sae_site_of_name(&hook, &layer, name)) {
        set_hook(f, f->transcoder && hook == RH_MLP_OUT ? RH_MLP_IN : hook);
        f->layer = layer;
    }
    if (f->format == RH_SAE_GEMMA_SCOPE_2) { /* "attn_out" reads what o_proj reads, as attention SAEs do */
        if (begins(name, "resid_post")) set_hook(f, RH_RESID_POST);
        else if (begins(name, "attn_out")) set_hook(f, RH_ATTN_Z);
        else if (begins(name, "mlp_out")) set_hook(f, RH_MLP_OUT);
        else if (begins(name, "transcoder")) f->transcoder = true;
    }
    if (f->format == RH_SAE_GEMMA_SCOPE && begins(name, "embedding") && !s->hook_name) {
        s->hook_name = rh_strdup("hook_embed"); /* no site of a layer */
        if (!s->hook_name) return rh_fail_nomem(err);
    }
    return repository(s, name, err);
}

/* path's folders, the nearest first. */
static rh_status folders(rh_sae *s, const char *path, rh_error *err)
{
    char *left = rh_strdup(path);
    rh_status status = left ? RH_OK : rh_fail_nomem(err);
    char *slash = left ? strrchr(left, '/') : NULL;
    for (bool nearest = true; !status && slash; nearest = false) {
        *slash = 0;
        slash = strrchr(left, '/');
        status = folder_name(s, slash ? slash + 1 : left, nearest, err);
    }
    free(left);
    return status;
}

rh_status rh_sae_site_of_path(rh_sae *s, const char *weights, rh_error *err)
{
    rh_sae_facts *f = &s->facts;
    /* As given (a folder may be a link with a telling name), then as it really lies. */
    RH_TRY(folders(s, weights, err));
    char *dir = rh_path_dir(weights), *real = dir ? realpath(dir, NULL) : NULL, *inside = real ? rh_path_join(real, "x") : NULL;
    rh_status status = dir && (!real || inside) ? RH_OK : rh_fail_nomem(err);
    if (!status && inside) status = folders(s, inside, err);
    free(dir);
    free(real);
    free(inside);
    if (status) return status;
    if (f->transcoder && !f->hook_known) set_hook(f, RH_MLP_IN);
    /* Nearly all of Gemma Scope reads the residual stream, and the file does not say. */
    if (f->format == RH_SAE_GEMMA_SCOPE && !s->hook_name) set_hook(f, RH_RESID_POST);
    if (!f->hook_out_known && f->hook_known) {
        f->hook_out = f->transcoder ? RH_MLP_OUT : f->hook;
        f->hook_out_known = true;
    }
    return RH_OK;
}
