/* Long sequences: steps that go through the layers in parts, windows that move on, taking back, and keys and
 * values kept as float16. */
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

enum { LONG = 2300, SHARED = 1500, N_READ = 6 };

static const char *const models[] = {"gemma3-f32", "llama-f32", "gemma2-bf16"};
static const int32_t read_at[N_READ] = {0, 5, 1023, 1024, SHARED - 1, SHARED + 200};
static const rh_mask_term touched[] = {{.kind = RH_MASK_LIST, .positions = (const int32_t[]){3, 1200, SHARED - 1}, .n = 3}};

typedef struct scene {
    rh_model *m;
    int32_t ids[2][LONG], n[2];
    float *v, *logits[2], *states[2];   /* logits [n, vocab], states [N_READ, d] of layer 1 */
    rh_action action;
} scene;

/* Two prompts with SHARED tokens in common, the second steered at three of them. */
static void set(scene *x, const char *model)
{
    *x = (scene){.m = golden_open_tiny(model, true), .n = {LONG, SHARED + 300}};
    const rh_model_config *c = &x->m->config;
    x->m->config.n_ctx = 2 * LONG; /* more than it was made for: rope goes on */
    x->v = golden_floats((size_t)c->d_model);
    for (int32_t i = 0; i < c->d_model; i++) x->v[i] = (float)rh_random_normal(9, 0, (uint64_t)i);
    for (int s = 0; s < 2; s++) {
        x->logits[s] = golden_floats((size_t)x->n[s] * (size_t)c->n_vocab);
        x->states[s] = golden_floats((size_t)N_READ * (size_t)c->d_model);
        for (int32_t i = 0; i < x->n[s]; i++)
            x->ids[s][i] = (int32_t)(rh_random_u64(5, i < SHARED ? 0 : (uint64_t)s, (uint64_t)i) % (uint64_t)c->n_vocab);
    }
    x->action = (rh_action){.kind = RH_STEER, .layer = 0, .hook = RH_MLP_OUT, .v = x->v, .strength = 0.5f, .mask = {touched, 1}};
}

static void clear(scene *x)
{
    for (int s = 0; s < 2; s++) {
        free(x->logits[s]);
        free(x->states[s]);
    }
    free(x->v);
    rh_model_free(x->m);
}

static rh_session *session_of(const scene *x, int32_t seq[2], int first, int n)
{
    rh_session *s = NULL;
    assert_int_equal(rh_session_new(&s, x->m, 2, LONG, NULL), RH_OK);
    for (int i = first; i < first + n; i++)
        assert_int_equal(rh_session_add(s, &seq[i], x->n[i], i ? &x->action : NULL, i, NULL), RH_OK);
    return s;
}

/* A prompt by itself, `piece` tokens a step: logits and states are what a step of all of it must give. */
static void run_in_pieces(const scene *x, int which, int32_t piece, float *logits, float *states)
{
    const size_t vocab = (size_t)x->m->config.n_vocab, d = (size_t)x->m->config.d_model;
    int32_t seq[2];
    rh_session *s = session_of(x, seq, which, 1);
    for (int32_t at = 0; at < x->n[which]; at += piece) {
        const int32_t n = x->n[which] - at < piece ? x->n[which] - at : piece;
        int32_t here[N_READ], k = 0, first = 0;
        for (int i = 0; i < N_READ; i++) {
            if (read_at[i] < at) first++;
            else if (read_at[i] < at + n) here[k++] = read_at[i];
        }
        const rh_capture c = {.layer = 1, .hook = RH_RESID_POST, .positions = here, .n = k, .out = states + (size_t)first * d};
        const rh_step_input in = {.seq = seq[which], .ids = x->ids[which] + at, .n = n, .want = RH_LOGITS_ALL,
                                  .logits = logits + (size_t)at * vocab, .captures = &c, .n_captures = k > 0};
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
    }
    rh_session_free(s);
}

static bool has_windows(const rh_model *m)
{
    return memchr(m->config.local, 1, (size_t)m->config.n_layers) != NULL;
}

static void parts_equal_pieces(void **state)
{
    (void)state;
    for (size_t which = 0; which < sizeof models / sizeof *models; which++) {
        scene x;
        int32_t seq[2];
        set(&x, models[which]);
        const size_t vocab = (size_t)x.m->config.n_vocab, d = (size_t)x.m->config.d_model;
        rh_session *s = session_of(&x, seq, 0, 2);
        rh_capture c[2];
        rh_step_input in[2];
        for (int i = 0; i < 2; i++) {
            c[i] = (rh_capture){.layer = 1, .hook = RH_RESID_POST, .positions = read_at, .n = N_READ, .out = x.states[i]};
            in[i] = (rh_step_input){.seq = seq[i], .ids = x.ids[i], .n = x.n[i], .want = RH_LOGITS_ALL,
                                    .logits = x.logits[i], .captures = &c[i], .n_captures = 1};
        }
        assert_int_equal(rh_session_step(s, in, 2, NULL), RH_OK);
        assert_int_equal(rh_session_stats(s).asked, 2 * SHARED + LONG - SHARED + 300);
        assert_int_equal(rh_session_stats(s).computed, LONG + 300);
        assert_true(s->act.rows <= RH_STEP_ROWS + 64);
        if (has_windows(x.m)) assert_true(s->seqs[0].forgotten > 1000 && s->seqs[0].forgotten < LONG - 256);
        else assert_int_equal(s->seqs[0].forgotten, 0);
        rh_session_free(s);
        for (int i = 0; i < 2; i++) {
            float *logits = golden_floats((size_t)x.n[i] * vocab), *states = golden_floats(N_READ * d);
            run_in_pieces(&x, i, 97, logits, states);
            assert_true(golden_rel_diff(x.logits[i], logits, (int64_t)((size_t)x.n[i] * vocab)) < 1e-5);
            assert_true(golden_rel_diff(x.states[i], states, (int64_t)(N_READ * d)) < 1e-5);
            free(logits);
            free(states);
        }
        clear(&x);
    }
}

