/* forward.c - the one forward pass. It reads like FORMATS.md §1: everything a family differs in
 * is a value of rh_model_config. Shapes: n active rows; d d_model; H heads, G kv heads of width e. */
#include <stdlib.h>

#include "engine/session_internal.h"

typedef struct pass {
    rh_session *s;
    const rh_model *m;
    const rh_model_config *c;
    rh_backend *be;
    const rh_ops *ops;
    const rh_rows *rows;
    const rh_step_input *inputs;
    int32_t n_inputs;
    int32_t n, n_blocks;   /* active now */
    uint8_t *busy;         /* [n_layers * RH_N_HOOKS] sites where something happens */
    int32_t last_site;     /* stop after it; RH_SITE_NEVER: logits are wanted */
    rh_error *err;
} pass;

/* ---- what happens where ---------------------------------------------------------------------------- */

static void mark_sites(pass *p)
{
    bool logits = false;
    int32_t deepest = RH_SITE_START;
    for (int32_t i = 0; i < p->n_inputs; i++) {
        const rh_step_input *in = &p->inputs[i];
        const rh_sequence *q = &p->s->seqs[in->seq];
        logits = logits || in->want != RH_LOGITS_NONE;
        for (int32_t a = 0; a < q->n_actions; a++) p->busy[rh_site_index(q->actions[a].layer, q->actions[a].hook)] = 1;
        for (int32_t c = 0; c < in->n_captures; c++) {
            const int32_t site = rh_site_index(in->captures[c].layer, in->captures[c].hook);
            p->busy[site] = 1;
            if (site > deepest) deepest = site;
        }
    }
    for (int32_t b = 0; b < p->rows->n_blocks; b++)
        if (p->rows->blocks[b].from_site != RH_SITE_START) p->busy[p->rows->blocks[b].from_site] = 1;
    p->last_site = logits ? RH_SITE_NEVER : deepest;
}

static bool is_busy(const pass *p, int32_t layer, rh_hook hook) { return p->busy[rh_site_index(layer, hook)]; }

/* Rows that split off here: copies of the parent's residual stream and, inside a block, of the
 * tensor at the site. */
static void fork_rows(pass *p, int32_t site, rh_buf *t, int32_t width)
{
    int32_t n_blocks;
    const int32_t n = rh_rows_active(p->rows, site, &n_blocks), added = n - p->n;
    if (!added) return;
    int32_t *from = p->s->rows, k = 0;
    for (int32_t b = p->n_blocks; b < n_blocks; b++) {
        const rh_row_block *block = &p->rows->blocks[b];
        for (int32_t i = 0; i < block->n; i++) /* the state before the split: as at the site before */
            from[k++] = rh_rows_find(p->rows, p->s->seqs, p->inputs, block->input, block->pos + i, site - 1);
    }
    p->ops->gather_rows(p->be, p->s->act.h, p->n, p->s->act.h, from, added, p->c->d_model);
    if (t != p->s->act.h) p->ops->gather_rows(p->be, t, p->n, t, from, added, width);
    if (site % RH_N_HOOKS == RH_MLP_OUT) /* x is still what the MLP read: a transcoder acts from it */
        p->ops->gather_rows(p->be, p->s->act.x, p->n, p->s->act.x, from, added, p->c->d_model);
    p->n = n;
    p->n_blocks = n_blocks;
}

static void read_site(pass *p, int32_t site, const rh_buf *t, int32_t width, bool before)
{
    const size_t bytes = (size_t)width * sizeof(float);
    for (int32_t i = 0; i < p->n_inputs; i++) {
        const rh_step_input *in = &p->inputs[i];
        const int32_t start = p->s->seqs[in->seq].len;
        for (int32_t c = 0; c < in->n_captures; c++) {
            const rh_capture *cap = &in->captures[c];
            if (rh_site_index(cap->layer, cap->hook) != site || cap->before_actions != before) continue;
            for (int32_t k = 0, run; k < cap->n; k += run) { /* neighbouring rows in one copy */
                const int32_t pos = cap->positions ? cap->positions[k] : start + k;
                run = 1;
                if (pos < p->rows->lo) continue;
                if (pos >= p->rows->hi) break;
                const int32_t row = rh_rows_find(p->rows, p->s->seqs, p->inputs, i, pos, site);
                for (; k + run < cap->n; run++) {
                    const int32_t next = cap->positions ? cap->positions[k + run] : start + k + run;
                    if (next >= p->rows->hi || rh_rows_find(p->rows, p->s->seqs, p->inputs, i, next, site) != row + run) break;
                }
                p->ops->fetch(p->be, cap->out + (size_t)k * width, t, (size_t)row * bytes, (size_t)run * bytes);
            }
        }
    }
}

