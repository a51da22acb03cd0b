#include "engine/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/plan_memory.h"

/* The tensor as it is multiplied. */
static const rh_tensor *made_or(const rh_model *m, const char *name, const rh_tensor *stored)
{
    const rh_made *made = rh_made_find(&m->made, name);
    return made ? &made->tensor : stored;
}

/* False if the family has no such tensor. */
static bool tensor_name(char out[96], const rh_model *m, const rh_family *f, rh_role role, int32_t layer)
{
    const char *pattern = m->gguf ? f->gguf[role] : f->hf[role], *percent = pattern ? strstr(pattern, "%d") : NULL;
    if (percent) snprintf(out, 96, "%.*s%d%s", (int)(percent - pattern), pattern, layer, percent + 2);
    else snprintf(out, 96, "%s", pattern ? pattern : "?");
    return pattern != NULL;
}

const rh_tensor *rh_model_tensor(const rh_model *m, const rh_family *f, rh_role role, int32_t layer)
{
    /* Multimodal checkpoints hold the text model under a prefix; lm_head has its own spelling. */
    static const char *const prefixes[] = {"", "language_model.", "model.language_model."};
    char plain[96], name[160];
    if (!tensor_name(plain, m, f, role, layer)) return NULL;
    if (m->gguf) return made_or(m, plain, rh_gguf_find(m->gguf, plain));
    for (int i = 0; i < 3; i++) {
        /* "model.language_model." stands in place of "model." */
        const bool replaces = i == 2 && !strncmp(plain, "model.", 6);
        snprintf(name, sizeof name, "%s%s", prefixes[i], replaces ? plain + 6 : plain);
        const rh_tensor *t = rh_safetensors_find(m->safetensors, name);
        if (t) return made_or(m, name, t);
    }
    return NULL;
}

typedef struct role_shape { int n_dims; int64_t rows, cols; bool needed; } role_shape;

static role_shape shape_of(const rh_model_config *c, rh_role role)
{
    const int64_t d = c->d_model, q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    switch (role) {
    case RH_ROLE_EMBED: return (role_shape){2, c->n_vocab, d, true};
    case RH_ROLE_OUTPUT: return (role_shape){2, c->n_vocab, d, !c->tied};
    case RH_ROLE_FINAL_NORM: case RH_ROLE_ATTN_NORM: case RH_ROLE_MLP_NORM: return (role_shape){1, d, 1, true};
    case RH_ROLE_ATTN_POST_NORM: case RH_ROLE_MLP_POST_NORM: return (role_shape){1, d, 1, c->post_norms};
    case RH_ROLE_Q_NORM: case RH_ROLE_K_NORM: return (role_shape){1, c->head_dim, 1, c->qk_norm};
    case RH_ROLE_Q: return (role_shape){2, q, d, true};
    case RH_ROLE_K: case RH_ROLE_V: return (role_shape){2, kv, d, true};
    case RH_ROLE_O: return (role_shape){2, d, q, true};
    case RH_ROLE_GATE: case RH_ROLE_UP: return (role_shape){2, c->d_ff, d, true};
    case RH_ROLE_DOWN: return (role_shape){2, d, c->d_ff, true};
    case RH_ROLE_Q_BIAS: return (role_shape){1, q, 1, c->qkv_bias};
    case RH_ROLE_K_BIAS: case RH_ROLE_V_BIAS: return (role_shape){1, kv, 1, c->qkv_bias};
    case RH_ROLE_O_BIAS: return (role_shape){1, d, 1, c->o_bias};
    case RH_ROLE_GATE_BIAS: case RH_ROLE_UP_BIAS: return (role_shape){1, c->d_ff, 1, c->mlp_bias};
    case RH_ROLE_DOWN_BIAS: return (role_shape){1, d, 1, c->mlp_bias};
    case RH_ROLE_ROPE_FACTORS: return (role_shape){1, c->head_dim / 2, 1, c->rope_factors};
    default: return (role_shape){0, 0, 0, false};
    }
}

