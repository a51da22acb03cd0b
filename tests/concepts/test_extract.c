/* The pass: against states captured one text at a time, in any packing, stopped and taken up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/help.h"
#include "concepts/prompt.h"

static const char pairs_csv[] =
    "positive,negative\n"
    "The mayor of San Francisco,The mayor of Paris\n"
    "The mayor of San Francisco,The mayor of Tokyo\n" /* an equal positive: counts twice */
    "I love San Francisco,I love Tokyo rain\n"
    "San Francisco,The city\n"
    "a walk in San Francisco,The mayor of Paris\n"     /* an equal negative */
    "rain,snow\n";
static const char marked_csv[] =
    "text,label\n"
    "The mayor of <<San Francisco>> in <<rain>>,1\n"
    "<<The>> mayor of Paris,0\n"
    "I love <<Tokyo rain>>,positive\n"
    "a <<walk>> in the rain,0\n"
    "The <<mayor of Paris>>,0\n";

enum { LAYERS = 3 };

/* One text alone in a session: mean over positions into out [d]. */
static void state_of(double *out, const rh_model *m, const rh_text_prompt *p, int32_t layer, rh_hook hook)
{
    rh_session *s = NULL;
    int32_t d = rh_model_width(m, hook);
    float *h = rh_calloc((size_t)p->n_positions * (size_t)d, sizeof *h);
    rh_capture c = {.layer = layer, .hook = hook, .positions = p->positions, .n = p->n_positions, .out = h};
    rh_step_input in = {.ids = p->prompt.ids, .n = p->prompt.n, .captures = &c, .n_captures = 1};
    assert_int_equal(rh_session_new(&s, m, 1, p->prompt.n, NULL), RH_OK);
    assert_int_equal(rh_session_add(s, &in.seq, in.n, NULL, 0, NULL), RH_OK);
    assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
    for (int32_t j = 0; j < d; j++) {
        out[j] = 0;
        for (int32_t i = 0; i < p->n_positions; i++) out[j] += h[i * d + j];
        out[j] /= p->n_positions;
    }
    rh_session_free(s);
    free(h);
}

/* The definition, in so many words. */
static void direct(double *out, const rh_model *m, const rh_atom_spec *spec, int32_t layer, rh_hook hook)
{
    rh_pairs pairs;
    double n[2] = {0}, one[64], sum[2][64] = {{0}};
    int32_t d = rh_model_width(m, hook);
    assert_int_equal(rh_pairs_read(&pairs, spec->text, NULL, NULL, spec->at == RH_AT_MARKED, NULL), RH_OK);
    for (size_t i = 0; i < pairs.n; i++) {
        rh_text_prompt p;
        assert_int_equal(rh_text_prompt_make(&p, m, spec, &pairs.rows[i], false, NULL), RH_OK);
        bool each = spec->at == RH_AT_ALL || spec->at == RH_AT_MARKED;
        double weight = each ? p.n_positions : 1;
        int cls = !pairs.rows[i].positive;
        state_of(one, m, &p, layer, hook);
        for (int32_t j = 0; j < d; j++) sum[cls][j] += weight * one[j];
        n[cls] += weight;
        rh_text_prompt_free(&p);
    }
    for (int32_t j = 0; j < d; j++) out[j] = sum[0][j] / n[0] - sum[1][j] / n[1];
    rh_pairs_free(&pairs);
}

static double difference(const float *a, const double *b, int32_t d)
{
    double worst = 0, scale = 0;
    for (int32_t j = 0; j < d; j++) {
        if (fabs(a[j] - b[j]) > worst) worst = fabs(a[j] - b[j]);
        if (fabs(b[j]) > scale) scale = fabs(b[j]);
    }
    return worst / scale;
}

typedef struct { const char *model, *csv; rh_at at; bool chat; const char *prefix; rh_hook hook; int32_t batch; } dim_case;

