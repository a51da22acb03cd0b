/* The configurations of SAELens 6 and older, Gemma Scope 2 and Sparsify become facts. What changes the
 * numbers and is not known is refused by name. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/sae_internal.h"

typedef struct config { rh_sae *s; const json_t *root, *metadata; const char *path; } config;

/* A key of the root or, in SAELens 6, of metadata; null counts as absent. */
static const json_t *get(const config *c, const char *key)
{
    const json_t *v = json_object_get(c->root, key);
    if (!v || json_is_null(v)) v = json_object_get(c->metadata, key);
    return v && !json_is_null(v) ? v : NULL;
}

static const char *text(const config *c, const char *key) { return json_string_value(get(c, key)); }

static rh_status unknown(const config *c, const char *what, const char *found, const char *known, rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s': the %s '%.60s' is not known", c->path, what, found), err,
                     "known are %s", known);
}

static rh_status read_count(int32_t *out, const config *c, const char *key, rh_error *err)
{
    const json_t *v = get(c, key);
    if (!v) return RH_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > INT32_MAX)
        return rh_fail(err, RH_EFORMAT, "'%s': \"%s\" is not a count", c->path, key);
    *out = (int32_t)json_integer_value(v);
    return RH_OK;
}

static rh_status read_flag(bool *out, const config *c, const char *key, rh_error *err)
{
    const json_t *v = get(c, key);
    if (!v) return RH_OK;
    if (!json_is_boolean(v)) return rh_fail(err, RH_EFORMAT, "'%s': \"%s\" is neither true nor false", c->path, key);
    *out = json_is_true(v);
    return RH_OK;
}

static rh_status keep(char **out, const char *value, rh_error *err)
{
    if (*out || !value) return RH_OK;
    *out = rh_strdup(value);
    return *out ? RH_OK : rh_fail_nomem(err);
}

/* hook names with their layer: "blocks.2.hook_resid_post" */
static void read_site(rh_sae_facts *f, const char *in, const char *out)
{
    int32_t layer;
    if (in) f->hook_known = rh_sae_site_of_name(&f->hook, &f->layer, in);
    if (out) f->hook_out_known = rh_sae_site_of_name(&f->hook_out, &layer, out);
}

/* ---- SAELens -------------------------------------------------------------------------------- */

static rh_status read_kind(const config *c, rh_error *err)
{
    static const struct { const char *name; rh_sae_kind kind; bool transcoder; } rows[] = {
        { "standard", RH_SAE_STANDARD, false }, { "topk", RH_SAE_TOPK, false }, { "jumprelu", RH_SAE_JUMPRELU, false },
        { "jump_relu", RH_SAE_JUMPRELU, false }, { "gated", RH_SAE_GATED, false }, { "transcoder", RH_SAE_STANDARD, true },
        { "skip_transcoder", RH_SAE_STANDARD, true }, { "jumprelu_transcoder", RH_SAE_JUMPRELU, true },
        { "jumprelu_skip_transcoder", RH_SAE_JUMPRELU, true },
    };
    rh_sae_facts *f = &c->s->facts;
    const char *name = text(c, "architecture");
    if (!name) name = "standard";
    if (strstr(name, "batchtopk"))
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s': '%.60s' is an architecture for training", c->path, name), err,
                         "save it for inference: SAELens then writes it as jumprelu");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].name, name)) {
            f->kind = rows[i].kind;
            f->transcoder = rows[i].transcoder;
            return RH_OK;
        }
    return unknown(c, "architecture", name, "standard, topk, jumprelu, gated and transcoders of the first and third", err);
}

/* Before SAELens 6 a top-k SAE was a standard one with another activation function. */
static rh_status read_activation(const config *c, rh_error *err)
{
    const char *name = text(c, "activation_fn_str");
    if (!name) name = text(c, "activation_fn");
    if (!name || !strcmp(name, "relu")) return RH_OK;
    if (strcmp(name, "topk")) return unknown(c, "activation function", name, "relu and topk", err);
    c->s->facts.kind = RH_SAE_TOPK;
    config kwargs = *c;
    kwargs.root = get(c, "activation_fn_kwargs");
    return read_count(&c->s->facts.k, &kwargs, "k", err);
}