static rh_status check_tensor(rh_model *m, const rh_family *f, rh_role role, int32_t layer, rh_error *err)
{
    const role_shape want = shape_of(&m->config, role);
    const rh_tensor *t = rh_model_tensor(m, f, role, layer);
    if (!want.needed && t && layer >= 0) /* lm_head may stand there beside tied embeddings */
        return rh_fail(err, RH_EUNSUPPORTED, "'%s' has a tensor %s, which its config does not ask for", t->path, t->name);
    if (!want.needed) return RH_OK;
    if (!t) {
        char name[96];
        tensor_name(name, m, f, role, layer);
        return rh_hinted(rh_fail(err, RH_EFORMAT, "'%s' lacks the tensor %s", m->path, name),
                         err, "the file is incomplete, or not a %s model", f->name);
    }
    if (t->dtype == RH_DTYPE_NONE) {
        return rh_hinted(rh_fail(err, RH_EUNSUPPORTED, "'%s': tensor %s is stored as %s, which is not there yet", t->path, t->name,
                t->raw_type),
                         err, "known types: F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K "
                         "IQ4_NL IQ4_XS MXFP4, and NF4 in safetensors");
    }
    const int64_t rows = t->shape[0], cols = t->n_dims > 1 ? t->shape[1] : 1;
    if (t->n_dims != want.n_dims || rows != want.rows || cols != want.cols)
        return rh_fail(err, RH_EFORMAT, "'%s': tensor %s is [%lld, %lld] of %d dimensions; the config says [%lld, %lld]",
                       t->path, t->name, (long long)rows, (long long)cols, t->n_dims, (long long)want.rows,
                       (long long)want.cols);
    m->n_params += rows * cols;
    const bool read_each_step = role != RH_ROLE_EMBED || m->config.tied;
    if (read_each_step) m->weight_bytes += t->size;
    return RH_OK;
}

rh_status rh_weights_check(rh_model *m, const rh_family *f, rh_error *err)
{
    for (rh_role role = 0; role < RH_FIRST_LAYER_ROLE; role++) RH_TRY(check_tensor(m, f, role, -1, err));
    for (int32_t layer = 0; layer < m->config.n_layers; layer++)
        for (rh_role role = RH_FIRST_LAYER_ROLE; role < RH_N_ROLES; role++)
            RH_TRY(check_tensor(m, f, role, layer, err));
    return RH_OK;
}

rh_status rh_weights_quantize(rh_model *m, const rh_family *f, const char *type, rh_error *err)
{
    static const struct { const char *name; rh_dtype dtype; } known[] = {{"nf4", RH_NF4}, {"q8", RH_Q8_0}};
    size_t k = 0;
    while (k < sizeof known / sizeof *known && strcmp(known[k].name, type)) k++;
    if (k == sizeof known / sizeof *known)
        return rh_hinted(rh_fail(err, RH_EVALUE, "weights cannot be quantised to '%.40s'", type), err, "known: nf4, q8");
    for (int32_t layer = 0; layer < m->config.n_layers; layer++)
        for (rh_role role = RH_FIRST_LAYER_ROLE; role < RH_N_ROLES; role++) {
            const rh_tensor *t = shape_of(&m->config, role).n_dims == 2 ? rh_model_tensor(m, f, role, layer) : NULL;
            if (t) RH_TRY(rh_made_quantize(&m->made, t, known[k].dtype, err));
        }
    rh_made_sort(&m->made);
    return RH_OK;
}

/* ---- upload -------------------------------------------------------------------------------------- */

/* GGUF stores Llama's q and k with rows of a head as interleaved pairs: file row h*hd+2i+p is
 * row r = h*hd + p*hd/2 + i of the rotate-half order that rope uses here. */
static int32_t stored_row(int32_t r, int32_t head_dim)
{
    const int32_t h = r / head_dim, k = r % head_dim, half = head_dim / 2;
    return h * head_dim + 2 * (k % half) + k / half;
}

static int32_t *unpermuted_rows(int32_t rows, int32_t head_dim)
{
    int32_t *order = rh_calloc((size_t)rows, sizeof *order);
    for (int32_t r = 0; order && r < rows; r++) order[r] = stored_row(r, head_dim);
    return order;
}

static bool is_permuted(const rh_model *m, const rh_family *f, rh_role role)
{
    return m->gguf && f->gguf_permutes_qk &&
           (role == RH_ROLE_Q || role == RH_ROLE_K || role == RH_ROLE_Q_BIAS || role == RH_ROLE_K_BIAS);
}

/* What the backend has copied leaves this process; rows of the two outer matrices are asked for later. */
static void let_go(rh_made *made, const rh_tensor *t, rh_role role)
{
    if (role < RH_FIRST_LAYER_ROLE) return;
    if (made) rh_made_drop(made);
    else rh_map_release(t->data, t->size);
}

static rh_status upload_matrix(rh_weight **out, rh_model *m, const rh_family *f, rh_role role, int32_t layer,
                               rh_error *err)
{
    const rh_tensor *t = rh_model_tensor(m, f, role, layer);
    const bool permuted = is_permuted(m, f, role);
    int32_t *order = NULL;
    rh_made *made = t->data ? NULL : rh_made_find(&m->made, t->name);
    if (made) RH_TRY(rh_made_make(made, m->backend->threads, err));
    if (permuted && !(order = unpermuted_rows((int32_t)t->shape[0], m->config.head_dim))) return rh_fail_nomem(err);
    const rh_status status = m->backend->ops->weight_new(m->backend, out, t->data, t->dtype, (int32_t)t->shape[0],
                                                         (int32_t)t->shape[1], order, err);
    free(order);
    if (!status && m->backend->ops->weight_owns(*out)) let_go(made, t, role);
    return status;
}

