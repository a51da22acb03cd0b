/* config.c - an rh_model_config from a family's defaults, and whether it is possible. */
#include "engine/config.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Bounds that any real model keeps: products of these fit in int64 and sizes in size_t. */
static const struct { const char *what; int32_t lo, hi; } bounds[] = {
    {"d_model", 1, 1 << 17},    {"layers", 1, RH_MAX_LAYERS}, {"heads", 1, 1 << 12},
    {"kv heads", 1, 1 << 12},   {"head_dim", 2, 1 << 12},     {"d_ff", 1, 1 << 20},
    {"vocabulary", 1, 1 << 24}, {"context", 1, 1 << 26}, {"window", 0, 1 << 26},
};

static rh_status check_sizes(const rh_model_config *c, const char *path, rh_error *err)
{
    const int64_t values[] = {c->d_model, c->n_layers, c->n_heads, c->n_kv_heads,
                              c->head_dim, c->d_ff, c->n_vocab, c->n_ctx, c->window};
    for (int i = 0; i < 9; i++)
        if (values[i] < bounds[i].lo || values[i] > bounds[i].hi)
            return rh_fail(err, RH_EFORMAT, "'%s' claims %s %lld, outside %d..%d", path, bounds[i].what,
                           (long long)values[i], bounds[i].lo, bounds[i].hi);
    if (c->n_heads % c->n_kv_heads)
        return rh_fail(err, RH_EFORMAT, "'%s' has %d heads, not a multiple of its %d kv heads", path,
                       c->n_heads, c->n_kv_heads);
    if (c->head_dim % 2)
        return rh_fail(err, RH_EFORMAT, "'%s' has an odd head_dim, %d: rope needs pairs", path, c->head_dim);
    return RH_OK;
}

rh_status rh_config_check(const rh_model_config *c, const char *path, rh_error *err)
{
    RH_TRY(check_sizes(c, path, err));
    const double reals[] = {c->norm_eps, c->embed_scale, c->attn_scale, c->rope_theta, c->rope_theta_local,
                            c->rope_scaling.kind ? c->rope_scaling.factor : 1};
    static const char *const names[] = {"norm epsilon", "embedding scale", "attention scale", "rope theta",
                                        "local rope theta", "rope scaling factor"};
    for (int i = 0; i < 6; i++)
        if (!isfinite(reals[i]) || reals[i] <= 0)
            return rh_fail(err, RH_EFORMAT, "'%s' has %s %g, not a positive number", path, names[i], reals[i]);
    if (!(c->attn_softcap >= 0) || !(c->final_softcap >= 0) || !isfinite(c->attn_softcap) ||
        !isfinite(c->final_softcap))
        return rh_fail(err, RH_EFORMAT, "'%s' has a soft cap that is not a positive number", path);
    for (int32_t i = 0; i < c->n_layers; i++)
        if (c->local[i] && c->window < 1)
            return rh_fail(err, RH_EFORMAT, "'%s' has sliding-window layers but no window", path);
    return RH_OK;
}

void rh_config_defaults(rh_model_config *c, const rh_family *f)
{
    memset(c, 0, sizeof *c);
    snprintf(c->family, sizeof c->family, "%s", f->name);
    c->post_norms = f->post_norms;
    c->qk_norm = f->qk_norm;
    c->qkv_bias = f->qkv_bias;
    c->act = f->act;
    c->attn_softcap = f->attn_softcap;
    c->final_softcap = f->final_softcap;
    c->local_rope = f->rope_theta_local > 0;
    c->rope_theta = f->rope_theta;
    c->rope_theta_local = f->rope_theta_local;
}

void rh_config_derive(rh_model_config *c, const rh_family *f, double query_scalar)
{
    if (!c->local_rope) c->rope_theta_local = c->rope_theta;
    c->embed_scale = f->embed_scaled ? (float)sqrt((double)c->d_model) : 1.0f;
    c->attn_scale = (float)(1 / sqrt(query_scalar > 0 ? query_scalar : c->head_dim));
}

void rh_config_window_by_pattern(rh_model_config *c, int32_t pattern)
{
    for (int32_t i = 0; i < c->n_layers && i < RH_MAX_LAYERS; i++)
        c->local[i] = pattern > 0 && c->window > 0 && (i + 1) % pattern != 0;
}

/* ---- settings that nobody reads -------------------------------------------------------------------- */

bool rh_config_key_matters(const char *key)
{
    static const char *const harmless[] = {"dropout", "pdrop", "flash", "attn_implementation"};
    static const char *const words[] = {
        "attention", "attn", "rope", "rotary", "position", "window", "query", "qkv", "head", "norm", "scal", "multiplier",
        "softcap", "bias", "gate", "residual", "layer", "embed", "hidden", "intermediate", "activation", "mlp", "ffn",
        "expert", "moe", "router", "alibi", "ssm", "conv", "lora", "altup", "laurel"};
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strstr(key, harmless[i])) return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(key, words[i])) return true;
    return false;
}

bool rh_config_key_multiplies(const char *key)
{
    static const char *const ends[] = {"factor", "multiplier", "scale", "scaling"};
    const size_t len = strlen(key);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t n = strlen(ends[i]);
        if (len >= n && !strcmp(key + len - n, ends[i])) return true;
    }
    return false;
}

rh_status rh_config_refuse_key(const char *key, const char *path, rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s' sets \"%.80s\", which Rhumb does not know for this family", path, key),
                     err, "it may change the model's answers; if it does not, take it out of the file");
}