static rh_status read_norm(const config *c, rh_error *err)
{
    rh_sae_norm *out = &c->s->facts.norm;
    const json_t *v = get(c, "normalize_activations");
    if (!v || json_is_false(v)) return RH_OK;
    const char *name = json_is_true(v) ? "expected_average_only_in" : json_string_value(v);
    if (!name) return rh_fail(err, RH_EFORMAT, "'%s': \"normalize_activations\" is no name", c->path);
    /* expected_average_only_in: its factor is folded into the weights when they are saved; SAELens applies none. */
    if (!strcmp(name, "none") || !strcmp(name, "expected_average_only_in")) *out = RH_SAE_NORM_NONE;
    else if (!strcmp(name, "constant_norm_rescale")) *out = RH_SAE_NORM_CONSTANT;
    else if (!strcmp(name, "layer_norm")) *out = RH_SAE_NORM_LAYER;
    else return unknown(c, "normalisation", name, "none, expected_average_only_in, constant_norm_rescale and layer_norm", err);
    return RH_OK;
}

static rh_status read_saelens(const config *c, rh_error *err)
{
    rh_sae_facts *f = &c->s->facts;
    bool prepend_bos = false;
    RH_TRY(read_kind(c, err));
    RH_TRY(read_activation(c, err));
    RH_TRY(read_norm(c, err));
    RH_TRY(read_count(&f->d_in, c, "d_in", err));
    RH_TRY(read_count(&f->d_sae, c, "d_sae", err));
    RH_TRY(read_count(&f->k, c, "k", err));
    if (f->kind != RH_SAE_TOPK) f->k = 0;
    f->subtract_b_dec = !f->transcoder;
    RH_TRY(read_flag(&f->subtract_b_dec, c, "apply_b_dec_to_input", err));
    if (f->kind == RH_SAE_TOPK) RH_TRY(read_flag(&f->rescale, c, "rescale_acts_by_decoder_norm", err));
    RH_TRY(read_flag(&prepend_bos, c, "prepend_bos", err));
    if (get(c, "prepend_bos")) f->prepend_bos = prepend_bos;
    if (get(c, "hook_head_index"))
        return rh_fail(err, RH_EUNSUPPORTED, "'%s': it reads one attention head; whole sites can be read", c->path);
    const char *hook = text(c, "hook_name");
    if (!hook) hook = text(c, "hook_point");
    RH_TRY(keep(&c->s->hook_name, hook, err));
    RH_TRY(keep(&c->s->model, text(c, "model_name"), err));
    read_site(f, hook, text(c, "hook_name_out"));
    const char *shape = text(c, "reshape_activations");
    c->s->whole_heads = shape ? !strcmp(shape, "hook_z") : f->hook_known && f->hook == RH_ATTN_Z;
    return RH_OK;
}

/* ---- Gemma Scope 2 -------------------------------------------------------------------------- */

/* "google/gemma-v3-270m-pt" -> "gemma-3-270m", as the model itself is called */
static rh_status keep_gemma(char **out, const char *name, rh_error *err)
{
    rh_str s = { 0 };
    if (!name) return RH_OK;
    if (!strncmp(name, "google/", 7)) name += 7;
    const char *v = strstr(name, "-v3-");
    rh_str_add(&s, name, v ? (size_t)(v - name) + 1 : strlen(name));
    if (v) rh_str_puts(&s, v + 2);
    char *pt = !s.failed && strstr(s.data, "-270m-pt") ? strstr(s.data, "-pt") : NULL;
    if (pt) *pt = 0;
    rh_status status = s.failed ? rh_fail_nomem(err) : keep(out, s.data, err);
    rh_str_free(&s);
    return status;
}

static rh_status read_scope_2(const config *c, rh_error *err)
{
    rh_sae_facts *f = &c->s->facts;
    const char *type = text(c, "type");
    RH_TRY(read_kind(c, err));
    if (f->kind != RH_SAE_JUMPRELU) return unknown(c, "architecture", text(c, "architecture"), "jump_relu here", err);
    if (type && (strstr(type, "clt") || strstr(type, "cross")))
        return unknown(c, "type", type, "sae and transcoder", err);
    RH_TRY(read_count(&f->d_sae, c, "width", err));
    const char *in = text(c, "hf_hook_point_in"), *out = text(c, "hf_hook_point_out");
    RH_TRY(keep(&c->s->hook_name, in, err));
    RH_TRY(keep_gemma(&c->s->model, text(c, "model_name"), err));
    read_site(f, in, out);
    f->transcoder |= f->hook_known && f->hook_out_known && f->hook == RH_MLP_IN && f->hook_out == RH_MLP_OUT;
    f->transcoder |= type && strstr(type, "transcoder");
    return RH_OK;
}

