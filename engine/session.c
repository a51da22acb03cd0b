#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

#include "engine/session_internal.h"

/* ---- life ------------------------------------------------------------------------------------------- */

static bool has_windows(const rh_model_config *c)
{
    for (int32_t l = 0; l < c->n_layers; l++)
        if (c->local[l]) return true;
    return false;
}

rh_status rh_session_new(rh_session **out, const rh_model *m, int32_t max_seqs, int32_t max_len, rh_error *err)
{
    if (!m->backend) return rh_fail(err, RH_EMODEL, "the model was opened without its weights");
    if (max_seqs < 1 || max_len < 1 || (int64_t)max_seqs * max_len > INT32_MAX)
        return rh_fail(err, RH_ELIMIT, "%d sequences of %d tokens are more than a session can hold", max_seqs, max_len);
    rh_session *s = rh_calloc(1, sizeof *s);
    if (!s) return rh_fail_nomem(err);
    s->model = m;
    s->max_seqs = max_seqs;
    s->max_len = max_len;
    s->share = true;
    s->guards.be = m->backend;
    s->step_rows = rh_plan_step_rows(&m->config);
    s->seqs = rh_calloc((size_t)max_seqs, sizeof *s->seqs);
    rh_status status = s->seqs ? rh_kv_new(&s->kv, m, max_seqs, max_len, err) : rh_fail_nomem(err);
    if (!status && has_windows(&m->config)) {
        s->needed = rh_calloc((size_t)max_seqs, sizeof *s->needed);
        if (!s->needed) status = rh_fail_nomem(err);
    }
    if (status) {
        rh_session_free(s);
        return status;
    }
    *out = s;
    return RH_OK;
}

void rh_session_reset(rh_session *s)
{
    const rh_ops *ops = s->model->backend->ops;
    for (int32_t i = 0; i < s->n_seqs; i++) free(s->seqs[i].vectors);
    memset(s->seqs, 0, (size_t)s->n_seqs * sizeof *s->seqs);
    s->n_seqs = 0;
    for (size_t i = 0; i < s->n_uploaded; i++) ops->buf_free(s->model->backend, s->uploaded[i].buf);
    s->n_uploaded = 0;
    rh_sae_actions_forget(s);
}

void rh_session_free(rh_session *s)
{
    if (!s) return;
    if (s->seqs) rh_session_reset(s);
    rh_kv_free(&s->kv);
    rh_guards_free(&s->guards);
    rh_session_free_buffers(s);
    free(s->tokens);
    free(s->uploaded);
    free(s->acting);
    free(s->seqs);
    free(s->needed);
    free(s->ids);
    free(s->positions);
    free(s->slots);
    free(s->rows);
    free(s->groups);
    free(s->spans);
    free(s);
}

/* ---- sequences ----------------------------------------------------------------------------------------- */

/* v [rows, width]. The same host vector at sixteen strengths is one buffer. */
static rh_status upload_vector(rh_session *s, rh_buf **out, const float *v, int64_t rows, int64_t width, rh_error *err)
{
    rh_backend *be = s->model->backend;
    for (size_t i = 0; i < s->n_uploaded; i++)
        if (s->uploaded[i].host == v) {
            *out = s->uploaded[i].buf;
            return RH_OK;
        }
    if (!RH_GROW(s->uploaded, s->uploaded_cap, s->n_uploaded)) return rh_fail_nomem(err);
    RH_TRY(rh_session_floats(s, out, rows, width, err));
    be->ops->upload(be, *out, 0, v, (size_t)(rows * width) * sizeof(float));
    s->uploaded[s->n_uploaded++] = (struct rh_uploaded){v, *out};
    return RH_OK;
}

static rh_status check_action(const rh_session *s, const rh_action *a, rh_error *err)
{
    if (a->layer < 0 || a->layer >= s->model->config.n_layers)
        return rh_fail(err, RH_ESITE, "an action at layer %d; the model has layers 0..%d", a->layer,
                       s->model->config.n_layers - 1);
    if (rh_acts_through_sae(a->kind)) RH_TRY(rh_sae_action_check(s->model, a, err));
    if ((unsigned)a->hook >= RH_N_HOOKS || (!a->v && !rh_acts_through_sae(a->kind)) || (a->kind == RH_ABLATE && a->rank < 1) ||
        (a->guard && !a->guard->v))
        return rh_fail(err, RH_EVALUE, "an action without a hook or vector");
    return RH_OK;
}

