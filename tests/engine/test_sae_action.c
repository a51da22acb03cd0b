/* Actions through an SAE: what they write against the formula on captured states, a run with those differences
 * added by hand, sharing and splitting of prefixes, and what is refused. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/session.h"
#include "golden.h"
#include "support/make_sae.h"
#include "support/scratch.h"

enum { LEN = 12, D = 32, M = 40, FEATURE = 7 };

static const rh_mask_term middle = {.kind = RH_MASK_TOKENS, .lo = 3, .hi = 9};

/* d_in and d_out are the model's. */
static const made_sae kinds[] = {
    {.architecture = "standard", .hook = "blocks.1.hook_resid_post", .d_in = D, .d_out = D, .d_sae = M, .seed = 1},
    {.architecture = "standard", .normalize = "constant_norm_rescale", .hook = "blocks.1.hook_resid_pre", .d_in = D, .d_out = D, .d_sae = M, .seed = 2},
    {.architecture = "standard", .normalize = "layer_norm", .hook = "blocks.0.hook_mlp_out", .d_in = D, .d_out = D, .d_sae = M, .seed = 3},
    {.architecture = "topk", .more = ", \"k\": 5", .hook = "blocks.0.hook_resid_post", .d_in = D, .d_out = D, .d_sae = M, .seed = 4},
    {.architecture = "topk", .normalize = "layer_norm", .more = ", \"k\": 30, \"rescale_acts_by_decoder_norm\": true",
     .hook = "blocks.1.hook_resid_post", .d_in = D, .d_out = D, .d_sae = M, .seed = 5},
    {.architecture = "jumprelu", .hook = "blocks.0.hook_resid_post", .d_in = D, .d_out = D, .d_sae = M, .seed = 6},
    {.architecture = "gated", .hook = "blocks.1.hook_attn_out", .d_in = D, .d_out = D, .d_sae = M, .seed = 7},
    {.architecture = "transcoder", .hook = "blocks.0.hook_mlp_in", .out = "blocks.0.hook_mlp_out", .d_in = D, .d_out = D, .d_sae = M, .seed = 8},
    {.architecture = "skip_transcoder", .hook = "blocks.1.hook_mlp_in", .out = "blocks.1.hook_mlp_out", .d_in = D, .d_out = D, .d_sae = M, .seed = 9},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

typedef struct stage {
    scratch dir;
    char folder[620];
    rh_model *m;
    rh_sae *sae;
    rh_sae_coder *coder;
    rh_hook reads, writes;
    int32_t layer, ids[LEN];
} stage;

static void open_stage(stage *s, const made_sae *kind, rh_sae_use use)
{
    rh_error err = {0};
    memset(s, 0, sizeof *s);
    scratch_open(&s->dir);
    snprintf(s->folder, sizeof s->folder, "%s", scratch_path(&s->dir, "sae"));
    make_sae(s->folder, kind);
    s->m = golden_open_tiny("llama-f32", true);
    golden_ok(rh_sae_open(&s->sae, s->folder, use, &err), &err);
    if (use == RH_SAE_ENCODE) golden_ok(rh_sae_coder_new(&s->coder, s->sae, s->m->backend, &err), &err);
    const rh_sae_facts *f = rh_sae_about(s->sae);
    assert_true(f->hook_known && f->hook_out_known);
    s->reads = f->hook;
    s->writes = f->hook_out;
    s->layer = f->layer;
    for (int i = 0; i < LEN; i++) s->ids[i] = (i * 37 + 11) % s->m->config.n_vocab;
}

static void close_stage(stage *s)
{
    rh_sae_coder_free(s->coder);
    rh_sae_free(s->sae);
    rh_model_free(s->m);
    made_sae_remove(s->folder);
    scratch_close(&s->dir);
}

static rh_action act(const stage *s, rh_action_kind kind, float amount)
{
    return (rh_action){.kind = kind, .layer = s->layer, .hook = s->writes, .sae = s->sae, .feature = FEATURE, .amount = amount,
                       .mask = {&middle, 1}};
}

static void run_one(const stage *s, const rh_action *actions, int n, float *logits, const rh_capture *captures, int n_captures)
{
    rh_session *session = NULL;
    rh_error err = {0};
    rh_step_input in = {.ids = s->ids, .n = LEN, .want = RH_LOGITS_ALL, .logits = logits, .captures = captures, .n_captures = n_captures};
    golden_ok(rh_session_new(&session, s->m, 1, LEN, &err), &err);
    golden_ok(rh_session_add(session, &in.seq, LEN, actions, n, &err), &err);
    golden_ok(rh_session_step(session, &in, 1, &err), &err);
    rh_session_free(session);
}

/* ---- the formula ------------------------------------------------------------------------------- */

/* recon with feature FEATURE at `amount`, minus recon: what the clamp must add. In float32 of the decoder. */
static void expected_clamp(const stage *s, float *delta, const float *x, float amount)
{
    float f[M], one[D], two[D];
    rh_sae_active a = {0}, b = {0};
    rh_error err = {0};
    golden_ok(rh_sae_encode(&a, s->coder, x, 1, &err), &err);
    rh_sae_active_dense(f, &a, 0, 1, M);
    f[FEATURE] = amount;
    golden_ok(rh_sae_active_from(&b, f, 1, M, &err), &err);
    golden_ok(rh_sae_decode(one, s->coder, &a, x, &err), &err);
    golden_ok(rh_sae_decode(two, s->coder, &b, x, &err), &err);
    for (int i = 0; i < D; i++) delta[i] = two[i] - one[i];
    rh_sae_active_free(&a);
    rh_sae_active_free(&b);
}

static void expected_splice(const stage *s, float *delta, const float *h, const float *x)
{
    rh_sae_active a = {0};
    rh_error err = {0};
    golden_ok(rh_sae_encode(&a, s->coder, x, 1, &err), &err);
    golden_ok(rh_sae_decode(delta, s->coder, &a, x, &err), &err);
    for (int i = 0; i < D; i++) delta[i] -= h[i];
    rh_sae_active_free(&a);
}

/* What each action adds to each position, from the unsteered states. */
static void expected(const stage *s, float delta[LEN][D], const rh_action *a, const float *h, const float *x)
{
    memset(delta, 0, LEN * D * sizeof(float));
    for (int t = middle.lo; t <= middle.hi; t++) {
        if (a->kind == RH_FEATURE_CLAMP) expected_clamp(s, delta[t], x + t * D, a->amount);
        else if (a->sae) expected_splice(s, delta[t], h + t * D, x + t * D);
        else for (int i = 0; i < D; i++) delta[t][i] = -h[t * D + i];
    }
}

static void close_to(const float *got, const float *want, size_t n, const char *what, size_t kind)
{
    double largest = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(want[i]));
        worst = fmax(worst, fabs((double)got[i] - want[i]));
    }
    if (!(worst <= 2e-5 * largest)) fail_msg("kind %zu: %s is off by %g of %g", kind, what, worst, largest);
}

