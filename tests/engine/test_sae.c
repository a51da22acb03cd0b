/* SAEs: the committed answers through the library's own functions, rows, and what is wrong in files.
 * What their publishers answer is held by tests/reference_saes through the program. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/files/safetensors.h"
#include "engine/sae.h"
#include "support/scratch.h"

#define SAES RH_TEST_DATA "/saes/"

static rh_backend *backend;

static int setup(void **state)
{
    (void)state;
    return rh_backend_cpu(&backend, RH_ISA_BEST, 2, true, NULL);
}

static int teardown(void **state)
{
    (void)state;
    rh_backend_free(backend);
    return 0;
}

static const char *cases[] = {
    "standard", "standard-plain", "standard-cnr", "standard-ln", "topk", "topk-rescale", "jumprelu", "jumprelu-bf16", "gated",
    "batchtopk", "old-topk", "transcoder-skip", "sparsify/layers.4", "sparsify/layers.4.mlp",
    "gemma-scope-2b-pt-res-stored/layer_2/width_14/average_l0_5", "gemma-scope-2b-pt-res-deflated/layer_2/width_14/average_l0_5",
    "gemma-scope-2b-pt-res-fortran/layer_2/width_14/average_l0_5",
    "gemma-scope-2-270m-it/transcoder/layer_5_width_14_l0_small",
};

static const float *tensor(const rh_safetensors *f, const char *name)
{
    const rh_tensor *t = rh_safetensors_find(f, name);
    assert_non_null(t);
    return (const float *)t->data;
}

static void near(const float *got, const float *want, size_t n, const char *what)
{
    double largest = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(want[i]));
        worst = fmax(worst, fabs((double)got[i] - want[i]));
    }
    if (!(worst <= 1e-5 * largest)) fail_msg("%s is off by %g of %g", what, worst, largest);
}

static void answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[512];
        rh_error err = { 0 };
        rh_sae *s = NULL, *light = NULL;
        rh_sae_coder *c = NULL;
        rh_safetensors *f = NULL;
        rh_sae_active a = { 0 }, again = { 0 };
        snprintf(path, sizeof path, SAES "%s/expected.safetensors", cases[i]);
        assert_int_equal(rh_safetensors_open(&f, path, NULL), RH_OK);
        *strrchr(path, '/') = 0;
        if (rh_sae_open(&s, path, RH_SAE_ENCODE, &err)) fail_msg("%s: %s", path, err.message);
        assert_int_equal(rh_sae_open(&light, path, RH_SAE_FACTS, &err), RH_OK);
        assert_int_equal(rh_sae_coder_new(&c, s, backend, &err), RH_OK);
        const rh_sae_facts *k = rh_sae_about(s);
        assert_int_equal(k->encode_bytes, k->owned);
        assert_int_equal(rh_sae_about(light)->encode_bytes, k->owned);
        assert_int_equal(rh_sae_about(light)->owned + rh_sae_about(light)->mapped, 0);
        const int32_t n = (int32_t)rh_safetensors_find(f, "x")->shape[0];
        const size_t nm = (size_t)n * (size_t)k->d_sae, nd = (size_t)n * (size_t)k->d_out;
        float *features = calloc(nm, sizeof *features), *recon = calloc(nd, sizeof *recon);
        if (rh_sae_encode(&a, c, tensor(f, "x"), n, &err)) fail_msg("%s: %s", path, err.message);
        rh_sae_active_dense(features, &a, 0, n, k->d_sae);
        near(features, tensor(f, "features"), nm, path);
        assert_int_equal(rh_sae_decode(recon, c, &a, tensor(f, "x"), &err), RH_OK);
        near(recon, tensor(f, "recon"), nd, path);
        assert_int_equal(rh_sae_active_from(&again, features, n, k->d_sae, &err), RH_OK);
        assert_int_equal(again.start[n], a.start[n]);
        assert_memory_equal(again.index, a.index, a.start[n] * sizeof *a.index);
        rh_sae_active_free(&a);
        rh_sae_active_free(&again);
        free(features);
        free(recon);
        rh_sae_coder_free(c);
        rh_sae_free(s);
        rh_sae_free(light);
        rh_safetensors_close(f);
    }
}

/* The rows are the file's, whichever way it stores them and however it was opened. */
static void rows(void **state)
{
    float e[2][8], d[2][8];
    rh_error err = { 0 };
    rh_sae *s[2] = { NULL };
    (void)state;
    assert_int_equal(rh_sae_open(&s[0], SAES "gated", RH_SAE_ROWS, NULL), RH_OK);
    assert_int_equal(rh_sae_open(&s[1], SAES "gated/cfg.json", RH_SAE_ENCODE, NULL), RH_OK);
    rh_safetensors *f = NULL;
    assert_int_equal(rh_safetensors_open(&f, SAES "gated/sae_weights.safetensors", NULL), RH_OK);
    for (int32_t i = 0; i < 14; i++) {
        for (int k = 0; k < 2; k++) {
            assert_int_equal(rh_sae_encoder_row(e[k], s[k], i, NULL), RH_OK);
            assert_int_equal(rh_sae_decoder_row(d[k], s[k], i, NULL), RH_OK);
        }
        assert_memory_equal(e[0], e[1], sizeof e[0]);
        assert_memory_equal(d[0], d[1], sizeof d[0]);
        assert_memory_equal(d[0], tensor(f, "W_dec") + 8 * i, sizeof d[0]);
        for (int j = 0; j < 8; j++) assert_true(e[0][j] == tensor(f, "W_enc")[14 * j + i]);
        assert_true(rh_sae_bias(s[0], i) == tensor(f, "b_gate")[i] && rh_sae_threshold(s[0], i) == 0);
    }
    assert_int_equal(rh_sae_check_feature(s[0], 13, NULL), RH_OK);
    assert_int_equal(rh_sae_check_feature(s[0], 14, &err), RH_EVALUE);
    assert_non_null(strstr(err.message, "features 0..13"));
    assert_int_equal(rh_sae_check_feature(s[0], -1, &err), RH_EVALUE);
    rh_safetensors_close(f);
    rh_sae_free(s[0]);
    rh_sae_free(s[1]);
}

