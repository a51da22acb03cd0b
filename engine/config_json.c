/* config_json.c - a folder's config.json becomes an rh_model_config. What the keys mean, and what holds
 * where one is absent: transformers' configuration_*.py and modeling_rope_utils.py, in the spellings of
 * its versions 4 (rope_theta, rope_scaling) and 5 (rope_parameters). */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "engine/config.h"

typedef struct json_reader { const json_t *object; const char *path; rh_error *err; rh_status status; } json_reader;

static rh_status json_wrong(json_reader *r, const char *key, const char *expected)
{
    return r->status = rh_fail(r->err, RH_EFORMAT, "'%s': \"%s\" is not %s", r->path, key, expected);
}

static bool json_says(const json_reader *r, const char *key)
{
    const json_t *v = json_object_get(r->object, key);
    return v && !json_is_null(v);
}

static bool json_is_null_at(const json_reader *r, const char *key)
{
    return json_is_null(json_object_get(r->object, key));
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

/* Keys of which null says that there is none, while an absent one leaves the family's value. */
static double json_real_or_none(json_reader *r, const char *key, double fallback)
{
    return json_real_or(r, key, json_is_null_at(r, key) ? 0 : fallback);
}

static int32_t json_count(json_reader *r, const char *key, double v)
{
    if (!r->status && (v < 0 || v > INT32_MAX || v != floor(v))) json_wrong(r, key, "a count");
    return r->status ? 0 : (int32_t)v;
}

static int32_t json_int_or(json_reader *r, const char *key, int32_t fallback)
{
    return json_count(r, key, json_real_or(r, key, fallback));
}

static bool json_is_true_at(const json_reader *r, const char *key)
{
    return json_is_true(json_object_get(r->object, key));
}

static rh_status json_refuse(json_reader *r, const char *key)
{
    return r->status = rh_config_refuse_key(key, r->path, r->err);
}

static void read_activation(json_reader *r, const rh_family *f)
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

/* ---- rope ---------------------------------------------------------------------------------------------- */

static void read_llama3(rh_model_config *c, json_reader *r)
{
    c->rope_scaling.kind = RH_ROPE_LLAMA3;
    c->rope_scaling.factor = json_real_or(r, "factor", -1);
    c->rope_scaling.low_freq_factor = json_real_or(r, "low_freq_factor", -1);
    c->rope_scaling.high_freq_factor = json_real_or(r, "high_freq_factor", -1);
    c->rope_scaling.original_ctx = json_int_or(r, "original_max_position_embeddings", -1);
    if (!r->status && !(c->rope_scaling.high_freq_factor > c->rope_scaling.low_freq_factor &&
                        c->rope_scaling.low_freq_factor > 0 && c->rope_scaling.original_ctx > 0))
        json_wrong(r, "rope_scaling", "a sensible llama3 scaling (0 < low < high, original context > 0)");
}

static void check_rope_keys(json_reader *r)
{
    static const char *const known[] = {"rope_type", "type", "factor", "low_freq_factor", "high_freq_factor",
                                        "original_max_position_embeddings", "rope_theta"};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)r->object, key, v) {
        bool fine = json_is_null(v) || json_is_false(v) ||
                    (json_is_number(v) && json_number_value(v) == 1 && rh_config_key_multiplies(key));
        for (size_t k = 0; !fine && k < sizeof known / sizeof *known; k++) fine = !strcmp(key, known[k]);
        if (!fine) {
            json_refuse(r, key);
            return;
        }
    }
}