static const dim_case dims[] = {
    {"words.gguf", pairs_csv, RH_AT_LAST, false, "", RH_RESID_POST, 0},
    {"words.gguf", pairs_csv, RH_AT_LAST, false, "", RH_RESID_POST, 1}, /* one prompt a batch */
    {"words.gguf", pairs_csv, RH_AT_LAST, false, "", RH_RESID_POST, 12},
    {"words-bos.gguf", pairs_csv, RH_AT_LAST, false, "", RH_ATTN_OUT, 0},
    {"words-bos.gguf", pairs_csv, RH_AT_MEAN, false, "", RH_MLP_IN, 0},
    {"words.gguf", pairs_csv, RH_AT_MEAN, false, "", RH_ATTN_Z, 0},
    {"words.gguf", pairs_csv, RH_AT_ALL, false, "", RH_RESID_PRE, 7},
    {"words.gguf", pairs_csv, RH_AT_ALL, true, "", RH_RESID_POST, 0},
    {"words.gguf", pairs_csv, RH_AT_TEXT_LAST, true, "", RH_MLP_OUT, 0},
    {"words.gguf", pairs_csv, RH_AT_LAST, true, "I love ", RH_RESID_POST, 0},
    {"words-bos.gguf", pairs_csv, RH_AT_MEAN, false, "in the city ", RH_RESID_POST, 0},
    {"words.gguf", marked_csv, RH_AT_MARKED, false, "", RH_RESID_POST, 0},
    {"words-bos.gguf", marked_csv, RH_AT_MARKED, false, "I love ", RH_RESID_POST, 5},
    {"words.gguf", marked_csv, RH_AT_LAST, false, "", RH_RESID_POST, 0}, /* marks are plain text */
};

static void test_dim_is_the_definition(void **state)
{
    (void)state;
    folder f = folder_new();
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        const dim_case *c = &dims[i];
        rh_model *m = open_model(c->model);
        rh_atom_spec spec = dim_spec(write_text(&f, "pairs.csv", c->csv));
        spec.at = c->at;
        spec.chat = c->chat;
        spec.prefix = c->prefix;
        for (int no_share = 0; no_share < 2; no_share++) {
            rh_concepts *k = NULL;
            rh_concepts_options o = {.batch_tokens = c->batch, .no_share = no_share};
            assert_int_equal(rh_concepts_new(&k, m, &o, NULL), RH_OK);
            float *v = compute(k, &spec, c->hook, 0, LAYERS, RH_OK, NULL);
            for (int32_t layer = 0; layer < LAYERS; layer++) {
                double want[64];
                int32_t d = rh_model_width(m, c->hook);
                direct(want, m, &spec, layer, c->hook);
                double off = difference(v + layer * d, want, d);
                if (!(off < 2e-5)) fail_msg("case %zu, layer %d, no_share %d: off by %g", i, (int)layer, no_share, off);
            }
            rh_extract_stats s = rh_concepts_stats(k);
            assert_true(s.computed <= s.tokens && s.prompts > 0);
            free(v);
            rh_concepts_free(k);
        }
        rh_model_free(m);
    }
    folder_remove(&f);
}

/* What the pass says it computed is what the session computed and what the planner of rows says. */
static void test_rows_are_shared(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    rh_atom_spec spec = dim_spec(write_text(&f, "pairs.csv", pairs_csv));
    rh_pairs pairs;
    rh_text_prompt prompts[16];
    const int32_t *ids[16];
    int32_t n[16], count = 0;
    int64_t rows = 0, tokens = 0;
    assert_int_equal(rh_pairs_read(&pairs, spec.text, NULL, NULL, false, NULL), RH_OK);
    for (size_t i = 0; i < pairs.n; i++, count++) {
        assert_int_equal(rh_text_prompt_make(&prompts[count], m, &spec, &pairs.rows[i], false, NULL), RH_OK);
        ids[count] = prompts[count].prompt.ids;
        n[count] = prompts[count].prompt.n;
        tokens += n[count];
    }
    assert_int_equal(rh_shared_rows(&rows, ids, n, count, NULL), RH_OK);
    rh_concepts *c = new_concepts(m, NULL);
    free(compute(c, &spec, RH_RESID_POST, 1, 1, RH_OK, NULL));
    rh_extract_stats s = rh_concepts_stats(c);
    assert_int_equal(s.prompts, count);
    assert_int_equal(s.tokens, tokens);
    assert_int_equal(s.computed, rows);
    assert_true(rows < tokens);
    rh_concepts_free(c);
    for (int32_t i = 0; i < count; i++) rh_text_prompt_free(&prompts[i]);
    rh_pairs_free(&pairs);
    rh_model_free(m);
    folder_remove(&f);
}

