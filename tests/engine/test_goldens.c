/* The engine on the two real models against transformers on the same weights expanded to
 * float32 (tests/generate/goldens.py): KL of every next-token distribution over 3 texts of 64
 * tokens, with float32 activations and in the default mode, prefilled, one token at a time, and
 * in a batch. Needs RHUMB_TEST_MODELS, a folder with smollm2.gguf and gemma3-270m.gguf. The
 * whole comparison is bench/fidelity. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "golden.h"

#define N_TEXTS 3
#define TOP 64
/* Largest KL of one token with float32 activations; mean KL in the default mode (llama.cpp's
 * own mean on such text is 0.004 on SmolLM2 and 0.009 on Gemma). */
#define EXACT_LARGEST 1e-6
#define FAST_MEAN 1e-4

typedef struct {
    int32_t *ids, *top; /* [n], [n, TOP] */
    float *logprob, *rest;
    int64_t n;
} golden_text;

typedef struct { const char *model; golden_text texts[N_TEXTS]; char path[1024]; } golden_set;

static int set_up(void **state)
{
    golden_set *g = *state;
    char path[512];
    rh_error err = {0};
    rh_safetensors *file = NULL;
    snprintf(path, sizeof path, "%s/goldens/%s.safetensors", RH_TEST_DATA, g->model);
    golden_ok(rh_safetensors_open(&file, path, &err), &err);
    for (int t = 0; t < N_TEXTS; t++) {
        golden_text *x = &g->texts[t];
        x->ids = golden_read(file, "I32", -1, &x->n, "%d.ids", t);
        x->top = golden_read(file, "I32", x->n * TOP, NULL, "%d.top_ids", t);
        x->logprob = golden_read(file, "F32", x->n * TOP, NULL, "%d.top_logprob", t);
        x->rest = golden_read(file, "F32", x->n, NULL, "%d.rest", t);
    }
    rh_safetensors_close(file);
    return 0;
}

static int tear_down(void **state)
{
    golden_set *g = *state;
    for (int t = 0; t < N_TEXTS; t++) {
        free(g->texts[t].ids);
        free(g->texts[t].top);
        free(g->texts[t].logprob);
        free(g->texts[t].rest);
    }
    return 0;
}

/* The real model, or the test is skipped and says so. */
static rh_model *open_real(golden_set *g, bool exact)
{
    const char *folder = getenv("RHUMB_TEST_MODELS");
    if (folder) snprintf(g->path, sizeof g->path, "%s/%s.gguf", folder, g->model);
    if (!folder || !rh_is_file(g->path)) {
        print_message("SKIPPED: RHUMB_TEST_MODELS %s %s.gguf; tests/run fetches it\n",
                      folder ? "has no" : "is not set: no", g->model);
        skip();
    }
    return golden_open(g->path, exact);
}

typedef struct { double sum, largest; int64_t n; } kl_sum;

static void kl_add(kl_sum *k, const golden_text *x, const float *logits, int32_t n_vocab)
{
    for (int64_t i = 0; i < x->n; i++) {
        double kl = golden_kl(logits + i * n_vocab, n_vocab, x->top + i * TOP, x->logprob + i * TOP,
                              x->rest[i], TOP);
        k->sum += kl;
        k->largest = fmax(k->largest, kl);
        k->n++;
    }
}

/* chunk 0: at once; else tokens a step. */
static kl_sum kl_of(const rh_model *m, const golden_set *g, int n_texts, int32_t chunk)
{
    kl_sum k = {0};
    for (int t = 0; t < n_texts; t++) {
        float *logits = golden_logits(m, g->texts[t].ids, (int32_t)g->texts[t].n, chunk);
        kl_add(&k, &g->texts[t], logits, m->config.n_vocab);
        free(logits);
    }
    return k;
}

static void report(const golden_set *g, const char *how, kl_sum k)
{
    print_message("%s, %s: KL mean %.2e, largest %.2e over %lld tokens\n", g->model, how,
                  k.sum / (double)k.n, k.largest, (long long)k.n);
}

