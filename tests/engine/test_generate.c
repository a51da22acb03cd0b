/* Tokens that a step draws on the backend against those that a sampler picks from the same step's logits, and a
 * generation against a loop that does it by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "engine/generate.h"
#include "engine/session_internal.h"
#include "golden.h"

enum { VOCAB = 67, TEXT = 20, LANES = 3 };

#define OFF .top_p = 1, .repetition = 1, .penalty_last = -1
static const struct { const char *what; rh_sampling set; } settings[] = {
    {"greedy", {OFF}},
    {"temperature", {.temperature = 0.9, .seed = 3, OFF}},
    {"hot, top-k", {.temperature = 2.5, .top_k = 7, .seed = 4, OFF}},
    {"top-p", {.temperature = 1.5, .top_p = 0.6, .repetition = 1, .penalty_last = -1, .seed = 5}},
    {"min-p", {.temperature = 1.5, .top_p = 1, .min_p = 0.4, .repetition = 1, .penalty_last = -1, .seed = 6}},
    {"repetition, all of the text", {.top_p = 1, .repetition = 1.3, .penalty_last = -1}},
    {"repetition, a window", {.top_p = 1, .repetition = 1.3, .penalty_last = 4}},
    {"a window of one", {.top_p = 1, .repetition = 3, .penalty_last = 1}},
    {"a window of none", {.top_p = 1, .repetition = 3, .penalty_last = 0}},
    {"frequency and presence", {.temperature = 0.7, .top_p = 1, .repetition = 1, .frequency = 0.8, .presence = 0.4, .penalty_last = 6, .seed = 7}},
    {"everything", {.temperature = 1.2, .top_k = 30, .top_p = 0.9, .min_p = 0.02, .repetition = 1.2, .frequency = -0.3, .presence = 0.5, .penalty_last = 5, .seed = 8}},
};

static const int32_t prompts[LANES][6] = {{1, 5, 9, 2, 5, 5}, {1, 5, 9, 30, 31, 32}, {1, 40, 2}};
static const int32_t n_prompt[LANES] = {6, 6, 3};

/* Token by token, alone, from logits in host memory. */
static void by_hand(int32_t out[TEXT], const rh_model *m, const rh_sampling *set, int lane, const rh_action *a)
{
    int32_t history[6 + TEXT], n = n_prompt[lane];
    float logits[VOCAB];
    rh_session *s = NULL;
    rh_sampler *sampler = NULL;
    rh_step_input in = {.ids = history, .n = n, .want = RH_LOGITS_LAST, .logits = logits};
    memcpy(history, prompts[lane], sizeof prompts[lane]);
    assert_int_equal(rh_session_new(&s, m, 1, n + TEXT, NULL), RH_OK);
    assert_int_equal(rh_session_add(s, &in.seq, n, a, a ? 1 : 0, NULL), RH_OK);
    assert_int_equal(rh_sampler_new(&sampler, set, VOCAB, NULL), RH_OK);
    for (int t = 0; t < TEXT; t++) {
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
        out[t] = history[n] = rh_sampler_pick(sampler, logits, history, n, (uint64_t)t);
        in.ids = &history[n++];
        in.n = 1;
    }
    rh_sampler_free(sampler);
    rh_session_free(s);
}