/* Several sources and sites in one call equal each by itself. */
static void test_one_pass_for_all(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    rh_atom_spec specs[4] = {dim_spec(write_text(&f, "a.csv", pairs_csv)), dim_spec(write_text(&f, "b.csv", marked_csv)),
                             act_spec("The mayor of San Francisco"), act_spec("rain")};
    int32_t layers[3] = {0, 1, 2}, culprit;
    specs[1].at = RH_AT_MEAN;
    float out[6][3 * 32];
    rh_atom_request q[6] = {{&specs[0], RH_RESID_POST, 1, layers + 1, 32, out[0]},
                            {&specs[1], RH_RESID_POST, 2, layers + 1, 32, out[1]},
                            {&specs[2], RH_MLP_OUT, 3, layers, 32, out[2]},
                            {&specs[0], RH_RESID_POST, 1, layers + 2, 32, out[3]},
                            {&specs[0], RH_ATTN_Z, 1, layers, 32, out[4]},
                            {&specs[3], RH_RESID_POST, 1, layers, 32, out[5]}};
    rh_concepts *c = new_concepts(m, NULL);
    const rh_resolver *r = rh_concepts_resolver(c);
    assert_int_equal(r->compute(r->self, q, 6, &culprit, NULL), RH_OK);
    for (int i = 0; i < 6; i++) {
        float *alone = compute(c, q[i].spec, q[i].hook, q[i].layers[0], q[i].n_layers, RH_OK, NULL);
        for (int32_t l = 0; l < q[i].n_layers; l++) {
            double want[32];
            for (int j = 0; j < 32; j++) want[j] = alone[l * 32 + j];
            assert_true(difference(out[i] + l * 32, want, 32) < 2e-5);
        }
        free(alone);
    }
    rh_concepts_free(c);
    rh_model_free(m);
    folder_remove(&f);
}

static void test_act_is_the_state(void **state)
{
    (void)state;
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL);
    rh_atom_spec spec = act_spec("The mayor of San Francisco");
    rh_text_row row = {.text = (char *)spec.text, .len = spec.text_len};
    rh_text_prompt p;
    double want[64];
    assert_int_equal(rh_text_prompt_make(&p, m, &spec, &row, false, NULL), RH_OK);
    state_of(want, m, &p, 2, RH_RESID_POST);
    float *v = compute(c, &spec, RH_RESID_POST, 2, 1, RH_OK, NULL);
    assert_true(difference(v, want, 32) < 2e-5);
    free(v);
    rh_text_prompt_free(&p);
    rh_concepts_free(c);
    rh_model_free(m);
}

/* ---- stopping ----------------------------------------------------------------------------- */

typedef struct { int calls, stop_at; int64_t done, total; } watcher;

static bool watch(void *data, const char *label, int64_t done, int64_t total)
{
    watcher *w = data;
    assert_string_equal(label, "prompts read");
    assert_true(done >= w->done && done <= total);
    w->done = done;
    w->total = total;
    return ++w->calls != w->stop_at;
}

static float *run_watched(const rh_model *m, const char *cache, const rh_atom_spec *spec, watcher *w, rh_status want,
                          int64_t *resumed, rh_error *err)
{
    rh_concepts *c = NULL;
    rh_concepts_options o = {.cache_dir = cache, .batch_tokens = 4, .progress = watch, .progress_data = w};
    assert_int_equal(rh_concepts_new(&c, m, &o, NULL), RH_OK);
    float *v = compute(c, spec, RH_RESID_POST, 0, LAYERS, want, err);
    *resumed = rh_concepts_stats(c).resumed_prompts;
    rh_concepts_free(c);
    return v;
}

