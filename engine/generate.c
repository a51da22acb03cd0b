#include "engine/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One generation under way. */
typedef struct lane {
    rh_generation *g;
    int32_t seq;
    int32_t *history;      /* [n_prompt + max_tokens] prompt and what was generated */
    int32_t n_history;
    rh_seen seen;          /* of history, what penalties look at */
    rh_sample_spec draw;
    int32_t next;          /* drawn behind history */
    float *logits;         /* [n_vocab] behind history, where an aim is tried; NULL: it has none */
    double aim;            /* ln p of the aim, while it is tried */
    bool done;
} lane;

typedef struct loop {
    const rh_model *m;
    const rh_generate_options *o;
    rh_session *session;
    lane *lanes;
    int32_t n;
    rh_step_input *inputs; /* [n] */
    float *logits, *behind; /* [n, n_vocab] while an aim is tried, and behind its tokens; NULL: nobody has one */
    rh_error *err;
} loop;

void rh_generation_free(rh_generation *g)
{
    if (!g) return;
    free(g->ids);
    g->ids = NULL;
    g->n_ids = 0;
    rh_str_free(&g->text);
}

static bool is_stop(const rh_generate_options *o, int32_t id)
{
    for (int32_t i = 0; i < o->n_stop_ids; i++)
        if (o->stop_ids[i] == id) return true;
    return false;
}

/* Cut text at the first stop string, if one is in it. Only its new tail can have one. */
static bool cut_at_stop(rh_str *text, size_t old_len, const rh_generate_options *o)
{
    const char *first = NULL;
    for (int32_t i = 0; i < o->n_stop_strings; i++) {
        const size_t len = strlen(o->stop_strings[i]);
        if (!len || !text->data) continue;
        const char *at = strstr(text->data + (old_len >= len ? old_len - len + 1 : 0), o->stop_strings[i]);
        if (at && (!first || at < first)) first = at;
    }
    if (!first) return false;
    text->len = (size_t)(first - text->data);
    text->data[text->len] = 0;
    return true;
}

/* The lane's next step also draws the token behind it: on the backend, so that logits stay there. */
static void draw_next(const loop *l, lane *a, rh_step_input *in)
{
    rh_seen_upto(&a->seen, a->history, a->n_history);
    rh_sampling_spec(&a->draw, &l->o->sampling, &a->seen, (uint64_t)a->g->n_ids);
    in->draw = &a->draw;
    in->drawn = &a->next;
}

/* Take the lane's next token, if it is to have one; sets done. */
static rh_status advance(loop *l, lane *a)
{
    rh_generation *g = a->g;
    if (g->n_ids >= l->o->max_tokens) {
        g->stop = RH_STOP_LENGTH;
        a->done = true;
        return RH_OK;
    }
    const int32_t id = a->next;
    if (is_stop(l->o, id)) {
        g->stop = RH_STOP_TOKEN;
        a->done = true;
        return RH_OK;
    }
    a->history[a->n_history++] = g->ids[g->n_ids++] = id;
    if (l->m->tokenizer) {
        const size_t old_len = g->text.len;
        rh_token_text(l->m->tokenizer, &g->text, id, false);
        if (g->text.failed) return rh_fail_nomem(l->err);
        if (cut_at_stop(&g->text, old_len, l->o)) {
            g->stop = RH_STOP_STRING;
            a->done = true;
        }
    }
    if (!a->done && g->n_ids >= l->o->max_tokens) {
        g->stop = RH_STOP_LENGTH;
        a->done = true;
    }
    return RH_OK;
}

/* Read all prompts in one step, so that common prefixes are shared. */
static rh_status prefill(loop *l)
{
    for (int32_t i = 0; i < l->n; i++) {
        lane *a = &l->lanes[i];
        const rh_generation *g = a->g;
        RH_TRY(rh_session_add(l->session, &a->seq, g->n_prompt, g->actions, g->n_actions, l->err));
        l->inputs[i] = (rh_step_input){.seq = a->seq, .ids = g->prompt, .n = g->n_prompt,
                                       .want = g->logits ? g->want : RH_LOGITS_NONE, .logits = g->logits,
                                       .captures = g->captures, .n_captures = g->n_captures};
        draw_next(l, a, &l->inputs[i]);
    }
    return rh_session_step(l->session, l->inputs, l->n, l->err);
}

/* p(aim | prompt and text so far) of every lane that goes on: aim is fed as if it were generated, all lanes together,
 * and taken back. */
static rh_status try_aims(loop *l)
{
    const int32_t n_vocab = l->m->config.n_vocab;
    rh_status status = RH_OK;
    int32_t k = l->n;
    for (int32_t i = 0; i < l->n; i++) {
        lane *a = &l->lanes[i];
        const rh_generation *g = a->g;
        if (g->n_aim && !a->done) a->aim = (double)a->logits[g->aim[0]] - rh_log_sum_exp(a->logits, n_vocab);
    }
    for (int32_t t = 1; k && !status; t++) {
        k = 0;
        for (int32_t i = 0; i < l->n; i++) {
            const lane *a = &l->lanes[i];
            if (a->g->n_aim <= t || a->done) continue;
            l->inputs[k] = (rh_step_input){.seq = a->seq, .ids = &a->g->aim[t - 1], .n = 1, .want = RH_LOGITS_LAST,
                                           .logits = l->behind + (size_t)k * (size_t)n_vocab};
            k++;
        }
        if (k) status = rh_session_step(l->session, l->inputs, k, l->err);
        k = 0;
        for (int32_t i = 0; !status && i < l->n; i++) {
            lane *a = &l->lanes[i];
            if (a->g->n_aim <= t || a->done) continue;
            const float *logits = l->inputs[k++].logits;
            a->aim += (double)logits[a->g->aim[t]] - rh_log_sum_exp(logits, n_vocab);
        }
    }
    for (int32_t i = 0; !status && i < l->n; i++) {
        const lane *a = &l->lanes[i];
        if (!a->g->n_aim || a->done) continue;
        if (a->g->n_aim > 1) status = rh_session_rewind(l->session, a->seq, a->n_history, l->err);
        if (status) break;
        a->g->aim_p += (exp(a->aim) - a->g->aim_p) / ++a->g->n_aimed;
    }
    return status;
}

