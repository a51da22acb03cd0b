/* forward.c - the one forward pass. It reads like FORMATS.md §1: everything a family differs in
 * is a value of rh_model_config. Shapes: n active rows; d d_model; H heads, G kv heads of width e. */
#include <stdlib.h>

#include "engine/pass.h"

/* ---- the layers --------------------------------------------------------------------------------------- */

static void list_positions(rh_pass *p)
{
    rh_session *s = p->s;
    for (int32_t b = 0; b < p->n_blocks; b++) {
        const rh_row_block *block = &p->rows->blocks[b];
        for (int32_t i = 0; i < block->n; i++) {
            s->positions[block->row + i] = block->pos + i;
            s->slots[block->row + i] = block->seq * s->max_len + block->pos + i;
        }
    }
}

static rh_status list_groups(rh_pass *p, int32_t layer)
{
    rh_session *s = p->s;
    size_t n_spans = 0;
    for (int32_t b = 0; b < p->n_blocks; b++) {
        const rh_row_block *block = &p->rows->blocks[b];
        const size_t first = n_spans;
        RH_TRY(rh_kv_spans(&s->spans, &s->spans_cap, &n_spans, s->seqs, block->seq, block->pos + block->n, layer,
                           s->max_len, p->err));
        s->groups[b] = (rh_attention_group){.row = block->row, .n = block->n, .pos = block->pos,
                                            .n_spans = (int32_t)(n_spans - first)};
    }
    size_t at = 0; /* spans may have moved while they grew */
    for (int32_t b = 0; b < p->n_blocks; at += (size_t)s->groups[b++].n_spans) s->groups[b].spans = s->spans + at;
    return RH_OK;
}

/* z [n, H*e] = attention of norm(h); the caller projects it. */
static rh_status attention(rh_pass *p, int32_t layer)
{
    const rh_model_config *c = p->c;
    const rh_layer_weights *w = &p->m->layers[layer];
    const rh_activations *a = &p->s->act;
    const rh_ops *ops = p->ops;
    const float *inv_freq = c->local[layer] ? p->m->inv_freq_local : p->m->inv_freq;
    const rh_matmul_target qkv[] = {{.w = w->q, .bias = w->q_bias, .out = a->q}, {.w = w->k, .bias = w->k_bias, .out = a->k},
                                    {.w = w->v, .bias = w->v_bias, .out = a->v}};
    const rh_attention_params params = {c->n_heads, c->n_kv_heads, c->head_dim, c->local[layer] ? c->window : 0,
                                        c->attn_scale, c->attn_softcap, p->s->kv.type};
    list_positions(p);
    ops->rmsnorm(p->be, a->x, a->h, w->attn_norm, p->n, c->d_model, c->norm_eps);
    RH_TRY(ops->matmul(p->be, a->x, p->n, qkv, 3, p->err));
    if (c->qk_norm) {
        ops->rmsnorm(p->be, a->q, a->q, w->q_norm, p->n * c->n_heads, c->head_dim, c->norm_eps);
        ops->rmsnorm(p->be, a->k, a->k, w->k_norm, p->n * c->n_kv_heads, c->head_dim, c->norm_eps);
    }
    ops->rope(p->be, a->q, p->n, c->n_heads, c->head_dim, p->s->positions, inv_freq);
    ops->rope(p->be, a->k, p->n, c->n_kv_heads, c->head_dim, p->s->positions, inv_freq);
    RH_TRY(rh_kv_write(&p->s->kv, layer, p->s->slots, a->k, a->v, p->n, p->err));
    RH_TRY(list_groups(p, layer));
    return ops->attention(p->be, a->z, a->q, p->s->kv.k[layer], p->s->kv.v[layer], p->s->groups, p->n_blocks, &params,
                          p->err);
}

/* What a sub-block adds to the residual stream: y = in @ w^T + bias, after a post-norm where the family
 * has one. Where nobody looks at the site, the product goes straight into h. */
