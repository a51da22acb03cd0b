/* Sequences in one batch against the same sequences run alone: sharing, splitting at sites,
 * captures, early stop, and actions against the formula on captured states. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "engine/session_internal.h"
#include "golden.h"

enum { N_SEQS = 6, LEN = 12, MAX_CAPTURES = 64 };

static const char *const models[] = {"gemma3-f32", "llama-f32", "gemma2-bf16"};

typedef struct run {
    float *logits;                         /* [n, n_vocab] */
    float *states[MAX_CAPTURES];           /* per layer and hook */
    rh_capture captures[MAX_CAPTURES];
    int n_captures;
} run;

static void prepare(run *r, const rh_model *m, int32_t n)
{
    memset(r, 0, sizeof *r);
    r->logits = golden_floats((size_t)n * (size_t)m->config.n_vocab);
    for (int32_t l = 0; l < m->config.n_layers; l += 2)
        for (rh_hook h = 0; h < RH_N_HOOKS; h++) {
            const int k = r->n_captures++;
            assert_true(k < MAX_CAPTURES);
            r->states[k] = golden_floats((size_t)n * (size_t)rh_model_width(m, h));
            r->captures[k] = (rh_capture){.layer = l, .hook = h, .n = n, .out = r->states[k]};
        }
}

static void release(run *r)
{
    free(r->logits);
    for (int k = 0; k < r->n_captures; k++) free(r->states[k]);
}

static void assert_close(const float *a, const float *b, size_t n, double tolerance)
{
    double largest = 0, delta = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(a[i]));
        largest = fmax(largest, fabs(b[i]));
        delta = fmax(delta, fabs((double)a[i] - b[i]));
    }
    if (delta > tolerance * largest) fail_msg("differs by %g of %g", delta, largest);
}

typedef struct plan { int32_t ids[LEN]; int32_t n; rh_action actions[2]; int32_t n_actions; } plan;

static rh_mask_term terms[] = {{.kind = RH_MASK_LAST}, {.kind = RH_MASK_TOKENS, .lo = 2, .hi = 4},
                               {.kind = RH_MASK_GENERATED, .hi = INT32_MAX}};

/* Prompts with prefixes in common, steered and ablated at different sites and positions. */
static void make_plans(plan *plans, const rh_model *m, const float *v, uint64_t seed)
{
    for (int s = 0; s < N_SEQS; s++) {
        plan *p = &plans[s];
        memset(p, 0, sizeof *p);
        p->n = LEN - (s % 3);
        const int same = s < 3 ? LEN : 5; /* the first three are prefixes of each other */
        for (int i = 0; i < p->n; i++)
            p->ids[i] = (int32_t)(rh_random_u64(seed, i < same ? 0 : (uint64_t)s, (uint64_t)i) % (uint64_t)m->config.n_vocab);
        p->n_actions = (int)(rh_random_u64(seed, 77, (uint64_t)s) % 3);
        for (int k = 0; k < p->n_actions; k++) {
            const uint64_t u = rh_random_u64(seed, 78, (uint64_t)(s * 2 + k));
            const rh_hook hook = (rh_hook)(u % RH_N_HOOKS);
            p->actions[k] = (rh_action){.kind = u >> 8 & 1 ? RH_ABLATE : RH_STEER,
                                        .layer = (int32_t)(u >> 16 & 0xff) % m->config.n_layers, .hook = hook,
                                        .v = v + (size_t)hook * 1024, .rank = 1, .strength = 1.5f,
                                        .mask = {&terms[u >> 24 & 1], u >> 26 & 1 ? 1 : 0}};
        }
    }
}

static rh_step_input input_of(rh_session *s, const plan *p, run *r)
{
    rh_step_input in = {.ids = p->ids, .n = p->n, .want = RH_LOGITS_ALL, .logits = r->logits, .captures = r->captures,
                        .n_captures = r->n_captures};
    assert_int_equal(rh_session_add(s, &in.seq, p->n, p->actions, p->n_actions, NULL), RH_OK);
    return in;
}

