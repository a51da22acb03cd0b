/* What is planned for a device's memory: sums by hand, true shapes, and what is said where it does not fit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "engine/plan_memory.h"

#define MIB ((int64_t)1 << 20)
#define GB ((int64_t)1000000000)

static void sums(void **state)
{
    (void)state;
    static const struct { int64_t bytes, block; } blocks[] = {{0, 0}, {1, 512}, {512, 512}, {513, 1024}, {MIB - 1, MIB},
                                                              {MIB, 2 * MIB}, {2 * MIB, 2 * MIB}, {2 * MIB + 1, 4 * MIB}};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) assert_int_equal(rh_plan_block(blocks[i].bytes), blocks[i].block);
    static const struct { rh_dtype t; int64_t rows, cols, bytes; } matrices[] = {
        {RH_BF16, 256000, 3584, 877 * 2 * MIB},     /* 256000 * (7168 + 16) = 1753.9 MiB */
        {RH_NF4, 14336, 3584, 14 * 2 * MIB},        /* 14336 * (2016 + 16) = 27.8 MiB */
        {RH_Q4_K, 4, 256, 1024},                    /* 4 * (144 + 16) = 640 */
        {RH_Q6_K, 2, 256, 512}};                    /* 2 * (224 + 16) = 480: 210 is no multiple of 16 */
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        assert_int_equal(rh_plan_matrix(matrices[i].t, matrices[i].rows, matrices[i].cols), matrices[i].bytes);
    const rh_model_config small = {.d_model = 64, .n_layers = 3, .n_heads = 4, .n_kv_heads = 2, .head_dim = 16, .d_ff = 128, .n_vocab = 1000};
    rh_memory_plan caches = {0};
    rh_plan_caches(&caches, &small, 3, RH_F32, 4, 25);
    assert_int_equal(rh_plan_cache(&caches), 2 * 3 * 12800); /* 100 * 32 * 4 */
    rh_plan_caches(&caches, &small, 2, RH_F16, 1, 100);
    assert_int_equal(rh_plan_cache(&caches), 2 * 2 * 6656);  /* 6400, to a multiple of 512 */
    assert_int_equal(rh_plan_step_rows(&small), RH_STEP_ROWS);
    /* 64 rows of 5 * 64 + 2 * 32 + 2 * 128 floats; of logits 10 of 64 (2560) and of 1000 (40000) */
    assert_int_equal(rh_plan_step(&small, 10, 10), 64 * 640 * 4 + 2560 + 40448);
    assert_int_equal(rh_plan_step(&small, 4096, 4096), rh_plan_step(&small, RH_STEP_ROWS, RH_LOGIT_ROWS));
}

/* Gemma 2 9B, its layers quantised to NF4, its embedding as it is. */
static const rh_model_config gemma2_9b = {.d_model = 3584, .n_layers = 42, .n_heads = 16, .n_kv_heads = 8, .head_dim = 256, .d_ff = 14336,
                                          .n_vocab = 256000, .n_ctx = 8192};

static int64_t weights_of(const rh_model_config *c, rh_dtype layers)
{
    const int64_t d = c->d_model, q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    const int64_t layer = rh_plan_matrix(layers, q, d) + 2 * rh_plan_matrix(layers, kv, d) + rh_plan_matrix(layers, d, q) +
                          2 * rh_plan_matrix(layers, c->d_ff, d) + rh_plan_matrix(layers, d, c->d_ff) + 4 * rh_plan_block(d * 4);
    return rh_plan_matrix(RH_BF16, c->n_vocab, d) + c->n_layers * layer;
}

