#include "engine/families.h"

#include <math.h>
#include <string.h>

static const char *const gguf_names[RH_N_ROLES] = {
    [RH_ROLE_EMBED] = "token_embd.weight",
    [RH_ROLE_FINAL_NORM] = "output_norm.weight",
    [RH_ROLE_OUTPUT] = "output.weight",
    [RH_ROLE_ROPE_FACTORS] = "rope_freqs.weight",
    [RH_ROLE_ATTN_NORM] = "blk.%d.attn_norm.weight",
    [RH_ROLE_Q] = "blk.%d.attn_q.weight",
    [RH_ROLE_K] = "blk.%d.attn_k.weight",
    [RH_ROLE_V] = "blk.%d.attn_v.weight",
    [RH_ROLE_O] = "blk.%d.attn_output.weight",
    [RH_ROLE_Q_NORM] = "blk.%d.attn_q_norm.weight",
    [RH_ROLE_K_NORM] = "blk.%d.attn_k_norm.weight",
    [RH_ROLE_ATTN_POST_NORM] = "blk.%d.post_attention_norm.weight",
    [RH_ROLE_MLP_NORM] = "blk.%d.ffn_norm.weight",
    [RH_ROLE_GATE] = "blk.%d.ffn_gate.weight",
    [RH_ROLE_UP] = "blk.%d.ffn_up.weight",
    [RH_ROLE_DOWN] = "blk.%d.ffn_down.weight",
    [RH_ROLE_MLP_POST_NORM] = "blk.%d.post_ffw_norm.weight",
    [RH_ROLE_Q_BIAS] = "blk.%d.attn_q.bias",
    [RH_ROLE_K_BIAS] = "blk.%d.attn_k.bias",
    [RH_ROLE_V_BIAS] = "blk.%d.attn_v.bias",
    [RH_ROLE_O_BIAS] = "blk.%d.attn_output.bias",
    [RH_ROLE_GATE_BIAS] = "blk.%d.ffn_gate.bias",
    [RH_ROLE_UP_BIAS] = "blk.%d.ffn_up.bias",
    [RH_ROLE_DOWN_BIAS] = "blk.%d.ffn_down.bias",
};

#define HF_COMMON                                                   \
    [RH_ROLE_EMBED] = "model.embed_tokens.weight",                  \
    [RH_ROLE_FINAL_NORM] = "model.norm.weight",                     \
    [RH_ROLE_OUTPUT] = "lm_head.weight",                            \
    [RH_ROLE_ATTN_NORM] = "model.layers.%d.input_layernorm.weight", \
    [RH_ROLE_Q] = "model.layers.%d.self_attn.q_proj.weight",        \
    [RH_ROLE_K] = "model.layers.%d.self_attn.k_proj.weight",        \
    [RH_ROLE_V] = "model.layers.%d.self_attn.v_proj.weight",        \
    [RH_ROLE_O] = "model.layers.%d.self_attn.o_proj.weight",        \
    [RH_ROLE_Q_NORM] = "model.layers.%d.self_attn.q_norm.weight",   \
    [RH_ROLE_K_NORM] = "model.layers.%d.self_attn.k_norm.weight",   \
    [RH_ROLE_GATE] = "model.layers.%d.mlp.gate_proj.weight",        \
    [RH_ROLE_UP] = "model.layers.%d.mlp.up_proj.weight",            \
    [RH_ROLE_DOWN] = "model.layers.%d.mlp.down_proj.weight",        \
    [RH_ROLE_Q_BIAS] = "model.layers.%d.self_attn.q_proj.bias",     \
    [RH_ROLE_K_BIAS] = "model.layers.%d.self_attn.k_proj.bias",     \
    [RH_ROLE_V_BIAS] = "model.layers.%d.self_attn.v_proj.bias",     \
    [RH_ROLE_O_BIAS] = "model.layers.%d.self_attn.o_proj.bias",     \
    [RH_ROLE_GATE_BIAS] = "model.layers.%d.mlp.gate_proj.bias",     \
    [RH_ROLE_UP_BIAS] = "model.layers.%d.mlp.up_proj.bias",         \
    [RH_ROLE_DOWN_BIAS] = "model.layers.%d.mlp.down_proj.bias"

static const char *const hf_gemma_names[RH_N_ROLES] = {
    HF_COMMON,
    [RH_ROLE_ATTN_POST_NORM] = "model.layers.%d.post_attention_layernorm.weight",
    [RH_ROLE_MLP_NORM] = "model.layers.%d.pre_feedforward_layernorm.weight",
    [RH_ROLE_MLP_POST_NORM] = "model.layers.%d.post_feedforward_layernorm.weight",
};

static const char *const hf_llama_names[RH_N_ROLES] = {
    HF_COMMON, /* here post_attention_layernorm is the norm in front of the MLP */
    [RH_ROLE_MLP_NORM] = "model.layers.%d.post_attention_layernorm.weight",
};