rh_status rh_session_add(rh_session *s, int32_t *seq, int32_t n_prompt, const rh_action *actions, int32_t n_actions,
                         rh_error *err)
{
    if (s->n_seqs == s->max_seqs) return rh_fail(err, RH_ELIMIT, "more than %d sequences in a session", s->max_seqs);
    rh_sequence q = {.n_prompt = n_prompt, .parent = -1, .own_from_layer = INT32_MAX, .actions = actions,
                     .n_actions = n_actions};
    for (int32_t i = 0; i < n_actions; i++) RH_TRY(check_action(s, &actions[i], err));
    q.vectors = rh_calloc(2 * (size_t)n_actions, sizeof *q.vectors);
    if (!q.vectors) return rh_fail_nomem(err);
    rh_status status = RH_OK;
    for (int32_t i = 0; i < n_actions && !status; i++) {
        const rh_action *a = &actions[i];
        const int64_t width = rh_model_width(s->model, a->hook);
        if (rh_acts_through_sae(a->kind)) status = rh_sae_action_prepare(s, a, err);
        else status = upload_vector(s, &q.vectors[2 * i], a->v, a->kind == RH_ABLATE ? a->rank : 1, width, err);
        if (!status && a->guard) status = upload_vector(s, &q.vectors[2 * i + 1], a->guard->v, 1, width, err);
    }
    if (status) {
        free(q.vectors);
        return status;
    }
    *seq = s->n_seqs;
    s->seqs[s->n_seqs++] = q;
    return RH_OK;
}

/* ---- windows: what no sequence sees any more ------------------------------------------------------------ */

/* Lengths at which the window still has all its keys. */
static int32_t first_that_works(const rh_session *s, const rh_sequence *q)
{
    return q->forgotten ? q->forgotten + s->model->config.window - 1 : 1;
}

/* Positions below rows->hi are in the caches of the step's sequences: forget what neither they nor those that borrow
 * from them will look at, but for a margin to rewind by. */
static void forget(rh_session *s, const rh_rows *rows, const rh_step_input *inputs)
{
    enum { MARGIN = 256 };
    int32_t *needed = s->needed;
    if (!needed) return;
    for (int32_t i = 0; i < s->n_seqs; i++) needed[i] = INT32_MAX;
    for (int32_t i = 0; i < s->n_seqs; i++) {
        const rh_sequence *q = &s->seqs[i];
        const int32_t in = rows->input_of_seq[i], end = in < 0 ? q->len : q->len + inputs[in].n;
        const int32_t reached = rows->hi >= end ? end : rows->hi > q->len ? rows->hi : q->len;
        const int32_t from = reached - s->model->config.window + 1 - MARGIN;
        for (int32_t k = i;; k = s->seqs[k].parent) {
            if (from < needed[k]) needed[k] = from;
            if (s->seqs[k].parent < 0 || from >= s->seqs[k].shared_len) break;
        }
    }
    for (int32_t i = 0; i < s->n_seqs; i++) {
        rh_sequence *q = &s->seqs[i];
        if (needed[i] <= q->forgotten) continue;
        rh_kv_forget(&s->kv, i, q->forgotten, needed[i]);
        q->forgotten = needed[i];
    }
}

/* ---- sequences as they stand ---------------------------------------------------------------------------- */

int32_t rh_session_len(const rh_session *s, int32_t seq) { return s->seqs[seq].len; }

rh_status rh_session_rewind(rh_session *s, int32_t seq, int32_t len, rh_error *err)
{
    rh_sequence *q = &s->seqs[seq];
    if (len < 1 || len > q->len || len < first_that_works(s, q))
        return rh_fail(err, RH_EVALUE, "sequence %d of %d tokens cannot be taken back to %d: its window has moved on", seq,
                       q->len, len);
    q->len = len;
    return RH_OK;
}

rh_step_stats rh_session_stats(const rh_session *s) { return s->stats; }
void rh_session_share(rh_session *s, bool on) { s->share = on; }
void rh_session_kv(rh_session *s, rh_dtype t) { s->kv.type = t; }

/* ---- steps ------------------------------------------------------------------------------------------------ */

static rh_status check_capture(const rh_session *s, const rh_step_input *in, const rh_capture *c, rh_error *err)
{
    const int32_t start = s->seqs[in->seq].len, end = start + in->n;
    if (c->layer < 0 || c->layer >= s->model->config.n_layers || (unsigned)c->hook >= RH_N_HOOKS)
        return rh_fail(err, RH_ESITE, "reading layer %d; the model has layers 0..%d", c->layer,
                       s->model->config.n_layers - 1);
    if (!c->positions && c->n != in->n) return rh_fail(err, RH_EVALUE, "reading %d of %d positions", c->n, in->n);
    for (int32_t k = 0; c->positions && k < c->n; k++)
        if (c->positions[k] < start || c->positions[k] >= end)
            return rh_fail(err, RH_EVALUE, "reading position %d, which is not among %d..%d of this step",
                           c->positions[k], start, end - 1);
    return RH_OK;
}

