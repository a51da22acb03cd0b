#include "engine/kv.h"

#include <stdlib.h>

#include "base/mem.h"

static int64_t width_of(const rh_model *m) { return (int64_t)m->config.n_kv_heads * m->config.head_dim; }
static size_t element(rh_dtype t) { return t == RH_F16 ? sizeof(uint16_t) : sizeof(float); }

int64_t rh_kv_position_bytes(const rh_model *m, rh_dtype t)
{
    return 2 * width_of(m) * m->config.n_layers * (int64_t)element(t);
}

rh_dtype rh_kv_type(const rh_model *m)
{
    static const int64_t positions = 2048, most = (int64_t)512 << 20;
    const bool exact = m->backend && m->backend->exact;
    return !exact && rh_kv_position_bytes(m, RH_F32) > most / positions ? RH_F16 : RH_F32;
}

rh_status rh_kv_new(rh_kv *out, const rh_model *m, int32_t max_seqs, int32_t max_len, rh_error *err)
{
    const size_t n = (size_t)m->config.n_layers;
    rh_kv kv = {.model = m, .type = rh_kv_type(m), .slots = (int64_t)max_seqs * max_len, .max_len = max_len};
    kv.k = rh_calloc(n, sizeof *kv.k);
    kv.v = rh_calloc(n, sizeof *kv.v);
    if (!kv.k || !kv.v) {
        rh_kv_free(&kv);
        return rh_fail_nomem(err);
    }
    *out = kv;
    return RH_OK;
}

void rh_kv_free(rh_kv *kv)
{
    for (int32_t l = 0; kv->model && l < kv->model->config.n_layers; l++) {
        const rh_ops *ops = kv->model->backend->ops;
        if (kv->k) ops->buf_free(kv->model->backend, kv->k[l]);
        if (kv->v) ops->buf_free(kv->model->backend, kv->v[l]);
    }
    free(kv->k);
    free(kv->v);
    *kv = (rh_kv){0};
}

static rh_status ensure(rh_kv *kv, rh_buf **buf, rh_error *err)
{
    rh_backend *be = kv->model->backend;
    if (*buf) return RH_OK;
    return be->ops->buf_new(be, buf, (size_t)(kv->slots * width_of(kv->model)) * element(kv->type), err);
}

rh_status rh_kv_write(rh_kv *kv, int32_t layer, const int32_t *slots, const rh_buf *k, const rh_buf *v, int32_t n,
                      rh_error *err)
{
    rh_backend *be = kv->model->backend;
    const int32_t width = (int32_t)width_of(kv->model);
    RH_TRY(ensure(kv, &kv->k[layer], err));
    RH_TRY(ensure(kv, &kv->v[layer], err));
    be->ops->scatter_rows(be, kv->k[layer], kv->type, slots, k, n, width);
    be->ops->scatter_rows(be, kv->v[layer], kv->type, slots, v, n, width);
    return RH_OK;
}

void rh_kv_forget(rh_kv *kv, int32_t seq, int32_t from, int32_t to)
{
    rh_backend *be = kv->model->backend;
    const size_t row = (size_t)width_of(kv->model) * element(kv->type);
    const size_t first = (size_t)seq * (size_t)kv->max_len + (size_t)from;
    for (int32_t l = 0; l < kv->model->config.n_layers; l++) {
        if (!kv->model->config.local[l] || !kv->k[l] || !kv->v[l]) continue;
        be->ops->buf_forget(be, kv->k[l], first * row, (size_t)(to - from) * row);
        be->ops->buf_forget(be, kv->v[l], first * row, (size_t)(to - from) * row);
    }
}