/* The same as steering each position by its difference. */
static void equals_differences_by_hand(void **state)
{
    static float h[LEN * D], x[LEN * D], after[LEN * D], by_hand[LEN * D], delta[LEN][D];
    int silenced = 0;
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        stage s;
        open_stage(&s, &kinds[k], RH_SAE_ENCODE);
        const size_t n_logits = LEN * (size_t)s.m->config.n_vocab;
        float *plain = golden_floats(n_logits), *logits = golden_floats(n_logits), *want = golden_floats(n_logits);
        const rh_capture before[2] = {{.layer = s.layer, .hook = s.writes, .before_actions = true, .n = LEN, .out = h},
                                      {.layer = s.layer, .hook = s.reads, .n = LEN, .out = x}};
        const rh_capture then = {.layer = s.layer, .hook = s.writes, .n = LEN, .out = after};
        const rh_capture hand = {.layer = s.layer, .hook = s.writes, .n = LEN, .out = by_hand};
        run_one(&s, NULL, 0, plain, before, 2);
        rh_action tried[] = {act(&s, RH_FEATURE_CLAMP, 2.5f), act(&s, RH_FEATURE_CLAMP, 0), act(&s, RH_SPLICE, 0), act(&s, RH_SPLICE, 0)};
        tried[3].sae = NULL;
        for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
            rh_action steers[LEN];
            rh_mask_term each[LEN];
            int n = 0;
            expected(&s, delta, &tried[i], h, x);
            for (int t = middle.lo; t <= middle.hi; t++, n++) {
                each[n] = (rh_mask_term){.kind = RH_MASK_TOKENS, .lo = t, .hi = t};
                steers[n] = (rh_action){.kind = RH_STEER, .layer = s.layer, .hook = s.writes, .v = delta[t], .rank = 1, .strength = 1, .mask = {&each[n], 1}};
            }
            run_one(&s, &tried[i], 1, logits, &then, 1);
            run_one(&s, steers, n, want, &hand, 1);
            close_to(after, by_hand, LEN * D, "the state", k);
            close_to(logits, want, n_logits, "what follows", k);
            const bool moved = golden_max_diff(logits, plain, (int64_t)n_logits) > 1e-4;
            if (i == 1) silenced += moved; /* where the feature was active */
            else assert_true(moved);
        }
        free(plain);
        free(logits);
        free(want);
        close_stage(&s);
    }
    assert_true(silenced >= 5);
}

