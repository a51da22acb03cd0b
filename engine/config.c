/* config.c - a GGUF's keys or a folder's config.json become an rh_model_config. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "engine/families.h"

/* Bounds that any real model keeps: products of these fit in int64 and sizes in size_t. */
static const struct { const char *what; int32_t lo, hi; } bounds[] = {
    {"d_model", 1, 1 << 17},    {"layers", 1, RH_MAX_LAYERS}, {"heads", 1, 1 << 12},
    {"kv heads", 1, 1 << 12},   {"head_dim", 2, 1 << 12},     {"d_ff", 1, 1 << 20},
    {"vocabulary", 1, 1 << 24}, {"context", 1, 1 << 26},
};

static rh_status check_config(const rh_model_config *c, const char *path, rh_error *err)
{
    const int64_t values[] = {c->d_model, c->n_layers, c->n_heads, c->n_kv_heads,
                              c->head_dim, c->d_ff, c->n_vocab, c->n_ctx};
    for (int i = 0; i < 8; i++)
        if (values[i] < bounds[i].lo || values[i] > bounds[i].hi)
            return rh_fail(err, RH_EFORMAT, "'%s' claims %s %lld, outside %d..%d", path, bounds[i].what,
                           (long long)values[i], bounds[i].lo, bounds[i].hi);
    if (c->n_heads % c->n_kv_heads)
        return rh_fail(err, RH_EFORMAT, "'%s' has %d heads, not a multiple of its %d kv heads", path,
                       c->n_heads, c->n_kv_heads);
    if (c->head_dim % 2)
        return rh_fail(err, RH_EFORMAT, "'%s' has an odd head_dim, %d: rope needs pairs", path, c->head_dim);
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

static void family_defaults(rh_model_config *c, const rh_family *f)
{
    memset(c, 0, sizeof *c);
    snprintf(c->family, sizeof c->family, "%s", f->name);
    c->post_norms = f->post_norms;
    c->qk_norm = f->qk_norm;
    c->act = f->act;
    c->attn_softcap = f->attn_softcap;
    c->final_softcap = f->final_softcap;
    c->rope_theta = f->rope_theta;
    c->rope_theta_local = f->rope_theta_local;
}

/* What follows from the sizes; query_scalar 0: head_dim. */
static void derive(rh_model_config *c, const rh_family *f, double query_scalar)
{
    if (f->rope_theta_local <= 0) c->rope_theta_local = c->rope_theta; /* one theta for all layers */
    c->embed_scale = f->embed_scaled ? (float)sqrt((double)c->d_model) : 1.0f;
    c->attn_scale = (float)(1 / sqrt(query_scalar > 0 ? query_scalar : c->head_dim));
}

static void window_by_pattern(rh_model_config *c, int32_t pattern)
{
    for (int32_t i = 0; i < c->n_layers && i < RH_MAX_LAYERS; i++)
        c->local[i] = pattern > 0 && c->window > 0 && (i + 1) % pattern != 0;
}

/* ---- GGUF ------------------------------------------------------------------------------------ */

typedef struct gguf_reader { const rh_gguf *g; const char *arch; rh_error *err; rh_status status; } gguf_reader;

static const char *gguf_key(char out[128], const gguf_reader *r, const char *name)
{
    snprintf(out, 128, "%s.%s", r->arch, name);
    return out;
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
        r->status = rh_fail(r->err, RH_EFORMAT, "'%s': key %s is %lld, out of range", rh_gguf_map(r->g)->path, key,
                            (long long)v);
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

static rh_status gguf_rope_scaling(rh_model_config *c, gguf_reader *r)
{
    char key[128];
    rh_bytes type = {0};
    gguf_key(key, r, "rope.scaling.type");
    if (!rh_gguf_has(r->g, key)) {
        if (rh_gguf_find(r->g, "rope_freqs.weight"))
            return rh_fail(r->err, RH_EUNSUPPORTED, "'%s' scales rope by a tensor (rope_freqs.weight), which is not there yet",
                           rh_gguf_map(r->g)->path);
        return RH_OK;
    }
    RH_TRY(rh_gguf_string(&type, r->g, key, r->err));
    if (type.len == 4 && !memcmp(type.data, "none", 4)) return RH_OK;
    if (type.len != 6 || memcmp(type.data, "linear", 6))
        return rh_fail(r->err, RH_EUNSUPPORTED, "'%s' scales rope by '%.*s'; known: linear", rh_gguf_map(r->g)->path,
                       (int)(type.len < 40 ? type.len : 40), type.data);
    c->rope_scaling.kind = RH_ROPE_LINEAR;
    c->rope_scaling.factor = gguf_real(r, "rope.scaling.factor", -1);
    return r->status;
}

rh_status rh_config_from_gguf(rh_model_config *out, const rh_family **family, const rh_gguf *g, rh_error *err)
{
    const char *path = rh_gguf_map(g)->path;
    rh_bytes arch = {0};
    if (rh_gguf_string(&arch, g, "general.architecture", err))
        return rh_fail(err, RH_EFORMAT, "'%s' is a GGUF file but names no general.architecture: not a model", path);
    const rh_family *f = rh_family_by_architecture(arch.data, arch.len);
    if (!f) {
        char list[128];
        rh_family_list(list);
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s' has architecture '%.*s', which Rhumb does not know", path,
                (int)(arch.len < 64 ? arch.len : 64), arch.data),
                         err, "known architectures: %s", list);
    }
    gguf_reader r = {g, f->name, err, RH_OK};
    rh_model_config c;
    family_defaults(&c, f);
    c.d_model = gguf_int(&r, "embedding_length", -1);
    c.n_layers = gguf_int(&r, "block_count", -1);
    c.n_heads = gguf_int(&r, "attention.head_count", -1);
    c.n_kv_heads = gguf_int(&r, "attention.head_count_kv", c.n_heads);
    c.head_dim = gguf_int(&r, "attention.key_length", c.n_heads > 0 ? c.d_model / c.n_heads : 0);
    const int32_t value_length = gguf_int(&r, "attention.value_length", c.head_dim);
    const int32_t rope_dims = gguf_int(&r, "rope.dimension_count", c.head_dim);
    c.d_ff = gguf_int(&r, "feed_forward_length", -1);
    c.n_ctx = gguf_int(&r, "context_length", -1);
    c.norm_eps = (float)gguf_real(&r, "attention.layer_norm_rms_epsilon", -1);
    c.rope_theta = gguf_real(&r, "rope.freq_base", c.rope_theta);
    c.rope_theta_local = gguf_real(&r, "rope.freq_base_swa", c.rope_theta_local);
    c.window = gguf_int(&r, "attention.sliding_window", 0);
    c.attn_softcap = (float)gguf_real(&r, "attn_logit_softcapping", c.attn_softcap);
    c.final_softcap = (float)gguf_real(&r, "final_logit_softcapping", c.final_softcap);
    RH_TRY(r.status);
    RH_TRY(gguf_rope_scaling(&c, &r));
    if (value_length != c.head_dim || rope_dims != c.head_dim)
        return rh_fail(err, RH_EUNSUPPORTED, "'%s' has key, value and rope widths %d, %d, %d, which differ", path,
                       c.head_dim, value_length, rope_dims);
    const rh_tensor *embed = rh_gguf_find(g, f->gguf[RH_ROLE_EMBED]);
    if (!embed || embed->n_dims != 2 || embed->shape[0] > INT32_MAX)
        return rh_fail(err, RH_EFORMAT, "'%s' has no embedding matrix (%s)", path, f->gguf[RH_ROLE_EMBED]);
    c.n_vocab = (int32_t)embed->shape[0];
    c.tied = !rh_gguf_find(g, f->gguf[RH_ROLE_OUTPUT]);
    window_by_pattern(&c, f->window_pattern);
    /* The 27b models divide by d/H instead of head_dim, which GGUF does not say. */
    const bool is_27b = f->post_norms && (c.n_layers == 46 || c.n_layers == 62);
    derive(&c, f, is_27b ? (double)c.d_model / c.n_heads : 0);
    RH_TRY(check_config(&c, path, err));
    *out = c;
    *family = f;
    return RH_OK;
}

