#include "engine/model.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kv.h"
#include "engine/plan_memory.h"
#include "engine/weights.h"

static char *base_name(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') len--;
    size_t start = len;
    while (start > 0 && path[start - 1] != '/') start--;
    if (len - start > 5 && !memcmp(path + len - 5, ".gguf", 5)) len -= 5;
    return rh_strndup(path + start, len - start);
}

static rh_status open_folder(rh_model *m, const rh_family **family, rh_error *err)
{
    char *config = rh_path_join(m->path, "config.json");
    rh_status status = RH_OK;
    if (!config) return rh_fail_nomem(err);
    if (!rh_is_file(config)) {
        status = rh_fail(err, RH_EFORMAT, "'%s' is a folder without config.json: not a model", m->path);
        rh_hint(err, "give a .gguf file, or a folder with config.json and model.safetensors");
    }
    if (!status) status = rh_config_from_json(&m->config, family, config, err);
    if (!status) status = rh_safetensors_open(&m->safetensors, m->path, err);
    if (!status) status = rh_made_scan(&m->made, m->safetensors, err);
    if (!status) status = rh_generation_config_read(&m->generation, m->path, m->config.n_vocab, err);
    free(config);
    return status;
}

static rh_status open_container(rh_model *m, const rh_family **family, rh_error *err)
{
    if (rh_is_dir(m->path)) return open_folder(m, family, err);
    RH_TRY(rh_gguf_open(&m->gguf, m->path, err));
    return rh_config_from_gguf(&m->config, family, m->gguf, err);
}

/* Llama 3's scaling in GGUF: theta_i = pos * inv_freq_i / factor_i. */
static rh_status divide_by_factors(rh_model *m, const rh_family *f, rh_error *err)
{
    float *factors = NULL;
    RH_TRY(rh_weights_vector(&factors, m, f, RH_ROLE_ROPE_FACTORS, -1, err));
    rh_status status = RH_OK;
    for (int32_t i = 0; i < m->config.head_dim / 2 && !status; i++) {
        if (!isfinite(factors[i]) || factors[i] <= 0)
            status = rh_fail(err, RH_EFORMAT, "'%s' divides rope's frequency %d by %g", m->path, i, (double)factors[i]);
        m->inv_freq[i] /= factors[i];
        if (!m->config.local_rope) m->inv_freq_local[i] = m->inv_freq[i];
    }
    free(factors);
    return status;
}

static rh_status make_inv_freq(rh_model *m, const rh_family *f, rh_error *err)
{
    const size_t half = (size_t)m->config.head_dim / 2;
    m->inv_freq = rh_calloc(half, sizeof(float));
    m->inv_freq_local = rh_calloc(half, sizeof(float));
    if (!m->inv_freq || !m->inv_freq_local) return rh_fail_nomem(err);
    rh_config_inv_freq(m->inv_freq, &m->config, false);
    rh_config_inv_freq(m->inv_freq_local, &m->config, true);
    return m->config.rope_factors ? divide_by_factors(m, f, err) : RH_OK;
}

/* The tokenizer is built beside the upload of the weights: both take a good part of start-up,
 * and neither needs the other. */
typedef struct tokenizer_job { rh_model *m; rh_error err; rh_status status; } tokenizer_job;

static void *build_tokenizer(void *data)
{
    tokenizer_job *job = data;
    if (job->m->gguf && rh_gguf_has(job->m->gguf, "tokenizer.ggml.model"))
        job->status = rh_tokenizer_from_gguf(&job->m->tokenizer, job->m->gguf, &job->err);
    else if (!job->m->gguf)
        job->status = rh_tokenizer_from_folder(&job->m->tokenizer, job->m->path, job->m->config.n_vocab, &job->err);
    return NULL;
}

static rh_status check_vocabulary(const rh_model *m, rh_error *err)
{
    if (!m->tokenizer || rh_tokenizer_n_vocab(m->tokenizer) <= m->config.n_vocab) return RH_OK;
    return rh_fail(err, RH_EFORMAT, "'%s' has %d tokens in its vocabulary but %d embedding rows", m->path,
                   rh_tokenizer_n_vocab(m->tokenizer), m->config.n_vocab);
}

