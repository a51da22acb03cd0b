/* model.h - a model file opened: one configuration for every family, weights on a backend.
 * A family is a config and a tensor-name table (families.c); the forward pass (forward.c) knows
 * only the config. Knows no processor and no expression. */
#ifndef RH_ENGINE_MODEL_H
#define RH_ENGINE_MODEL_H

#include "engine/files/gguf.h"
#include "engine/files/safetensors.h"
#include "engine/generation_config.h"
#include "engine/made.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/ops.h"

#define RH_MAX_LAYERS 512

/* Formulas: FORMATS.md §1. */
typedef struct rh_model_config {
    char family[16];       /* "gemma3", "llama", … */
    int32_t d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, n_vocab, n_ctx;
    float norm_eps;
    float embed_scale;     /* sqrt(d_model) for Gemma, 1 for Llama */
    float attn_scale;      /* 1/sqrt(query scalar) */
    float attn_softcap, final_softcap; /* 0: none */
    bool post_norms;       /* Gemma: norms behind attention and MLP too */
    bool qk_norm;          /* Gemma 3: rmsnorm over head_dim of q and k */
    bool norm_plus_one;    /* the file stores w of (1+w) */
    bool qkv_bias, o_bias, mlp_bias; /* the products of these matrices have biases */
    rh_activation act;
    int32_t window;        /* of local layers */
    uint8_t local[RH_MAX_LAYERS];  /* 1: layer sees only the window */
    bool local_rope;       /* local layers turn by rope_theta_local, unscaled; else all turn alike */
    double rope_theta, rope_theta_local;
    bool rope_factors;     /* the file has a divisor for every frequency */
    struct {
        enum { RH_ROPE_NONE = 0, RH_ROPE_LINEAR, RH_ROPE_LLAMA3 } kind;
        double factor, low_freq_factor, high_freq_factor;
        int32_t original_ctx;
    } rope_scaling;
    bool tied;             /* logits use the embedding matrix */
} rh_model_config;

typedef struct rh_layer_weights {
    rh_buf *attn_norm, *attn_post_norm, *mlp_norm, *mlp_post_norm; /* [d_model]; post: or NULL */
    rh_buf *q_norm, *k_norm;                                       /* [head_dim] or NULL */
    rh_weight *q, *k, *v, *o, *gate, *up, *down;
    rh_buf *q_bias, *k_bias, *v_bias, *o_bias, *gate_bias, *up_bias, *down_bias; /* [rows of the matrix] or NULL */
} rh_layer_weights;

struct rh_model {
    char *path, *name;        /* name: the file's or folder's, for people */
    rh_model_config config;
    char fingerprint[65];     /* of config and sampled tensor bytes; the same weights in any folder */
    rh_backend *backend;      /* owned */
    rh_gguf *gguf;            /* one of the two containers, owned */
    rh_safetensors *safetensors;
    rh_made_list made;        /* matrices that are not multiplied as the container holds them */
    rh_tokenizer *tokenizer;  /* NULL if the model has none (a folder with ids only) */
    rh_generation_config generation; /* of a folder; a GGUF's is zero */
    rh_weight *embed, *output; /* output == embed if tied */
    rh_buf *final_norm;
    float *final_norm_host;   /* [d_model], the gain as applied (1+w for Gemma) */
    rh_layer_weights *layers; /* [n_layers] */
    float *inv_freq, *inv_freq_local; /* [head_dim/2] */
    int64_t n_params;
    size_t weight_bytes;      /* bytes of the file's tensors that one decode step reads */
};

/* path: .gguf, or a folder with config.json and safetensors. Errors: RH_EIO no such file,
 * RH_EFORMAT not a model or truncated, RH_EUNSUPPORTED architecture or tensor type, named. */
rh_status rh_model_open(rh_model **out, const char *path, const rh_settings *settings, rh_error *err);
/* Config, tensors and tokenizer only, no weights uploaded: for `tokens`, `info`. */
rh_status rh_model_open_light(rh_model **out, const char *path, const rh_settings *settings,
                              rh_error *err);
void rh_model_free(rh_model *m);

/* Ids that end a text: those of the chat's family, and the folder's own; returns how many. */
enum { RH_MAX_STOPS = 8 + RH_MAX_CONFIG_STOPS };
int rh_model_stops(const rh_model *m, rh_chat chat, int32_t out[RH_MAX_STOPS]);

int32_t rh_model_width(const rh_model *m, rh_hook hook);

/* One exact row of the embedding or unembedding matrix, out [d_model] float32. */
rh_status rh_model_embed_row(float *out, const rh_model *m, int32_t id, rh_error *err);
rh_status rh_model_unembed_row(float *out, const rh_model *m, int32_t id, rh_error *err);
/* out [n_vocab] = W_U x, x [d_model] host (no norm, no soft cap). */
rh_status rh_model_unembed(float *out, const rh_model *m, const float *x, rh_error *err);

/* Stop with RH_EIO if the file changed in place since it was opened. */
rh_status rh_model_check(const rh_model *m, rh_error *err);

#endif