/* One description of a rotation; of the local layers only theta may differ. */
static void read_rotation(rh_model_config *c, json_reader *outer, const json_t *rotation, bool needs_type, bool local)
{
    json_reader r = {rotation, outer->path, outer->err, RH_OK};
    double *theta = local ? &c->rope_theta_local : &c->rope_theta;
    const char *kind = json_string_value(json_object_get(rotation, json_says(&r, "rope_type") ? "rope_type" : "type"));
    if (!kind && !needs_type && !json_says(&r, "factor")) kind = "default";
    *theta = json_real_or(&r, "rope_theta", *theta);
    if (r.status) {
        outer->status = r.status;
        return;
    }
    if (!kind) json_wrong(&r, "rope_scaling", "an object with a rope_type");
    else if (!strcmp(kind, "linear") && !local) {
        c->rope_scaling.kind = RH_ROPE_LINEAR;
        c->rope_scaling.factor = json_real_or(&r, "factor", -1);
    } else if (!strcmp(kind, "llama3") && !local) {
        read_llama3(c, &r);
    } else if (strcmp(kind, "default") != 0) {
        r.status = rh_fail(r.err, RH_EUNSUPPORTED, "'%s' scales rope%s by \"%.40s\"; known: %s", r.path,
                           local ? " of sliding_attention" : "", kind, local ? "default" : "linear, llama3");
    }
    if (!r.status) check_rope_keys(&r);
    outer->status = r.status;
}

static void read_rope(rh_model_config *c, json_reader *r)
{
    static const char *const keys[] = {"rope_parameters", "rope_scaling"}; /* the second has the last word */
    c->rope_theta = json_real_or(r, "rope_theta", c->rope_theta);
    c->rope_theta_local = json_real_or(r, "rope_local_base_freq", c->rope_theta_local);
    for (int i = 0; i < 2 && !r->status; i++) {
        const json_t *rope = json_object_get(r->object, keys[i]);
        if (!rope || json_is_null(rope)) continue;
        const json_t *full = json_object_get(rope, "full_attention"), *sliding = json_object_get(rope, "sliding_attention");
        const bool by_layer = full || sliding;
        if (!json_is_object(rope)) json_wrong(r, keys[i], "an object with a rope_type");
        else if (i == 0 && by_layer != c->local_rope)
            json_wrong(r, keys[i], by_layer ? "one rotation for all layers" : "an object of full_attention and sliding_attention");
        else if (!by_layer) read_rotation(c, r, rope, i == 1, false);
        else if (!c->local_rope || json_object_size(rope) != (size_t)(full != NULL) + (sliding != NULL))
            json_wrong(r, keys[i], "an object of full_attention and sliding_attention");
        else {
            if (json_is_object(full)) read_rotation(c, r, full, false, false);
            if (!r->status && json_is_object(sliding)) read_rotation(c, r, sliding, false, true);
        }
    }
}

/* ---- windows --------------------------------------------------------------------------------------------- */

/* layer_types into local, if the config has them. */
static bool read_layer_types(uint8_t local[RH_MAX_LAYERS], json_reader *r, int32_t n_layers)
{
    const json_t *types = json_object_get(r->object, "layer_types");
    if (!types || json_is_null(types)) return false;
    if (!json_is_array(types) || json_array_size(types) != (size_t)n_layers) {
        json_wrong(r, "layer_types", "a list with one entry a layer");
        return false;
    }
    for (int32_t i = 0; i < n_layers; i++) {
        const char *t = json_string_value(json_array_get(types, (size_t)i));
        local[i] = t && !strcmp(t, "sliding_attention");
        if (local[i] || (t && !strcmp(t, "full_attention"))) continue;
        r->status = rh_fail(r->err, RH_EUNSUPPORTED, "'%s' has a layer type \"%s\"; known: full_attention, "
                            "sliding_attention", r->path, t ? t : "?");
        return false;
    }
    return true;
}