/* ---- config.json -------------------------------------------------------------------------------- */

typedef struct json_reader { const json_t *object; const char *path; rh_error *err; rh_status status; } json_reader;

static rh_status json_wrong(json_reader *r, const char *key, const char *expected)
{
    return r->status = rh_fail(r->err, RH_EFORMAT, "'%s': \"%s\" is not %s", r->path, key, expected);
}

/* null counts as absent. fallback < 0: required. */
static double json_real_or(json_reader *r, const char *key, double fallback)
{
    const json_t *v = json_object_get(r->object, key);
    if (r->status) return 0;
    if (!v || json_is_null(v)) {
        if (fallback < 0) r->status = rh_fail(r->err, RH_EFORMAT, "'%s' lacks \"%s\"", r->path, key);
        return fallback;
    }
    if (!json_is_number(v)) return json_wrong(r, key, "a number"), 0;
    return json_number_value(v);
}

static int32_t json_int_or(json_reader *r, const char *key, int32_t fallback)
{
    const double v = json_real_or(r, key, fallback);
    if (!r->status && (v < 0 || v > INT32_MAX || v != floor(v))) json_wrong(r, key, "a count");
    return r->status ? 0 : (int32_t)v;
}

/* Settings of which only the value the forward pass implements is accepted. */
static void json_refuse_true(json_reader *r, const char *key)
{
    const json_t *v = json_object_get(r->object, key);
    if (!r->status && v && json_is_true(v))
        r->status = rh_fail(r->err, RH_EUNSUPPORTED, "'%s' sets \"%s\", which is not there yet", r->path, key);
}