static rh_status check_input(const rh_session *s, const rh_step_input *in, rh_error *err)
{
    const rh_model_config *c = &s->model->config;
    if (in->seq < 0 || in->seq >= s->n_seqs || in->n < 1)
        return rh_fail(err, RH_EVALUE, "a step of %d tokens for sequence %d", in->n, in->seq);
    const rh_sequence *q = &s->seqs[in->seq];
    if (q->ended) return rh_fail(err, RH_EVALUE, "sequence %d was ended by a step without logits, or one that failed", in->seq);
    const int64_t end = (int64_t)q->len + in->n;
    if (end > s->max_len || end > c->n_ctx)
        return rh_fail(err, RH_ELIMIT, "%lld tokens are longer than the %s of %d", (long long)end,
                       end > c->n_ctx ? "model's context" : "session's room", end > c->n_ctx ? c->n_ctx : s->max_len);
    for (int32_t i = 0; i < in->n; i++)
        if (in->ids[i] < 0 || in->ids[i] >= c->n_vocab)
            return rh_fail(err, RH_EVALUE, "token %d is outside the vocabulary of %d", in->ids[i], c->n_vocab);
    for (int32_t i = 0; i < in->n_captures; i++) RH_TRY(check_capture(s, in, &in->captures[i], err));
    return RH_OK;
}

static rh_status check_inputs(const rh_session *s, const rh_step_input *inputs, int32_t n, rh_wanted *wanted,
                              rh_error *err)
{
    *wanted = (rh_wanted){0};
    for (int32_t i = 0; i < n; i++) {
        const rh_step_input *in = &inputs[i];
        RH_TRY(check_input(s, in, err));
        wanted->rows += in->want == RH_LOGITS_ALL ? in->n : in->want == RH_LOGITS_LAST || in->draw;
        wanted->tokens += in->draw != NULL;
        for (int32_t c = 0; c < in->n_captures; c++)
            if (in->captures[c].layer >= wanted->layers) wanted->layers = in->captures[c].layer + 1;
    }
    if (wanted->rows) wanted->layers = s->model->config.n_layers;
    return RH_OK;
}

/* A sequence twice in one step would need its own rows as keys: refused rather than guessed. */
static rh_status check_distinct(const rh_rows *rows, const rh_step_input *inputs, int32_t n, rh_error *err)
{
    for (int32_t i = 0; i < n; i++)
        if (rows->input_of_seq[inputs[i].seq] != i)
            return rh_fail(err, RH_EVALUE, "sequence %d stands twice in one step", inputs[i].seq);
    return RH_OK;
}

static rh_status run_rows(rh_session *s, const rh_rows *rows, const rh_step_input *inputs, int32_t n, rh_error *err)
{
    RH_TRY(rh_session_need_rows(s, rows->n_rows, err));
    RH_TRY(rh_session_need_ints(s, (size_t)rows->n_rows, (size_t)rows->n_blocks, err));
    RH_TRY(rh_forward(s, rows, inputs, n, err));
    forget(s, rows, inputs);
    return RH_OK;
}

/* A long step goes through the layers in parts, so that memory for activations stays small and windows move on. */
static rh_status run_parts(rh_session *s, const rh_rows *rows, const rh_step_input *inputs, int32_t n, rh_error *err)
{
    if (rows->n_rows <= s->step_rows) return run_rows(s, rows, inputs, n, err);
    const int32_t end = rh_rows_end(rows);
    rh_status status = RH_OK;
    for (int32_t lo = 0; lo < end && !status;) {
        rh_rows part;
        RH_TRY(rh_rows_part(&part, rows, n, s->n_seqs, lo, s->step_rows, err));
        if (part.n_rows) status = run_rows(s, &part, inputs, n, err);
        lo = part.hi;
        rh_rows_free(&part);
    }
    return status;
}

rh_status rh_session_step(rh_session *s, const rh_step_input *inputs, int32_t n, rh_error *err)
{
    rh_rows rows = {0};
    rh_wanted wanted;
    if (n < 1) return RH_OK;
    RH_TRY(check_inputs(s, inputs, n, &wanted, err));
    RH_TRY(rh_model_check(s->model, err)); /* to read a mapped file that was cut short would be SIGBUS */
    RH_TRY(rh_rows_plan(&rows, s->seqs, s->n_seqs, inputs, n, s->share, s->model->tokenizer, err));
    rh_status status = check_distinct(&rows, inputs, n, err);
    if (!status) status = rh_session_plan(s, rows.n_rows, &wanted, err);
    if (!status && wanted.rows) status = rh_session_need_logits(s, &wanted, err);
    if (!status) {
        int32_t n_blocks;
        s->stats = (rh_step_stats){.asked = rows.asked, .computed = rh_rows_active(&rows, RH_SITE_START, &n_blocks)};
        status = run_parts(s, &rows, inputs, n, err);
        if (!status) status = rh_model_check(s->model, err); /* nothing that was computed from two files */
    }
    for (int32_t i = 0; i < n; i++) {
        rh_sequence *q = &s->seqs[inputs[i].seq];
        if (status) {
            if (q->len && q->len < first_that_works(s, q)) q->ended = true; /* its window went on without it */
            continue;
        }
        q->len += inputs[i].n;
        q->ended = !wanted.rows;
    }
    rh_rows_free(&rows);
    return status;
}
