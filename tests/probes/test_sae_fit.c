/* An SAE's fit: against states read text by text and a computation in two passes; and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "probes/sae_fit.h"
#include "stage.h"
#include "support/make_sae.h"
#include "support/scratch.h"

enum { D = 32, M = 40, N = 5, LONGEST = 12, ROWS = N * LONGEST };

static const made_sae kinds[] = {
    {.architecture = "topk", .more = ", \"k\": 5", .hook = "blocks.1.hook_resid_post", .d_in = D, .d_out = D, .d_sae = M, .seed = 4},
    {.architecture = "standard", .normalize = "layer_norm", .hook = "blocks.0.hook_mlp_out", .d_in = D, .d_out = D, .d_sae = M, .seed = 3},
    {.architecture = "transcoder", .hook = "blocks.1.hook_mlp_in", .out = "blocks.1.hook_mlp_out", .d_in = D, .d_out = D, .d_sae = M, .seed = 8},
};

typedef struct texts { int32_t ids[N][LONGEST]; rh_id_text items[N]; } texts;

/* Lengths 0 and 1 have no row that counts. */
static void make_texts(texts *t, int32_t n_vocab)
{
    static const int32_t lengths[N] = {7, 1, LONGEST, 0, 4};
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < LONGEST; j++) t->ids[i][j] = (i * 53 + j * 37 + 11) % n_vocab;
        t->items[i] = (rh_id_text){t->ids[i], lengths[i]};
    }
}

static void read_alone(float *out, const rh_model *m, const rh_id_text *t, int32_t layer, rh_hook hook)
{
    rh_session *s = NULL;
    float all[LONGEST * D];
    const rh_capture c = {.layer = layer, .hook = hook, .n = t->n, .out = all};
    rh_step_input in = {.ids = t->ids, .n = t->n, .captures = &c, .n_captures = 1};
    assert_int_equal(rh_session_new(&s, m, 1, t->n, NULL), RH_OK);
    assert_int_equal(rh_session_add(s, &in.seq, t->n, NULL, 0, NULL), RH_OK);
    assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
    memcpy(out, all + D, (size_t)(t->n - 1) * D * sizeof *out);
    rh_session_free(s);
}

static rh_sae_fit oracle(const rh_model *m, const rh_sae *sae, const texts *t)
{
    const rh_sae_facts *f = rh_sae_about(sae);
    float x[ROWS * D], y[ROWS * D], recon[ROWS * D];
    int n = 0, active = 0, dead = 0;
    for (int i = 0; i < N; i++) {
        if (t->items[i].n < 2) continue;
        read_alone(x + n * D, m, &t->items[i], f->layer, f->hook);
        read_alone(y + n * D, m, &t->items[i], f->layer, f->hook_out);
        n += t->items[i].n - 1;
    }
    rh_sae_coder *c = NULL;
    rh_sae_active a = {0};
    bool seen[M] = {false};
    assert_int_equal(rh_sae_coder_new(&c, sae, m->backend, NULL), RH_OK);
    assert_int_equal(rh_sae_encode(&a, c, x, n, NULL), RH_OK);
    assert_int_equal(rh_sae_decode(recon, c, &a, x, NULL), RH_OK);
    for (size_t i = 0; i < a.start[n]; i++) seen[a.index[i]] = true;
    active = (int)a.start[n];
    for (int i = 0; i < M; i++) dead += !seen[i];
    double error = 0, variance = 0;
    for (int j = 0; j < D; j++) {
        double mean = 0;
        for (int i = 0; i < n; i++) mean += (double)y[i * D + j] / n;
        for (int i = 0; i < n; i++) {
            error += pow((double)y[i * D + j] - recon[i * D + j], 2);
            variance += pow(y[i * D + j] - mean, 2);
        }
    }
    rh_sae_active_free(&a);
    rh_sae_coder_free(c);
    return (rh_sae_fit){n, error / variance, (double)active / n, (double)dead / M};
}

static void against_two_passes(void **state)
{
    (void)state;
    rh_model *m = stage_small_model("llama-f32");
    texts t;
    make_texts(&t, m->config.n_vocab);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        scratch dir;
        rh_sae *sae = NULL;
        rh_sae_fit got;
        scratch_open(&dir);
        const char *folder = scratch_path(&dir, "sae");
        make_sae(folder, &kinds[k]);
        assert_int_equal(rh_sae_open(&sae, folder, RH_SAE_ENCODE, NULL), RH_OK);
        assert_int_equal(rh_sae_measure(&got, m, sae, rh_sae_about(sae)->layer, RH_RESID_POST, t.items, N, NULL, NULL, NULL), RH_OK);
        const rh_sae_fit want = oracle(m, sae, &t);
        assert_int_equal(got.tokens, want.tokens);
        assert_int_equal(got.tokens, 6 + LONGEST - 1 + 3);
        assert_true(fabs(got.fvu - want.fvu) < 1e-5 * want.fvu);
        assert_true(fabs(got.l0 - want.l0) < 1e-12 && fabs(got.dead - want.dead) < 1e-12);
        rh_sae_free(sae);
        made_sae_remove(folder);
        scratch_close(&dir);
    }
    rh_model_free(m);
}

static bool refuse(void *data, const char *label, int64_t done, int64_t total)
{
    (void)data, (void)label, (void)done, (void)total;
    return false;
}

static void refused(void **state)
{
    (void)state;
    const made_sae wide = {.architecture = "standard", .hook = "blocks.0.hook_resid_post", .d_in = 24, .d_out = 24, .d_sae = M, .seed = 1};
    rh_model *m = stage_small_model("llama-f32");
    texts t;
    make_texts(&t, m->config.n_vocab);
    scratch dir;
    rh_sae *sae = NULL, *other = NULL;
    rh_sae_fit got;
    rh_error err = {0};
    scratch_open(&dir);
    const char *folder = scratch_path(&dir, "sae");
    make_sae(folder, &kinds[0]);
    assert_int_equal(rh_sae_open(&sae, folder, RH_SAE_ENCODE, NULL), RH_OK);
    make_sae(folder, &wide);
    assert_int_equal(rh_sae_open(&other, folder, RH_SAE_ENCODE, NULL), RH_OK);
    assert_int_equal(rh_sae_measure(&got, m, other, 0, RH_RESID_POST, t.items, N, NULL, NULL, &err), RH_ESITE);
    assert_non_null(strstr(err.message, "24"));
    assert_int_equal(rh_sae_measure(&got, m, sae, 99, RH_RESID_POST, t.items, N, NULL, NULL, &err), RH_ESITE);
    assert_int_equal(rh_sae_measure(&got, m, sae, 1, RH_RESID_POST, t.items + 1, 1, NULL, NULL, &err), RH_EVALUE);
    assert_int_equal(rh_sae_measure(&got, m, sae, 1, RH_RESID_POST, t.items, N, refuse, NULL, &err), RH_ECANCELLED);
    rh_sae_free(sae);
    rh_sae_free(other);
    made_sae_remove(folder);
    scratch_close(&dir);
    rh_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_two_passes), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
