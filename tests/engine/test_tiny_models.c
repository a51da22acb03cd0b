/* The forward pass against transformers, on the very small checkpoints of tests/data/models:
 * every hidden state and every logit, with float32 activations. Generators:
 * tests/generate/tiny_models.py and family_models.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "golden.h"

#define MAX_PROMPTS 8
#define MAX_LOGIT_DIFF 1e-3
#define MAX_HIDDEN_DIFF 1e-4 /* of the tensor's largest value */

typedef struct prompt {
    int32_t *ids, n, seq;
    rh_capture *captures; /* [n_layers + 1]: the embedding, then each block's output */
    float *states;        /* [n_layers + 1, n, d_model] */
    float *logits;        /* [n, n_vocab] */
} prompt;

static int32_t read_prompts(prompt *out, const char *path)
{
    rh_error err = {0};
    json_t *root = NULL;
    golden_ok(rh_json_load(&root, path, &err), &err);
    int32_t count = (int32_t)json_array_size(root);
    assert_in_range(count, 1, MAX_PROMPTS);
    for (int32_t p = 0; p < count; p++) {
        json_t *row = json_array_get(root, (size_t)p);
        out[p] = (prompt){.n = (int32_t)json_array_size(row)};
        assert_true(out[p].n > 0);
        out[p].ids = malloc((size_t)out[p].n * sizeof(int32_t));
        assert_non_null(out[p].ids);
        for (int32_t i = 0; i < out[p].n; i++)
            out[p].ids[i] = (int32_t)json_integer_value(json_array_get(row, (size_t)i));
    }
    json_decref(root);
    return count;
}

/* Room for the answers to p, and captures that read n rows of it from row `at` on. */
static void prompt_aim(prompt *p, const rh_model *m, int32_t at, int32_t n)
{
    size_t sites = (size_t)m->config.n_layers + 1, d = (size_t)m->config.d_model, rows = (size_t)p->n;
    if (!p->states) {
        p->captures = calloc(sites, sizeof *p->captures);
        p->states = calloc(sites * rows * d, sizeof *p->states);
        p->logits = calloc(rows * (size_t)m->config.n_vocab, sizeof *p->logits);
        assert_true(p->captures && p->states && p->logits);
    }
    for (size_t c = 0; c < sites; c++)
        p->captures[c] = (rh_capture){.layer = c ? (int32_t)c - 1 : 0, .hook = c ? RH_RESID_POST : RH_RESID_PRE,
                                      .n = n, .out = p->states + (c * rows + (size_t)at) * d};
}

static void prompt_clear(prompt *p)
{
    free(p->captures);
    free(p->states);
    free(p->logits);
    p->captures = NULL;
    p->states = p->logits = NULL;
}

static void compare(const rh_model *m, const rh_safetensors *expected, const prompt *p, int32_t number,
                    const char *how)
{
    int64_t count = (int64_t)p->n * m->config.d_model, total = (int64_t)p->n * m->config.n_vocab;
    for (int32_t c = 0; c <= m->config.n_layers; c++) {
        float *want = c ? golden_read(expected, "F32", count, NULL, "%d.resid_post.%d", number, c - 1)
                        : golden_read(expected, "F32", count, NULL, "%d.embed", number);
        double diff = golden_rel_diff(p->states + c * count, want, count);
        if (!(diff <= MAX_HIDDEN_DIFF))
            fail_msg("%s, prompt %d: state %d of 0..%d is off by %.2e of its largest value", how, number, c,
                     m->config.n_layers, diff);
        free(want);
    }
    float *want = golden_read(expected, "F32", total, NULL, "%d.logits", number);
    double diff = golden_max_diff(p->logits, want, total);
    if (!(diff <= MAX_LOGIT_DIFF)) fail_msg("%s, prompt %d: a logit is off by %.2e", how, number, diff);
    free(want);
}

