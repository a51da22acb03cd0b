/* families.h - what differs between model families, as data: a row of facts and two tables of
 * tensor names. Reading a config fills an rh_model_config; the forward pass knows only that.
 * Adding a family means a row here. */
#ifndef RH_ENGINE_FAMILIES_H
#define RH_ENGINE_FAMILIES_H

#include "engine/model.h"

typedef enum rh_role { /* what a tensor is for */
    RH_ROLE_EMBED, RH_ROLE_FINAL_NORM, RH_ROLE_OUTPUT,
    RH_ROLE_ATTN_NORM, RH_ROLE_Q, RH_ROLE_K, RH_ROLE_V, RH_ROLE_O, RH_ROLE_Q_NORM, RH_ROLE_K_NORM,
    RH_ROLE_ATTN_POST_NORM, RH_ROLE_MLP_NORM, RH_ROLE_GATE, RH_ROLE_UP, RH_ROLE_DOWN,
    RH_ROLE_MLP_POST_NORM,
    RH_N_ROLES,
    RH_FIRST_LAYER_ROLE = RH_ROLE_ATTN_NORM /* those before stand outside the layers */
} rh_role;

typedef struct rh_family {
    const char *name;            /* GGUF's general.architecture */
    const char *model_types[3];  /* config.json's model_type */
    bool embed_scaled, post_norms, qk_norm;
    bool norm_plus_one;          /* safetensors store w of (1+w); GGUF has 1 added */
    bool gguf_permutes_qk;       /* GGUF rows of q and k are interleaved pairs */
    rh_activation act;
    float attn_softcap, final_softcap;     /* where the file does not say */
    int32_t window_pattern;      /* every nth layer is global; 0: all are */
    double rope_theta, rope_theta_local; /* where the file does not say; local 0: one theta for all */
    const char *const *gguf, *const *hf;   /* [RH_N_ROLES] names, %d the layer; NULL: none */
} rh_family;

/* NULL if unknown. */
const rh_family *rh_family_by_architecture(const char *name, size_t len);
const rh_family *rh_family_by_model_type(const char *name);
/* "gemma2, gemma3, llama", for messages. */
void rh_family_list(char out[128]);

rh_status rh_config_from_gguf(rh_model_config *out, const rh_family **family, const rh_gguf *g,
                              rh_error *err);
/* Of a folder's config.json. A setting the forward pass does not know is refused by name. */
rh_status rh_config_from_json(rh_model_config *out, const rh_family **family, const char *path,
                              rh_error *err);

/* inv_freq [head_dim/2] of the global layers, with the file's scaling, or of the local ones. */
void rh_config_inv_freq(float *out, const rh_model_config *c, bool local);

#endif