/* Rows of the input's own blocks that the action's mask covers, into s->rows. */
static int32_t covered_rows(const pass *p, const rh_action *a, int32_t input)
{
    const rh_sequence *q = &p->s->seqs[p->inputs[input].seq];
    int32_t k = 0;
    for (int32_t b = 0; b < p->n_blocks; b++) {
        const rh_row_block *block = &p->rows->blocks[b];
        if (block->input != input) continue;
        for (int32_t i = 0; i < block->n; i++) {
            const int32_t pos = block->pos + i, id = p->inputs[input].ids[pos - q->len];
            const bool control = p->m->tokenizer && rh_token_is_control(p->m->tokenizer, id);
            if (rh_mask_covers(&a->mask, pos, q->n_prompt, control)) p->s->rows[k++] = block->row + i;
        }
    }
    return k;
}

static bool acts_at(const rh_action *a, int32_t site)
{
    return rh_site_index(a->layer, a->hook) == site && !(a->kind == RH_STEER && a->strength == 0);
}

/* All guards of a site are tested before any action there has moved h. */
static rh_status test_guards(pass *p, int32_t site, const rh_buf *t, int32_t width)
{
    rh_session *s = p->s;
    for (int32_t i = 0; i < p->n_inputs; i++) {
        const rh_sequence *q = &s->seqs[p->inputs[i].seq];
        for (int32_t j = 0; j < q->n_actions; j++) {
            const rh_guard *g = q->actions[j].guard;
            if (!g || !acts_at(&q->actions[j], site)) continue;
            const int32_t n = covered_rows(p, &q->actions[j], i);
            RH_TRY(rh_guards_test(&s->guards, g, q->vectors[2 * j + 1], t, p->n, width, s->rows, n, p->err));
        }
    }
    return RH_OK;
}

/* On n rows, listed in s->rows. */
static rh_status apply(pass *p, const rh_action *a, const rh_sequence *q, int32_t j, rh_buf *t, int32_t n, int32_t width,
                       const rh_gate *gate)
{
    const rh_buf *v = q->vectors[2 * j];
    int32_t *rows = p->s->rows;
    switch (a->kind) {
    case RH_STEER: p->ops->steer_rows(p->be, t, rows, n, width, v, a->strength, gate); break;
    case RH_ABLATE: p->ops->ablate_rows(p->be, t, rows, n, width, v, a->rank, gate); break;
    case RH_SCALE: p->ops->move_rows(p->be, t, rows, n, width, v, RH_MOVE_SCALE, a->amount, gate); break;
    case RH_CAP: p->ops->move_rows(p->be, t, rows, n, width, v, RH_MOVE_CAP, a->amount, gate); break;
    case RH_CLAMP: p->ops->move_rows(p->be, t, rows, n, width, v, RH_MOVE_CLAMP, a->amount, gate); break;
    case RH_FEATURE_CLAMP:
    case RH_SPLICE:
        if (gate) n = rh_guards_allowed(&p->s->guards, gate, rows, n);
        if (n) return rh_sae_action_apply(p->s, a, t, p->s->act.x, n, p->err);
    }
    return RH_OK;
}

static rh_status write_site(pass *p, int32_t site, rh_buf *t, int32_t width)
{
    rh_session *s = p->s;
    size_t test = s->guards.n;
    RH_TRY(test_guards(p, site, t, width));
    for (int32_t i = 0; i < p->n_inputs; i++) {
        const rh_sequence *q = &s->seqs[p->inputs[i].seq];
        for (int32_t j = 0; j < q->n_actions; j++) {
            const rh_action *a = &q->actions[j];
            if (!acts_at(a, site)) continue;
            const rh_gate gate = a->guard ? rh_guards_gate(&s->guards, test++) : (rh_gate){0};
            const int32_t n = covered_rows(p, a, i);
            if (n) RH_TRY(apply(p, a, q, j, t, n, width, a->guard ? &gate : NULL));
        }
    }
    return RH_OK;
}

