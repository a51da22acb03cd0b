#include "engine/pass.h"

/* Rows that go through the head together, those first from whose logits a token is drawn. */
typedef struct batch {
    int32_t row[RH_LOGIT_ROWS];
    float *logits[RH_LOGIT_ROWS]; /* [n_vocab] where they go, or NULL */
    rh_sample_spec draw[RH_LOGIT_ROWS];
    int32_t n, n_drawn;
} batch;

/* softcap(W_U norm(h[row[i]])). Logits are on their way before penalties change them. */
static rh_status run_batch(rh_pass *p, batch *b)
{
    rh_session *s = p->s;
    const rh_model_config *c = p->c;
    const size_t bytes = (size_t)c->n_vocab * sizeof(float);
    const rh_matmul_target out = {.w = p->m->output, .out = s->logits};
    if (!b->n) return RH_OK;
    p->ops->gather_rows(p->be, s->head_x, 0, s->act.h, b->row, b->n, c->d_model);
    p->ops->rmsnorm(p->be, s->head_x, s->head_x, p->m->final_norm, b->n, c->d_model, c->norm_eps);
    RH_TRY(p->ops->matmul(p->be, s->head_x, b->n, &out, 1, p->err));
    if (c->final_softcap > 0) p->ops->softcap(p->be, s->logits, (int64_t)b->n * c->n_vocab, c->final_softcap);
    for (int32_t r = 0; r < b->n; r++)
        if (b->logits[r]) p->ops->fetch(p->be, b->logits[r], s->logits, (size_t)r * bytes, bytes);
    if (b->n_drawn) {
        RH_TRY(p->ops->sample(p->be, s->drawn, s->logits, b->n_drawn, c->n_vocab, b->draw, p->err));
        p->ops->fetch(p->be, s->tokens + s->n_tokens, s->drawn, 0, (size_t)b->n_drawn * sizeof *s->tokens);
        s->n_tokens += b->n_drawn;
    }
    b->n = b->n_drawn = 0;
    return RH_OK;
}

/* The jth token of an input; draw: also draw what comes behind it. */
static rh_status add_row(rh_pass *p, batch *b, int32_t input, int32_t j, const rh_sample_spec *draw)
{
    const rh_step_input *in = &p->inputs[input];
    const int32_t first = in->want == RH_LOGITS_ALL ? 0 : in->n - 1, pos = p->s->seqs[in->seq].len + j;
    const bool kept = in->want != RH_LOGITS_NONE;
    b->row[b->n] = rh_rows_find(p->rows, p->s->seqs, p->inputs, input, pos, RH_SITE_NEVER);
    b->logits[b->n] = kept ? in->logits + (size_t)(j - first) * (size_t)p->c->n_vocab : NULL;
    if (draw) b->draw[b->n_drawn++] = *draw;
    return ++b->n < p->s->logit_rows ? RH_OK : run_batch(p, b);
}

static bool draws_here(const rh_pass *p, const rh_step_input *in)
{
    const int32_t last = p->s->seqs[in->seq].len + in->n - 1;
    return in->draw && last >= p->rows->lo && last < p->rows->hi;
}

rh_status rh_pass_head(rh_pass *p)
{
    batch b = {.n = 0};
    p->s->n_tokens = 0;
    for (int32_t i = 0; i < p->n_inputs; i++)
        if (draws_here(p, &p->inputs[i])) RH_TRY(add_row(p, &b, i, p->inputs[i].n - 1, p->inputs[i].draw));
    for (int32_t i = 0; i < p->n_inputs; i++) {
        const rh_step_input *in = &p->inputs[i];
        if (in->want == RH_LOGITS_NONE) continue;
        const int32_t len = p->s->seqs[in->seq].len, n = in->draw ? in->n - 1 : in->n; /* a drawn row is done */
        for (int32_t j = in->want == RH_LOGITS_ALL ? 0 : in->n - 1; j < n && len + j < p->rows->hi; j++)
            if (len + j >= p->rows->lo) RH_TRY(add_row(p, &b, i, j, NULL));
    }
    return run_batch(p, &b);
}

void rh_pass_hand_tokens(const rh_pass *p)
{
    const int32_t *token = p->s->tokens;
    for (int32_t i = 0; p->last_site == RH_SITE_NEVER && i < p->n_inputs; i++)
        if (draws_here(p, &p->inputs[i])) *p->inputs[i].drawn = *token++;
}