static void read_windows(rh_model_config *c, json_reader *r, const rh_family *f)
{
    uint8_t listed[RH_MAX_LAYERS];
    const bool off = f->json_windows == RH_WINDOWS_FROM_LAYER && !json_is_true_at(r, "use_sliding_window");
    c->window = json_count(r, "sliding_window", json_real_or_none(r, "sliding_window", f->window));
    if (r->status) return;
    if (off) c->window = 0;
    if (f->json_windows == RH_WINDOWS_NONE && c->window) {
        json_refuse(r, "sliding_window");
        return;
    }
    if (f->json_windows == RH_WINDOWS_FROM_LAYER) {
        const int32_t first = json_int_or(r, "max_window_layers", 28);
        for (int32_t i = 0; i < c->n_layers; i++) c->local[i] = c->window && i >= first;
    } else {
        const bool period = f->window_pattern != RH_EVERY_LAYER;
        rh_config_window_by_pattern(c, period ? json_int_or(r, "sliding_window_pattern", f->window_pattern)
                                              : f->window_pattern);
    }
    if (!read_layer_types(listed, r, c->n_layers)) return;
    /* Where transformers does not look at the list, it must say what holds anyway. */
    const bool counts = f->json_windows == RH_WINDOWS_FROM_LAYER || f->window_pattern != RH_EVERY_LAYER;
    if (counts) memcpy(c->local, listed, (size_t)c->n_layers);
    else if (memcmp(c->local, listed, (size_t)c->n_layers)) json_refuse(r, "layer_types");
}

/* ---- the whole -------------------------------------------------------------------------------------------- */

/* Settings that none of the above reads: those that could change the forward pass are refused. */
static void check_keys(json_reader *r, const rh_family *f)
{
    static const char *const known[] = {
        "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
        "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters", "tie_word_embeddings",
        "hidden_act", "hidden_activation", "sliding_window", "layer_types", "sliding_window_pattern",
        /* repeat what others say, mean nothing without them, or concern what a call returns */
        "max_window_layers", "_sliding_window_pattern", "sliding_window_size", "output_attentions", "output_hidden_states",
        "output_router_logits", "cross_attention_hidden_size"};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)r->object, key, v) {
        const bool nothing = json_is_null(v) || json_is_false(v) ||
                             ((json_is_array(v) || json_is_object(v)) && !json_array_size(v) && !json_object_size(v));
        const bool neutral = json_is_number(v) && (json_number_value(v) == 0 ||
                                                   (json_number_value(v) == 1 && rh_config_key_multiplies(key)));
        bool fine = nothing || neutral || !rh_config_key_matters(key);
        for (size_t k = 0; !fine && k < sizeof known / sizeof *known; k++) fine = !strcmp(key, known[k]);
        if (!fine && !rh_family_says(f, key)) {
            json_refuse(r, key);
            return;
        }
    }
}

static rh_status read_family(const rh_family **family, json_reader *text, const json_t *root, const char *path, rh_error *err)
{
    const char *type = json_string_value(json_object_get(root, "model_type"));
    if (!type) return rh_fail(err, RH_EFORMAT, "'%s' has no \"model_type\": not a model's config", path);
    *text = (json_reader){root, path, err, RH_OK};
    *family = rh_family_by_model_type(type);
    if (!*family) {
        char list[128];
        rh_family_list(list, false);
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s' has model_type '%.64s', which Rhumb does not know", path, type),
                         err, "known families: %s", list);
    }
    if (!(*family)->multimodal || strcmp((*family)->multimodal, type)) return RH_OK;
    text->object = json_object_get(root, "text_config");
    if (!json_is_object(text->object))
        return rh_fail(err, RH_EFORMAT, "'%s' has model_type %s but lacks \"text_config\"", path, type);
    const char *inner = json_string_value(json_object_get(text->object, "model_type"));
    if (inner && rh_family_by_model_type(inner) != *family)
        return rh_fail(err, RH_EUNSUPPORTED, "'%s' has a text_config of model_type '%.64s' in one of %s", path, inner, type);
    return RH_OK;
}