/* However often it is stopped, the sums are the same to the last bit. */
static void test_resuming_is_exact(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    rh_atom_spec spec = dim_spec(write_text(&f, "pairs.csv", pairs_csv));
    spec.at = RH_AT_MEAN;
    watcher once = {0};
    int64_t resumed;
    rh_error err;
    float *whole = run_watched(m, in_folder(&f, "whole"), &spec, &once, RH_OK, &resumed, NULL);
    assert_int_equal(resumed, 0);
    assert_true(once.calls > 4);
    assert_int_equal(once.done, once.total);
    assert_int_equal(count_files(in_folder(&f, "whole/partial")), 0);
    for (int stop = 2; stop < once.calls; stop++) {
        char cache[300];
        snprintf(cache, sizeof cache, "%s/stopped-%d", f.path, stop);
        watcher w = {.stop_at = stop};
        free(run_watched(m, cache, &spec, &w, RH_ECANCELLED, &resumed, &err));
        assert_non_null(strstr(err.hint, "goes on from there"));
        int64_t done = w.done;
        watcher again = {.stop_at = 2}; /* and once more, one batch later */
        if (stop + 1 < once.calls) {
            free(run_watched(m, cache, &spec, &again, RH_ECANCELLED, &resumed, &err));
            assert_int_equal(resumed, done);
            done = again.done;
        }
        watcher last = {0};
        float *v = run_watched(m, cache, &spec, &last, RH_OK, &resumed, NULL);
        assert_int_equal(resumed, done);
        assert_memory_equal(v, whole, LAYERS * 32 * sizeof *v);
        free(v);
        char partial[320];
        snprintf(partial, sizeof partial, "%s/partial", cache);
        assert_int_equal(count_files(partial), 0);
    }
    free(whole);
    rh_model_free(m);
    folder_remove(&f);
}

/* A partial file that was cut, changed or belongs to another pass is no help and no harm. */
static void test_damaged_partial(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    rh_atom_spec spec = dim_spec(write_text(&f, "pairs.csv", pairs_csv));
    watcher w = {0};
    int64_t resumed;
    float *whole = run_watched(m, NULL, &spec, &w, RH_OK, &resumed, NULL);
    for (int kind = 0; kind < 4; kind++) {
        char cache[300], partial[320];
        snprintf(cache, sizeof cache, "%s/damaged-%d", f.path, kind);
        snprintf(partial, sizeof partial, "%s/partial", cache);
        watcher stop = {.stop_at = 3};
        free(run_watched(m, cache, &spec, &stop, RH_ECANCELLED, &resumed, NULL));
        FILE *file = fopen(only_file(partial), "r+b");
        assert_non_null(file);
        fseek(file, 0, SEEK_END);
        long size = ftell(file);
        if (kind < 3) {
            long at = (long[]){20, 120, size - 3}[kind]; /* key, sums, hash */
            fseek(file, at, SEEK_SET);
            int byte = fgetc(file);
            fseek(file, at, SEEK_SET);
            fputc(byte ^ 1, file);
        } else {
            fputc('0', file);
        }
        fclose(file);
        watcher again = {0};
        float *v = run_watched(m, cache, &spec, &again, RH_OK, &resumed, NULL);
        assert_int_equal(resumed, 0);
        assert_memory_equal(v, whole, LAYERS * 32 * sizeof *v);
        free(v);
    }
    free(whole);
    rh_model_free(m);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dim_is_the_definition), cmocka_unit_test(test_rows_are_shared),
        cmocka_unit_test(test_one_pass_for_all), cmocka_unit_test(test_act_is_the_state),
        cmocka_unit_test(test_resuming_is_exact), cmocka_unit_test(test_damaged_partial)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