/* Weights, and room to work with them: before the first of them is read. */
static rh_status plan(const rh_model *m, const rh_family *family, rh_error *err)
{
    const rh_model_config *c = &m->config;
    const int32_t len = c->n_ctx < RH_PLAN_TOKENS ? c->n_ctx : RH_PLAN_TOKENS;
    rh_memory_plan p = {.what = m->name, .weights = rh_weights_bytes(m, family, RH_DTYPE_NONE),
                        .as_nf4 = rh_weights_bytes(m, family, RH_NF4), .step = rh_plan_step(c, len, 1)};
    rh_plan_caches(&p, c, c->n_layers, rh_kv_type(m), 1, len);
    return rh_plan_check_on(&p, m->backend, err);
}

/* A GPU with too little memory is as good as none, unless it was asked for. */
static rh_status open_backend(rh_model *m, const rh_family *family, const rh_settings *settings, rh_error *err)
{
    rh_settings cpu = *settings;
    rh_error why = {0};
    RH_TRY(rh_backend_for(&m->backend, settings, err));
    const rh_status status = plan(m, family, &why);
    if (status && err) *err = why;
    if (status != RH_ENOMEM || settings->device != RH_DEVICE_AUTO) return status;
    rh_backend_note(settings, &why);
    rh_backend_free(m->backend);
    m->backend = NULL;
    cpu.device = RH_DEVICE_CPU;
    return rh_backend_for(&m->backend, &cpu, err);
}

static rh_status load(rh_model *m, const rh_family *family, const rh_settings *settings, rh_error *err)
{
    tokenizer_job job = {m, {0}, RH_OK};
    pthread_t thread;
    const bool beside = !pthread_create(&thread, NULL, build_tokenizer, &job);
    rh_status status = rh_weights_fingerprint(m, family, err);
    if (!status) status = rh_weights_upload(m, family, settings, err);
    if (beside) pthread_join(thread, NULL);
    else build_tokenizer(&job);
    if (!status && job.status) {
        status = job.status;
        if (err) *err = job.err;
    }
    return status;
}

static rh_status open_model(rh_model **out, const char *path, const rh_settings *settings, bool light, rh_error *err)
{
    static const rh_settings defaults = {0};
    const rh_family *family = NULL;
    rh_status status = RH_OK;
    rh_model *m = rh_calloc(1, sizeof *m);
    if (!settings) settings = &defaults;
    if (!m) return rh_fail_nomem(err);
    m->path = rh_strdup(path);
    m->name = base_name(path);
    if (!m->path || !m->name) status = rh_fail_nomem(err);
    if (!status) status = open_container(m, &family, err);
    if (!status && settings->quantize) status = rh_weights_quantize(m, family, settings->quantize, err);
    if (!status) status = rh_weights_check(m, family, err);
    if (!status) status = make_inv_freq(m, family, err);
    if (!status && light) {
        tokenizer_job job = {m, {0}, RH_OK};
        build_tokenizer(&job);
        status = job.status;
        if (status && err) *err = job.err;
        if (!status) status = rh_weights_fingerprint(m, family, err);
    } else if (!status) {
        status = open_backend(m, family, settings, err);
        if (!status) status = load(m, family, settings, err);
    }
    if (!status) status = check_vocabulary(m, err);
    if (status) {
        rh_model_free(m);
        return status;
    }
    *out = m;
    return RH_OK;
}

rh_status rh_model_open(rh_model **out, const char *path, const rh_settings *settings, rh_error *err)
{
    return open_model(out, path, settings, false, err);
}

rh_status rh_model_open_light(rh_model **out, const char *path, const rh_settings *settings, rh_error *err)
{
    return open_model(out, path, settings, true, err);
}

static void free_layer(const rh_ops *ops, rh_backend *be, rh_layer_weights *w)
{
    rh_buf *vectors[] = {w->attn_norm, w->attn_post_norm, w->mlp_norm, w->mlp_post_norm, w->q_norm, w->k_norm, w->q_bias,
                         w->k_bias, w->v_bias, w->o_bias, w->gate_bias, w->up_bias, w->down_bias};
    rh_weight *matrices[] = {w->q, w->k, w->v, w->o, w->gate, w->up, w->down};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) ops->buf_free(be, vectors[i]);
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) ops->weight_free(be, matrices[i]);
}

