/* The check of an SAE's fit: what is measured and kept, and whether it names what is wrong with SAEs that were made to
 * be wrong in one way. An SAE that knows states by heart (one feature a state, the nearest wins) explains all of them and
 * little of others. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "concepts/calibration.h"
#include "concepts/feature_notes.h"
#include "engine/files/safetensors.h"
#include "probes/experiment.h"
#include "probes/fit_check.h"
#include "stage.h"
#include "support/make_sae.h"
#include "support/scratch.h"

enum { D = 32 };

typedef struct place { scratch dir; char folder[620], cache[620]; } place;

static void open_place(place *p)
{
    scratch_open(&p->dir);
    snprintf(p->folder, sizeof p->folder, "%s", scratch_path(&p->dir, "sae"));
    snprintf(p->cache, sizeof p->cache, "%s", scratch_path(&p->dir, "cache"));
    mkdir(p->folder, 0777);
    mkdir(p->cache, 0777);
}

static void close_place(place *p)
{
    char command[700]; /* the cache has folders of its own */
    made_sae_remove(p->folder);
    snprintf(command, sizeof command, "rm -r '%s'", p->cache);
    assert_int_equal(system(command), 0);
    scratch_close(&p->dir);
}

/* All states of the calibration text at a site, the first of each left out: [*n, D]. */
static float *states(const rh_model *m, int32_t layer, rh_hook hook, bool no_bos, int32_t *n)
{
    rh_pairs texts = {0};
    const rh_prompt_options o = {.no_bos = no_bos};
    float *all = NULL;
    *n = 0;
    assert_int_equal(rh_calibration_read(&texts, NULL), RH_OK);
    for (size_t i = 0; i < texts.n; i++) {
        rh_prompt p = {0};
        assert_int_equal(rh_prompt_make(&p, m, texts.rows[i].text, texts.rows[i].len, &o, NULL), RH_OK);
        const int32_t used = p.n < 64 && p.n < m->config.n_ctx ? p.n : m->config.n_ctx < 64 ? m->config.n_ctx : 64;
        float *x = calloc((size_t)used * D, sizeof *x);
        const rh_capture c = {.layer = layer, .hook = hook, .n = used, .out = x};
        const rh_reading r = {.ids = p.ids, .n = used, .n_prompt = used, .captures = &c, .n_captures = 1};
        assert_int_equal(rh_read(m, &r, 1, NULL), RH_OK);
        all = realloc(all, (size_t)(*n + used) * D * sizeof *all);
        memcpy(all + (size_t)*n * D, x + D, (size_t)(used - 1) * D * sizeof *x);
        *n += used - 1;
        free(x);
        rh_prompt_free(&p);
    }
    rh_pairs_free(&texts);
    return all;
}

static void put(rh_st_writer *w, float x) { assert_int_equal(rh_st_writer_put(w, &x, sizeof x, NULL), RH_OK); }

/* rows [n, D] encode, back [n, D] decode; bias [n] may be NULL; with a threshold each, or the largest one. */
static void write_sae(const place *p, const float *rows, const float *back, const float *bias, int32_t n, const char *hook,
                      const char *model)
{
    const rh_safetensors_entry entries[] = {
        {.name = "W_enc", .dtype = RH_F32, .n_dims = 2, .shape = {D, n}}, {.name = "W_dec", .dtype = RH_F32, .n_dims = 2, .shape = {n, D}},
        {.name = "b_dec", .dtype = RH_F32, .n_dims = 1, .shape = {D}}, {.name = "b_enc", .dtype = RH_F32, .n_dims = 1, .shape = {n}}};
    char path[700];
    rh_st_writer *w = NULL;
    snprintf(path, sizeof path, "%s/cfg.json", p->folder);
    FILE *f = fopen(path, "wb");
    fprintf(f, "{\"architecture\": \"topk\", \"k\": 1, \"d_in\": %d, \"d_sae\": %d, \"dtype\": \"float32\", \"normalize_activations\": \"none\", "
            "\"apply_b_dec_to_input\": true, \"metadata\": {\"x\": 1", D, (int)n);
    if (hook) fprintf(f, ", \"hook_name\": \"%s\"", hook);
    if (model) fprintf(f, ", \"model_name\": \"%s\"", model);
    fprintf(f, "}}\n");
    fclose(f);
    snprintf(path, sizeof path, "%s/sae_weights.safetensors", p->folder);
    assert_int_equal(rh_st_writer_open(&w, path, entries, 4, NULL, 0, NULL), RH_OK);
    for (int j = 0; j < D; j++)
        for (int32_t i = 0; i < n; i++) put(w, rows[(size_t)i * D + (size_t)j]);
    for (int32_t i = 0; i < n * D; i++) put(w, back[i]);
    for (int32_t i = 0; i < D; i++) put(w, 0);
    for (int32_t i = 0; i < n; i++) put(w, bias ? bias[i] : 0);
    assert_int_equal(rh_st_writer_commit(w, NULL), RH_OK);
}