static void generations_are_what_a_sampler_picks(void **state)
{
    (void)state;
    rh_model *m = golden_open_tiny("llama-f32", true);
    const int32_t aim[2] = {7, 8};
    float v[64], kept[6 * VOCAB];
    for (int32_t i = 0; i < m->config.d_model; i++) v[i] = (float)rh_random_normal(3, 0, (uint64_t)i);
    const rh_action a = {.kind = RH_STEER, .layer = 0, .hook = RH_RESID_POST, .v = v, .strength = 0.5f};
    assert_int_equal(m->config.n_vocab, VOCAB);
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
        int32_t want[LANES][TEXT];
        rh_generation g[LANES] = {0};
        const rh_generate_options o = {.sampling = settings[k].set, .max_tokens = TEXT};
        print_message("%s\n", settings[k].what);
        for (int i = 0; i < LANES; i++) {
            by_hand(want[i], m, &settings[k].set, i, i ? NULL : &a);
            g[i] = (rh_generation){.prompt = prompts[i], .n_prompt = n_prompt[i], .actions = &a, .n_actions = !i};
        }
        g[0].aim = aim; /* tried on the way */
        g[0].n_aim = 2;
        g[1].want = RH_LOGITS_ALL;
        g[1].logits = kept;
        assert_int_equal(rh_generate(m, g, LANES, &o, NULL), RH_OK);
        for (int i = 0; i < LANES; i++) {
            assert_int_equal(g[i].n_ids, TEXT);
            assert_memory_equal(g[i].ids, want[i], sizeof want[i]);
        }
        assert_int_equal(g[0].n_aimed, TEXT / RH_AIM_EVERY);
        float *logits = golden_logits(m, prompts[1], n_prompt[1], 0); /* untouched by penalties */
        assert_memory_equal(kept, logits, sizeof kept);
        free(logits);
        for (int i = 0; i < LANES; i++) rh_generation_free(&g[i]);
    }
    rh_model_free(m);
}

/* More rows than go through the head at once, some drawn, some read, some both, and in parts of a few rows. */
static void a_step_draws_many(void **state)
{
    enum { N = 90, LEN = 3 };
    const rh_sampling set = {.temperature = 1.5, .top_p = 1, .repetition = 2, .penalty_last = -1, .seed = 11};
    rh_model *m = golden_open_tiny("llama-f32", true);
    rh_sampler *sampler = NULL;
    float *logits = golden_floats((size_t)N * LEN * VOCAB);
    (void)state;
    assert_int_equal(rh_sampler_new(&sampler, &set, VOCAB, NULL), RH_OK);
    for (int parts = 0; parts < 2; parts++) {
        rh_session *s = NULL;
        static rh_step_input in[N];
        static rh_sample_spec draw[N];
        static rh_seen seen[N];
        int32_t ids[N][LEN], token[N];
        assert_int_equal(rh_session_new(&s, m, N, 8, NULL), RH_OK);
        if (parts) s->step_rows = 100;
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < LEN; j++) ids[i][j] = (int32_t)(rh_random_u64(2, (uint64_t)i, (uint64_t)j) % VOCAB);
            in[i] = (rh_step_input){.ids = ids[i], .n = LEN, .want = (rh_logits_mode)(i / 2 % 3), .logits = logits + (size_t)i * LEN * VOCAB};
            assert_int_equal(rh_session_add(s, &in[i].seq, LEN, NULL, 0, NULL), RH_OK);
            token[i] = -1;
            if (i % 2) continue;
            assert_int_equal(rh_seen_new(&seen[i], &set, VOCAB, LEN, NULL), RH_OK);
            rh_seen_upto(&seen[i], ids[i], LEN);
            rh_sampling_spec(&draw[i], &set, &seen[i], (uint64_t)i);
            in[i].draw = &draw[i];
            in[i].drawn = &token[i];
        }
        assert_int_equal(rh_session_step(s, in, N, NULL), RH_OK);
        for (int i = 0; i < N; i++) {
            float *all = golden_logits(m, ids[i], LEN, 0);
            const float *last = all + (LEN - 1) * VOCAB;
            if (in[i].want == RH_LOGITS_ALL) assert_memory_equal(in[i].logits, all, LEN * VOCAB * sizeof *all);
            if (in[i].want == RH_LOGITS_LAST) assert_memory_equal(in[i].logits, last, VOCAB * sizeof *all);
            assert_int_equal(token[i], i % 2 ? -1 : rh_sampler_pick(sampler, last, ids[i], LEN, (uint64_t)i));
            if (i % 2 == 0) rh_seen_free(&seen[i]);
            free(all);
        }
        rh_session_free(s);
    }
    rh_sampler_free(sampler);
    free(logits);
    rh_model_free(m);
}

