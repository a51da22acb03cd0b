/* Large SAEs go through a screen: the active set and the values are those of every product computed, to the bit,
 * for every architecture, in blocks and one by one, and where topk's guess fails. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/sae.h"
#include "support/make_sae.h"
#include "support/scratch.h"

enum { D = 72, M = 1040, N = 530 };

static const made_sae kinds[] = {
    { "standard", NULL, NULL, "blocks.1.hook_resid_post", NULL, D, D, M, 1 },
    { "standard", "layer_norm", NULL, "blocks.1.hook_resid_post", NULL, D, D, M, 2 },
    { "jumprelu", NULL, NULL, "blocks.1.hook_resid_post", NULL, D, D, M, 3 },
    { "gated", NULL, NULL, "blocks.1.hook_resid_post", NULL, D, D, M, 4 },
    { "topk", NULL, ", \"k\": 32", "blocks.1.hook_resid_post", NULL, D, D, M, 5 },
    { "topk", "constant_norm_rescale", ", \"k\": 3, \"rescale_acts_by_decoder_norm\": true", "blocks.1.hook_resid_post", NULL, D, D, M, 6 },
    { "topk", NULL, ", \"k\": 1040", "blocks.1.hook_resid_post", NULL, D, D, M, 7 },
};

/* Some of other sizes, some with one coordinate that dwarfs the others; of the 33rd most of what is large lies in
 * the features that topk looks at first, so that its guess is too high, and the 34th is almost zero. */
static float *inputs(const rh_sae *s)
{
    float *x = calloc(N * D, sizeof *x), row[D];
    assert_non_null(x);
    for (uint64_t t = 0; t < N; t++)
        for (uint64_t j = 0; j < D; j++) x[t * D + j] = (float)(rh_random_normal(9, t, j) * (t % 7 ? 1 : 12));
    for (size_t t = 0; t < N; t += 5) x[t * D + t % D] *= 50;
    for (int j = 0; j < D; j++) x[33 * D + j] = 1e-30f;
    memset(x + 32 * D, 0, D * sizeof *x);
    for (int32_t i = 0; i < 14; i++) {
        assert_int_equal(rh_sae_encoder_row(row, s, i * 16 + i % 16, NULL), RH_OK);
        for (int j = 0; j < D; j++) x[32 * D + j] += 20 * row[j];
    }
    return x;
}

static void same(const rh_sae_active *a, const rh_sae_active *b, const char *what)
{
    assert_int_equal(a->n, b->n);
    for (int32_t t = 0; t <= a->n; t++)
        if (a->start[t] != b->start[t]) fail_msg("%s: row %d has %zu features, not %zu", what, t - 1, a->start[t] - a->start[t - 1], b->start[t] - b->start[t - 1]);
    assert_memory_equal(a->index, b->index, a->start[a->n] * sizeof *a->index);
    assert_memory_equal(a->value, b->value, a->start[a->n] * sizeof *a->value);
}

static void check(const char *folder, const char *what, rh_isa isa, bool exact)
{
    rh_sae *s = NULL;
    rh_backend *be = NULL;
    rh_sae_coder *all = NULL, *screened = NULL;
    rh_sae_active want = { 0 }, got = { 0 };
    rh_error err;
    if (rh_sae_open(&s, folder, RH_SAE_ENCODE, &err)) fail_msg("%s", err.message);
    assert_int_equal(rh_backend_cpu(&be, isa, 2, exact, NULL), RH_OK);
    assert_int_equal(rh_sae_coder_new(&all, s, be, NULL), RH_OK);
    assert_int_equal(rh_sae_coder_new(&screened, s, be, NULL), RH_OK);
    float *x = inputs(s);
    rh_sae_coder_compute_all(all);
    assert_int_equal(rh_sae_encode(&want, all, x, N, NULL), RH_OK);
    assert_int_equal(rh_sae_encode(&got, screened, x, N, NULL), RH_OK);
    assert_true(want.start[N] > N / 2);
    same(&got, &want, what);
    rh_sae_active_free(&want);
    rh_sae_active_free(&got);
    for (int t = 30; t < 36; t++) {
        assert_int_equal(rh_sae_encode(&want, all, x + t * D, 1, NULL), RH_OK);
        assert_int_equal(rh_sae_encode(&got, screened, x + t * D, 1, NULL), RH_OK);
        same(&got, &want, what);
        rh_sae_active_free(&want);
        rh_sae_active_free(&got);
    }
    free(x);
    rh_sae_coder_free(all);
    rh_sae_coder_free(screened);
    rh_sae_free(s);
    rh_backend_free(be);
}

