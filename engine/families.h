/* families.h - what differs between model families, as data: a row of facts and two tables of
 * tensor names. Reading a config fills an rh_model_config; the forward pass knows only that.
 * Adding a family means a row here. */
#ifndef RH_ENGINE_FAMILIES_H
#define RH_ENGINE_FAMILIES_H

#include "engine/model.h"

typedef enum rh_role { /* what a tensor is for */
    RH_ROLE_EMBED, RH_ROLE_FINAL_NORM, RH_ROLE_OUTPUT, RH_ROLE_ROPE_FACTORS,
    RH_ROLE_ATTN_NORM, RH_ROLE_Q, RH_ROLE_K, RH_ROLE_V, RH_ROLE_O, RH_ROLE_Q_NORM, RH_ROLE_K_NORM,
    RH_ROLE_ATTN_POST_NORM, RH_ROLE_MLP_NORM, RH_ROLE_GATE, RH_ROLE_UP, RH_ROLE_DOWN,
    RH_ROLE_MLP_POST_NORM,
    RH_ROLE_Q_BIAS, RH_ROLE_K_BIAS, RH_ROLE_V_BIAS, RH_ROLE_O_BIAS, RH_ROLE_GATE_BIAS, RH_ROLE_UP_BIAS,
    RH_ROLE_DOWN_BIAS,
    RH_N_ROLES,
    RH_FIRST_LAYER_ROLE = RH_ROLE_ATTN_NORM /* those before stand outside the layers */
} rh_role;

#define RH_EVERY_LAYER INT32_MAX /* a window_pattern: no layer is global */

/* How config.json says which layers have windows. */
typedef enum rh_json_windows {
    RH_WINDOWS_NONE = 0,   /* it has no say: a sliding_window there is refused */
    RH_WINDOWS_PATTERN,    /* layer_types, or every nth layer is global */
    RH_WINDOWS_FROM_LAYER, /* if use_sliding_window: layer_types, or those from max_window_layers on */
} rh_json_windows;

/* Sizes that transformers puts where a nested text_config leaves them out. */
typedef struct rh_text_sizes { int32_t d_model, n_layers, n_heads, d_ff, n_vocab, n_ctx; } rh_text_sizes;

typedef struct rh_family {
    const char *name;            /* and GGUF's general.architecture, if gguf is not NULL */
    const char *model_types[3];  /* config.json's model_type */
    const char *multimodal;      /* the one of them whose text model is in text_config */
    rh_text_sizes text_sizes;    /* of that text_config */
    bool embed_scaled, post_norms, qk_norm;
    bool norm_plus_one;          /* safetensors store w of (1+w); GGUF has 1 added */
    bool gguf_permutes_qk;       /* GGUF rows of q and k are interleaved pairs */
    bool qkv_bias;               /* always, whatever the config says */
    const char *says[6];         /* settings that count here and are refused elsewhere, as transformers has it */
    rh_activation act;
    /* Where the file does not say: */
    float attn_softcap, final_softcap;
    double query_scalar;         /* config.json's; 0: head_dim */
    int32_t n_kv_heads;          /* config.json's; 0: as many as heads */
    int32_t head_dim;            /* config.json's; 0: d_model / heads */
    int32_t window, gguf_window; /* 0: none */
    int32_t window_pattern;      /* every nth layer is global; 0: unknown */
    rh_json_windows json_windows;
    double rope_theta, rope_theta_local; /* local 0: all layers turn alike */
    int32_t n_layers_27b;        /* GGUF does not say that models of this depth divide q.k by sqrt(d/H) */
    const char *const *gguf, *const *hf; /* [RH_N_ROLES] names, %d the layer; NULL: none */
} rh_family;

/* NULL if unknown. */
const rh_family *rh_family_by_name(const char *name);
const rh_family *rh_family_by_architecture(const char *name, size_t len); /* of GGUF files */
const rh_family *rh_family_by_model_type(const char *name);
bool rh_family_says(const rh_family *f, const char *key);
/* "gemma2, gemma3, llama", for messages: all of them, or those that GGUF files name. */
void rh_family_list(char out[128], bool of_gguf);

rh_status rh_config_from_gguf(rh_model_config *out, const rh_family **family, const rh_gguf *g,
                              rh_error *err);
/* Of a folder's config.json. In both, a setting the forward pass does not know is refused by name. */
rh_status rh_config_from_json(rh_model_config *out, const rh_family **family, const char *path,
                              rh_error *err);

/* inv_freq [head_dim/2] of the global layers, with the file's scaling, or of the local ones. */
void rh_config_inv_freq(float *out, const rh_model_config *c, bool local);

#endif