/* Two actions at one site: the second sees what the first left, and a feature that was clamped is at its amount. */
static void actions_in_order(void **state)
{
    static float after[LEN * D];
    (void)state;
    stage s;
    open_stage(&s, &kinds[5], RH_SAE_ENCODE);
    float *logits = golden_floats(LEN * (size_t)s.m->config.n_vocab), f[M];
    const rh_capture then = {.layer = s.layer, .hook = s.writes, .n = LEN, .out = after};
    const rh_action both[2] = {act(&s, RH_FEATURE_CLAMP, 3), act(&s, RH_FEATURE_CLAMP, 3)};
    float once[LEN * D];
    run_one(&s, both, 1, logits, &then, 1);
    memcpy(once, after, sizeof once);
    run_one(&s, both, 2, logits, &then, 1);
    double moved = 0;
    for (int t = middle.lo; t <= middle.hi; t++) { /* encoder and decoder rows differ: clamping twice moves again */
        rh_sae_active a = {0};
        golden_ok(rh_sae_encode(&a, s.coder, once + t * D, 1, NULL), NULL);
        rh_sae_active_dense(f, &a, 0, 1, M);
        float row[D], want[D];
        golden_ok(rh_sae_decoder_row(row, s.sae, FEATURE, NULL), NULL);
        for (int i = 0; i < D; i++) want[i] = once[t * D + i] + (3 - f[FEATURE]) * row[i];
        close_to(after + t * D, want, D, "the second clamp", 5);
        moved = fmax(moved, fabs(3 - f[FEATURE]));
        rh_sae_active_free(&a);
    }
    assert_true(moved > 1e-3);
    free(logits);
    close_stage(&s);
}

/* ---- batches ------------------------------------------------------------------------------------- */

enum { N_SEQS = 5 };

/* Sequences that begin alike, with actions at other sites, positions and of other kinds. */
static int plan(const stage *s, rh_action *out, const float *v, int which)
{
    static const rh_mask_term late = {.kind = RH_MASK_TOKENS, .lo = 8, .hi = 8};
    const rh_mask none = {0};
    switch (which) {
    case 0: return 0;
    case 1: out[0] = act(s, RH_FEATURE_CLAMP, 2); return 1;
    case 2: out[0] = act(s, RH_FEATURE_CLAMP, 2); out[0].mask = (rh_mask){&late, 1}; return 1;
    case 3: out[0] = act(s, RH_SPLICE, 0); out[0].mask = none; return 1;
    default:
        out[0] = (rh_action){.kind = RH_STEER, .layer = s->layer, .hook = s->reads, .v = v, .rank = 1, .strength = 1, .mask = {&middle, 1}};
        out[1] = act(s, RH_FEATURE_CLAMP, -1);
        return 2;
    }
}

static void batch_equals_alone(void **state)
{
    float v[D];
    (void)state;
    for (int i = 0; i < D; i++) v[i] = (float)rh_random_normal(9, 0, (uint64_t)i) / 6;
    for (size_t k = 0; k < N_KINDS; k++) {
        stage s;
        open_stage(&s, &kinds[k], RH_SAE_ENCODE);
        const size_t n_logits = LEN * (size_t)s.m->config.n_vocab;
        rh_action actions[N_SEQS][2];
        float *together[N_SEQS], *alone = golden_floats(n_logits);
        rh_step_input in[N_SEQS];
        rh_session *session = NULL;
        rh_error err = {0};
        golden_ok(rh_session_new(&session, s.m, N_SEQS, LEN, &err), &err);
        for (int i = 0; i < N_SEQS; i++) {
            together[i] = golden_floats(n_logits);
            in[i] = (rh_step_input){.ids = s.ids, .n = LEN, .want = RH_LOGITS_ALL, .logits = together[i]};
            golden_ok(rh_session_add(session, &in[i].seq, LEN, actions[i], plan(&s, actions[i], v, i), &err), &err);
        }
        golden_ok(rh_session_step(session, in, N_SEQS, &err), &err);
        assert_int_equal(rh_session_stats(session).computed, LEN); /* all begin in one's rows */
        assert_true(rh_session_stats(session).layer_rows < (int64_t)N_SEQS * LEN * s.m->config.n_layers || s.layer == 0);
        rh_session_free(session);
        for (int i = 0; i < N_SEQS; i++) {
            rh_action own[2];
            run_one(&s, own, plan(&s, own, v, i), alone, NULL, 0);
            close_to(together[i], alone, n_logits, "a sequence in the batch", k);
            if (i) assert_true(golden_max_diff(together[i], together[0], (int64_t)n_logits) > 1e-5);
        }
        for (int i = 0; i < N_SEQS; i++) free(together[i]);
        free(alone);
        close_stage(&s);
    }
}

