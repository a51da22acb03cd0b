/* bench_model.c - decode, prefill and batch: the session alone, without text. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "cli/bench.h"
#include "engine/sampler.h"

enum { DECODE = 128, PREFILL = 512, EACH = 64 };

double bench_block_flops(const rh_model_config *k, double rows)
{
    double d = k->d_model, q = (double)k->n_heads * k->head_dim, kv = (double)k->n_kv_heads * k->head_dim;
    return rows * 2 * k->n_layers * (d * (2 * q + 2 * kv) + 3 * d * k->d_ff);
}

double bench_logit_flops(const rh_model_config *k) { return 2.0 * k->d_model * k->n_vocab; }

bool bench_enough(int32_t done, double begun)
{
    enum { SECONDS = 6 };
    return done > 0 && rh_seconds() - begun > SECONDS;
}

/* n sequences of `prompt` random tokens, then `each` tokens a sequence, greedy. */
typedef struct decoding {
    const bench_setup *s;
    rh_session *session;
    rh_sample_spec greedy;
    rh_step_input *in;   /* [n] */
    int32_t *ids;        /* [n, prompt]; the first of each row is the next token */
    int32_t n, prompt, each;
} decoding;

static void decoding_free(decoding *d)
{
    rh_session_free(d->session);
    free(d->in);
    free(d->ids);
}

void bench_ids(int32_t *ids, int32_t n, const rh_model *m, uint64_t stream)
{
    for (int32_t i = 0; i < n; i++)
        ids[i] = (int32_t)(rh_random_u64(1, stream, (uint64_t)i) % (uint64_t)m->config.n_vocab);
}

static rh_status decoding_new(decoding *d, rh_error *err)
{
    const rh_model *m = d->s->m;
    const rh_sampling greedy = rh_sampling_default();
    const rh_seen nothing = {0};
    d->in = rh_calloc((size_t)d->n, sizeof *d->in);
    d->ids = rh_calloc((size_t)d->n * (size_t)d->prompt, sizeof *d->ids);
    if (!d->in || !d->ids) return rh_fail_nomem(err);
    rh_sampling_spec(&d->greedy, &greedy, &nothing, 0);
    return rh_session_new(&d->session, m, d->n, d->prompt + d->each, err);
}

static rh_status decoding_prompt(decoding *d, rh_error *err)
{
    const rh_model *m = d->s->m;
    rh_session_reset(d->session);
    for (int32_t i = 0; i < d->n; i++) {
        int32_t *ids = d->ids + (size_t)i * (size_t)d->prompt;
        bench_ids(ids, d->prompt, m, (uint64_t)i + 1);
        d->in[i] = (rh_step_input){.ids = ids, .n = d->prompt, .draw = &d->greedy, .drawn = ids};
        RH_TRY(rh_session_add(d->session, &d->in[i].seq, d->prompt, &d->s->action, 1, err));
    }
    return rh_session_step(d->session, d->in, d->n, err);
}

static rh_status decoding_go(decoding *d, rh_error *err)
{
    for (int32_t t = 0; t < d->each; t++) {
        for (int32_t i = 0; i < d->n; i++) d->in[i].n = 1;
        RH_TRY(rh_session_step(d->session, d->in, d->n, err));
        if (cli_interrupted()) return rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    return RH_OK;
}

static rh_status bench_decoding(bench_result *out, const bench_setup *s, int32_t n, int32_t each, rh_error *err)
{
    int32_t room = s->m->config.n_ctx - s->prompt;
    if (room < 1)
        return rh_fail(err, RH_ELIMIT, "a context of %d tokens is too short to decode behind %d", s->m->config.n_ctx, s->prompt);
    if (each > room) each = room;
    decoding d = {.s = s, .n = n, .prompt = s->prompt, .each = each};
    double tokens = (double)n * each, first = rh_seconds();
    rh_status status = decoding_new(&d, err);
    for (int32_t r = 0; r < s->repeats && !status && !bench_enough(r, first); r++) {
        status = decoding_prompt(&d, err);
        double begun = rh_seconds();
        if (!status) status = decoding_go(&d, err);
        double spent = rh_seconds() - begun;
        if (!status && (r == 0 || spent < out->seconds)) out->seconds = spent;
    }
    decoding_free(&d);
    out->tokens = tokens;
    out->bytes = (double)s->m->weight_bytes * each;
    out->flops = bench_block_flops(&s->m->config, tokens) + bench_logit_flops(&s->m->config) * tokens;
    return status;
}

rh_status bench_decode(bench_result *out, const bench_setup *s, rh_error *err)
{
    return bench_decoding(out, s, 1, DECODE, err);
}

rh_status bench_batch(bench_result *out, const bench_setup *s, rh_error *err)
{
    return bench_decoding(out, s, s->sequences, EACH, err);
}

rh_status bench_prefill(bench_result *out, const bench_setup *s, rh_error *err)
{
    const rh_model *m = s->m;
    int32_t n = m->config.n_ctx < PREFILL ? m->config.n_ctx : PREFILL, ids[PREFILL];
    rh_session *session = NULL;
    float *logits = rh_calloc((size_t)m->config.n_vocab, sizeof *logits);
    rh_status status = logits ? rh_session_new(&session, m, 1, n, err) : rh_fail_nomem(err);
    bench_ids(ids, n, m, 0);
    double first = rh_seconds();
    for (int32_t r = 0; r <= s->repeats && !status && !bench_enough(r - 1, first); r++) { /* the first is to warm up */
        rh_step_input in = {.ids = ids, .n = n, .want = RH_LOGITS_LAST, .logits = logits};
        rh_session_reset(session);
        status = rh_session_add(session, &in.seq, n, &s->action, 1, err);
        double begun = rh_seconds();
        if (!status) status = rh_session_step(session, &in, 1, err);
        double spent = rh_seconds() - begun;
        if (!status && r > 0 && (r == 1 || spent < out->seconds)) out->seconds = spent;
        if (!status && cli_interrupted()) status = rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    rh_session_free(session);
    free(logits);
    out->tokens = n;
    out->flops = bench_block_flops(&m->config, n) + bench_logit_flops(&m->config);
    return status;
}
