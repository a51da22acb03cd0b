/* session_memory.c - what a session holds on the backend and beside it, grown on demand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/session_internal.h"

static void free_activations(rh_session *s)
{
    const rh_ops *ops = s->model->backend->ops;
    rh_activations *a = &s->act;
    rh_buf *all[] = {a->h, a->x, a->y, a->q, a->z, a->k, a->v, a->gate, a->up};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) ops->buf_free(s->model->backend, all[i]);
    memset(a, 0, sizeof *a);
}

static void free_logits(rh_session *s)
{
    rh_buf **all[] = {&s->head_x, &s->logits, &s->drawn};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        s->model->backend->ops->buf_free(s->model->backend, *all[i]);
        *all[i] = NULL;
    }
    s->logit_rows = 0;
}

rh_status rh_session_floats(rh_session *s, rh_buf **out, int64_t rows, int64_t width, rh_error *err)
{
    rh_backend *be = s->model->backend;
    return be->ops->buf_new(be, out, (size_t)rows * (size_t)width * sizeof(float), err);
}

/* Rounded up, so that a growing prompt does not allocate at each step. */
rh_status rh_session_need_rows(rh_session *s, int32_t rows, rh_error *err)
{
    if (rows <= s->act.rows) return RH_OK;
    const rh_model_config *c = &s->model->config;
    const int64_t n = ((int64_t)rows + 63) / 64 * 64;
    const int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    rh_activations *a = &s->act;
    const struct { rh_buf **buf; int64_t width; } all[] = {
        {&a->h, c->d_model}, {&a->x, c->d_model}, {&a->y, c->d_model}, {&a->q, q}, {&a->z, q},
        {&a->k, kv}, {&a->v, kv}, {&a->gate, c->d_ff}, {&a->up, c->d_ff}};
    free_activations(s);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const rh_status status = rh_session_floats(s, all[i].buf, n, all[i].width, err);
        if (status) {
            free_activations(s);
            return status;
        }
    }
    a->rows = (int32_t)n;
    return RH_OK;
}

rh_status rh_session_need_ints(rh_session *s, size_t rows, size_t blocks, rh_error *err)
{
    if (rows > s->ints_cap) {
        int32_t **all[] = {&s->ids, &s->positions, &s->slots, &s->rows};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            int32_t *p = rh_realloc_array(*all[i], rows, sizeof *p);
            if (!p) return rh_fail_nomem(err);
            *all[i] = p;
        }
        s->ints_cap = rows;
    }
    if (blocks > s->groups_cap) {
        rh_attention_group *p = rh_realloc_array(s->groups, blocks, sizeof *p);
        if (!p) return rh_fail_nomem(err);
        s->groups = p;
        s->groups_cap = blocks;
    }
    return RH_OK;
}

rh_status rh_session_need_logits(rh_session *s, const rh_wanted *wanted, rh_error *err)
{
    const rh_ops *ops = s->model->backend->ops;
    rh_backend *be = s->model->backend;
    const int32_t rows = (int32_t)(wanted->rows < RH_LOGIT_ROWS ? wanted->rows : RH_LOGIT_ROWS);
    if (wanted->tokens > s->tokens_cap) {
        int32_t *p = rh_realloc_array(s->tokens, (size_t)wanted->tokens, sizeof *p);
        if (!p) return rh_fail_nomem(err);
        s->tokens = p;
        s->tokens_cap = wanted->tokens;
    }
    if (rows <= s->logit_rows) return RH_OK;
    free_logits(s);
    RH_TRY(rh_session_floats(s, &s->head_x, rows, s->model->config.d_model, err));
    RH_TRY(rh_session_floats(s, &s->logits, rows, s->model->config.n_vocab, err));
    RH_TRY(ops->buf_new(be, &s->drawn, (size_t)rows * sizeof(int32_t), err));
    s->logit_rows = rows;
    return RH_OK;
}

/* Layers' caches are made when they are first reached, so a session that reads low layers takes less. */
rh_status rh_session_plan(rh_session *s, int32_t rows, const rh_wanted *wanted, rh_error *err)
{
    const rh_model_config *c = &s->model->config;
    int32_t new_layers = 0;
    char what[80];
    for (int32_t l = 0; l < wanted->layers; l++) new_layers += !s->kv.k[l];
    if (rows > s->step_rows) rows = s->step_rows;
    const bool more = rows > s->act.rows || (wanted->rows > s->logit_rows && s->logit_rows < RH_LOGIT_ROWS);
    if (!new_layers && !more) return RH_OK;
    snprintf(what, sizeof what, "%d sequence%s of up to %d tokens", s->max_seqs, s->max_seqs == 1 ? "" : "s", s->max_len);
    rh_memory_plan p = {.what = what, .step = more ? rh_plan_step(c, rows, wanted->rows) : 0};
    rh_plan_caches(&p, c, new_layers, s->kv.type, s->max_seqs, s->max_len);
    return rh_plan_check_on(&p, s->model->backend, err);
}

void rh_session_free_buffers(rh_session *s)
{
    free_activations(s);
    free_logits(s);
}