static void batch_equals_alone(void **state)
{
    (void)state;
    float *v = golden_floats(1024 * RH_N_HOOKS);
    for (size_t which = 0; which < sizeof models / sizeof *models; which++) {
        rh_model *m = golden_open_tiny(models[which], true);
        for (int h = 0; h < RH_N_HOOKS; h++) {
            const int32_t w = rh_model_width(m, (rh_hook)h);
            for (int32_t i = 0; i < w; i++)
                v[h * 1024 + i] = (float)(rh_random_normal(3, (uint64_t)h, (uint64_t)i) / sqrt(w));
        }
        for (uint64_t seed = 0; seed < 12; seed++) {
            plan plans[N_SEQS];
            run together[N_SEQS], alone;
            rh_step_input in[N_SEQS];
            rh_session *s = NULL;
            make_plans(plans, m, v, seed);
            assert_int_equal(rh_session_new(&s, m, N_SEQS, LEN, NULL), RH_OK);
            for (int i = 0; i < N_SEQS; i++) {
                prepare(&together[i], m, plans[i].n);
                in[i] = input_of(s, &plans[i], &together[i]);
            }
            assert_int_equal(rh_session_step(s, in, N_SEQS, NULL), RH_OK);
            assert_true(rh_session_stats(s).computed < rh_session_stats(s).asked);
            rh_session_free(s);
            for (int i = 0; i < N_SEQS; i++) {
                prepare(&alone, m, plans[i].n);
                assert_int_equal(rh_session_new(&s, m, 1, LEN, NULL), RH_OK);
                const rh_step_input one = input_of(s, &plans[i], &alone);
                assert_int_equal(rh_session_step(s, &one, 1, NULL), RH_OK);
                rh_session_free(s);
                const size_t n = (size_t)plans[i].n;
                assert_close(together[i].logits, alone.logits, n * (size_t)m->config.n_vocab, 1e-5);
                for (int k = 0; k < alone.n_captures; k++)
                    assert_close(together[i].states[k], alone.states[k],
                                 n * (size_t)rh_model_width(m, alone.captures[k].hook), 1e-5);
                release(&alone);
                release(&together[i]);
            }
        }
        rh_model_free(m);
    }
    free(v);
}

/* Prompt in one step, then token by token after a shared prefix, against all at once. */
static void steps_equal_prefill(void **state)
{
    (void)state;
    rh_model *m = golden_open_tiny("gemma3-f32", true);
    const size_t vocab = (size_t)m->config.n_vocab;
    float *v = golden_floats((size_t)m->config.d_model), *whole = golden_floats(LEN * vocab), *last = golden_floats(2 * vocab);
    int32_t ids[LEN];
    for (int32_t i = 0; i < m->config.d_model; i++) v[i] = (float)rh_random_normal(9, 0, (uint64_t)i);
    for (int i = 0; i < LEN; i++) ids[i] = (i * 37 + 11) % m->config.n_vocab;
    for (int mask = 0; mask < 3; mask++) {
        const rh_action action = {.kind = RH_STEER, .layer = 1, .hook = RH_RESID_POST, .v = v, .strength = 0.3f,
                                  .mask = {&terms[mask], 1}};
        rh_session *s = NULL;
        int32_t a, b;
        assert_int_equal(rh_session_new(&s, m, 3, LEN, NULL), RH_OK);
        assert_int_equal(rh_session_add(s, &a, 5, &action, 1, NULL), RH_OK);
        rh_step_input in = {.seq = a, .ids = ids, .n = LEN, .want = RH_LOGITS_ALL, .logits = whole};
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
        rh_session_reset(s);
        assert_int_equal(rh_session_add(s, &a, 5, NULL, 0, NULL), RH_OK); /* unsteered, to share with */
        assert_int_equal(rh_session_add(s, &b, 5, &action, 1, NULL), RH_OK);
        rh_step_input both[2] = {{.seq = a, .ids = ids, .n = 5, .want = RH_LOGITS_LAST, .logits = last},
                                 {.seq = b, .ids = ids, .n = 5, .want = RH_LOGITS_LAST, .logits = last + vocab}};
        assert_int_equal(rh_session_step(s, both, 2, NULL), RH_OK);
        assert_close(last + vocab, whole + 4 * vocab, vocab, 1e-5);
        for (int i = 5; i < LEN; i++) {
            both[0].ids = both[1].ids = ids + i;
            both[0].n = both[1].n = 1;
            assert_int_equal(rh_session_step(s, both, 2, NULL), RH_OK);
            assert_close(last + vocab, whole + (size_t)i * vocab, vocab, 1e-5);
        }
        assert_int_equal(rh_session_len(s, b), LEN);
        rh_session_free(s);
    }
    free(v);
    free(whole);
    free(last);
    rh_model_free(m);
}