/* A prompt, then token by token: generated positions are acted on as in one step. */
static void steps_equal_prefill(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, &kinds[3], RH_SAE_ENCODE);
    const size_t vocab = (size_t)s.m->config.n_vocab;
    float *whole = golden_floats(LEN * vocab), *last = golden_floats(vocab);
    const rh_action a = act(&s, RH_FEATURE_CLAMP, 2);
    rh_session *session = NULL;
    rh_error err = {0};
    run_one(&s, &a, 1, whole, NULL, 0);
    golden_ok(rh_session_new(&session, s.m, 1, LEN, &err), &err);
    rh_step_input in = {.ids = s.ids, .n = 5, .want = RH_LOGITS_LAST, .logits = last};
    golden_ok(rh_session_add(session, &in.seq, LEN, &a, 1, &err), &err);
    for (int at = 0; at < LEN; at += in.n, in.n = 1) {
        in.ids = s.ids + at;
        golden_ok(rh_session_step(session, &in, 1, &err), &err);
        close_to(last, whole + (size_t)(at + in.n - 1) * vocab, vocab, "a step", 3);
    }
    rh_session_free(session);
    free(whole);
    free(last);
    close_stage(&s);
}

/* ---- refused --------------------------------------------------------------------------------------- */

static void refused_with(const stage *s, rh_action a, rh_status status, const char *message)
{
    rh_session *session = NULL;
    rh_error err = {0};
    int32_t seq;
    golden_ok(rh_session_new(&session, s->m, 1, LEN, &err), &err);
    const rh_status got = rh_session_add(session, &seq, LEN, &a, 1, &err);
    if (got != status || !strstr(err.message, message)) fail_msg("%s: %s", rh_status_name(got), err.message);
    rh_session_free(session);
}

static void refused(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, &kinds[3], RH_SAE_ROWS);
    refused_with(&s, act(&s, RH_FEATURE_CLAMP, 1), RH_EVALUE, "was not opened to encode");
    refused_with(&s, act(&s, RH_SPLICE, 1), RH_EVALUE, "was not opened to encode");
    rh_action a = act(&s, RH_FEATURE_CLAMP, 1);
    a.hook = RH_ATTN_Z;
    refused_with(&s, a, RH_ESITE, "attn_z is 48 wide");
    a = act(&s, RH_FEATURE_CLAMP, 1);
    a.sae = NULL;
    refused_with(&s, a, RH_EVALUE, "a feature without its SAE");
    a.layer = 5;
    refused_with(&s, a, RH_ESITE, "an action at layer 5");
    close_stage(&s);
    open_stage(&s, &kinds[5], RH_SAE_ROWS); /* one feature's rows are enough here */
    a = act(&s, RH_FEATURE_CLAMP, 1);
    a.feature = M;
    refused_with(&s, a, RH_EVALUE, "has features 0..39");
    float *logits = golden_floats(LEN * (size_t)s.m->config.n_vocab);
    a.feature = M - 1;
    run_one(&s, &a, 1, logits, NULL, 0);
    free(logits);
    close_stage(&s);
    open_stage(&s, &kinds[7], RH_SAE_ENCODE);
    a = act(&s, RH_FEATURE_CLAMP, 1);
    a.hook = RH_RESID_POST;
    refused_with(&s, a, RH_ESITE, "acts at mlp_out, not at resid_post");
    close_stage(&s);
}

/* A state that is not finite, made by an action before: the step says where, and the session lives. */
static void not_finite(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, &kinds[0], RH_SAE_ENCODE);
    float v[D] = {INFINITY}, *logits = golden_floats((size_t)s.m->config.n_vocab);
    const rh_action actions[2] = {{.kind = RH_STEER, .layer = s.layer, .hook = s.writes, .v = v, .rank = 1, .strength = 1},
                                  act(&s, RH_FEATURE_CLAMP, 1)};
    rh_session *session = NULL;
    rh_error err = {0};
    rh_step_input in = {.ids = s.ids, .n = LEN, .want = RH_LOGITS_LAST, .logits = logits};
    golden_ok(rh_session_new(&session, s.m, 1, LEN, &err), &err);
    golden_ok(rh_session_add(session, &in.seq, LEN, actions, 2, &err), &err);
    assert_int_equal(rh_session_step(session, &in, 1, &err), RH_EVALUE);
    assert_non_null(strstr(err.message, "at layer 1: "));
    assert_non_null(strstr(err.message, "not finite"));
    assert_int_equal(rh_session_len(session, in.seq), 0);
    rh_session_free(session);
    free(logits);
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_differences_by_hand), cmocka_unit_test(actions_in_order),
                                       cmocka_unit_test(batch_equals_alone), cmocka_unit_test(steps_equal_prefill),
                                       cmocka_unit_test(refused), cmocka_unit_test(not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