/* All prompts as one batch, `chunk` tokens of each a step. */
static void run_all(const rh_model *m, const rh_safetensors *expected, prompt *prompts, int32_t count,
                    int32_t chunk, const char *how)
{
    rh_error err = {0};
    rh_session *s = NULL;
    int32_t longest = 0;
    for (int32_t p = 0; p < count; p++) longest = prompts[p].n > longest ? prompts[p].n : longest;
    golden_ok(rh_session_new(&s, m, count, longest, &err), &err);
    for (int32_t p = 0; p < count; p++)
        golden_ok(rh_session_add(s, &prompts[p].seq, prompts[p].n, NULL, 0, &err), &err);
    for (int32_t at = 0; at < longest; at += chunk) {
        rh_step_input in[MAX_PROMPTS];
        int32_t live = 0;
        for (prompt *p = prompts; p < prompts + count; p++) {
            if (at >= p->n) continue;
            int32_t n = p->n - at < chunk ? p->n - at : chunk;
            prompt_aim(p, m, at, n);
            in[live++] = (rh_step_input){.seq = p->seq, .ids = p->ids + at, .n = n, .want = RH_LOGITS_ALL,
                                         .logits = p->logits + (size_t)at * (size_t)m->config.n_vocab,
                                         .captures = p->captures, .n_captures = m->config.n_layers + 1};
        }
        golden_ok(rh_session_step(s, in, live, &err), &err);
    }
    for (int32_t p = 0; p < count; p++) {
        compare(m, expected, &prompts[p], p, how);
        prompt_clear(&prompts[p]);
    }
    rh_session_free(s);
}

/* state: a folder, or a GGUF file in one. */
static void test_model(void **state)
{
    const char *name = *state;
    const int folder = (int)strcspn(name, "/");
    char path[512];
    rh_error err = {0};
    rh_safetensors *expected = NULL;
    prompt prompts[MAX_PROMPTS];
    snprintf(path, sizeof path, "%s/models/%.*s/tokens.json", RH_TEST_DATA, folder, name);
    int32_t count = read_prompts(prompts, path);
    snprintf(path, sizeof path, "%s/models/%.*s/expected.safetensors", RH_TEST_DATA, folder, name);
    golden_ok(rh_safetensors_open(&expected, path, &err), &err);
    snprintf(path, sizeof path, "%s/models/%s", RH_TEST_DATA, name);
    rh_model *m = golden_open(path, true);
    run_all(m, expected, prompts, count, INT32_MAX / 2, "at once");
    run_all(m, expected, prompts, count, 1, "token by token");
    run_all(m, expected, prompts, count, 7, "seven at a time");
    rh_model_free(m);
    rh_safetensors_close(expected);
    for (int32_t p = 0; p < count; p++) free(prompts[p].ids);
}

int main(void)
{
    static char names[][24] = {"gemma3-f32", "gemma3-bf16", "gemma2-bf16", "llama-f32", "llama-bf16", "gemma2-nf4", "llama-nf4",
                               "qwen2", "qwen2/model.gguf", "qwen2-window", "llama-bias", "llama-bias/model.gguf", "mistral",
                               "mistral/model.gguf", "gemma2-layers", "gemma3-image", "gemma3-image-inner"};
    static const char *const what[] = {
        "gemma3, float32, three shards", "gemma3, bf16, linear rope scaling", "gemma2, bf16, soft caps",
        "llama, float32, tied", "llama, bf16, llama3 rope, own output matrix, shards",
        "gemma2, NF4, scales quantised too", "llama, NF4, blocks across rows",
        "qwen2, biases of q, k and v, shards", "qwen2, GGUF", "qwen2, windows from a layer on, all layers' rope scaled",
        "llama, biases everywhere, rope_parameters", "llama, GGUF, permuted biases, rope_freqs",
        "mistral, a window on every layer", "mistral, GGUF that says llama",
        "gemma2, layer_types, biases, one cap, odd shapes", "gemma3 in a multimodal checkpoint, class defaults, shards",
        "gemma3 in a multimodal checkpoint, the inner prefix, rope by layer type"};
    enum { N = sizeof names / sizeof *names };
    struct CMUnitTest tests[N] = {0};
    for (int i = 0; i < N; i++) tests[i] = (struct CMUnitTest){.name = what[i], .test_func = test_model, .initial_state = names[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