/* What each kind does to h at one position, with p = h.v: the coefficient of v. */
static double expected_move(const rh_action *a, double p)
{
    switch (a->kind) {
    case RH_STEER: return a->strength;
    case RH_ABLATE: return -p;
    case RH_SCALE: return (a->amount - 1) * p;
    case RH_CAP: return p > a->amount ? a->amount - p : 0;
    case RH_CLAMP: return a->amount - p;
    case RH_FEATURE_CLAMP:
    case RH_SPLICE: break; /* test_sae_action.c */
    }
    return NAN;
}

static double dot(const float *a, const float *b, int32_t d)
{
    double sum = 0;
    for (int32_t i = 0; i < d; i++) sum += (double)a[i] * b[i];
    return sum;
}

static void actions_do_what_they_say(void **state)
{
    (void)state;
    rh_model *m = golden_open_tiny("llama-f32", true);
    enum { D = 1024, T = 4 };
    const int32_t ids[T] = {1, 5, 9, 2}, d = m->config.d_model;
    float v[D], w[D], before[T * D], after[T * D];
    assert_true(d <= D);
    for (int32_t i = 0; i < d; i++) {
        v[i] = (float)rh_random_normal(4, 0, (uint64_t)i);
        w[i] = (float)rh_random_normal(5, 0, (uint64_t)i);
    }
    const double norm = sqrt(dot(v, v, d));
    for (int32_t i = 0; i < d; i++) v[i] /= (float)norm;
    for (int k = 0; k < 5 * 3; k++) { /* kinds x (no guard, dot, cos) */
        int64_t tested = 0, fired = 0, expected_fired = 0;
        const rh_guard guard = {.test = {.cosine = k / 5 == 2, .compare = k % 2 ? RH_COMPARE_GT : RH_COMPARE_LE,
                                         .norm = (float)sqrt(dot(w, w, d)), .threshold = 0.01f},
                                .v = w, .tested = &tested, .fired = &fired};
        const rh_guard_test *test = &guard.test;
        const rh_action action = {.kind = (rh_action_kind)(k % 5), .layer = 1, .hook = RH_MLP_OUT, .v = v, .rank = 1,
                                  .strength = -2.5f, .amount = 0.3f, .mask = {&terms[1], 1}, /* positions 2 and 3 */
                                  .guard = k < 5 ? NULL : &guard};
        const rh_capture captures[] = {{.layer = 1, .hook = RH_MLP_OUT, .before_actions = true, .n = T, .out = before},
                                       {.layer = 1, .hook = RH_MLP_OUT, .n = T, .out = after}};
        rh_session *s = NULL;
        rh_step_input in = {.ids = ids, .n = T, .captures = captures, .n_captures = 2};
        assert_int_equal(rh_session_new(&s, m, 1, 8, NULL), RH_OK);
        assert_int_equal(rh_session_add(s, &in.seq, T, &action, 1, NULL), RH_OK);
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
        for (int t = 0; t < T; t++) {
            const float *h = before + t * d;
            const double x = dot(h, w, d) / (test->cosine ? test->norm * sqrt(dot(h, h, d)) : 1);
            const bool holds = test->compare == RH_COMPARE_GT ? x > test->threshold : x <= test->threshold;
            const bool acts = t >= 2 && (k < 5 || holds);
            const double c = acts ? expected_move(&action, dot(h, v, d)) : 0;
            for (int32_t i = 0; i < d; i++) assert_true(fabs(after[t * d + i] - (h[i] + c * v[i])) < 1e-5);
            expected_fired += k >= 5 && acts;
        }
        assert_int_equal(tested, k < 5 ? 0 : 2);
        assert_int_equal(fired, expected_fired);
        rh_error err; /* it stopped at layer 1: no further tokens */
        assert_int_equal(rh_session_step(s, &in, 1, &err), RH_EVALUE);
        rh_session_free(s);
    }
    rh_model_free(m);
}

