/* config_gguf.c - a GGUF's keys become an rh_model_config. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "engine/config.h"

typedef struct gguf_reader { const rh_gguf *g; const char *arch, *path; rh_error *err; rh_status status; } gguf_reader;

static const char *gguf_key(char out[128], const gguf_reader *r, const char *name)
{
    snprintf(out, 128, "%s.%s", r->arch, name);
    return out;
}

static bool gguf_says(const gguf_reader *r, const char *name)
{
    char key[128];
    return rh_gguf_has(r->g, gguf_key(key, r, name));
}

/* Absent keys give fallback; fallback < 0: required. The first failure sticks. */
static int32_t gguf_int(gguf_reader *r, const char *name, int32_t fallback)
{
    char key[128];
    int64_t v = fallback;
    gguf_key(key, r, name);
    if (r->status || (fallback >= 0 && !rh_gguf_has(r->g, key))) return fallback;
    r->status = rh_gguf_i64(&v, r->g, key, r->err);
    if (!r->status && (v < 0 || v > INT32_MAX))
        r->status = rh_fail(r->err, RH_EFORMAT, "'%s': key %s is %lld, out of range", r->path, key, (long long)v);
    return r->status ? 0 : (int32_t)v;
}

static double gguf_real(gguf_reader *r, const char *name, double fallback)
{
    char key[128];
    double v = fallback;
    gguf_key(key, r, name);
    if (r->status || (fallback >= 0 && !rh_gguf_has(r->g, key))) return fallback;
    r->status = rh_gguf_f64(&v, r->g, key, r->err);
    return v;
}

/* As llama.cpp has it: a factor without a type is linear. Llama 3's scaling is not in the keys but a
 * tensor of divisors. */
static rh_status read_rope(rh_model_config *c, const rh_family *f, gguf_reader *r)
{
    char key[128];
    rh_bytes type = {"linear", 6};
    /* The second spellings are Ollama's. */
    c->rope_theta = gguf_real(r, "rope.freq_base", gguf_real(r, "rope.global.freq_base", c->rope_theta));
    c->rope_theta_local = gguf_real(r, "rope.freq_base_swa", gguf_real(r, "rope.local.freq_base", c->rope_theta_local));
    const double factor = gguf_real(r, "rope.scaling.factor", gguf_real(r, "rope.scale_linear", 0));
    RH_TRY(r->status);
    if (c->rope_theta_local > 0 && !c->local_rope && c->rope_theta_local != c->rope_theta)
        return rh_config_refuse_key(gguf_key(key, r, "rope.freq_base_swa"), r->path, r->err);
    c->rope_factors = rh_gguf_find(r->g, f->gguf[RH_ROLE_ROPE_FACTORS]) != NULL;
    if (rh_gguf_has(r->g, gguf_key(key, r, "rope.scaling.type"))) {
        RH_TRY(rh_gguf_string(&type, r->g, key, r->err));
        if (type.len == 4 && !memcmp(type.data, "none", 4)) return RH_OK;
        if (type.len != 6 || memcmp(type.data, "linear", 6))
            return rh_fail(r->err, RH_EUNSUPPORTED, "'%s' scales rope by '%.*s'; known: linear, and by a tensor rope_freqs",
                           r->path, (int)(type.len < 40 ? type.len : 40), type.data);
        if (!gguf_says(r, "rope.scaling.factor"))
            return rh_fail(r->err, RH_EFORMAT, "'%s' scales rope but lacks the key %s", r->path,
                           gguf_key(key, r, "rope.scaling.factor"));
    }
    if (!gguf_says(r, "rope.scaling.factor") && factor == 0) return RH_OK;
    c->rope_scaling.kind = RH_ROPE_LINEAR;
    c->rope_scaling.factor = factor;
    return RH_OK;
}

/* The pattern's key is a period, or a list with one entry a layer, true where the window is. */
static rh_status read_windows(rh_model_config *c, const rh_family *f, gguf_reader *r)
{
    char key[128];
    int64_t n, local[RH_MAX_LAYERS];
    c->window = gguf_int(r, "attention.sliding_window", f->gguf_window);
    RH_TRY(r->status);
    if (!c->window) return RH_OK;
    if (!rh_gguf_array_n(&n, r->g, gguf_key(key, r, "attention.sliding_window_pattern"), NULL)) {
        RH_TRY(rh_gguf_ints(local, c->n_layers, r->g, key, r->err));
        for (int32_t i = 0; i < c->n_layers; i++) c->local[i] = local[i] != 0;
        return RH_OK;
    }
    const int32_t pattern = gguf_int(r, "attention.sliding_window_pattern", f->window_pattern);
    RH_TRY(r->status);
    if (!pattern)
        return rh_fail(r->err, RH_EUNSUPPORTED, "'%s' has a sliding window of %d but does not say on which layers", r->path,
                       c->window);
    rh_config_window_by_pattern(c, pattern);
    return RH_OK;
}

/* The key's value changes nothing: zero, false, a multiplier of 1, or a causal mask. */
static bool is_neutral(const gguf_reader *r, const char *key, const char *name)
{
    double number;
    bool flag;
    if (!rh_gguf_f64(&number, r->g, key, NULL))
        return number == 0 || (number == 1 && rh_config_key_multiplies(name));
    if (!rh_gguf_bool(&flag, r->g, key, NULL)) return flag == !strcmp(name, "attention.causal");
    return false;
}