/* A text that borrows another's prefix still sees it when the other has gone far ahead. */
static void lenders_wait(void **state)
{
    (void)state;
    scene x;
    int32_t seq[2];
    set(&x, "gemma3-f32");
    const size_t vocab = (size_t)x.m->config.n_vocab;
    enum { START = 40, AHEAD = 1000, AFTER = 30 };
    rh_session *s = session_of(&x, seq, 0, 2);
    float *logits = golden_floats(AHEAD * vocab), *want = golden_floats((START + AFTER) * vocab);
    int32_t ids[START + AFTER];
    memcpy(ids, x.ids[0], sizeof ids);
    for (int i = START; i < START + AFTER; i++) ids[i] = (ids[i] + 1) % x.m->config.n_vocab;
    rh_step_input both[2] = {{.seq = seq[0], .ids = ids, .n = START, .want = RH_LOGITS_LAST, .logits = logits},
                             {.seq = seq[1], .ids = ids, .n = START, .want = RH_LOGITS_LAST, .logits = logits + vocab}};
    assert_int_equal(rh_session_step(s, both, 2, NULL), RH_OK);
    const rh_step_input ahead = {.seq = seq[0], .ids = x.ids[0] + START, .n = AHEAD, .want = RH_LOGITS_ALL, .logits = logits};
    assert_int_equal(rh_session_step(s, &ahead, 1, NULL), RH_OK);
    assert_int_equal(s->seqs[0].forgotten, 0);
    const rh_step_input after = {.seq = seq[1], .ids = ids + START, .n = AFTER, .want = RH_LOGITS_ALL, .logits = logits};
    assert_int_equal(rh_session_step(s, &after, 1, NULL), RH_OK);
    rh_session_free(s);
    s = session_of(&x, seq, 1, 1);
    const rh_step_input alone = {.seq = seq[1], .ids = ids, .n = START + AFTER, .want = RH_LOGITS_ALL, .logits = want};
    assert_int_equal(rh_session_step(s, &alone, 1, NULL), RH_OK);
    assert_true(golden_rel_diff(logits, want + START * vocab, (int64_t)(AFTER * vocab)) < 1e-5);
    rh_session_free(s);
    free(logits);
    free(want);
    clear(&x);
}

static void taking_back(void **state)
{
    (void)state;
    for (size_t which = 0; which < sizeof models / sizeof *models; which++) {
        scene x;
        rh_error err;
        int32_t seq[2];
        set(&x, models[which]);
        const size_t vocab = (size_t)x.m->config.n_vocab;
        rh_session *s = session_of(&x, seq, 0, 1);
        rh_step_input in = {.seq = seq[0], .ids = x.ids[0], .n = SHARED, .want = RH_LOGITS_ALL, .logits = x.logits[0]};
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
        const rh_status far = rh_session_rewind(s, seq[0], 100, &err);
        assert_int_equal(far, has_windows(x.m) ? RH_EVALUE : RH_OK);
        assert_int_equal(rh_session_len(s, seq[0]), far ? SHARED : 100);
        const int32_t to = far ? SHARED - 250 : 100;
        assert_int_equal(rh_session_rewind(s, seq[0], to, NULL), RH_OK);
        assert_int_equal(rh_session_rewind(s, seq[0], 0, NULL), RH_EVALUE);
        assert_int_equal(rh_session_rewind(s, seq[0], to + 1, NULL), RH_EVALUE);
        float *again = golden_floats(30 * vocab);
        in = (rh_step_input){.seq = seq[0], .ids = x.ids[0] + to, .n = 30, .want = RH_LOGITS_ALL, .logits = again};
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
        assert_true(golden_rel_diff(again, x.logits[0] + (size_t)to * vocab, (int64_t)(30 * vocab)) < 1e-5);
        free(again);
        rh_session_free(s);
        clear(&x);
    }
}

/* Float16 keys and values: close to float32 ones, and not the same. */
static void halves(void **state)
{
    (void)state;
    enum { N = 60 };
    for (size_t which = 0; which < sizeof models / sizeof *models; which++) {
        scene x;
        int32_t seq[2];
        set(&x, models[which]);
        const int64_t all = (int64_t)N * x.m->config.n_vocab;
        float *half = golden_floats((size_t)all);
        assert_int_equal(rh_kv_type(x.m), RH_F32); /* small, and exact */
        for (int k = 0; k < 2; k++) {
            rh_session *s = session_of(&x, seq, 0, 1);
            if (k) rh_session_kv(s, RH_F16);
            const rh_step_input in = {.seq = seq[0], .ids = x.ids[0], .n = N, .want = RH_LOGITS_ALL,
                                      .logits = k ? half : x.logits[0]};
            assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
            rh_session_free(s);
        }
        const double diff = golden_rel_diff(half, x.logits[0], all);
        if (!(diff > 1e-7 && diff < 2e-3)) fail_msg("%s: float16 keys and values move logits by %g", models[which], diff);
        free(half);
        clear(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts_equal_pieces), cmocka_unit_test(lenders_wait),
                                       cmocka_unit_test(taking_back), cmocka_unit_test(halves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