/* By heart: of the states x_j the nearest to x has the largest 2 x·x_j - |x_j|² - c, which is |x_j|² - c for x_j itself: times
 * x_j/(|x_j|² - c) that is x_j again. With c almost the least |x_j|², others get nothing, or far too much. */
static void write_memory(const place *p, const rh_model *m, int32_t layer, rh_hook hook, bool no_bos, bool scaled, const char *name)
{
    int32_t n;
    double least = INFINITY;
    float *x = states(m, layer, hook, no_bos, &n), *bias = calloc((size_t)n, sizeof *bias), *back = calloc((size_t)n * D, sizeof *back);
    for (int32_t i = 0; i < n * D && scaled; i += D) {
        const double norm = rh_norm(x + i, D);
        for (int j = 0; j < D; j++) x[i + j] = (float)(x[i + j] * sqrt(D) / norm);
    }
    for (int32_t i = 0; i < n; i++) least = fmin(least, rh_dot(x + (size_t)i * D, x + (size_t)i * D, D));
    for (int32_t i = 0; i < n; i++) {
        const double square = rh_dot(x + (size_t)i * D, x + (size_t)i * D, D), c = 0.99 * least;
        bias[i] = (float)(-square - c);
        for (int j = 0; j < D; j++) {
            back[i * D + j] = (float)(x[i * D + j] / (square - c));
            x[i * D + j] *= 2;
        }
    }
    write_sae(p, x, back, bias, n, name, NULL);
    free(back);
    free(bias);
    free(x);
}

static rh_sae *open_sae(const place *p, rh_sae_use use)
{
    rh_sae *s = NULL;
    rh_error err = {0};
    if (rh_sae_open(&s, p->folder, use, &err)) fail_msg("%s", err.message);
    return s;
}

static rh_fit_check check(const place *p, const rh_model *m, int32_t layer, rh_hook hook, bool measured)
{
    rh_sae *s = open_sae(p, RH_SAE_ROWS);
    rh_fit_check fit = {0};
    rh_error err = {0};
    if (rh_check_fit(&fit, m, s, layer, hook, p->cache, NULL, NULL, &err)) fail_msg("%s", err.message);
    assert_int_equal(fit.measured, measured);
    assert_int_equal(fit.poor, fit.fvu > RH_FIT_POOR);
    assert_int_equal(fit.cause[0] != 0, fit.poor);
    rh_sae_free(s);
    return fit;
}

/* Twice: measured, then found, with the same words. */
static void names(const place *p, const rh_model *m, int32_t layer, rh_hook hook, const char *cause)
{
    const rh_fit_check first = check(p, m, layer, hook, true), again = check(p, m, layer, hook, false);
    if (!first.poor || !strstr(first.cause, cause)) fail_msg("%g: %s; expected %s", first.fvu, first.cause, cause);
    assert_string_equal(first.cause, again.cause);
    assert_true(first.fvu == again.fvu && first.l0 == again.l0 && first.tokens == again.tokens);
}