/* A step that only draws can be gone on from. */
static void drawing_needs_no_logits(void **state)
{
    (void)state;
    rh_model *m = golden_open_tiny("llama-f32", true);
    const rh_sampling greedy = rh_sampling_default();
    const rh_seen nothing = {0};
    rh_sample_spec draw;
    rh_session *s = NULL;
    int32_t ids[3] = {1, 5, 9}, next = -1;
    rh_step_input in = {.ids = ids, .n = 3, .draw = &draw, .drawn = &next};
    rh_sampling_spec(&draw, &greedy, &nothing, 0);
    assert_int_equal(rh_session_new(&s, m, 1, 5, NULL), RH_OK);
    assert_int_equal(rh_session_add(s, &in.seq, 3, NULL, 0, NULL), RH_OK);
    assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
    assert_in_range(next, 0, VOCAB - 1);
    in.ids = &next;
    in.n = 1;
    assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
    rh_session_free(s);
    rh_model_free(m);
}

/* What an engine asks of its backend, counted on the way to it; the wait numbered `broken` fails. */
static struct { const rh_ops *real; int downloads, waits, broken; size_t fetched; } watch;

static void watched_download(rh_backend *be, void *dst, const rh_buf *src, size_t offset, size_t bytes)
{
    watch.downloads++;
    watch.real->download(be, dst, src, offset, bytes);
}

static void watched_fetch(rh_backend *be, void *dst, const rh_buf *src, size_t offset, size_t bytes)
{
    watch.fetched += bytes;
    watch.real->fetch(be, dst, src, offset, bytes);
}

static rh_status watched_wait(rh_backend *be, rh_error *err)
{
    const rh_status status = watch.real->wait(be, err);
    return ++watch.waits == watch.broken ? rh_fail(err, RH_EDEVICE, "broken") : status;
}

/* Of a step under guards: tokens, and the guards' answers. Kept logits, captures and aims are what else is brought. */
static void decoding_brings_back_tokens(void **state)
{
    (void)state;
    rh_model *m = golden_open_tiny("llama-f32", true);
    float v[64], kept[VOCAB], h[6 * 64];
    for (int32_t i = 0; i < m->config.d_model; i++) v[i] = (float)rh_random_normal(3, 0, (uint64_t)i);
    int64_t tested = 0, fired = 0;
    const rh_guard guard = {.test = {.threshold = 0.1f}, .v = v, .tested = &tested, .fired = &fired};
    const rh_action a = {.kind = RH_STEER, .layer = 0, .hook = RH_RESID_POST, .v = v, .strength = 0.5f, .guard = &guard};
    const rh_capture capture = {.layer = 1, .hook = RH_RESID_POST, .n = 6, .out = h};
    const rh_generate_options o = {.sampling = settings[10].set, .max_tokens = TEXT};
    rh_ops ops = *m->backend->ops;
    watch.real = m->backend->ops;
    ops.download = watched_download;
    ops.fetch = watched_fetch;
    ops.wait = watched_wait;
    m->backend->ops = &ops;
    for (int more = 0; more < 2; more++) {
        rh_generation g[LANES] = {0};
        watch.downloads = watch.waits = 0;
        watch.fetched = 0;
        for (int i = 0; i < LANES; i++)
            g[i] = (rh_generation){.prompt = prompts[i], .n_prompt = n_prompt[i], .actions = &a, .n_actions = !i};
        if (more) {
            g[0].captures = &capture;
            g[0].n_captures = 1;
            g[1].want = RH_LOGITS_LAST;
            g[1].logits = kept;
        }
        assert_int_equal(rh_generate(m, g, LANES, &o, NULL), RH_OK);
        const size_t rows = 6 + 6 + 3 + (TEXT - 1) * LANES; /* at most: some are shared */
        const size_t least = TEXT * LANES * sizeof(int32_t) + (more ? sizeof kept + 6 * 32 * sizeof *h : 0);
        assert_int_equal(watch.downloads, 0);
        assert_int_equal(watch.waits, TEXT); /* the prompts, and all but the last token */
        assert_in_range(watch.fetched, least + 1, least + rows * sizeof(int32_t));
        for (int i = 0; i < LANES; i++) rh_generation_free(&g[i]);
    }
    assert_int_equal(tested, 2 * (6 + TEXT - 1));
    m->backend->ops = watch.real;
    rh_model_free(m);
}