/* Against every row looked at in double, whichever way the matrix lies. */
static void nearest(void **state)
{
    static const char *const paths[] = { "gated", "jumprelu-bf16", "sparsify/layers.4",
                                         "gemma-scope-2b-pt-res-fortran/layer_2/width_14/average_l0_5" };
    const float v[8] = { 1, -2, 0.5f, 0, 3, -1, 0.25f, 2 };
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (int way = 0; way < 8; way++) {
            const bool encoder = way & 1, sign = way & 2;
            char path[512];
            rh_sae *s = NULL;
            rh_sae_match got[20];
            int32_t n = 0;
            snprintf(path, sizeof path, SAES "%s", paths[i]);
            assert_int_equal(rh_sae_open(&s, path, way & 4 ? RH_SAE_ENCODE : RH_SAE_ROWS, NULL), RH_OK);
            assert_int_equal(rh_sae_near(got, &n, s, encoder, v, 20, sign, backend, NULL), RH_OK);
            assert_int_equal(n, 14);
            assert_int_equal(rh_sae_near(got, &n, s, encoder, v, 5, sign, backend, NULL), RH_OK);
            assert_int_equal(n, 5);
            for (int32_t r = 0; r < 14; r++) {
                float row[8];
                double dot = 0, square = 0, vv = 0;
                assert_int_equal(encoder ? rh_sae_encoder_row(row, s, r, NULL) : rh_sae_decoder_row(row, s, r, NULL), RH_OK);
                for (int j = 0; j < 8; j++) dot += (double)row[j] * v[j], square += (double)row[j] * row[j], vv += (double)v[j] * v[j];
                const double cosine = dot / sqrt(square * vv), size = sign ? fabs(cosine) : cosine;
                bool there = false;
                for (int k = 0; k < 5; k++)
                    if (got[k].index == r) {
                        there = true;
                        assert_true(fabs(got[k].cosine - cosine) < 1e-12 && fabs(got[k].norm - sqrt(square)) < 1e-12);
                    }
                assert_int_equal(there, size >= (sign ? fabs(got[4].cosine) : got[4].cosine) - 1e-12);
            }
            rh_sae_free(s);
        }
}