/* ---- Sparsify ------------------------------------------------------------------------------- */

static rh_status read_sparsify(const config *c, rh_error *err)
{
    rh_sae_facts *f = &c->s->facts;
    const char *activation = text(c, "activation");
    bool is_signed = false;
    f->kind = RH_SAE_TOPK;
    if (activation && strcmp(activation, "topk")) return unknown(c, "activation", activation, "topk", err);
    RH_TRY(read_flag(&is_signed, c, "signed", err));
    if (is_signed) return rh_fail(err, RH_EUNSUPPORTED, "'%s': signed activations are not known", c->path);
    RH_TRY(read_count(&f->d_in, c, "d_in", err));
    RH_TRY(read_count(&f->d_sae, c, "num_latents", err)); /* 0 there: expansion_factor counts */
    RH_TRY(read_count(&f->k, c, "k", err));
    RH_TRY(read_flag(&f->transcoder, c, "transcode", err));
    f->subtract_b_dec = !f->transcoder;
    return RH_OK;
}

/* The run's own config.json lies beside the layers' folders and names the model. */
static rh_status read_sparsify_run(rh_sae *s, const char *path, rh_error *err)
{
    char *dir = rh_path_dir(path), *up = dir ? rh_path_join(dir, "../config.json") : NULL;
    json_t *root = NULL;
    rh_status status = up ? RH_OK : rh_fail_nomem(err);
    if (!status && rh_is_file(up)) status = rh_json_load(&root, up, err);
    if (!status) status = keep(&s->model, json_string_value(json_object_get(root, "model")), err);
    json_decref(root);
    free(up);
    free(dir);
    return status;
}

/* ---- which ---------------------------------------------------------------------------------- */

/* Zero means "not given" in Sparsify. */
static void drop_zeros(json_t *root)
{
    const json_t *n = json_object_get(root, "num_latents");
    if (json_is_integer(n) && json_integer_value(n) == 0) json_object_del(root, "num_latents");
}

static rh_status load(json_t **out, const rh_sae *s, const rh_sae_place *p, rh_error *err)
{
    const char *inside = s->safetensors ? rh_safetensors_meta(s->safetensors, "sae") : NULL;
    *out = NULL;
    if (p->config) RH_TRY(rh_json_load(out, p->config, err));
    else if (inside) RH_TRY(rh_json_parse(out, inside, strlen(inside), p->weights, err));
    if (!*out || json_is_object(*out)) return RH_OK;
    json_decref(*out);
    *out = NULL;
    return rh_fail(err, RH_EFORMAT, "'%s' is not a JSON object", p->config ? p->config : p->weights);
}

rh_status rh_sae_read_config(rh_sae *s, const rh_sae_place *p, rh_error *err)
{
    json_t *root = NULL;
    rh_status status = RH_OK;
    s->facts.format = p->format;
    RH_TRY(load(&root, s, p, err));
    config c = { s, root, json_object_get(root, "metadata"), p->config ? p->config : p->weights };
    if (p->format == RH_SAE_GEMMA_SCOPE || (p->format == RH_SAE_GEMMA_SCOPE_2 && !root)) {
        s->facts.kind = RH_SAE_JUMPRELU;
    } else if (!root) {
        status = rh_fail(err, RH_EIO, "'%s' has no cfg.json beside it, which says what it is", p->weights);
        rh_hint(err, "download the whole folder");
    } else if (p->format == RH_SAE_GEMMA_SCOPE_2) {
        status = read_scope_2(&c, err);
    } else if (p->format == RH_SAE_SPARSIFY) {
        drop_zeros(root);
        status = read_sparsify(&c, err);
        if (!status) status = read_sparsify_run(s, p->weights, err);
    } else {
        status = read_saelens(&c, err);
    }
    json_decref(root);
    return status;
}