static void json_activation(json_reader *r, const rh_family *f)
{
    const char *keys[] = {"hidden_activation", "hidden_act"};
    for (int i = 0; i < 2 && !r->status; i++) {
        const char *act = json_string_value(json_object_get(r->object, keys[i]));
        if (!act) continue;
        const bool gelu = !strcmp(act, "gelu_pytorch_tanh") || (i == 1 && !strcmp(act, "gelu"));
        const bool fits = f->act == RH_ACT_SILU ? !strcmp(act, "silu") : gelu;
        if (!fits)
            r->status = rh_fail(r->err, RH_EUNSUPPORTED, "'%s' has \"%s\": \"%s\", unknown for %s", r->path, keys[i],
                                act, f->name);
        return; /* Gemma's hidden_act of early files is ignored where hidden_activation stands */
    }
}

static void json_rope_scaling(rh_model_config *c, json_reader *r)
{
    const json_t *s = json_object_get(r->object, "rope_scaling");
    if (r->status || !s || json_is_null(s)) return;
    json_reader in = {s, r->path, r->err, RH_OK};
    const json_t *type = json_object_get(s, "rope_type");
    if (!type) type = json_object_get(s, "type");
    const char *kind = json_string_value(type);
    if (!kind) {
        json_wrong(r, "rope_scaling", "an object with a rope_type");
    } else if (!strcmp(kind, "linear")) {
        c->rope_scaling.kind = RH_ROPE_LINEAR;
        c->rope_scaling.factor = json_real_or(&in, "factor", -1);
    } else if (!strcmp(kind, "llama3")) {
        c->rope_scaling.kind = RH_ROPE_LLAMA3;
        c->rope_scaling.factor = json_real_or(&in, "factor", -1);
        c->rope_scaling.low_freq_factor = json_real_or(&in, "low_freq_factor", -1);
        c->rope_scaling.high_freq_factor = json_real_or(&in, "high_freq_factor", -1);
        c->rope_scaling.original_ctx = json_int_or(&in, "original_max_position_embeddings", -1);
        if (!in.status && !(c->rope_scaling.high_freq_factor > c->rope_scaling.low_freq_factor &&
                            c->rope_scaling.low_freq_factor > 0 && c->rope_scaling.original_ctx > 0))
            json_wrong(r, "rope_scaling", "a sensible llama3 scaling (0 < low < high, original context > 0)");
    } else if (strcmp(kind, "default") != 0) {
        r->status = rh_fail(r->err, RH_EUNSUPPORTED, "'%s' scales rope by \"%s\"; known: linear, llama3", r->path, kind);
    }
    if (in.status) r->status = in.status;
}

static void json_windows(rh_model_config *c, json_reader *r, const rh_family *f)
{
    const json_t *types = json_object_get(r->object, "layer_types");
    c->window = json_int_or(r, "sliding_window", 0);
    if (r->status) return;
    if (!f->window_pattern && c->window > 0) {
        r->status = rh_fail(r->err, RH_EUNSUPPORTED, "'%s' sets \"sliding_window\", which is not there yet for %s",
                            r->path, f->name);
        return;
    }
    if (!types || json_is_null(types)) {
        window_by_pattern(c, json_int_or(r, "sliding_window_pattern", f->window_pattern));
        return;
    }
    if (!json_is_array(types) || json_array_size(types) != (size_t)c->n_layers) {
        json_wrong(r, "layer_types", "a list with one entry a layer");
        return;
    }
    for (int32_t i = 0; i < c->n_layers && i < RH_MAX_LAYERS; i++) {
        const char *t = json_string_value(json_array_get(types, (size_t)i));
        if (t && !strcmp(t, "sliding_attention")) c->local[i] = 1;
        else if (!t || strcmp(t, "full_attention") != 0) {
            r->status = rh_fail(r->err, RH_EUNSUPPORTED, "'%s' has a layer type \"%s\"; known: full_attention, "
                                "sliding_attention", r->path, t ? t : "?");
            return;
        }
    }
}