static rh_status decode(loop *l, const rh_generation *g)
{
    for (int32_t step = 0;; step++) {
        const bool trying = l->behind && step % RH_AIM_EVERY == RH_AIM_EVERY / 2;
        int32_t k = 0;
        for (int32_t i = 0; i < l->n; i++) {
            lane *a = &l->lanes[i];
            if (!a->done) RH_TRY(advance(l, a));
            if (a->done) continue;
            rh_step_input *in = &l->inputs[k++];
            *in = (rh_step_input){.seq = a->seq, .ids = &a->history[a->n_history - 1], .n = 1};
            if (trying && a->g->n_aim) {
                in->want = RH_LOGITS_LAST;
                in->logits = a->logits;
            }
            draw_next(l, a, in);
        }
        if (l->o->on_step && !l->o->on_step(l->o->on_step_data, g, l->n))
            return rh_fail(l->err, RH_ECANCELLED, "stopped while generating");
        if (!k) return RH_OK;
        RH_TRY(rh_session_step(l->session, l->inputs, k, l->err));
        if (trying) RH_TRY(try_aims(l));
    }
}

static rh_status start_lane(loop *l, lane *a, rh_generation *g, float *logits)
{
    if (g->n_prompt < 1) {
        return rh_hinted(rh_fail(l->err, RH_EVALUE, "the prompt is empty: there is no token to continue from"),
                         l->err, "give some text, or --chat");
    }
    if ((int64_t)g->n_prompt + l->o->max_tokens > l->m->config.n_ctx) {
        return rh_hinted(rh_fail(l->err, RH_ELIMIT, "a prompt of %d tokens and %d to generate are longer than the model's context of %d",
                g->n_prompt, l->o->max_tokens, l->m->config.n_ctx),
                         l->err, "shorten the prompt or lower --max-tokens");
    }
    a->g = g;
    a->logits = logits;
    a->n_history = g->n_prompt;
    g->n_ids = g->n_aimed = 0;
    g->aim_p = 0;
    g->ids = rh_calloc((size_t)l->o->max_tokens, sizeof *g->ids);
    a->history = rh_calloc((size_t)g->n_prompt + (size_t)l->o->max_tokens, sizeof *a->history);
    if (!g->ids || !a->history) return rh_fail_nomem(l->err);
    memcpy(a->history, g->prompt, (size_t)g->n_prompt * sizeof *g->prompt);
    return rh_seen_new(&a->seen, &l->o->sampling, l->m->config.n_vocab, g->n_prompt + l->o->max_tokens, l->err);
}

rh_status rh_generate(const rh_model *m, rh_generation *g, int32_t n, const rh_generate_options *o, rh_error *err)
{
    loop l = {.m = m, .o = o, .n = n, .err = err};
    const size_t vocab = (size_t)m->config.n_vocab;
    int32_t longest = 0, tried = 0;
    rh_status status = RH_OK;
    if (n < 1) return RH_OK;
    if (o->max_tokens < 0) return rh_fail(err, RH_EVALUE, "%d tokens to generate", o->max_tokens);
    RH_TRY(rh_sampling_check(&o->sampling, err));
    l.lanes = rh_calloc((size_t)n, sizeof *l.lanes);
    l.inputs = rh_calloc((size_t)n, sizeof *l.inputs);
    for (int32_t i = 0; i < n; i++)
        if (g[i].n_aim > tried) tried = g[i].n_aim;
    if (tried) l.logits = rh_calloc((size_t)n * vocab, sizeof *l.logits);
    if (tried) l.behind = rh_calloc((size_t)n * vocab, sizeof *l.behind);
    if (!l.lanes || !l.inputs || (tried && (!l.logits || !l.behind))) status = rh_fail_nomem(err);
    for (int32_t i = 0; i < n && !status; i++) {
        status = start_lane(&l, &l.lanes[i], &g[i], tried ? l.logits + (size_t)i * vocab : NULL);
        if (g[i].n_prompt > longest) longest = g[i].n_prompt;
    }
    if (!status) status = rh_session_new(&l.session, m, n, longest + o->max_tokens + tried, err);
    if (!status) status = prefill(&l);
    if (!status) status = decode(&l, g);
    rh_session_free(l.session);
    for (int32_t i = 0; l.lanes && i < n; i++) {
        rh_seen_free(&l.lanes[i].seen);
        free(l.lanes[i].history);
    }
    free(l.lanes);
    free(l.inputs);
    free(l.logits);
    free(l.behind);
    return status;
}