static void nothing_near(void **state)
{
    rh_error err = { 0 };
    rh_sae *s = NULL;
    rh_sae_match got[3];
    float v[8] = { 0 };
    int32_t n;
    (void)state;
    assert_int_equal(rh_sae_open(&s, SAES "gated", RH_SAE_ROWS, NULL), RH_OK);
    assert_int_equal(rh_sae_near(got, &n, s, false, v, 3, false, backend, &err), RH_EVALUE);
    assert_non_null(strstr(err.message, "zero"));
    v[3] = NAN;
    assert_int_equal(rh_sae_near(got, &n, s, false, v, 3, false, backend, &err), RH_EVALUE);
    rh_sae_free(s);
}

/* ---- what is wrong in files ------------------------------------------------------------------ */

/* A small SAE of d_in 4 and 6 features; `but` (a name, or "") has another shape, or is left out, or not finite. */
static void write_sae(const char *path, const char *but, int how)
{
    rh_safetensors_entry all[] = { { "W_enc", RH_F32, 2, { 4, 6 } }, { "W_dec", RH_F32, 2, { 6, 4 } },
                                   { "b_enc", RH_F32, 1, { 6 } }, { "b_dec", RH_F32, 1, { 4 } },
                                   { "threshold", RH_F32, 1, { 6 } } }, entries[5];
    int64_t n = 0;
    rh_st_writer *w = NULL;
    for (size_t i = 0; i < 5; i++) {
        entries[n] = all[i];
        if (strcmp(all[i].name, but)) n++;
        else if (how == 's') entries[n++].shape[0] = 5;
        else if (how != 'm') n++;
    }
    assert_int_equal(rh_st_writer_open(&w, path, entries, n, NULL, 0, NULL), RH_OK);
    for (int64_t i = 0; i < n; i++) {
        int64_t size = entries[i].shape[0] * (entries[i].n_dims == 2 ? entries[i].shape[1] : 1);
        for (int64_t k = 0; k < size; k++) {
            float x = k == size - 1 && how == 'n' && !strcmp(entries[i].name, but) ? NAN : 0.25f * (float)(k % 3);
            assert_int_equal(rh_st_writer_put(w, &x, sizeof x, NULL), RH_OK);
        }
    }
    assert_int_equal(rh_st_writer_commit(w, NULL), RH_OK);
}

#define JUMP "\"architecture\": \"jumprelu\""

