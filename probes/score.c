/* score.c - passes that compare a steered text with the unsteered model: logits at the first
 * position that can differ, surprisal of the text and where it projects. */
#include <math.h>
#include <stdlib.h>

#include "algebra/algebra.h"
#include "probes/diagnose.h"
#include "probes/experiment.h"

enum {
    GROUP = 8,                     /* runs a pass takes together */
    LOGIT_BYTES = 64 * 1024 * 1024 /* of one step: 64 rows of Gemma's vocabulary */
};

/* ---- shifts ---------------------------------------------------------------------------------- */

/* Logits at position[i] of run[i], i < n <= GROUP: out [n, 2, n_vocab], without its actions and
 * with them. Both are fed the run's own tokens: the same, where the position lies in the prompt; and a
 * generated token up to a first changed position was chosen before anything changed. */
static rh_status logits_at(float *out, const rh_experiment *x, const int32_t *run, const int32_t *position,
                           int32_t n, rh_error *err)
{
    rh_session *s = NULL;
    rh_step_input in[2 * GROUP] = {{0}};
    size_t n_vocab = (size_t)x->m->config.n_vocab;
    int32_t longest = 0;
    for (int32_t i = 0; i < n; i++)
        if (position[i] + 1 > longest) longest = position[i] + 1;
    rh_status status = rh_session_new(&s, x->m, 2 * n, longest, err);
    for (int32_t i = 0; !status && i < 2 * n; i++) {
        int32_t r = run[i / 2], steered = i % 2;
        const rh_actions *a = &x->actions[r];
        in[i] = (rh_step_input){.ids = x->tokens[r], .n = position[i / 2] + 1, .want = RH_LOGITS_LAST,
                                .logits = out + (size_t)i * n_vocab};
        status = rh_session_add(s, &in[i].seq, x->prompt.n, steered ? a->items : NULL, steered ? a->n : 0, err);
    }
    if (!status) status = rh_session_step(s, in, 2 * n, err);
    rh_session_free(s);
    return status;
}

static rh_status make_shift(rh_shift *out, const rh_experiment *x, int32_t position, const float *before,
                            const float *after, rh_error *err)
{
    return rh_shift_make(out, position, before, after, x->m->config.n_vocab, x->o->top_tokens,
                         x->m->tokenizer, err);
}

/* `next` of a run: where the first changed position lies in the prompt, the last prompt token,
 * whose logits generation left behind. */
static rh_status shift_at_prompt_end(rh_shift *out, const rh_experiment *x, int32_t run, rh_error *err)
{
    size_t n_vocab = (size_t)x->m->config.n_vocab;
    return make_shift(out, x, x->prompt.n - 1, x->next_logits, x->next_logits + (size_t)run * n_vocab, err);
}

static rh_status shifts_of_group(rh_steer_run *runs, float *logits, const rh_experiment *x, const int32_t *run,
                                 const int32_t *position, int32_t n, rh_error *err)
{
    size_t n_vocab = (size_t)x->m->config.n_vocab;
    RH_TRY(logits_at(logits, x, run, position, n, err));
    for (int32_t i = 0; i < n; i++) {
        const float *before = logits + (size_t)(2 * i) * n_vocab, *after = before + n_vocab;
        rh_steer_run *r = &runs[run[i]];
        RH_TRY(make_shift(&r->first, x, position[i], before, after, err));
        if (position[i] >= x->prompt.n)
            RH_TRY(make_shift(&r->next, x, position[i], before, after, err));
        else
            RH_TRY(shift_at_prompt_end(&r->next, x, run[i], err));
    }
    return RH_OK;
}

