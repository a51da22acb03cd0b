/* pca, lda, logreg, neutral and resid_norm as the language asks for them: against their definitions on
 * states taken one text at a time; cached, resumed, refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/fit.h"
#include "concepts/calibration.h"
#include "concepts/help.h"
#include "concepts/pass.h"
#include "concepts/prompt.h"

static const char pairs_csv[] =
    "positive,negative\n"
    "The mayor of San Francisco,The mayor of Paris\n"
    "The mayor of San Francisco,The mayor of Tokyo\n" /* an equal positive: two samples */
    "I love San Francisco,I love Tokyo rain\n"
    "San Francisco,The city\n"
    "a walk in San Francisco,The mayor of Paris\n"
    "the mayor walk,snow in the rain\n"
    "rain,snow\n";
static const char marked_csv[] =
    "positive,negative\n"
    "The mayor of <<San Francisco>> in <<rain>>,<<The>> mayor of Paris\n"
    "I love <<Tokyo rain>>,a <<walk>> in the rain\n"
    "a <<city>> in snow,The <<mayor of Paris>>\n"
    "<<snow>> in the city,I <<walk in the>> rain\n";
static const char labels_csv[] =
    "text,label\nThe mayor of San Francisco,1\nThe mayor of Paris,0\nI love rain,0\nsnow in San Francisco,1\nrain,0\n";

enum { LAYERS = 3, D = 32, MAX_ROWS = 64 };

/* ---- the definition -------------------------------------------------------------------------- */

/* The states of one text at the positions read, alone in a session: out [n, D]. */
static int32_t states_of(float *out, const rh_model *m, const rh_atom_spec *spec, const rh_text_row *row, int32_t layer)
{
    rh_session *s = NULL;
    rh_text_prompt p;
    assert_int_equal(rh_text_prompt_make(&p, m, spec, row, false, NULL), RH_OK);
    assert_true(p.n_positions <= MAX_ROWS * 2);
    rh_capture c = {.layer = layer, .hook = RH_RESID_POST, .positions = p.positions, .n = p.n_positions, .out = out};
    rh_step_input in = {.ids = p.prompt.ids, .n = p.prompt.n, .captures = &c, .n_captures = 1};
    assert_int_equal(rh_session_new(&s, m, 1, p.prompt.n, NULL), RH_OK);
    assert_int_equal(rh_session_add(s, &in.seq, in.n, NULL, 0, NULL), RH_OK);
    assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
    rh_session_free(s);
    int32_t n = p.n_positions;
    rh_text_prompt_free(&p);
    return n;
}

static void direct(float *out, const rh_model *m, const rh_atom_spec *spec, int32_t layer)
{
    rh_pairs pairs;
    float h[MAX_ROWS * 2 * D], rows[MAX_ROWS * D];
    uint8_t positive[MAX_ROWS];
    size_t n = 0;
    bool each = spec->kind != RH_ATOM_PCA && (spec->at == RH_AT_ALL || spec->at == RH_AT_MARKED);
    assert_int_equal(rh_pairs_read(&pairs, spec->text, NULL, NULL, spec->at == RH_AT_MARKED, NULL), RH_OK);
    for (size_t i = 0; i < pairs.n; i++) {
        int32_t k = states_of(h, m, spec, &pairs.rows[i], layer), samples = each ? k : 1;
        for (int32_t s = 0; s < samples; s++, n++) {
            assert_true(n < MAX_ROWS);
            positive[n] = pairs.rows[i].positive;
            for (int32_t j = 0; j < D; j++) {
                double sum = 0;
                for (int32_t a = 0; a < k; a++) sum += h[a * D + j] / (double)k;
                rows[n * D + (size_t)j] = each ? h[s * D + j] : (float)sum;
            }
        }
    }
    if (spec->kind == RH_ATOM_PCA) {
        assert_int_equal(rh_fit_pca(out, rows, n / 2, D, !spec->no_center, NULL), RH_OK);
    } else if (spec->kind == RH_ATOM_LOGREG) {
        assert_int_equal(rh_fit_logreg(out, rows, positive, n, D, spec->l2, NULL), RH_OK);
    } else {
        rh_scatter s;
        assert_int_equal(rh_scatter_new(&s, D, 2, NULL), RH_OK);
        for (size_t i = 0; i < n; i++) rh_scatter_add(&s, !positive[i], rows + i * D, 1);
        rh_scatter_flush(&s);
        assert_int_equal(rh_fit_lda(out, &s, spec->shrink, NULL), RH_OK);
        rh_scatter_free(&s);
    }
    rh_pairs_free(&pairs);
}