static rh_status add_output(rh_pass *p, int32_t layer, rh_hook hook, const rh_weight *w, const rh_buf *bias,
                            const rh_buf *in, const rh_buf *post_norm, bool *stop)
{
    const rh_activations *a = &p->s->act;
    const bool direct = !post_norm && !rh_pass_is_busy(p, layer, hook);
    const rh_matmul_target out = {.w = w, .bias = bias, .out = direct ? a->h : a->y, .add = direct};
    RH_TRY(p->ops->matmul(p->be, in, p->n, &out, 1, p->err));
    if (direct) return RH_OK;
    if (post_norm) p->ops->rmsnorm(p->be, a->y, a->y, post_norm, p->n, p->c->d_model, p->c->norm_eps);
    RH_TRY(rh_pass_site(p, layer, hook, a->y, stop));
    p->ops->add(p->be, a->h, a->y, (int64_t)p->n * p->c->d_model);
    return RH_OK;
}

static rh_status run_layer(rh_pass *p, int32_t layer, bool *stop)
{
    const rh_model_config *c = p->c;
    const rh_layer_weights *w = &p->m->layers[layer];
    const rh_activations *a = &p->s->act;
    RH_TRY(rh_pass_site(p, layer, RH_RESID_PRE, a->h, stop));
    if (*stop) return RH_OK;
    p->s->stats.layer_rows += p->n;
    RH_TRY(attention(p, layer));
    RH_TRY(rh_pass_site(p, layer, RH_ATTN_Z, a->z, stop));
    if (*stop) return RH_OK;
    RH_TRY(add_output(p, layer, RH_ATTN_OUT, w->o, w->o_bias, a->z, w->attn_post_norm, stop));
    if (*stop) return RH_OK;
    p->ops->rmsnorm(p->be, a->x, a->h, w->mlp_norm, p->n, c->d_model, c->norm_eps);
    RH_TRY(rh_pass_site(p, layer, RH_MLP_IN, a->x, stop));
    if (*stop) return RH_OK;
    const rh_matmul_target gate_up[] = {{.w = w->gate, .bias = w->gate_bias, .out = a->gate},
                                        {.w = w->up, .bias = w->up_bias, .out = a->up}};
    RH_TRY(p->ops->matmul(p->be, a->x, p->n, gate_up, 2, p->err));
    p->ops->glu(p->be, a->gate, a->gate, a->up, p->n, c->d_ff, c->act);
    RH_TRY(add_output(p, layer, RH_MLP_OUT, w->down, w->down_bias, a->gate, w->mlp_post_norm, stop));
    if (*stop) return RH_OK;
    return rh_pass_site(p, layer, RH_RESID_POST, a->h, stop);
}

static void embed(rh_pass *p)
{
    rh_session *s = p->s;
    for (int32_t b = 0; b < p->n_blocks; b++) {
        const rh_row_block *block = &p->rows->blocks[b];
        const rh_step_input *in = &p->inputs[block->input];
        for (int32_t i = 0; i < block->n; i++) s->ids[block->row + i] = in->ids[block->pos + i - s->seqs[in->seq].len];
    }
    p->ops->embed(p->be, s->act.h, p->m->embed, s->ids, p->n, p->c->embed_scale);
}

static rh_status run(rh_pass *p)
{
    bool stop;
    RH_TRY(rh_pass_begin(p));
    p->n = rh_rows_active(p->rows, RH_SITE_START, &p->n_blocks);
    embed(p);
    stop = p->last_site == RH_SITE_START;
    for (int32_t layer = 0; layer < p->c->n_layers && !stop; layer++) RH_TRY(run_layer(p, layer, &stop));
    if (!stop) RH_TRY(rh_pass_head(p));
    rh_guards_fetch(&p->s->guards);
    return RH_OK;
}

/* Only the end waits for the backend, whatever has become of the step: what it fetches lies with the caller. */
rh_status rh_forward(rh_session *s, const rh_rows *rows, const rh_step_input *inputs, int32_t n_inputs, rh_error *err)
{
    const rh_model *m = s->model;
    rh_pass p = {.s = s, .m = m, .c = &m->config, .be = m->backend, .ops = m->backend->ops, .rows = rows,
              .inputs = inputs, .n_inputs = n_inputs, .err = err};
    p.busy = rh_calloc((size_t)m->config.n_layers * RH_N_HOOKS, 1);
    if (!p.busy) return rh_fail_nomem(err);
    rh_status status = run(&p);
    const rh_status end = p.ops->wait(p.be, status ? NULL : err);
    if (!status) status = end;
    if (!status) {
        rh_guards_count(&s->guards);
        rh_pass_hand_tokens(&p);
    }
    free(p.busy);
    return status;
}