static const struct {
    const char *but; int how; /* s: shape, m: missing, n: not finite */
    const char *cfg;          /* NULL: no file */
    rh_status status;
    const char *words;
} wrong[] = {
    { "", 0, "{" JUMP "}", RH_OK, "" },
    { "W_dec", 'm', "{" JUMP "}", RH_EFORMAT, "no tensor 'W_dec'" },
    { "threshold", 'm', "{" JUMP "}", RH_EFORMAT, "no tensor 'threshold'" },
    { "b_dec", 'm', "{" JUMP "}", RH_EFORMAT, "no tensor 'b_dec'" },
    { "W_enc", 's', "{" JUMP "}", RH_EFORMAT, "tensor 'W_dec' has shape [6, 4]; [6, 5] was expected" },
    { "W_dec", 's', "{" JUMP "}", RH_EFORMAT, "tensor 'W_dec' has shape [5, 4]; [6, 4] was expected" },
    { "b_enc", 's', "{" JUMP "}", RH_EFORMAT, "tensor 'b_enc' has shape [5]; [6] was expected" },
    { "threshold", 's', "{" JUMP "}", RH_EFORMAT, "tensor 'threshold' has shape [5]" },
    { "W_enc", 'n', "{" JUMP "}", RH_EFORMAT, "tensor 'W_enc' has a value that is not finite" },
    { "threshold", 'n', "{" JUMP "}", RH_EFORMAT, "tensor 'threshold' has a value that is not finite" },
    { "", 0, "{" JUMP ", \"d_sae\": 7}", RH_EFORMAT, "tensor 'W_enc' has shape [4, 6]; [4, 7] was expected" },
    { "", 0, "{" JUMP ", \"d_in\": 3}", RH_EFORMAT, "[3, 6] was expected" },
    { "", 0, "{" JUMP ", \"d_in\": \"4\"}", RH_EFORMAT, "\"d_in\" is not a count" },
    { "", 0, "{\"architecture\": \"temporal\"}", RH_EUNSUPPORTED, "architecture 'temporal' is not known" },
    { "", 0, "{\"architecture\": \"batchtopk\"}", RH_EUNSUPPORTED, "'batchtopk' is an architecture for training" },
    { "", 0, "{" JUMP ", \"normalize_activations\": \"whiten\"}", RH_EUNSUPPORTED, "normalisation 'whiten' is not known" },
    { "", 0, "{" JUMP ", \"normalize_activations\": 3}", RH_EFORMAT, "is no name" },
    { "", 0, "{\"activation_fn_str\": \"tanh-relu\"}", RH_EUNSUPPORTED, "activation function 'tanh-relu'" },
    { "", 0, "{\"activation_fn_str\": \"topk\"}", RH_EFORMAT, "but not k" },
    { "", 0, "{\"architecture\": \"topk\", \"k\": 7}", RH_EFORMAT, "k is 7, but there are 6 features" },
    { "", 0, "{\"architecture\": \"topk\", \"k\": 0}", RH_EFORMAT, "\"k\" is not a count" },
    { "", 0, "{\"architecture\": \"gated\"}", RH_EFORMAT, "no tensor 'b_gate'" },
    { "", 0, "{" JUMP ", \"metadata\": {\"hook_head_index\": 3}}", RH_EUNSUPPORTED, "one attention head" },
    { "", 0, "{" JUMP ", \"apply_b_dec_to_input\": 1}", RH_EFORMAT, "neither true nor false" },
    { "", 0, NULL, RH_EIO, "has no cfg.json beside it" },
    { "", 0, "[]", RH_EFORMAT, "not a JSON object" },
    { "", 0, "{", RH_EFORMAT, "not valid JSON" },
};

static void wrong_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        scratch dir;
        rh_error err = { 0 };
        rh_sae *s = NULL;
        scratch_open(&dir);
        if (wrong[i].cfg) scratch_write(&dir, "cfg.json", wrong[i].cfg, strlen(wrong[i].cfg));
        write_sae(scratch_path(&dir, "sae_weights.safetensors"), wrong[i].but, wrong[i].how);
        rh_status status = rh_sae_open(&s, dir.dir, RH_SAE_ENCODE, &err);
        if (status != wrong[i].status || (status && !strstr(err.message, wrong[i].words)))
            fail_msg("row %zu: %d, %s", i, status, err.message);
        rh_sae_free(s);
        scratch_close(&dir);
    }
}

