#include "probes/sae_eval.h"

#include <stdlib.h>

#include "engine/sampler.h"
#include "base/mem.h"
#include "probes/state_source.h"

enum { RUNS = 3, CLEAN = 0, SPLICED, ZERO, LOGIT_BYTES = 256 << 20 }; /* of one step */

typedef struct job {
    const rh_model *m;
    const rh_sae *sae;
    const rh_sae_eval_options *o;
    rh_sae_eval *out;
    rh_state_source *source;
    rh_states *states;
    rh_sae_fitter *fitter;
    rh_session *session;
    float *logits;          /* [RUNS, rows, n_vocab] */
    int32_t rows;           /* of one run in one step */
    int64_t read;           /* rows of the fit */
    double sum[RUNS];
} job;

/* ---- loss ------------------------------------------------------------------------------------------ */

/* The next n tokens of a text that is fed in all runs alike; position 0 predicts nothing that counts. */
static rh_status feed(job *j, const int32_t seq[RUNS], const rh_id_text *t, int32_t from, int32_t n, rh_error *err)
{
    const int32_t n_vocab = j->m->config.n_vocab;
    rh_step_input in[RUNS];
    for (int32_t r = 0; r < RUNS; r++)
        in[r] = (rh_step_input){.seq = seq[r], .ids = t->ids + from, .n = n, .want = RH_LOGITS_ALL,
                                .logits = j->logits + (size_t)r * (size_t)j->rows * (size_t)n_vocab};
    RH_TRY(rh_session_step(j->session, in, RUNS, err));
    for (int32_t i = 0; i < n; i++) {
        const int32_t at = from + i;
        if (at < 1 || at + 1 >= t->n) continue;
        for (int32_t r = 0; r < RUNS; r++) {
            const float *l = in[r].logits + (size_t)i * (size_t)n_vocab;
            j->sum[r] += rh_log_sum_exp(l, n_vocab) - (double)l[t->ids[at + 1]];
        }
        j->out->predictions++;
    }
    return RH_OK;
}

static rh_status lose(job *j, const rh_id_text *t, rh_error *err)
{
    const rh_mask_term behind = {.kind = RH_MASK_TOKENS, .lo = 1, .hi = INT32_MAX};
    rh_action actions[RUNS];
    int32_t seq[RUNS];
    for (int32_t r = 0; r < RUNS; r++)
        actions[r] = (rh_action){.kind = RH_SPLICE, .layer = j->out->layer, .hook = j->out->hook_out, .sae = r == SPLICED ? j->sae : NULL,
                                 .mask = {&behind, 1}};
    rh_session_reset(j->session);
    for (int32_t r = 0; r < RUNS; r++)
        RH_TRY(rh_session_add(j->session, &seq[r], t->n, r == CLEAN ? NULL : &actions[r], r == CLEAN ? 0 : 1, err));
    for (int32_t at = 0; at < t->n; at += j->rows) RH_TRY(feed(j, seq, t, at, t->n - at < j->rows ? t->n - at : j->rows, err));
    return RH_OK;
}

/* ---- all -------------------------------------------------------------------------------------------- */

static rh_status fit(job *j, const rh_id_text *texts, int32_t n, rh_error *err)
{
    rh_state_rows rows;
    for (int32_t i = 0, step; i < n && j->read < j->o->tokens; i += step) {
        step = rh_states_fit(texts + i, n - i);
        RH_TRY(rh_states_read(&rows, j->states, texts + i, step, err));
        RH_TRY(rh_sae_fitter_add(j->fitter, rows.x, rows.y, rows.n, err));
        j->read += rows.n;
    }
    return RH_OK;
}

static rh_status batch(job *j, const rh_id_text *texts, int32_t n, rh_error *err)
{
    const rh_sae_eval_options *o = j->o;
    RH_TRY(fit(j, texts, n, err));
    for (int32_t i = 0; i < n && j->out->predictions < o->loss_tokens; i++)
        if (texts[i].n > 2) RH_TRY(lose(j, &texts[i], err));
    if (o->progress && !o->progress(o->progress_data, "tokens", j->read < o->tokens ? j->read : o->tokens, o->tokens))
        return rh_fail(err, RH_ECANCELLED, "interrupted");
    return RH_OK;
}

static rh_status prepare(job *j, rh_error *err)
{
    const rh_sae_eval_options *o = j->o;
    rh_sae_eval *e = j->out;
    const int64_t row_bytes = (int64_t)j->m->config.n_vocab * (int64_t)sizeof *j->logits * RUNS;
    j->rows = row_bytes < LOGIT_BYTES ? (int32_t)(LOGIT_BYTES / row_bytes) : 1;
    if (j->rows > o->context) j->rows = o->context;
    RH_TRY(rh_sae_check_fit(j->m, j->sae, o->hook, err));
    RH_TRY(rh_state_source_new(&j->source, j->m, e->layer, e->hook_in, o->corpus, o->n_corpus, o->context, err));
    RH_TRY(rh_states_new(&j->states, j->m, e->layer, e->hook_in, e->hook_out, err));
    RH_TRY(rh_sae_fitter_new(&j->fitter, j->sae, j->m->backend, err));
    RH_TRY(rh_session_new(&j->session, j->m, RUNS, o->context, err));
    j->logits = rh_calloc((size_t)RUNS * (size_t)j->rows * (size_t)j->m->config.n_vocab, sizeof *j->logits);
    return j->logits ? RH_OK : rh_fail_nomem(err);
}

static rh_status conclude(job *j, rh_error *err)
{
    rh_sae_eval *e = j->out;
    RH_TRY(rh_sae_fitter_result(&e->fit, j->fitter, err));
    if (!e->predictions) return rh_fail(err, RH_EVALUE, "the corpus holds no text of three tokens");
    e->clean = j->sum[CLEAN] / (double)e->predictions;
    e->spliced = j->sum[SPLICED] / (double)e->predictions;
    e->zero = j->sum[ZERO] / (double)e->predictions;
    e->recovered = (e->zero - e->spliced) / (e->zero - e->clean);
    return RH_OK;
}

rh_status rh_sae_evaluate(rh_sae_eval *out, const rh_model *m, const rh_sae *s, const rh_sae_eval_options *o, rh_error *err)
{
    rh_sae_eval e = {.layer = rh_sae_about(s)->layer >= 0 ? rh_sae_about(s)->layer : o->layer};
    job j = {.m = m, .sae = s, .o = o, .out = &e};
    bool ended = false;
    rh_sae_hooks(&e.hook_in, &e.hook_out, s, o->hook);
    rh_status status = prepare(&j, err);
    while (!status && !ended && (j.read < o->tokens || e.predictions < o->loss_tokens)) {
        const rh_id_text *texts;
        int32_t n;
        status = rh_state_source_texts(&texts, &n, &ended, j.source, err);
        if (!status) status = batch(&j, texts, n, err);
    }
    if (!status) status = conclude(&j, err);
    if (!status) *out = e;
    rh_state_source_free(j.source);
    rh_states_free(j.states);
    rh_sae_fitter_free(j.fitter);
    rh_session_free(j.session);
    free(j.logits);
    return status;
}