static void read_sizes(rh_model_config *c, json_reader *r, const rh_family *f, bool nested)
{
    /* transformers writes of a nested config only what differs from its class. */
    static const rh_text_sizes required = {-1, -1, -1, -1, -1, -1};
    const rh_text_sizes *sizes = nested ? &f->text_sizes : &required;
    c->d_model = json_int_or(r, "hidden_size", sizes->d_model);
    c->n_layers = json_int_or(r, "num_hidden_layers", sizes->n_layers);
    c->n_heads = json_int_or(r, "num_attention_heads", sizes->n_heads);
    c->d_ff = json_int_or(r, "intermediate_size", sizes->d_ff);
    c->n_vocab = json_int_or(r, "vocab_size", sizes->n_vocab);
    c->n_ctx = json_int_or(r, "max_position_embeddings", sizes->n_ctx);
    const bool as_heads = !f->n_kv_heads || json_is_null_at(r, "num_key_value_heads");
    c->n_kv_heads = json_int_or(r, "num_key_value_heads", as_heads ? c->n_heads : f->n_kv_heads);
    const int32_t share = c->n_heads > 0 ? c->d_model / c->n_heads : 0;
    c->head_dim = json_int_or(r, "head_dim", f->head_dim ? f->head_dim : share);
}

/* Of a multimodal model transformers 4 asks the text's config and 5 the outer one; neither: Gemma ties. */
static bool read_tied(const json_reader *r, const json_t *root, const rh_family *f)
{
    const json_t *inner = json_object_get(r->object, "tie_word_embeddings"), *outer = json_object_get(root, "tie_word_embeddings");
    if (json_is_false(inner) || json_is_false(outer)) return false;
    return inner || outer ? true : f->embed_scaled;
}

static rh_status read_config(rh_model_config *c, const rh_family **family, const json_t *root, const char *path,
                             rh_error *err)
{
    json_reader r;
    RH_TRY(read_family(family, &r, root, path, err));
    const rh_family *f = *family;
    rh_config_defaults(c, f);
    c->norm_plus_one = f->norm_plus_one;
    read_sizes(c, &r, f, r.object != root);
    c->norm_eps = (float)json_real_or(&r, "rms_norm_eps", 1e-6);
    if (rh_family_says(f, "attn_logit_softcapping"))
        c->attn_softcap = (float)json_real_or_none(&r, "attn_logit_softcapping", c->attn_softcap);
    if (rh_family_says(f, "final_logit_softcapping"))
        c->final_softcap = (float)json_real_or_none(&r, "final_logit_softcapping", c->final_softcap);
    if (r.object != root && c->final_softcap > 0) /* transformers caps the text model's logits only alone */
        return json_refuse(&r, "final_logit_softcapping");
    const double scalar = json_real_or(&r, "query_pre_attn_scalar", f->query_scalar);
    c->o_bias = !f->qkv_bias && rh_family_says(f, "attention_bias") && json_is_true_at(&r, "attention_bias");
    c->qkv_bias = f->qkv_bias || c->o_bias;
    c->mlp_bias = rh_family_says(f, "mlp_bias") && json_is_true_at(&r, "mlp_bias");
    c->tied = read_tied(&r, root, f);
    RH_TRY(r.status);
    if (c->n_layers > RH_MAX_LAYERS) return rh_config_check(c, path, err);
    read_rope(c, &r);
    if (!r.status) read_windows(c, &r, f);
    read_activation(&r, f);
    if (!r.status) check_keys(&r, f);
    RH_TRY(r.status);
    rh_config_derive(c, f, f->query_scalar > 0 ? scalar : 0);
    return rh_config_check(c, path, err);
}

/* Of quantised checkpoints, bitsandbytes' in NF4 (engine/nf4.h finds their tensors). */
static rh_status check_quantization(const json_t *root, const char *path, rh_error *err)
{
    const json_t *q = json_object_get(root, "quantization_config");
    if (json_object_size(json_object_get(root, "quantization"))) /* MLX */
        return rh_fail(err, RH_EUNSUPPORTED, "'%s' sets \"quantization\", MLX's way to quantise, which is not there yet", path);
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
    rh_status status = json_is_object(root) ? read_config(&c, family, root, path, err)
                                            : rh_fail(err, RH_EFORMAT, "'%s' is not a JSON object", path);
    if (!status) status = check_quantization(root, path, err);
    json_decref(root);
    if (!status) *out = c;
    return status;
}