static void every_architecture(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        scratch dir;
        char folder[600];
        scratch_open(&dir);
        snprintf(folder, sizeof folder, "%s", scratch_path(&dir, "sae"));
        make_sae(folder, &kinds[i]);
        check(folder, kinds[i].architecture, RH_ISA_GENERIC, false);
        check(folder, kinds[i].architecture, RH_ISA_BEST, false);
        check(folder, kinds[i].architecture, RH_ISA_BEST, true);
        made_sae_remove(folder);
        scratch_close(&dir);
    }
}

/* ---- coders beside each other share what is large --------------------------------------------- */

static const rh_ops *real;
static int n_screens, n_weights;

static rh_status count_screen(rh_backend *be, rh_screen **out, const void *data, rh_dtype t, int32_t rows, int32_t cols, rh_error *err)
{
    n_screens++;
    return real->screen_new(be, out, data, t, rows, cols, err);
}

static rh_status count_weight(rh_backend *be, rh_weight **out, const void *data, rh_dtype t, int32_t rows, int32_t cols, const int32_t *order, rh_error *err)
{
    n_weights++;
    return real->weight_new(be, out, data, t, rows, cols, order, err);
}

static void encode_again(rh_sae_coder *c, const rh_sae_active *want, const float *x, const char *what)
{
    rh_sae_active got = { 0 };
    assert_int_equal(rh_sae_encode(&got, c, x, N, NULL), RH_OK);
    same(&got, want, what);
    rh_sae_active_free(&got);
}

static void shared(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        scratch dir;
        char folder[600];
        rh_sae *s = NULL;
        rh_backend *be = NULL;
        rh_sae_coder *c[3];
        rh_sae_active want = { 0 };
        scratch_open(&dir);
        snprintf(folder, sizeof folder, "%s", scratch_path(&dir, "sae"));
        make_sae(folder, &kinds[i]);
        assert_int_equal(rh_sae_open(&s, folder, RH_SAE_ENCODE, NULL), RH_OK);
        assert_int_equal(rh_backend_cpu(&be, RH_ISA_BEST, 1, true, NULL), RH_OK);
        real = be->ops;
        rh_ops counting = *real;
        counting.screen_new = count_screen;
        counting.weight_new = count_weight;
        be->ops = &counting;
        n_screens = n_weights = 0;
        float *x = inputs(s);
        for (int k = 0; k < 3; k++) assert_int_equal(rh_sae_coder_new(&c[k], s, be, NULL), RH_OK);
        assert_int_equal(rh_sae_encode(&want, c[0], x, N, NULL), RH_OK);
        const int weights = n_weights;
        assert_int_equal(n_screens, 1);
        encode_again(c[1], &want, x, kinds[i].architecture);
        rh_sae_coder_free(c[0]); /* the one that made it goes first */
        encode_again(c[1], &want, x, kinds[i].architecture);
        assert_int_equal(n_screens, 1);
        assert_int_equal(n_weights, weights);
        rh_sae_coder_free(c[1]);
        encode_again(c[2], &want, x, kinds[i].architecture); /* the last gave it back */
        assert_int_equal(n_screens, 2);
        rh_sae_coder_free(c[2]);
        rh_sae_active_free(&want);
        free(x);
        rh_sae_free(s);
        be->ops = real;
        rh_backend_free(be);
        made_sae_remove(folder);
        scratch_close(&dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_architecture), cmocka_unit_test(shared) };
    return cmocka_run_group_tests_name("encoding through a screen", tests, NULL, NULL);
}