static void good(void **state)
{
    rh_model *m = *state;
    place p;
    open_place(&p);
    write_memory(&p, m, 1, RH_RESID_POST, false, false, "blocks.1.hook_resid_post");
    const rh_fit_check fit = check(&p, m, 1, RH_RESID_POST, true);
    assert_true(fit.fvu < 1e-4 && fabs(fit.l0 - 1) < 1e-9 && fit.tokens > 300 && !fit.poor);
    check(&p, m, 1, RH_RESID_POST, false);
    /* kept by the model's fingerprint, where others find it */
    rh_sae *s = open_sae(&p, RH_SAE_ROWS);
    rh_feature_notes *notes = NULL;
    rh_feature_fit kept;
    assert_int_equal(rh_feature_notes_open(&notes, p.cache, s, NULL), RH_OK);
    assert_true(rh_feature_notes_fit(&kept, notes, m->fingerprint));
    assert_true(kept.fvu == fit.fvu && kept.tokens == fit.tokens);
    rh_feature_notes_free(notes);
    /* without a cache it is measured each time */
    rh_fit_check alone;
    assert_int_equal(rh_check_fit(&alone, m, s, 1, RH_RESID_POST, NULL, NULL, NULL, NULL), RH_OK);
    assert_true(alone.measured && alone.fvu == fit.fvu);
    rh_error err = {0};
    assert_int_equal(rh_check_fit(&alone, m, s, 7, RH_RESID_POST, NULL, NULL, NULL, &err), RH_ESITE);
    assert_int_equal(rh_check_fit(&alone, m, s, 1, RH_ATTN_Z, NULL, NULL, NULL, &err), rh_model_width(m, RH_ATTN_Z) == D ? RH_OK : RH_ESITE);
    rh_sae_free(s);
    close_place(&p);
}

static void causes(void **state)
{
    rh_model *m = *state;
    place p;
    open_place(&p);
    write_memory(&p, m, 2, RH_RESID_POST, false, false, NULL); /* says no layer, and is put at another */
    names(&p, m, 0, RH_RESID_POST, "At layer 2 it leaves 0 %: it was probably trained there");
    write_memory(&p, m, 1, RH_ATTN_OUT, false, false, NULL);
    names(&p, m, 1, RH_RESID_POST, "At attn_out it leaves 0 %: it was probably trained there");
    write_memory(&p, m, 1, RH_RESID_POST, false, true, "blocks.1.hook_resid_post"); /* the model's states are longer */
    names(&p, m, 1, RH_RESID_POST, "With each state scaled to the norm √d it leaves 0 %");
    float rows[4 * D];
    /* of nothing that was tried */
    for (int i = 0; i < 4 * D; i++) rows[i] = (float)rh_random_normal(3, 0, (uint64_t)i);
    write_sae(&p, rows, rows, NULL, 4, "blocks.1.hook_resid_post", "gemma-2-2b");
    names(&p, m, 1, RH_RESID_POST, "it was trained on gemma-2-2b, and this is words");
    write_sae(&p, rows, rows, NULL, 4, "blocks.1.hook_resid_post", NULL);
    check(&p, m, 1, RH_RESID_POST, false); /* the same weights */
    close_place(&p);
}

static void bos(void **state)
{
    (void)state;
    place p;
    rh_model *m = stage_small_model("words-bos.gguf");
    assert_true(rh_tokenizer_adds_bos(m->tokenizer));
    open_place(&p);
    write_memory(&p, m, 2, RH_MLP_OUT, true, false, "blocks.2.hook_mlp_out"); /* where BOS makes the largest difference */
    names(&p, m, 2, RH_MLP_OUT, "Without BOS in front of the text it leaves 0 %: it was probably trained so");
    close_place(&p);
    rh_model_free(m);
}

static int open_small(void **state)
{
    *state = stage_small_model("words.gguf");
    return 0;
}

static int close_small(void **state)
{
    rh_model_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(causes), cmocka_unit_test(bos)};
    return cmocka_run_group_tests(tests, open_small, close_small);
}