rh_status rh_score_shifts(rh_steer_run *runs, const rh_experiment *x, rh_error *err)
{
    rh_status status = RH_OK;
    int32_t run[GROUP], position[GROUP], n = 0;
    float *logits = NULL;
    for (int32_t r = 0; r < x->n_runs; r++) {
        int32_t p = rh_first_changed(x->actions[r].items, x->actions[r].n, x->prompt.n, x->tokens[r],
                                     x->n_tokens[r], x->m->tokenizer);
        runs[r].first.position = runs[r].next.position = -1;
        if (p == x->prompt.n - 1) {
            status = shift_at_prompt_end(&runs[r].first, x, r, err);
            if (!status) status = shift_at_prompt_end(&runs[r].next, x, r, err);
        } else if (p >= 0) {
            run[n] = r;
            position[n++] = p;
        }
        if (status) goto done;
        if (n == 0 || (n < GROUP && r + 1 < x->n_runs)) continue;
        if (!logits) logits = rh_calloc((size_t)2 * GROUP * (size_t)x->m->config.n_vocab, sizeof *logits);
        status = logits ? shifts_of_group(runs, logits, x, run, position, n, err) : rh_fail_nomem(err);
        if (status) goto done;
        n = 0;
    }
done:
    free(logits);
    return status;
}

/* ---- surprisal ------------------------------------------------------------------------------- */

/* -log p(id), nats: ln sum exp(logits) - logits[id] */
static double surprise(const float *logits, int32_t n_vocab, int32_t id)
{
    return rh_log_sum_exp(logits, n_vocab) - (double)logits[id];
}

/* A text being scored: tokens[fed..feed) are still to be fed. Its last token is only where states are
 * read: nothing comes after it. */
typedef struct scored { const int32_t *tokens; int32_t seq, fed, feed, n; double sum, along, squares; } scored;

/* The logits and the states [rows, d] of one step; along NULL: no states. */
typedef struct score_rows { float *logits, *states; int32_t n; const rh_along *along; } score_rows;

/* The next chunk of each unfinished text, at most `rows` rows of logits in all; returns how many
 * texts take part. Whole prompts first: fresh sequences share them. captures [n]. */
static int32_t next_chunks(rh_step_input *in, rh_capture *captures, int32_t *owner, const scored *s, int32_t n,
                           const score_rows *rows, const rh_experiment *x)
{
    int32_t going = 0, active = 0, used = 0;
    for (int32_t i = 0; i < n; i++) going += s[i].fed < s[i].feed;
    for (int32_t i = 0; i < n; i++) {
        int32_t left = s[i].feed - s[i].fed;
        if (left <= 0) continue;
        bool prompt = s[i].fed == 0;
        int32_t chunk = prompt ? x->prompt.n : left < rows->n / going ? left : rows->n / going;
        in[active] = (rh_step_input){.seq = s[i].seq, .ids = s[i].tokens + s[i].fed, .n = chunk,
                                     .want = prompt ? RH_LOGITS_LAST : RH_LOGITS_ALL,
                                     .logits = rows->logits + (size_t)used * (size_t)x->m->config.n_vocab};
        if (rows->along && !prompt) {
            captures[active] = (rh_capture){.layer = rows->along->layer, .hook = RH_RESID_POST, .n = chunk,
                                            .out = rows->states + (size_t)used * (size_t)x->m->config.d_model};
            in[active].captures = &captures[active];
            in[active].n_captures = 1;
        }
        used += prompt ? 1 : chunk;
        owner[active++] = i;
    }
    return active;
}

/* Of each row of logits only one number is kept, and of each row of states. */
static void add_rows(scored *s, const rh_step_input *in, const rh_model_config *c, const float *u)
{
    int32_t n_rows = in->want == RH_LOGITS_LAST ? 1 : in->n;
    s->fed += in->n;
    for (int32_t j = 0; j < n_rows; j++) {
        int32_t next = s->fed - n_rows + 1 + j;
        if (next < s->n) s->sum += surprise(in->logits + (size_t)j * (size_t)c->n_vocab, c->n_vocab, s->tokens[next]);
    }
    for (int32_t j = 0; in->n_captures && j < in->n; j++) {
        double p = rh_dot(in->captures->out + (size_t)j * (size_t)c->d_model, u, c->d_model);
        s->along += p;
        s->squares += p * p;
    }
}