static void same(const float *got, const float *want, int32_t n, double tolerance, const char *what)
{
    double worst = 0, scale = 0;
    for (int32_t j = 0; j < n; j++) {
        if (!(fabs((double)got[j] - want[j]) <= worst)) worst = fabs((double)got[j] - want[j]);
        if (fabs(want[j]) > scale) scale = fabs(want[j]);
    }
    if (!(worst <= tolerance * scale)) fail_msg("%s: off by %g of %g", what, worst, scale);
}

static rh_atom_spec spec_of(rh_atom_kind kind, const char *path)
{
    rh_atom_spec s = dim_spec(path);
    s.kind = kind;
    s.shrink = kind == RH_ATOM_LDA ? 0.1 : 0;
    s.l2 = kind == RH_ATOM_LOGREG ? 1 : 0;
    return s;
}

static const struct { const char *what; rh_atom_kind kind; const char *csv; rh_at at; bool chat, no_center; const char *prefix; int32_t batch; } cases[] = {
    {"pca", RH_ATOM_PCA, pairs_csv, RH_AT_LAST, false, false, "", 0},
    {"pca, small batches", RH_ATOM_PCA, pairs_csv, RH_AT_LAST, false, false, "", 4},
    {"pca uncentred", RH_ATOM_PCA, pairs_csv, RH_AT_MEAN, false, true, "I love ", 0},
    {"pca marked", RH_ATOM_PCA, marked_csv, RH_AT_MARKED, false, false, "", 0},
    {"pca all", RH_ATOM_PCA, pairs_csv, RH_AT_ALL, true, false, "", 0},
    {"lda", RH_ATOM_LDA, pairs_csv, RH_AT_LAST, false, false, "", 0},
    {"lda, small batches", RH_ATOM_LDA, pairs_csv, RH_AT_MEAN, false, false, "", 4},
    {"lda marked", RH_ATOM_LDA, marked_csv, RH_AT_MARKED, false, false, "", 5},
    {"lda all", RH_ATOM_LDA, pairs_csv, RH_AT_ALL, false, false, "", 0},
    {"lda unpaired", RH_ATOM_LDA, labels_csv, RH_AT_LAST, false, false, "", 0},
    {"logreg", RH_ATOM_LOGREG, pairs_csv, RH_AT_TEXT_LAST, true, false, "", 0},
    {"logreg marked", RH_ATOM_LOGREG, marked_csv, RH_AT_MARKED, false, false, "", 5},
    {"logreg all", RH_ATOM_LOGREG, pairs_csv, RH_AT_ALL, false, false, "", 4},
    {"logreg unpaired", RH_ATOM_LOGREG, labels_csv, RH_AT_MEAN, false, false, "", 0},
};

static void test_sources_are_their_definitions(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_concepts *c = NULL;
        rh_concepts_options o = {.batch_tokens = cases[i].batch};
        rh_atom_spec spec = spec_of(cases[i].kind, write_text(&f, "pairs.csv", cases[i].csv));
        spec.at = cases[i].at;
        spec.chat = cases[i].chat;
        spec.no_center = cases[i].no_center;
        spec.prefix = cases[i].prefix;
        assert_int_equal(rh_concepts_new(&c, m, &o, NULL), RH_OK);
        float *v = compute(c, &spec, RH_RESID_POST, 0, LAYERS, RH_OK, NULL), want[D];
        for (int32_t layer = 0; layer < LAYERS; layer++) {
            direct(want, m, &spec, layer);
            /* States differ in the last digits of float32, and the inverse of the scatter carries that on. */
            same(v + layer * D, want, D, 2e-4, cases[i].what);
        }
        free(v);
        rh_concepts_free(c);
    }
    rh_model_free(m);
    folder_remove(&f);
}