/* Defaults: transformers' configuration_*.py, and for GGUF llama.cpp's loaders of the architecture. */
static const rh_family families[] = {
    {.name = "gemma2", .model_types = {"gemma2"}, .embed_scaled = true, .post_norms = true,
     .norm_plus_one = true,
     .says = {"attention_bias", "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"},
     .act = RH_ACT_GELU_TANH, .attn_softcap = 50, .final_softcap = 30, .query_scalar = 256, .n_kv_heads = 4,
     .head_dim = 256, .window = 4096, .gguf_window = 4096, .window_pattern = 2, .json_windows = RH_WINDOWS_PATTERN,
     .rope_theta = 10000, .n_layers_27b = 46, .gguf = gguf_names, .hf = hf_gemma_names},
    {.name = "gemma3", .model_types = {"gemma3_text", "gemma3"}, .multimodal = "gemma3",
     .text_sizes = {.d_model = 2304, .n_layers = 26, .n_heads = 8, .d_ff = 9216, .n_vocab = 262208, .n_ctx = 131072},
     .embed_scaled = true, .post_norms = true, .qk_norm = true, .norm_plus_one = true,
     .says = {"attention_bias", "query_pre_attn_scalar", "final_logit_softcapping", "rope_local_base_freq"},
     .act = RH_ACT_GELU_TANH, .query_scalar = 256, .n_kv_heads = 4, .head_dim = 256, .window = 4096,
     .window_pattern = 6, .json_windows = RH_WINDOWS_PATTERN, .rope_theta = 1e6, .rope_theta_local = 10000,
     .n_layers_27b = 62, .gguf = gguf_names, .hf = hf_gemma_names},
    {.name = "llama", .model_types = {"llama"}, .gguf_permutes_qk = true,
     .says = {"attention_bias", "mlp_bias"}, .act = RH_ACT_SILU, .window_pattern = RH_EVERY_LAYER,
     .rope_theta = 10000, .gguf = gguf_names, .hf = hf_llama_names},
    /* GGUF files of Mistral say llama. */
    {.name = "mistral", .model_types = {"mistral"}, .act = RH_ACT_SILU, .n_kv_heads = 8, .window = 4096,
     .window_pattern = RH_EVERY_LAYER, .json_windows = RH_WINDOWS_PATTERN, .rope_theta = 10000,
     .hf = hf_llama_names},
    {.name = "qwen2", .model_types = {"qwen2"}, .qkv_bias = true,
     .says = {"attention_bias" /* of q, k, v */, "use_sliding_window", "max_window_layers"}, .act = RH_ACT_SILU,
     .n_kv_heads = 32, .window = 4096, .json_windows = RH_WINDOWS_FROM_LAYER, .rope_theta = 10000, .gguf = gguf_names,
     .hf = hf_llama_names},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

const rh_family *rh_family_by_name(const char *name)
{
    for (int i = 0; i < N_FAMILIES; i++)
        if (!strcmp(families[i].name, name)) return &families[i];
    return NULL;
}

const rh_family *rh_family_by_architecture(const char *name, size_t len)
{
    for (int i = 0; i < N_FAMILIES; i++)
        if (families[i].gguf && strlen(families[i].name) == len && !memcmp(families[i].name, name, len))
            return &families[i];
    return NULL;
}

const rh_family *rh_family_by_model_type(const char *name)
{
    for (int i = 0; i < N_FAMILIES; i++)
        for (int k = 0; k < 3 && families[i].model_types[k]; k++)
            if (!strcmp(families[i].model_types[k], name)) return &families[i];
    return NULL;
}

bool rh_family_says(const rh_family *f, const char *key)
{
    for (size_t i = 0; i < sizeof f->says / sizeof *f->says && f->says[i]; i++)
        if (!strcmp(f->says[i], key)) return true;
    return false;
}

void rh_family_list(char out[128], bool of_gguf)
{
    out[0] = 0;
    for (int i = 0; i < N_FAMILIES; i++) {
        if (of_gguf && !families[i].gguf) continue;
        if (out[0]) strncat(out, ", ", 127 - strlen(out));
        strncat(out, families[i].name, 127 - strlen(out));
    }
}

/* Llama 3: wavelengths longer than original_ctx/low are stretched by factor, shorter than
 * original_ctx/high kept, those between interpolated. Source: transformers
 * modeling_rope_utils.py, _compute_llama3_parameters. */
static double llama3_scaled(double f, const rh_model_config *c)
{
    const double wavelength = 2 * 3.14159265358979323846 / f;
    const double ctx = c->rope_scaling.original_ctx;
    const double low = c->rope_scaling.low_freq_factor, high = c->rope_scaling.high_freq_factor;
    if (wavelength < ctx / high) return f;
    if (wavelength > ctx / low) return f / c->rope_scaling.factor;
    const double smooth = (ctx / wavelength - low) / (high - low);
    return (1 - smooth) * f / c->rope_scaling.factor + smooth * f;
}

void rh_config_inv_freq(float *out, const rh_model_config *c, bool local)
{
    const bool apart = local && c->local_rope;
    const double theta = apart ? c->rope_theta_local : c->rope_theta;
    for (int32_t i = 0; i < c->head_dim / 2; i++) {
        double f = 1.0 / pow(theta, 2.0 * i / c->head_dim);
        if (!apart && c->rope_scaling.kind == RH_ROPE_LINEAR) f /= c->rope_scaling.factor;
        if (!apart && c->rope_scaling.kind == RH_ROPE_LLAMA3) f = llama3_scaled(f, c);
        out[i] = (float)f;
    }
}