/* Everything that happens at a site: split, read, write, read. *stop: the pass may end here. */
static rh_status at_site(pass *p, int32_t layer, rh_hook hook, rh_buf *t, bool *stop)
{
    const int32_t site = rh_site_index(layer, hook), width = rh_model_width(p->m, hook);
    *stop = site >= p->last_site;
    if (!p->busy[site]) return RH_OK;
    fork_rows(p, site, t, width);
    read_site(p, site, t, width, true);
    RH_TRY(write_site(p, site, t, width));
    read_site(p, site, t, width, false);
    return RH_OK;
}

/* ---- the layers --------------------------------------------------------------------------------------- */

static void list_positions(pass *p)
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

static rh_status list_groups(pass *p, int32_t layer)
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
static rh_status attention(pass *p, int32_t layer)
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
static rh_status add_output(pass *p, int32_t layer, rh_hook hook, const rh_weight *w, const rh_buf *bias,
                            const rh_buf *in, const rh_buf *post_norm, bool *stop)
{
    const rh_activations *a = &p->s->act;
    const bool direct = !post_norm && !is_busy(p, layer, hook);
    const rh_matmul_target out = {.w = w, .bias = bias, .out = direct ? a->h : a->y, .add = direct};
    RH_TRY(p->ops->matmul(p->be, in, p->n, &out, 1, p->err));
    if (direct) return RH_OK;
    if (post_norm) p->ops->rmsnorm(p->be, a->y, a->y, post_norm, p->n, p->c->d_model, p->c->norm_eps);
    RH_TRY(at_site(p, layer, hook, a->y, stop));
    p->ops->add(p->be, a->h, a->y, (int64_t)p->n * p->c->d_model);
    return RH_OK;
}

static rh_status run_layer(pass *p, int32_t layer, bool *stop)
{
    const rh_model_config *c = p->c;
    const rh_layer_weights *w = &p->m->layers[layer];
    const rh_activations *a = &p->s->act;
    RH_TRY(at_site(p, layer, RH_RESID_PRE, a->h, stop));
    if (*stop) return RH_OK;
    p->s->stats.layer_rows += p->n;
    RH_TRY(attention(p, layer));
    RH_TRY(at_site(p, layer, RH_ATTN_Z, a->z, stop));
    if (*stop) return RH_OK;
    RH_TRY(add_output(p, layer, RH_ATTN_OUT, w->o, w->o_bias, a->z, w->attn_post_norm, stop));
    if (*stop) return RH_OK;
    p->ops->rmsnorm(p->be, a->x, a->h, w->mlp_norm, p->n, c->d_model, c->norm_eps);
    RH_TRY(at_site(p, layer, RH_MLP_IN, a->x, stop));
    if (*stop) return RH_OK;
    const rh_matmul_target gate_up[] = {{.w = w->gate, .bias = w->gate_bias, .out = a->gate},
                                        {.w = w->up, .bias = w->up_bias, .out = a->up}};
    RH_TRY(p->ops->matmul(p->be, a->x, p->n, gate_up, 2, p->err));
    p->ops->glu(p->be, a->gate, a->gate, a->up, p->n, c->d_ff, c->act);
    RH_TRY(add_output(p, layer, RH_MLP_OUT, w->down, w->down_bias, a->gate, w->mlp_post_norm, stop));
    if (*stop) return RH_OK;
    return at_site(p, layer, RH_RESID_POST, a->h, stop);
}

/* ---- logits ------------------------------------------------------------------------------------------- */