/* ---- the calibration text --------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void check_calibration(const char *name)
{
    rh_model *m = open_model(name);
    m->config.n_ctx = 256; /* its words are few, so that sentences are long in tokens */
    rh_concepts *c = new_concepts(m, NULL);
    rh_atom_spec neutral = {.kind = RH_ATOM_NEUTRAL, .text = "", .prefix = ""}, all = {.at = RH_AT_ALL, .prefix = ""};
    rh_pairs rows;
    double sum[D] = {0}, *norms = NULL;
    size_t n = 0;
    assert_int_equal(rh_calibration_read(&rows, NULL), RH_OK);
    assert_int_equal(rows.n, 40);
    norms = rh_calloc(rows.n * MAX_ROWS * 2, sizeof *norms);
    for (size_t i = 0; i < rows.n; i++) {
        float h[MAX_ROWS * 2 * D];
        int32_t k = states_of(h, m, &all, &rows.rows[i], 1);
        for (int32_t s = 0; s < k; s++, n++) {
            double square = 0;
            for (int32_t j = 0; j < D; j++) {
                sum[j] += h[s * D + j];
                square += (double)h[s * D + j] * h[s * D + j];
            }
            norms[n] = sqrt(square);
        }
    }
    float want[D], *v = compute(c, &neutral, RH_RESID_POST, 1, 1, RH_OK, NULL);
    for (int32_t j = 0; j < D; j++) want[j] = (float)(sum[j] / (double)n);
    same(v, want, D, 2e-5, name);
    free(v);
    qsort(norms, n, sizeof *norms, compare_doubles);
    static const double quantiles[] = {0, 0.1, 0.5, 0.9, 1};
    const rh_resolver *r = rh_concepts_resolver(c);
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        rh_atom_spec q = {.kind = RH_ATOM_RESID_NORM, .text = "", .prefix = "", .quantile = quantiles[i]};
        int32_t layer = 1, culprit;
        float got = 0;
        rh_atom_request request = {.spec = &q, .hook = RH_RESID_POST, .n_layers = 1, .layers = &layer, .d = 1, .out = &got};
        assert_int_equal(r->compute(r->self, &request, 1, &culprit, NULL), RH_OK);
        double at = quantiles[i] * (double)(n - 1);
        size_t low = (size_t)at, high = low + 1 < n ? low + 1 : low;
        float value = (float)(norms[low] + (at - (double)low) * (norms[high] - norms[low]));
        same(&got, &value, 1, 1e-5, "resid_norm");
        request.d = 2;
        assert_int_equal(r->compute(r->self, &request, 1, &culprit, NULL), RH_ESITE);
    }
    free(norms);
    rh_pairs_free(&rows);
    rh_concepts_free(c);
    rh_model_free(m);
}

static void test_calibration(void **state)
{
    (void)state;
    check_calibration("words.gguf");
    check_calibration("words-bos.gguf");
}

/* ---- keys, resuming, refusing ------------------------------------------------------------------ */

/* Each option is part of the key; the same again is not computed. */
static void test_cached_by_option(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    char path[512], cache[512]; /* copies: both outlive the helper's */
    snprintf(path, sizeof path, "%s", write_text(&f, "pairs.csv", pairs_csv));
    snprintf(cache, sizeof cache, "%s", in_folder(&f, "cache"));
    rh_atom_spec specs[8];
    for (int i = 0; i < 8; i++) specs[i] = spec_of(i < 2 ? RH_ATOM_PCA : i < 4 ? RH_ATOM_LDA : i < 6 ? RH_ATOM_LOGREG : RH_ATOM_DIM, path);
    specs[1].no_center = true;
    specs[3].shrink = 0.5;
    specs[5].l2 = 10;
    specs[7].at = RH_AT_MEAN;
    for (int again = 0; again < 2; again++)
        for (int i = 0; i < 8; i++) {
            rh_concepts *c = new_concepts(m, cache);
            float *v = compute(c, &specs[i], RH_RESID_POST, 1, 2, RH_OK, NULL), want[D];
            assert_int_equal(rh_concepts_stats(c).cached_atoms, again);
            if (specs[i].kind != RH_ATOM_DIM) {
                direct(want, m, &specs[i], 2);
                same(v + D, want, D, 2e-4, "cached");
            }
            free(v);
            rh_concepts_free(c);
        }
    assert_int_equal(count_files(in_folder(&f, "cache/vectors")), 8);
    rh_model_free(m);
    folder_remove(&f);
}

static bool stop_at(void *data, const char *label, int64_t done, int64_t total)
{
    (void)label;
    (void)done;
    (void)total;
    return --*(int *)data != 0;
}