/* A backend that fails says so at the step's end; the step did not happen. */
static void a_failed_step_did_not_happen(void **state)
{
    (void)state;
    rh_model *m = golden_open_tiny("llama-f32", true);
    const int32_t ids[4] = {1, 5, 9, 2};
    float v[64], logits[3][VOCAB];
    for (int32_t i = 0; i < m->config.d_model; i++) v[i] = 1;
    int64_t tested = 0;
    const rh_guard guard = {.test = {.threshold = -1e9f}, .v = v, .tested = &tested};
    const rh_action a = {.kind = RH_STEER, .layer = 0, .hook = RH_RESID_POST, .v = v, .strength = 0.5f, .guard = &guard};
    rh_step_input in = {.ids = ids, .n = 3, .want = RH_LOGITS_LAST};
    rh_ops ops = *m->backend->ops;
    rh_session *s = NULL;
    watch.real = m->backend->ops;
    watch.waits = 0;
    watch.broken = 2;
    ops.wait = watched_wait;
    m->backend->ops = &ops;
    for (int k = 0; k < 2; k++) {
        rh_error err = {0};
        assert_int_equal(rh_session_new(&s, m, 1, 4, NULL), RH_OK);
        in.ids = ids;
        in.n = 3;
        in.logits = logits[2];
        assert_int_equal(rh_session_add(s, &in.seq, 3, &a, 1, NULL), RH_OK);
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
        in.ids = ids + 3;
        in.n = 1;
        in.logits = logits[k];
        if (!k) {
            assert_int_equal(rh_session_step(s, &in, 1, &err), RH_EDEVICE);
            assert_int_equal(rh_session_len(s, in.seq), 3);
            assert_int_equal(tested, 3);
        }
        assert_int_equal(rh_session_step(s, &in, 1, &err), RH_OK);
        rh_session_free(s);
    }
    assert_int_equal(tested, 2 * 4);
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    m->backend->ops = watch.real;
    rh_model_free(m);
}

/* The window as it grows, against a count from scratch. */
static void what_penalties_see(void **state)
{
    enum { N = 300 };
    static const int32_t lasts[] = {-1, 1, 2, 7, 50, N + 1};
    int32_t history[N];
    (void)state;
    for (int i = 0; i < N; i++) history[i] = (int32_t)(rh_random_u64(5, 0, (uint64_t)i) % 23) - 2; /* -2, -1: no tokens; 20: beyond */
    for (size_t k = 0; k < sizeof lasts / sizeof *lasts; k++) {
        const rh_sampling set = {.top_p = 1, .repetition = 2, .penalty_last = lasts[k]};
        rh_seen seen;
        assert_int_equal(rh_seen_new(&seen, &set, 20, N, NULL), RH_OK);
        for (int n = 1; n <= N; n += 1 + n % 3) {
            int32_t count[20] = {0}, distinct = 0;
            rh_seen_upto(&seen, history, n);
            for (int i = lasts[k] >= 0 && lasts[k] < n ? n - lasts[k] : 0; i < n; i++)
                if (history[i] >= 0 && history[i] < 20) count[history[i]]++;
            for (int32_t id = 0; id < 20; id++) {
                if (!count[id]) continue;
                assert_true(distinct < seen.n);
                assert_int_equal(seen.id[distinct], id);
                assert_int_equal(seen.count[distinct++], count[id]);
            }
            assert_int_equal(distinct, seen.n);
        }
        rh_seen_free(&seen);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(generations_are_what_a_sampler_picks), cmocka_unit_test(a_step_draws_many),
                                       cmocka_unit_test(drawing_needs_no_logits),
                                       cmocka_unit_test(decoding_brings_back_tokens), cmocka_unit_test(a_failed_step_did_not_happen),
                                       cmocka_unit_test(what_penalties_see)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