static void test_exact(void **state)
{
    golden_set *g = *state;
    rh_model *m = open_real(g, true);
    kl_sum k = kl_of(m, g, N_TEXTS, 0);
    report(g, "exact, at once", k);
    assert_true(k.largest <= EXACT_LARGEST);
    k = kl_of(m, g, 1, 1);
    report(g, "exact, token by token", k);
    assert_true(k.largest <= EXACT_LARGEST);
    rh_model_free(m);
}

static void test_fast(void **state)
{
    golden_set *g = *state;
    rh_model *m = open_real(g, false);
    static const struct { int32_t chunk; const char *how; } ways[] = {
        {0, "default, at once"}, {1, "default, token by token"}, {5, "default, five at a time"}};
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        kl_sum k = kl_of(m, g, N_TEXTS, ways[w].chunk);
        report(g, ways[w].how, k);
        assert_true(k.sum / (double)k.n <= FAST_MEAN);
    }
    rh_model_free(m);
}

static void test_batch(void **state)
{
    golden_set *g = *state;
    rh_model *m = open_real(g, false);
    rh_error err = {0};
    rh_session *s = NULL;
    rh_step_input in[N_TEXTS];
    kl_sum k = {0};
    golden_ok(rh_session_new(&s, m, N_TEXTS, (int32_t)g->texts[0].n, &err), &err);
    for (int t = 0; t < N_TEXTS; t++) {
        int32_t n = (int32_t)g->texts[t].n;
        in[t] = (rh_step_input){.ids = g->texts[t].ids, .n = n, .want = RH_LOGITS_ALL,
                                .logits = malloc((size_t)n * (size_t)m->config.n_vocab * sizeof(float))};
        assert_non_null(in[t].logits);
        golden_ok(rh_session_add(s, &in[t].seq, n, NULL, 0, &err), &err);
    }
    golden_ok(rh_session_step(s, in, N_TEXTS, &err), &err);
    for (int t = 0; t < N_TEXTS; t++) {
        kl_add(&k, &g->texts[t], in[t].logits, m->config.n_vocab);
        free(in[t].logits);
    }
    report(g, "default, three texts as one batch", k);
    assert_true(k.sum / (double)k.n <= FAST_MEAN);
    rh_session_free(s);
    rh_model_free(m);
}

/* A KL that cannot tell two distributions apart would pass anything. */
static void test_kl_itself(void **state)
{
    (void)state;
    const int32_t top[] = {0, 2};
    const float logprob[] = {-0.5108256f, -1.2039728f}; /* 0.6, 0.3; rest 0.1 */
    const float same[] = {-0.5108256f, -2.9957323f, -1.2039728f, -2.9957323f};
    const float other[] = {0, 0, 0, 0};
    const float bad[] = {0, NAN, 0, 0};
    assert_true(fabs(golden_kl(same, 4, top, logprob, 0.1, 2)) < 1e-7);
    double want = 0.6 * log(0.6 / 0.25) + 0.3 * log(0.3 / 0.25) + 0.1 * log(0.1 / 0.5);
    assert_true(fabs(golden_kl(other, 4, top, logprob, 0.1, 2) - want) < 1e-7);
    assert_true(isinf(golden_kl(bad, 4, top, logprob, 0.1, 2)));
}

int main(void)
{
    golden_set smollm2 = {.model = "smollm2"}, gemma = {.model = "gemma3-270m"};
    const struct CMUnitTest tests[] = {
        {"the KL itself", test_kl_itself, NULL, NULL, NULL},
        {"smollm2, float32 activations", test_exact, set_up, tear_down, &smollm2},
        {"smollm2, default", test_fast, set_up, tear_down, &smollm2},
        {"smollm2, batch", test_batch, set_up, tear_down, &smollm2},
        {"gemma3-270m, float32 activations", test_exact, set_up, tear_down, &gemma},
        {"gemma3-270m, default", test_fast, set_up, tear_down, &gemma},
        {"gemma3-270m, batch", test_batch, set_up, tear_down, &gemma},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