/* Every byte of the configuration and of the weights' header changed: never a crash, and an error is said. */
static void any_damage(void **state)
{
    static const char *const files[] = { "cfg.json", "sae_weights.safetensors" };
    (void)state;
    for (int which = 0; which < 2; which++) {
        scratch dir;
        char *bytes[2];
        size_t n[2];
        scratch_open(&dir);
        for (int i = 0; i < 2; i++) {
            char path[512];
            snprintf(path, sizeof path, SAES "topk-rescale/%s", files[i]);
            assert_int_equal(rh_read_file(&bytes[i], &n[i], path, 1 << 20, NULL), RH_OK);
            scratch_write(&dir, files[i], bytes[i], n[i]);
        }
        char *b = bytes[which];
        for (size_t i = 0; i < n[which] && i < 700; i++)
            for (int k = 0; k < 4; k++) {
                rh_error err = { 0 };
                rh_sae *s = NULL;
                const char was = b[i];
                b[i] = k == 0 ? 0 : k == 1 ? '9' : k == 2 ? '-' : (char)(was ^ 1);
                scratch_write(&dir, files[which], b, n[which]);
                const rh_status status = rh_sae_open(&s, dir.dir, RH_SAE_ENCODE, &err);
                assert_int_equal(err.code, status);
                rh_sae_free(s);
                b[i] = was;
            }
        free(bytes[0]);
        free(bytes[1]);
        scratch_close(&dir);
    }
}

/* W_dec is read row by row, so a bad row is found when it is used, and named. */
static void bad_decoder_row(void **state)
{
    scratch dir;
    rh_error err = { 0 };
    rh_sae *s = NULL;
    float row[4];
    (void)state;
    scratch_open(&dir);
    scratch_write(&dir, "cfg.json", "{}", 2);
    write_sae(scratch_path(&dir, "sae_weights.safetensors"), "W_dec", 'n');
    assert_int_equal(rh_sae_open(&s, dir.dir, RH_SAE_ROWS, &err), RH_OK);
    assert_int_equal(rh_sae_decoder_row(row, s, 4, &err), RH_OK);
    assert_int_equal(rh_sae_decoder_row(row, s, 5, &err), RH_EFORMAT);
    assert_non_null(strstr(err.message, "'W_dec' has a value that is not finite at feature 5"));
    rh_sae_match near_it[2];
    int32_t n;
    row[0] = 1;
    assert_int_equal(rh_sae_near(near_it, &n, s, false, row, 2, false, backend, &err), RH_EVALUE); /* row has the NaN */
    for (int j = 0; j < 4; j++) row[j] = 1;
    assert_int_equal(rh_sae_near(near_it, &n, s, false, row, 2, false, backend, &err), RH_EFORMAT);
    assert_non_null(strstr(err.message, "at feature 5"));
    rh_sae_free(s);
    scratch_close(&dir);
}

static void wrong_input(void **state)
{
    float x[16] = { 1, 2 };
    rh_error err = { 0 };
    rh_sae *s = NULL;
    rh_sae_coder *c = NULL;
    rh_sae_active a = { 0 };
    (void)state;
    assert_int_equal(rh_sae_open(&s, SAES "standard-cnr", RH_SAE_ENCODE, NULL), RH_OK);
    assert_int_equal(rh_sae_coder_new(&c, s, backend, NULL), RH_OK);
    assert_int_equal(rh_sae_encode(&a, c, x, 2, &err), RH_EVALUE);
    assert_non_null(strstr(err.message, "row 1 of the input is zero"));
    x[0] = INFINITY;
    assert_int_equal(rh_sae_encode(&a, c, x, 1, &err), RH_EVALUE);
    assert_non_null(strstr(err.message, "row 0 of the input is not finite"));
    assert_int_equal(rh_sae_active_from(&a, x, 1, 14, &err), RH_EVALUE);
    assert_int_equal(rh_sae_encode(&a, c, x, 0, &err), RH_OK);
    assert_int_equal(a.n, 0);
    rh_sae_active_free(&a);
    rh_sae_coder_free(c);
    rh_sae_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(answers), cmocka_unit_test(rows), cmocka_unit_test(nearest),
                                        cmocka_unit_test(nothing_near), cmocka_unit_test(wrong_files), cmocka_unit_test(any_damage),
                                        cmocka_unit_test(bad_decoder_row), cmocka_unit_test(wrong_input) };
    return cmocka_run_group_tests_name("sae", tests, setup, teardown);
}