static rh_status check_keys(const gguf_reader *r, const rh_family *f)
{
    static const char *const known[] = {
        "embedding_length", "block_count", "attention.head_count", "attention.head_count_kv", "attention.key_length",
        "attention.value_length", "rope.dimension_count", "feed_forward_length", "context_length", "vocab_size",
        "attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.freq_base_swa", "rope.global.freq_base",
        "rope.local.freq_base", "attention.sliding_window", "attention.sliding_window_pattern", "rope.scaling.type",
        "rope.scaling.factor", "rope.scale_linear", "rope.scaling.original_context_length", "rope.scaling.finetuned"};
    const size_t prefix = strlen(r->arch);
    for (int64_t i = 0; i < rh_gguf_n_keys(r->g); i++) {
        const char *key = rh_gguf_key(r->g, i, NULL);
        if (strncmp(key, r->arch, prefix) || key[prefix] != '.') continue;
        const char *name = key + prefix + 1;
        const bool of_images = !strncmp(name, "vision.", 7) || !strncmp(name, "mm.", 3); /* in the same file */
        bool fine = of_images || rh_family_says(f, name) || !rh_config_key_matters(name);
        for (size_t k = 0; !fine && k < sizeof known / sizeof *known; k++) fine = !strcmp(name, known[k]);
        if (!fine && !is_neutral(r, key, name)) return rh_config_refuse_key(key, r->path, r->err);
    }
    return RH_OK;
}

static bool has_tensor(const rh_gguf *g, const rh_family *f, rh_role role)
{
    char name[96];
    const char *pattern = f->gguf[role], *percent = strstr(pattern, "%d"); /* in layer 0 */
    snprintf(name, sizeof name, "%.*s0%s", (int)(percent - pattern), pattern, percent + 2);
    return rh_gguf_find(g, name) != NULL;
}

static rh_status read_family(const rh_family **out, const rh_gguf *g, const char *path, rh_error *err)
{
    rh_bytes arch = {0};
    if (rh_gguf_string(&arch, g, "general.architecture", err))
        return rh_fail(err, RH_EFORMAT, "'%s' is a GGUF file but names no general.architecture: not a model", path);
    *out = rh_family_by_architecture(arch.data, arch.len);
    if (*out) return RH_OK;
    char list[128];
    rh_family_list(list, true);
    return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s' has architecture '%.*s', which Rhumb does not know", path,
                             (int)(arch.len < 64 ? arch.len : 64), arch.data),
                     err, "known architectures: %s", list);
}

static rh_status read_sizes(rh_model_config *c, const rh_family *f, gguf_reader *r)
{
    c->d_model = gguf_int(r, "embedding_length", -1);
    c->n_layers = gguf_int(r, "block_count", -1);
    c->n_heads = gguf_int(r, "attention.head_count", -1);
    c->n_kv_heads = gguf_int(r, "attention.head_count_kv", c->n_heads);
    c->head_dim = gguf_int(r, "attention.key_length", c->n_heads > 0 ? c->d_model / c->n_heads : 0);
    const int32_t value_length = gguf_int(r, "attention.value_length", c->head_dim);
    const int32_t rope_dims = gguf_int(r, "rope.dimension_count", c->head_dim);
    c->d_ff = gguf_int(r, "feed_forward_length", -1);
    c->n_ctx = gguf_int(r, "context_length", -1);
    RH_TRY(r->status);
    if (value_length != c->head_dim || rope_dims != c->head_dim)
        return rh_fail(r->err, RH_EUNSUPPORTED, "'%s' has key, value and rope widths %d, %d, %d, which differ", r->path,
                       c->head_dim, value_length, rope_dims);
    const rh_tensor *embed = rh_gguf_find(r->g, f->gguf[RH_ROLE_EMBED]);
    if (!embed || embed->n_dims != 2 || embed->shape[0] > INT32_MAX)
        return rh_fail(r->err, RH_EFORMAT, "'%s' has no embedding matrix (%s)", r->path, f->gguf[RH_ROLE_EMBED]);
    c->n_vocab = (int32_t)embed->shape[0];
    return RH_OK;
}

rh_status rh_config_from_gguf(rh_model_config *out, const rh_family **family, const rh_gguf *g, rh_error *err)
{
    const rh_family *f;
    gguf_reader r = {.g = g, .path = rh_gguf_map(g)->path, .err = err};
    rh_model_config c;
    RH_TRY(read_family(&f, g, r.path, err));
    r.arch = f->name;
    rh_config_defaults(&c, f);
    RH_TRY(read_sizes(&c, f, &r));
    c.norm_eps = (float)gguf_real(&r, "attention.layer_norm_rms_epsilon", -1);
    if (rh_family_says(f, "attn_logit_softcapping"))
        c.attn_softcap = (float)gguf_real(&r, "attn_logit_softcapping", c.attn_softcap);
    if (rh_family_says(f, "final_logit_softcapping"))
        c.final_softcap = (float)gguf_real(&r, "final_logit_softcapping", c.final_softcap);
    RH_TRY(read_rope(&c, f, &r));
    if (c.n_layers > RH_MAX_LAYERS) return rh_config_check(&c, r.path, err);
    RH_TRY(read_windows(&c, f, &r));
    c.tied = !rh_gguf_find(g, f->gguf[RH_ROLE_OUTPUT]);
    c.qkv_bias = c.qkv_bias || has_tensor(g, f, RH_ROLE_Q_BIAS);
    c.o_bias = has_tensor(g, f, RH_ROLE_O_BIAS);
    c.mlp_bias = has_tensor(g, f, RH_ROLE_GATE_BIAS);
    /* The 27b models divide by d/H instead of head_dim, which GGUF does not say. */
    rh_config_derive(&c, f, c.n_layers == f->n_layers_27b && c.n_heads > 0 ? (double)c.d_model / c.n_heads : 0);
    RH_TRY(rh_config_check(&c, r.path, err));
    RH_TRY(check_keys(&r, f));
    *out = c;
    *family = f;
    return RH_OK;
}