/* A stopped pass goes on where it was, to the same bits. */
static void test_resumed(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    m->config.n_ctx = 256;
    static const rh_atom_kind kinds[] = {RH_ATOM_PCA, RH_ATOM_LDA, RH_ATOM_LOGREG, RH_ATOM_NEUTRAL};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int calls = 2; calls < 5; calls++) {
            rh_atom_spec spec = spec_of(kinds[i], write_text(&f, "pairs.csv", pairs_csv));
            spec.at = RH_AT_MEAN;
            char cache[300];
            int count = calls;
            snprintf(cache, sizeof cache, "%s/%zu-%d", f.path, i, calls);
            rh_concepts *whole = NULL, *stopped = NULL, *again = NULL;
            rh_concepts_options o = {.batch_tokens = 4}, s = {.batch_tokens = 4, .cache_dir = cache, .progress = stop_at, .progress_data = &count};
            assert_int_equal(rh_concepts_new(&whole, m, &o, NULL), RH_OK);
            assert_int_equal(rh_concepts_new(&stopped, m, &s, NULL), RH_OK);
            s.progress = NULL;
            assert_int_equal(rh_concepts_new(&again, m, &s, NULL), RH_OK);
            float *want = compute(whole, &spec, RH_RESID_POST, 0, LAYERS, RH_OK, NULL);
            free(compute(stopped, &spec, RH_RESID_POST, 0, LAYERS, RH_ECANCELLED, NULL));
            float *v = compute(again, &spec, RH_RESID_POST, 0, LAYERS, RH_OK, NULL);
            assert_true(rh_concepts_stats(again).resumed_prompts > 0);
            assert_memory_equal(v, want, LAYERS * D * sizeof *v);
            free(want);
            free(v);
            rh_concepts_free(whole);
            rh_concepts_free(stopped);
            rh_concepts_free(again);
        }
    rh_model_free(m);
    folder_remove(&f);
}

static void test_refused(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL), *none = new_concepts(NULL, NULL);
    rh_atom_spec spec = spec_of(RH_ATOM_PCA, write_text(&f, "labels.csv", labels_csv));
    rh_atom_info info;
    rh_error err;
    const rh_resolver *r = rh_concepts_resolver(c);
    assert_int_equal(r->describe(r->self, &spec, &info, &err), RH_EVALUE);
    assert_non_null(strstr(err.message, "pca needs pairs"));
    free(compute(c, &spec, RH_RESID_POST, 0, 1, RH_EVALUE, &err));
    assert_non_null(strstr(err.message, "pca needs pairs"));
    spec = spec_of(RH_ATOM_PCA, write_text(&f, "one.csv", "positive,negative\nrain,snow\n"));
    assert_int_equal(r->describe(r->self, &spec, &info, NULL), RH_OK);
    assert_int_equal(info.place, RH_PLACE_FLOATING);
    free(compute(c, &spec, RH_RESID_POST, 2, 1, RH_EVALUE, &err));
    assert_non_null(strstr(err.message, "at layer 2: the pairs have all the same difference"));
    assert_non_null(strstr(err.hint, "center=false"));
    spec.no_center = true;
    free(compute(c, &spec, RH_RESID_POST, 2, 1, RH_OK, NULL));
    spec = spec_of(RH_ATOM_LOGREG, write_text(&f, "pairs.csv", pairs_csv));
    free(compute(none, &spec, RH_RESID_POST, 0, 1, RH_EMODEL, &err));
    assert_non_null(strstr(err.message, "logreg needs a model"));
    rh_concepts_free(none);
    rh_concepts_free(c);
    rh_model_free(m);
    folder_remove(&f);
}

/* Memory that would grow past the bound is refused before it is taken. */
static void test_bound(void **state)
{
    (void)state;
    rh_pass p = {0};
    int32_t atom, layers[3] = {0, 1, 2}, zero = 0;
    char key[65] = "";
    rh_error err;
    assert_int_equal(rh_pass_atom_add(&p, &atom, key, RH_RESID_POST, 1 << 14, layers, 3, NULL), RH_OK);
    rh_pass_atom_keep(&p, atom, RH_KEEP_SCATTER);
    assert_int_equal(rh_pass_prompt_add(&p, atom, 0, false, &zero, 1, &zero, 1, NULL), RH_OK);
    assert_int_equal(rh_keep_alloc(&p, &err), RH_ELIMIT);
    assert_non_null(strstr(err.message, "the bound is 2 GiB"));
    rh_pass_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sources_are_their_definitions), cmocka_unit_test(test_calibration),
        cmocka_unit_test(test_cached_by_option), cmocka_unit_test(test_resumed), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