/* Runs first..first+n-1, n <= GROUP, as unsteered sequences. */
static rh_status score_group(scored *s, const score_rows *rows, const rh_experiment *x, int32_t first, int32_t n, rh_error *err)
{
    rh_session *session = NULL;
    rh_step_input in[GROUP];
    rh_capture captures[GROUP];
    int32_t owner[GROUP], longest = 0, active;
    for (int32_t i = 0; i < n; i++) {
        int32_t all = x->n_tokens[first + i];
        s[i] = (scored){.tokens = x->tokens[first + i], .n = all};
        if (all > x->prompt.n) s[i].feed = rows->along ? all : all - 1;
        if (all > longest) longest = all;
    }
    rh_status status = rh_session_new(&session, x->m, n, longest, err);
    for (int32_t i = 0; !status && i < n; i++)
        status = rh_session_add(session, &s[i].seq, x->prompt.n, NULL, 0, err);
    while (!status && (active = next_chunks(in, captures, owner, s, n, rows, x)) > 0) {
        status = rh_session_step(session, in, active, err);
        for (int32_t a = 0; !status && a < active; a++)
            add_rows(&s[owner[a]], &in[a], &x->m->config, rows->along ? rows->along->u : NULL);
    }
    rh_session_free(session);
    return status;
}

rh_status rh_score_surprisal(rh_steer_run *runs, const rh_experiment *x, const rh_along *along, rh_error *err)
{
    size_t n_vocab = (size_t)x->m->config.n_vocab;
    score_rows rows = {.n = (int32_t)(LOGIT_BYTES / sizeof(float) / n_vocab), .along = along};
    if (rows.n < GROUP) rows.n = GROUP;
    rows.logits = rh_calloc((size_t)rows.n * n_vocab, sizeof *rows.logits);
    if (along) rows.states = rh_calloc((size_t)rows.n * (size_t)x->m->config.d_model, sizeof *rows.states);
    rh_status status = rows.logits && (rows.states || !along) ? RH_OK : rh_fail_nomem(err);
    for (int32_t first = 0; !status && first < x->n_runs; first += GROUP) {
        scored texts[GROUP];
        int32_t n = x->n_runs - first < GROUP ? x->n_runs - first : GROUP;
        if (along && along->go_on && !along->go_on(along->data)) status = rh_fail(err, RH_ECANCELLED, "stopped while reading");
        if (!status) status = score_group(texts, &rows, x, first, n, err);
        for (int32_t i = 0; !status && i < n; i++) {
            int32_t n_ids = x->n_tokens[first + i] - x->prompt.n;
            runs[first + i].surprisal = n_ids > 0 ? texts[i].sum / n_ids : NAN;
            if (!along) continue;
            along->mean[first + i] = n_ids > 0 ? texts[i].along / n_ids : NAN;
            along->squares[first + i] = n_ids > 0 ? texts[i].squares / n_ids : NAN;
        }
    }
    free(rows.states);
    free(rows.logits);
    return status;
}

/* ---- reading states --------------------------------------------------------------------------- */

rh_status rh_read(const rh_model *m, const rh_reading *readings, int32_t n, rh_error *err)
{
    rh_session *s = NULL;
    int32_t longest = 0;
    rh_step_input *in = rh_calloc((size_t)n, sizeof *in);
    if (!in) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++)
        if (readings[i].n > longest) longest = readings[i].n;
    rh_status status = rh_session_new(&s, m, n, longest, err);
    for (int32_t i = 0; !status && i < n; i++) {
        const rh_reading *r = &readings[i];
        in[i] = (rh_step_input){.ids = r->ids, .n = r->n, .want = RH_LOGITS_NONE,
                                .captures = r->captures, .n_captures = r->n_captures};
        status = rh_session_add(s, &in[i].seq, r->n_prompt, r->actions, r->n_actions, err);
    }
    if (!status) status = rh_session_step(s, in, n, err);
    rh_session_free(s);
    free(in);
    return status;
}