rh_status rh_weights_vector(float **out, const rh_model *m, const rh_family *f, rh_role role, int32_t layer, rh_error *err)
{
    const rh_tensor *t = rh_model_tensor(m, f, role, layer);
    const bool is_gain = role < RH_ROLE_Q_BIAS && role != RH_ROLE_ROPE_FACTORS;
    const int64_t n = t->shape[0];
    float *v = rh_calloc((size_t)n, sizeof *v), *stored = v ? rh_calloc((size_t)n, sizeof *v) : NULL;
    if (!stored) {
        free(v);
        return rh_fail_nomem(err);
    }
    rh_dequantize_row(stored, t->data, t->dtype, n);
    for (int64_t i = 0; i < n; i++) {
        const int64_t from = is_permuted(m, f, role) ? stored_row((int32_t)i, m->config.head_dim) : i;
        v[i] = stored[from] + (is_gain && m->config.norm_plus_one ? 1.0f : 0.0f);
    }
    free(stored);
    *out = v;
    return RH_OK;
}

/* host (may be NULL) takes a copy. */
static rh_status upload_vector(rh_buf **out, float **host, rh_model *m, const rh_family *f, rh_role role, int32_t layer,
                               rh_error *err)
{
    const size_t bytes = (size_t)rh_model_tensor(m, f, role, layer)->shape[0] * sizeof(float);
    float *v = NULL;
    RH_TRY(rh_weights_vector(&v, m, f, role, layer, err));
    const rh_status status = m->backend->ops->buf_new(m->backend, out, bytes, err);
    if (!status) m->backend->ops->upload(m->backend, *out, 0, v, bytes);
    if (!status && host) *host = v;
    else free(v);
    return status;
}