/* What guards let through and count is the same whether a step has parts or not. */
static void guards_count_in_parts(void **state)
{
    (void)state;
    enum { D = 1024, T = 12, VOCAB = 67 };
    rh_model *m = golden_open_tiny("llama-f32", true);
    const int32_t ids[2][T] = {{1, 5, 9, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {1, 5, 9, 2, 13, 14, 15, 16, 17, 18, 19, 20}};
    float v[D], *logits[2];
    const rh_mask_term behind[] = {{.kind = RH_MASK_TOKENS, .lo = 3, .hi = INT32_MAX}};
    int64_t counts[2][2][2] = {{{0}}};
    for (int32_t i = 0; i < m->config.d_model; i++) v[i] = (float)rh_random_normal(4, 0, (uint64_t)i);
    const double norm = sqrt(dot(v, v, m->config.d_model));
    for (int32_t i = 0; i < m->config.d_model; i++) v[i] /= (float)norm;
    for (int parts = 0; parts < 2; parts++) {
        rh_guard guards[2];
        rh_action actions[2];
        rh_step_input in[2];
        rh_session *s = NULL;
        logits[parts] = golden_floats(2 * T * VOCAB);
        assert_int_equal(rh_session_new(&s, m, 2, T, NULL), RH_OK);
        if (parts) s->step_rows = 5;
        for (int k = 0; k < 2; k++) {
            guards[k] = (rh_guard){.test = {.compare = RH_COMPARE_GT, .threshold = k ? 0.5f : 0.02f}, .v = v,
                                   .tested = &counts[parts][k][0], .fired = &counts[parts][k][1]};
            actions[k] = (rh_action){.kind = k ? RH_STEER : RH_CLAMP, .layer = k, .hook = RH_RESID_POST, .v = v, .amount = 1,
                                     .strength = 2, .mask = {behind, k}, .guard = &guards[k]};
        }
        for (int k = 0; k < 2; k++) {
            in[k] = (rh_step_input){.ids = ids[k], .n = T, .want = RH_LOGITS_ALL, .logits = logits[parts] + k * T * VOCAB};
            assert_int_equal(rh_session_add(s, &in[k].seq, T, actions, k + 1, NULL), RH_OK);
        }
        assert_int_equal(rh_session_step(s, in, 2, NULL), RH_OK);
        rh_session_free(s);
    }
    assert_memory_equal(logits[0], logits[1], 2 * T * VOCAB * sizeof(float));
    assert_memory_equal(counts[0], counts[1], sizeof counts[0]);
    assert_in_range(counts[0][0][0], T + 1, 2 * T); /* shared rows are tested once */
    assert_int_equal(counts[0][1][0], T - 3);
    for (int k = 0; k < 2; k++) assert_in_range(counts[0][k][1], 1, counts[0][k][0] - 1);
    free(logits[0]);
    free(logits[1]);
    rh_model_free(m);
}

static void wrong_use_is_answered(void **state)
{
    (void)state;
    rh_model *m = golden_open_tiny("llama-f32", false);
    rh_session *s = NULL;
    rh_error err;
    int32_t seq;
    float *logits = golden_floats(40 * (size_t)m->config.n_vocab);
    int32_t ids[300] = {1, 2, 3};
    const int32_t wild[1] = {m->config.n_vocab}, far[1] = {7};
    assert_int_equal(rh_session_new(&s, m, 0, 8, &err), RH_ELIMIT);
    assert_int_equal(rh_session_new(&s, m, 1, 8, &err), RH_OK);
    assert_int_equal(rh_session_add(s, &seq, 3, NULL, 0, &err), RH_OK);
    assert_int_equal(rh_session_add(s, &seq, 3, NULL, 0, &err), RH_ELIMIT);
    rh_step_input in = {.seq = 0, .ids = ids, .n = 9, .want = RH_LOGITS_LAST, .logits = logits};
    assert_int_equal(rh_session_step(s, &in, 1, &err), RH_ELIMIT);
    in.ids = wild;
    in.n = 1;
    assert_int_equal(rh_session_step(s, &in, 1, &err), RH_EVALUE);
    in.ids = ids;
    in.n = 3;
    const rh_capture beyond = {.layer = m->config.n_layers, .n = 3, .out = logits};
    const rh_capture late = {.layer = 0, .positions = far, .n = 1, .out = logits};
    in.captures = &beyond;
    in.n_captures = 1;
    assert_int_equal(rh_session_step(s, &in, 1, &err), RH_ESITE);
    in.captures = &late;
    assert_int_equal(rh_session_step(s, &in, 1, &err), RH_EVALUE);
    in.n_captures = 0;
    const rh_step_input twice[2] = {in, in};
    assert_int_equal(rh_session_step(s, twice, 2, &err), RH_EVALUE);
    assert_int_equal(rh_session_len(s, 0), 0); /* nothing happened */
    assert_int_equal(rh_session_step(s, &in, 1, &err), RH_OK);
    free(logits);
    rh_session_free(s);
    rh_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(batch_equals_alone), cmocka_unit_test(steps_equal_prefill),
                                       cmocka_unit_test(actions_do_what_they_say),
                                       cmocka_unit_test(guards_count_in_parts), cmocka_unit_test(wrong_use_is_answered)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
