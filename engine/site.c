#include "engine/pass.h"

static void mark_sites(rh_pass *p)
{
    bool logits = false;
    int32_t deepest = RH_SITE_START;
    for (int32_t i = 0; i < p->n_inputs; i++) {
        const rh_step_input *in = &p->inputs[i];
        const rh_sequence *q = &p->s->seqs[in->seq];
        logits = logits || in->want != RH_LOGITS_NONE || in->draw;
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

/* Rows that split off here: copies of the parent's residual stream and, inside a block, of the
 * tensor at the site. */
static void fork_rows(rh_pass *p, int32_t site, rh_buf *t, int32_t width)
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

static void read_site(rh_pass *p, int32_t site, const rh_buf *t, int32_t width, bool before)
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
static int32_t covered_rows(const rh_pass *p, const rh_action *a, int32_t input)
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
static rh_status test_guards(rh_pass *p, int32_t site, const rh_buf *t, int32_t width)
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
static rh_status apply(rh_pass *p, const rh_action *a, const rh_sequence *q, int32_t j, rh_buf *t, int32_t n, int32_t width,
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

static rh_status write_site(rh_pass *p, int32_t site, rh_buf *t, int32_t width)
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

rh_status rh_pass_site(rh_pass *p, int32_t layer, rh_hook hook, rh_buf *t, bool *stop)
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

/* Room for the answers of all guards: each is tested once. */
static rh_status begin_guards(rh_pass *p)
{
    int64_t n = 0;
    for (int32_t i = 0; i < p->n_inputs; i++) {
        const rh_sequence *q = &p->s->seqs[p->inputs[i].seq];
        for (int32_t j = 0; j < q->n_actions; j++) n += q->actions[j].guard != NULL;
    }
    return rh_guards_begin(&p->s->guards, n * p->rows->n_rows, p->err);
}

rh_status rh_pass_begin(rh_pass *p)
{
    mark_sites(p);
    return begin_guards(p);
}