static rh_status upload_layer(rh_model *m, const rh_family *f, int32_t layer, rh_error *err)
{
    rh_layer_weights *w = &m->layers[layer];
    const struct { rh_buf **out; rh_role role; } vectors[] = {
        {&w->attn_norm, RH_ROLE_ATTN_NORM}, {&w->mlp_norm, RH_ROLE_MLP_NORM},
        {&w->attn_post_norm, RH_ROLE_ATTN_POST_NORM}, {&w->mlp_post_norm, RH_ROLE_MLP_POST_NORM},
        {&w->q_norm, RH_ROLE_Q_NORM}, {&w->k_norm, RH_ROLE_K_NORM},
        {&w->q_bias, RH_ROLE_Q_BIAS}, {&w->k_bias, RH_ROLE_K_BIAS}, {&w->v_bias, RH_ROLE_V_BIAS},
        {&w->o_bias, RH_ROLE_O_BIAS}, {&w->gate_bias, RH_ROLE_GATE_BIAS}, {&w->up_bias, RH_ROLE_UP_BIAS},
        {&w->down_bias, RH_ROLE_DOWN_BIAS}};
    const struct { rh_weight **out; rh_role role; } matrices[] = {
        {&w->q, RH_ROLE_Q}, {&w->k, RH_ROLE_K}, {&w->v, RH_ROLE_V}, {&w->o, RH_ROLE_O},
        {&w->gate, RH_ROLE_GATE}, {&w->up, RH_ROLE_UP}, {&w->down, RH_ROLE_DOWN}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        if (shape_of(&m->config, vectors[i].role).needed)
            RH_TRY(upload_vector(vectors[i].out, NULL, m, f, vectors[i].role, layer, err));
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        RH_TRY(upload_matrix(matrices[i].out, m, f, matrices[i].role, layer, err));
    return RH_OK;
}

rh_status rh_weights_upload(rh_model *m, const rh_family *f, const rh_settings *settings, rh_error *err)
{
    const int32_t n = m->config.n_layers;
    m->layers = rh_calloc((size_t)n, sizeof *m->layers);
    if (!m->layers) return rh_fail_nomem(err);
    RH_TRY(upload_matrix(&m->embed, m, f, RH_ROLE_EMBED, -1, err));
    if (m->config.tied) m->output = m->embed;
    else RH_TRY(upload_matrix(&m->output, m, f, RH_ROLE_OUTPUT, -1, err));
    RH_TRY(upload_vector(&m->final_norm, &m->final_norm_host, m, f, RH_ROLE_FINAL_NORM, -1, err));
    for (int32_t layer = 0; layer < n; layer++) {
        RH_TRY(upload_layer(m, f, layer, err));
        if (settings->progress && !settings->progress(settings->progress_data, "loading layers", layer + 1, n))
            return rh_fail(err, RH_ECANCELLED, "stopped while loading the model");
    }
    return RH_OK;
}

/* ---- what it takes ------------------------------------------------------------------------------- */

static int64_t tensor_bytes(const rh_tensor *t, rh_role role, rh_dtype floats_as)
{
    const bool is_float = t->dtype == RH_F32 || t->dtype == RH_F16 || t->dtype == RH_BF16;
    if (t->n_dims != 2) return rh_plan_block(t->shape[0] * (int64_t)sizeof(float));
    const bool becomes = floats_as != RH_DTYPE_NONE && is_float && role >= RH_FIRST_LAYER_ROLE && rh_row_bytes(floats_as, t->shape[1]);
    return rh_plan_matrix(becomes ? floats_as : t->dtype, t->shape[0], t->shape[1]);
}

int64_t rh_weights_bytes(const rh_model *m, const rh_family *f, rh_dtype floats_as)
{
    const rh_model_config *c = &m->config;
    int64_t sum = 0;
    for (rh_role role = 0; role < RH_N_ROLES; role++) {
        const int32_t layers = role < RH_FIRST_LAYER_ROLE ? 1 : c->n_layers;
        for (int32_t layer = 0; layer < layers && shape_of(c, role).needed && role != RH_ROLE_ROPE_FACTORS; layer++)
            sum += tensor_bytes(rh_model_tensor(m, f, role, layer), role, floats_as);
    }
    return sum;
}

/* ---- fingerprint ---------------------------------------------------------------------------------- */

/* First and last 256 bytes and 16 places between: enough to tell any two checkpoints apart,
 * little enough to be read at every start. */
static void hash_tensor(rh_sha256 *h, const rh_tensor *t)
{
    enum { PIECE = 256, PIECES = 18 };
    char head[160];
    const int n = snprintf(head, sizeof head, "%s %lld %lld %zu\n", t->raw_type,
                           (long long)t->shape[0], (long long)(t->n_dims > 1 ? t->shape[1] : 1), t->size);
    rh_sha256_add(h, head, (size_t)n);
    if (t->size <= (size_t)PIECE * PIECES) {
        rh_sha256_add(h, t->data, t->size);
        return;
    }
    for (size_t i = 0; i < PIECES; i++) rh_sha256_add(h, t->data + (t->size - PIECE) / (PIECES - 1) * i, PIECE);
}

/* What the file holds of a tensor, also where that is not what is multiplied. */
static void hash_stored(rh_sha256 *h, const rh_model *m, const rh_tensor *t)
{
    const rh_made *made = rh_made_find(&m->made, t->name);
    const rh_tensor *sources[4] = {t};
    const int n = made ? rh_made_sources(sources, made) : 1;
    for (int i = 0; i < n; i++) hash_tensor(h, sources[i]);
    if (made) rh_sha256_add(h, t->raw_type, strlen(t->raw_type));
}

rh_status rh_weights_fingerprint(rh_model *m, const rh_family *f, rh_error *err)
{
    const rh_model_config *c = &m->config;
    rh_sha256 *h = rh_sha256_new();
    char text[512];
    if (!h) return rh_fail_nomem(err);
    int n = snprintf(text, sizeof text, "rhumb 1 %s %d %d %d %d %d %d %d eps %.9g scale %.9g caps %.9g %.9g window %d "
                     "theta %.9g %.9g rope %d %.9g %.9g %.9g %d\n", c->family, c->d_model, c->n_layers, c->n_heads,
                     c->n_kv_heads, c->head_dim, c->d_ff, c->n_vocab, c->norm_eps, c->attn_scale, c->attn_softcap,
                     c->final_softcap, c->window, c->rope_theta, c->rope_theta_local, (int)c->rope_scaling.kind,
                     c->rope_scaling.factor, c->rope_scaling.low_freq_factor, c->rope_scaling.high_freq_factor,
                     c->rope_scaling.original_ctx);
    rh_sha256_add(h, text, (size_t)n);
    rh_sha256_add(h, c->local, (size_t)c->n_layers);
    for (rh_role role = 0; role < RH_N_ROLES; role++) {
        const int32_t layers = role < RH_FIRST_LAYER_ROLE ? 1 : c->n_layers;
        for (int32_t layer = 0; layer < layers && shape_of(c, role).needed; layer++)
            hash_stored(h, m, rh_model_tensor(m, f, role, layer));
    }
    rh_sha256_hex(h, m->fingerprint);
    rh_sha256_free(h);
    return RH_OK;
}