static rh_status json_family(const rh_family **family, const json_t *root, const char *path, rh_error *err)
{
    const char *type = json_string_value(json_object_get(root, "model_type"));
    if (!type) return rh_fail(err, RH_EFORMAT, "'%s' has no \"model_type\": not a model's config", path);
    *family = rh_family_by_model_type(type);
    if (*family) return RH_OK;
    char list[128];
    rh_family_list(list);
    return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s' has model_type '%.64s', which Rhumb does not know", path, type),
                     err, "known families: %s", list);
}

static rh_status read_json_config(rh_model_config *c, const rh_family **family, const json_t *root, const char *path,
                                  rh_error *err)
{
    RH_TRY(json_family(family, root, path, err));
    const rh_family *f = *family;
    const json_t *text = json_object_get(root, "text_config"); /* multimodal checkpoints nest it */
    json_reader r = {json_is_object(text) ? text : root, path, err, RH_OK};
    family_defaults(c, f);
    c->norm_plus_one = f->norm_plus_one;
    c->d_model = json_int_or(&r, "hidden_size", -1);
    c->n_layers = json_int_or(&r, "num_hidden_layers", -1);
    c->n_heads = json_int_or(&r, "num_attention_heads", -1);
    c->n_kv_heads = json_int_or(&r, "num_key_value_heads", c->n_heads);
    c->head_dim = json_int_or(&r, "head_dim", c->n_heads > 0 ? c->d_model / c->n_heads : 0);
    c->d_ff = json_int_or(&r, "intermediate_size", -1);
    c->n_vocab = json_int_or(&r, "vocab_size", -1);
    c->n_ctx = json_int_or(&r, "max_position_embeddings", -1);
    c->norm_eps = (float)json_real_or(&r, "rms_norm_eps", 1e-6);
    c->rope_theta = json_real_or(&r, "rope_theta", f->rope_theta);
    c->rope_theta_local = json_real_or(&r, "rope_local_base_freq", f->rope_theta_local);
    const json_t *cap = json_object_get(r.object, "attn_logit_softcapping");
    if (cap) c->attn_softcap = (float)json_real_or(&r, "attn_logit_softcapping", 0); /* null: none */
    cap = json_object_get(r.object, "final_logit_softcapping");
    if (cap) c->final_softcap = (float)json_real_or(&r, "final_logit_softcapping", 0);
    const double scalar = json_real_or(&r, "query_pre_attn_scalar", 0);
    RH_TRY(r.status);
    const json_t *tied = json_object_get(root, "tie_word_embeddings");
    if (!tied) tied = json_object_get(r.object, "tie_word_embeddings");
    c->tied = tied ? json_is_true(tied) : f->embed_scaled; /* transformers' defaults: Gemma ties, Llama not */
    if (c->n_layers > RH_MAX_LAYERS) return check_config(c, path, err);
    json_windows(c, &r, f);
    json_rope_scaling(c, &r);
    json_activation(&r, f);
    json_refuse_true(&r, "attention_bias");
    json_refuse_true(&r, "mlp_bias");
    json_refuse_true(&r, "use_bidirectional_attention");
    RH_TRY(r.status);
    derive(c, f, f->post_norms ? scalar : 0);
    return check_config(c, path, err);
}

/* Of quantised checkpoints, bitsandbytes' in NF4 (engine/nf4.h finds their tensors). */
static rh_status check_quantization(const json_t *q, const char *path, rh_error *err)
{
    if (!q || json_is_null(q)) return RH_OK;
    const char *method = json_string_value(json_object_get(q, "quant_method"));
    const char *type = json_string_value(json_object_get(q, "bnb_4bit_quant_type"));
    if (!type) type = "fp4"; /* bitsandbytes' own default */
    if (!method && json_object_get(q, "load_in_4bit")) method = "bitsandbytes";
    const bool four = json_is_true(json_object_get(q, "load_in_4bit"));
    if (method && !strcmp(method, "bitsandbytes") && four && !strcmp(type, "nf4")) return RH_OK;
    return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s': quantization_config says %.40s%s%.20s, which is not there yet", path,
                             method ? method : "no quant_method", four ? " " : "", four ? type : ""),
                     err, "known: bitsandbytes with load_in_4bit and bnb_4bit_quant_type nf4");
}

rh_status rh_config_from_json(rh_model_config *out, const rh_family **family, const char *path, rh_error *err)
{
    json_t *root = NULL;
    rh_model_config c;
    RH_TRY(rh_json_load(&root, path, err));
    rh_status status = json_is_object(root) ? read_json_config(&c, family, root, path, err)
                                            : rh_fail(err, RH_EFORMAT, "'%s' is not a JSON object", path);
    if (!status) status = check_quantization(json_object_get(root, "quantization_config"), path, err);
    json_decref(root);
    if (!status) *out = c;
    return status;
}