static void nine_billion_and_an_sae_fit_in_16_gb(void **state)
{
    (void)state;
    const rh_model_config *c = &gemma2_9b;
    rh_memory_plan p = {.what = "gemma-2-9b", .weights = weights_of(c, RH_NF4), .step = rh_plan_step(c, 2048, 2048),
                        .sae = rh_plan_sae(3584, 131072, RH_F32)};
    rh_plan_caches(&p, c, c->n_layers, RH_F16, 1, 2048);
    assert_in_range(p.weights, 6.4 * GB, 6.9 * GB);
    assert_in_range(rh_plan_cache(&p), 0.70 * GB, 0.72 * GB);
    assert_in_range(p.sae, 1.8 * GB, 1.95 * GB);
    const int64_t context = 600 * MIB; /* of CUDA and cuBLAS, and scratch */
    print_message("gemma-2-9b as NF4, 2,048 tokens, an SAE of 131,072: %.2f GB\n", (double)rh_plan_total(&p) / 1e9);
    assert_int_equal(rh_plan_check(&p, (size_t)(16 * GB - context), (size_t)(16 * GB), NULL), RH_OK);
    p.weights = weights_of(c, RH_BF16); /* but not as it is */
    assert_int_equal(rh_plan_check(&p, (size_t)(16 * GB - context), (size_t)(16 * GB), NULL), RH_ENOMEM);
}

typedef struct refusal { rh_memory_plan plan; int64_t room; const char *message, *hint; } refusal;

static void what_would_fit_is_said(void **state)
{
    (void)state;
    static const refusal cases[] = {
        {{.what = "m", .weights = 18 * GB, .as_nf4 = 6 * GB, .seqs = 1, .len = 1000, .blocks = 2, .row = 500000, .step = GB}, 16 * GB,
         "m would take 20.00 GB of the device's memory, but of its 24.00 GB 16.00 GB are free: 4.00 GB are missing (weights 18.00 GB, keys and values 1.00 GB, "
         "activations and logits 1.00 GB)", "with --quantize nf4 it takes 8.00 GB"},
        {{.what = "m", .weights = 18 * GB, .as_nf4 = 6 * GB}, 5 * GB, "13.00 GB are missing", "would still take 6.00 GB"},
        {{.what = "m", .weights = 18 * GB, .as_nf4 = 18 * GB}, 5 * GB, "13.00 GB are missing", "use --device cpu, or a smaller model"},
        {{.what = "1 sequence of 4096 tokens", .seqs = 1, .len = 4096, .blocks = 2, .row = MIB / 2, .step = 10 * MIB}, 1034 * MIB, "keys and values 4.29 GB",
         "there is room for 1024 tokens:"},
        {{.what = "s", .seqs = 16, .len = 100, .blocks = 1, .row = MIB, .step = 10 * MIB}, 810 * MIB, "s would take",
         "room for 8 of these at once, or for all with 50 tokens each"},
        {{.what = "s", .seqs = 4, .len = 100, .blocks = 1, .row = MIB, .step = 10 * MIB}, 90 * MIB, "s would take", "room for 20 tokens each:"},
        {{.what = "s", .seqs = 1, .len = 100, .blocks = 1, .row = MIB, .step = 10 * MIB}, 9 * MIB, "s would take", "a smaller model"},
        {{.what = "sae.npz", .sae = 2 * GB}, GB, "the SAE's encoder 2.00 GB", "fewer SAEs"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_error err = {0};
        const refusal *c = &cases[i];
        assert_int_equal(rh_plan_check(&c->plan, (size_t)c->room, (size_t)(24 * GB), &err), RH_ENOMEM);
        if (!strstr(err.message, c->message) || !strstr(err.hint, c->hint)) fail_msg("case %zu: %s; %s", i, err.message, err.hint);
        assert_int_equal(rh_plan_check(&c->plan, (size_t)rh_plan_total(&c->plan), (size_t)(24 * GB), NULL), RH_OK);
    }
}

/* A backend whose memory is the system's is not planned for. */
static void a_cpu_is_not_planned_for(void **state)
{
    (void)state;
    const rh_memory_plan p = {.what = "all there is", .weights = INT64_MAX / 2};
    rh_backend *be = NULL;
    assert_int_equal(rh_backend_cpu(&be, RH_ISA_GENERIC, 1, false, NULL), RH_OK);
    assert_int_equal(rh_plan_check_on(&p, be, NULL), RH_OK);
    rh_backend_free(be);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums), cmocka_unit_test(nine_billion_and_an_sae_fit_in_16_gb),
                                       cmocka_unit_test(what_would_fit_is_said), cmocka_unit_test(a_cpu_is_not_planned_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