/* dst[i] [n_vocab] = softcap(W_U norm(h[row[i]])), k rows */
static rh_status head_rows(pass *p, const int32_t *row, float *const *dst, int32_t k)
{
    rh_session *s = p->s;
    const rh_model_config *c = p->c;
    const size_t bytes = (size_t)c->n_vocab * sizeof(float);
    const rh_matmul_target out = {.w = p->m->output, .out = s->logits};
    if (!k) return RH_OK;
    p->ops->gather_rows(p->be, s->head_x, 0, s->act.h, row, k, c->d_model);
    p->ops->rmsnorm(p->be, s->head_x, s->head_x, p->m->final_norm, k, c->d_model, c->norm_eps);
    RH_TRY(p->ops->matmul(p->be, s->head_x, k, &out, 1, p->err));
    if (c->final_softcap > 0) p->ops->softcap(p->be, s->logits, (int64_t)k * c->n_vocab, c->final_softcap);
    for (int32_t r = 0; r < k; r++) p->ops->fetch(p->be, dst[r], s->logits, (size_t)r * bytes, bytes);
    return RH_OK;
}

/* Wanted rows of all inputs, logit_rows at a time. */
static rh_status run_head(pass *p)
{
    float *dst[RH_LOGIT_ROWS];
    int32_t row[RH_LOGIT_ROWS], k = 0;
    for (int32_t i = 0; i < p->n_inputs; i++) {
        const rh_step_input *in = &p->inputs[i];
        if (in->want == RH_LOGITS_NONE) continue;
        const int32_t first = in->want == RH_LOGITS_ALL ? 0 : in->n - 1, len = p->s->seqs[in->seq].len;
        for (int32_t j = first; j < in->n && len + j < p->rows->hi; j++) {
            if (len + j < p->rows->lo) continue;
            dst[k] = in->logits + (size_t)(j - first) * (size_t)p->c->n_vocab;
            row[k++] = rh_rows_find(p->rows, p->s->seqs, p->inputs, i, len + j, RH_SITE_NEVER);
            if (k < p->s->logit_rows) continue;
            RH_TRY(head_rows(p, row, dst, k));
            k = 0;
        }
    }
    return head_rows(p, row, dst, k);
}

static void embed(pass *p)
{
    rh_session *s = p->s;
    for (int32_t b = 0; b < p->n_blocks; b++) {
        const rh_row_block *block = &p->rows->blocks[b];
        const rh_step_input *in = &p->inputs[block->input];
        for (int32_t i = 0; i < block->n; i++) s->ids[block->row + i] = in->ids[block->pos + i - s->seqs[in->seq].len];
    }
    p->ops->embed(p->be, s->act.h, p->m->embed, s->ids, p->n, p->c->embed_scale);
}

/* Room for the answers of all guards: each is tested once. */
static rh_status begin_guards(pass *p)
{
    int64_t n = 0;
    for (int32_t i = 0; i < p->n_inputs; i++) {
        const rh_sequence *q = &p->s->seqs[p->inputs[i].seq];
        for (int32_t j = 0; j < q->n_actions; j++) n += q->actions[j].guard != NULL;
    }
    return rh_guards_begin(&p->s->guards, n * p->rows->n_rows, p->err);
}

static rh_status run(pass *p)
{
    bool stop;
    RH_TRY(begin_guards(p));
    mark_sites(p);
    p->n = rh_rows_active(p->rows, RH_SITE_START, &p->n_blocks);
    embed(p);
    stop = p->last_site == RH_SITE_START;
    for (int32_t layer = 0; layer < p->c->n_layers && !stop; layer++) RH_TRY(run_layer(p, layer, &stop));
    if (!stop) RH_TRY(run_head(p));
    rh_guards_fetch(&p->s->guards);
    return RH_OK;
}

/* Only the end waits for the backend, whatever has become of the step: what it fetches lies with the caller. */
rh_status rh_forward(rh_session *s, const rh_rows *rows, const rh_step_input *inputs, int32_t n_inputs, rh_error *err)
{
    const rh_model *m = s->model;
    pass p = {.s = s, .m = m, .c = &m->config, .be = m->backend, .ops = m->backend->ops, .rows = rows,
              .inputs = inputs, .n_inputs = n_inputs, .err = err};
    p.busy = rh_calloc((size_t)m->config.n_layers * RH_N_HOOKS, 1);
    if (!p.busy) return rh_fail_nomem(err);
    rh_status status = run(&p);
    const rh_status end = p.ops->wait(p.be, status ? NULL : err);
    if (!status) status = end;
    if (!status) rh_guards_count(&s->guards);
    free(p.busy);
    return status;
}