void rh_model_free(rh_model *m)
{
    if (!m) return;
    if (m->backend) {
        const rh_ops *ops = m->backend->ops;
        for (int32_t i = 0; m->layers && i < m->config.n_layers; i++) free_layer(ops, m->backend, &m->layers[i]);
        if (m->output != m->embed) ops->weight_free(m->backend, m->output);
        ops->weight_free(m->backend, m->embed);
        ops->buf_free(m->backend, m->final_norm);
        rh_backend_free(m->backend);
    }
    free(m->layers);
    free(m->final_norm_host);
    free(m->inv_freq);
    free(m->inv_freq_local);
    rh_tokenizer_free(m->tokenizer);
    rh_made_free(&m->made);
    rh_gguf_close(m->gguf);
    rh_safetensors_close(m->safetensors);
    free(m->path);
    free(m->name);
    free(m);
}

int rh_model_stops(const rh_model *m, rh_chat chat, int32_t out[RH_MAX_STOPS])
{
    int n = m->tokenizer ? rh_chat_stops(m->tokenizer, chat, out) : 0;
    for (int i = 0; i < m->generation.n_stops; i++) {
        bool there = false;
        for (int j = 0; j < n; j++) there |= out[j] == m->generation.stops[i];
        if (!there) out[n++] = m->generation.stops[i];
    }
    return n;
}

int32_t rh_model_width(const rh_model *m, rh_hook hook)
{
    return hook == RH_ATTN_Z ? m->config.n_heads * m->config.head_dim : m->config.d_model;
}

static rh_status matrix_row(float *out, const rh_model *m, rh_role role, int32_t id, rh_error *err)
{
    const rh_family *f = rh_family_by_name(m->config.family);
    if (id < 0 || id >= m->config.n_vocab)
        return rh_fail(err, RH_EVALUE, "token %d is outside the vocabulary of %d", id, m->config.n_vocab);
    const rh_tensor *t = rh_model_tensor(m, f, role, -1);
    if (!t->data) return rh_fail(err, RH_EUNSUPPORTED, "'%s': %s is not read before the model is loaded", m->name, t->name);
    rh_dequantize_row(out, t->data + (size_t)id * rh_row_bytes(t->dtype, m->config.d_model), t->dtype,
                      m->config.d_model);
    return RH_OK;
}

rh_status rh_model_embed_row(float *out, const rh_model *m, int32_t id, rh_error *err)
{
    return matrix_row(out, m, RH_ROLE_EMBED, id, err);
}

rh_status rh_model_unembed_row(float *out, const rh_model *m, int32_t id, rh_error *err)
{
    return matrix_row(out, m, m->config.tied ? RH_ROLE_EMBED : RH_ROLE_OUTPUT, id, err);
}

rh_status rh_model_unembed(float *out, const rh_model *m, const float *x, rh_error *err)
{
    rh_backend *be = m->backend;
    if (!be) return rh_fail(err, RH_EMODEL, "the model was opened without its weights");
    const size_t in = (size_t)m->config.d_model * sizeof(float), bytes = (size_t)m->config.n_vocab * sizeof(float);
    rh_buf *bx = NULL, *by = NULL;
    rh_status status = be->ops->buf_new(be, &bx, in, err);
    if (!status) status = be->ops->buf_new(be, &by, bytes, err);
    if (!status) {
        be->ops->upload(be, bx, 0, x, in);
        const rh_matmul_target target = {.w = m->output, .out = by};
        status = be->ops->matmul(be, bx, 1, &target, 1, err);
    }
    if (!status) be->ops->download(be, out, by, 0, bytes);
    if (!status) status = be->ops->wait(be, err);
    be->ops->buf_free(be, bx);
    be->ops->buf_free(be, by);
    return status;
}

rh_status rh_model_check(const rh_model *m, rh_error *err)
{
    return m->gguf ? rh_map_check(rh_gguf_map(m->gguf), err) : rh_safetensors_check(m->safetensors, err);
}
