/* Features of an SAE as vectors: rows as stored, where they live, and what is refused by name. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "concepts/feature_notes.h"
#include "concepts/help.h"
#include "engine/files/npz.h"

#define SAES RH_TEST_DATA "/saes/"
#define SCOPE SAES "gemma-scope-2b-pt-res-stored/layer_2/width_14/average_l0_5"

static rh_atom_spec feature(const char *path, int32_t i, int32_t layer)
{
    return (rh_atom_spec){.kind = RH_ATOM_SAE, .text = path, .text_len = strlen(path), .prefix = "", .name = "s", .feature = i, .layer = layer};
}

static rh_atom_spec at_hook(rh_atom_spec spec, rh_hook hook)
{
    spec.has_hook = true;
    spec.hook = hook;
    return spec;
}

static rh_status describe(rh_concepts *c, const rh_atom_spec *spec, rh_atom_info *info, rh_error *err)
{
    const rh_resolver *r = rh_concepts_resolver(c);
    memset(err, 0, sizeof *err);
    return r->describe(r->self, spec, info, err);
}

static void places(void **state)
{
    (void)state;
    rh_concepts *c = new_concepts(NULL, NULL);
    const char *transcoder = SAES "gemma-scope-2-270m-it/transcoder/layer_5_width_14_l0_small";
    const char *attention = SAES "gemma-scope-2-270m-it/attn_out/layer_5_width_14_l0_small";
    const struct { rh_atom_spec spec; int32_t layer; rh_hook hook; int32_t d; } cases[] = {
        {feature(SCOPE, -1, -1), 2, RH_RESID_POST, 8},
        {feature(SCOPE, 13, -1), 2, RH_RESID_POST, 8},
        {feature(SCOPE "/params.npz", 0, 2), 2, RH_RESID_POST, 8},
        {at_hook(feature(SCOPE, 0, 2), RH_RESID_POST), 2, RH_RESID_POST, 8},
        {feature(SAES "topk-rescale", 3, -1), 2, RH_RESID_POST, 8},
        {feature(transcoder, 3, 5), 5, RH_MLP_OUT, 6}, /* rows are what it writes */
        {at_hook(feature(transcoder, 3, 5), RH_MLP_OUT), 5, RH_MLP_OUT, 6},
        {at_hook(feature(transcoder, 3, 5), RH_MLP_IN), 5, RH_MLP_OUT, 6},
        {feature(attention, 3, 5), 5, RH_ATTN_Z, 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_atom_info info;
        rh_error err;
        if (describe(c, &cases[i].spec, &info, &err)) fail_msg("case %zu: %s", i, err.message);
        if (info.place != RH_PLACE_PINNED || info.n_layers != 1 || info.layers[0] != cases[i].layer || info.hook != cases[i].hook || info.d != cases[i].d)
            fail_msg("case %zu: layer %d, %s, d %d", i, (int)info.layers[0], rh_hook_name(info.hook), (int)info.d);
    }
    rh_concepts_free(c);
}

/* A file out of its folder says neither layer nor hook, and takes those of the @. */
static void moved(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_concepts *c = new_concepts(NULL, NULL);
    const char *path = in_folder(&f, "alone.npz");
    rh_map map = {0};
    rh_atom_info info;
    rh_error err;
    assert_int_equal(rh_map_open(&map, SCOPE "/params.npz", NULL), RH_OK);
    rh_writer w = {0};
    assert_int_equal(rh_writer_open(&w, path, NULL), RH_OK);
    assert_int_equal(rh_writer_put(&w, map.data, map.size, NULL), RH_OK);
    assert_int_equal(rh_writer_commit(&w, NULL), RH_OK);
    rh_map_close(&map);
    rh_atom_spec none = feature(path, 3, -1), layer = feature(path, 3, 7), hook = at_hook(layer, RH_ATTN_Z);
    assert_int_equal(describe(c, &none, &info, &err), RH_ESITE);
    assert_non_null(strstr(err.message, "says for which layer it is"));
    assert_int_equal(describe(c, &layer, &info, &err), RH_OK);
    assert_true(info.layers[0] == 7 && info.hook == RH_RESID_POST);
    assert_int_equal(describe(c, &hook, &info, &err), RH_OK);
    assert_true(info.layers[0] == 7 && info.hook == RH_ATTN_Z);
    rh_concepts_free(c);
    folder_remove(&f);
}

static void refused(void **state)
{
    (void)state;
    rh_model *m = open_model("words.gguf");
    rh_concepts *a = new_concepts(m, NULL), *none = new_concepts(NULL, NULL);
    const char *deep = SAES "gemma-scope-2-270m-it/transcoder/layer_5_width_14_l0_small";
    const struct { rh_concepts *c; rh_atom_spec spec; rh_status status; const char *message; } cases[] = {
        {none, feature(SCOPE, 14, -1), RH_EVALUE, "there is no feature 14: '" SCOPE "/params.npz' has features 0..13"},
        {none, feature(SCOPE, INT32_MAX, -1), RH_EVALUE, "features 0..13"},
        {none, feature(SCOPE, 3, 1), RH_ESITE, "belongs to layer 2, not to layer 1"},
        {none, at_hook(feature(SCOPE, 3, 2), RH_ATTN_OUT), RH_ESITE, "belongs to resid_post, not to attn_out"},
        {none, at_hook(feature(deep, 3, 5), RH_RESID_POST), RH_ESITE, "belongs to mlp_out, not to resid_post"},
        {a, feature(SCOPE, 3, -1), RH_ESITE, "rows of 8 numbers, but resid_post of words is 32 wide"},
        {a, feature(deep, 3, -1), RH_ESITE, "is for layer 5, but words has layers 0..2"},
        {none, feature(SAES "nowhere", -1, -1), RH_EIO, "nowhere"},
        {none, feature(SCOPE "/expected.safetensors", -1, -1), RH_EIO, "expected.safetensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_atom_info info;
        rh_error err;
        rh_status status = describe(cases[i].c, &cases[i].spec, &info, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].message)) fail_msg("case %zu: %s: %s", i, rh_status_name(status), err.message);
    }
    rh_concepts_free(a);
    rh_concepts_free(none);
    rh_model_free(m);
}

/* The row as the file has it, to the bit, and what metadata says of it. */
static void rows_and_metadata(void **state)
{
    (void)state;
    rh_concepts *c = new_concepts(NULL, NULL);
    rh_npz *npz = NULL;
    rh_npz_array w = {0};
    char *json = NULL;
    json_t *root = NULL;
    rh_vector *v = NULL;
    int32_t layer = 2;
    assert_int_equal(rh_npz_open(&npz, SCOPE "/params.npz", NULL), RH_OK);
    assert_int_equal(rh_npz_array_at(&w, npz, rh_npz_find(npz, "W_dec"), NULL), RH_OK);
    assert_true(w.data && w.size == 14 * 8 * sizeof(float));
    for (int32_t i = 0; i < 14; i++) {
        rh_atom_spec spec = feature(SCOPE, i, -1);
        float *row = compute(c, &spec, RH_RESID_POST, 2, 1, RH_OK, NULL);
        assert_memory_equal(row, w.data + 32 * i, 8 * sizeof *row);
        free(row);
        free(compute(c, &spec, RH_RESID_POST, 1, 1, RH_ESITE, NULL));
    }
    rh_atom_spec three = feature(SCOPE, 3, -1);
    free(compute(c, &three, RH_RESID_POST, 2, 1, RH_OK, NULL));
    assert_int_equal(rh_vector_new(&v, 8, RH_RESID_POST, &layer, 1, NULL), RH_OK);
    assert_int_equal(rh_concepts_metadata(&json, c, "s[3]", v, "now", NULL), RH_OK);
    assert_int_equal(rh_json_parse(&root, json, strlen(json), "metadata", NULL), RH_OK);
    const json_t *source = json_array_get(json_object_get(root, "sources"), 0);
    assert_string_equal(json_string_value(json_object_get(source, "kind")), "sae");
    assert_string_equal(json_string_value(json_object_get(source, "path")), SCOPE);
    assert_int_equal(json_string_length(json_object_get(source, "fingerprint")), 64);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(source, "options"), "index")), 3);
    json_decref(root);
    free(json);
    rh_vector_free(v);
    rh_npz_close(npz);
    rh_concepts_free(c);
}

/* ---- labels, and how large a feature becomes ---- */

static const struct { int32_t feature; const char *label; } LABELS[] = {
    {3, "references to San Francisco"}, {5, "rain"}, {6, "Rain and snow"}, {7, "heavy rain"}, {9, "city names"}, {10, "rain"},
};

static void write_notes(const char *cache)
{
    rh_sae *s = NULL;
    rh_feature_notes *n = NULL;
    assert_int_equal(rh_sae_open(&s, SCOPE, RH_SAE_ROWS, NULL), RH_OK);
    assert_int_equal(rh_feature_notes_open(&n, cache, s, NULL), RH_OK);
    for (size_t i = 0; i < sizeof LABELS / sizeof *LABELS; i++)
        assert_int_equal(rh_feature_notes_label(n, LABELS[i].feature, LABELS[i].label, RH_LABEL_CSV, NULL), RH_OK);
    rh_feature_notes_measure(n, 3, 12.5f, 0.01f, 1000);
    rh_feature_notes_measure(n, 4, 0, 0, 1000);
    assert_int_equal(rh_feature_notes_write(n, NULL), RH_OK);
    rh_feature_notes_free(n);
    rh_sae_free(s);
}

static void found_by_label(void **state)
{
    (void)state;
    static const struct { const char *label; int32_t feature; const char *message, *hint; } cases[] = {
        {"san francisco", 3, NULL, NULL}, {"heavy rain", 7, NULL, NULL}, {"CITY", 9, NULL, NULL}, {"snow", 6, NULL, NULL},
        {"rain", -1, "2 features of '" SCOPE "' match \"rain\"", "write the number of the one you mean: s[5] \"rain\", s[10] \"rain\""},
        {"rai", -1, "4 features of", "s[5] \"rain\", s[6] \"Rain and snow\", s[7] \"heavy rain\", s[10] \"rain\""},
        {"sanfrancisco", -1, "no feature of '" SCOPE "' has the label \"sanfrancisco\"", "did you mean s[3] \"references to San Francisco\"?"},
        {"xyzzy", -1, "has the label \"xyzzy\"", ""},
    };
    folder f = folder_new();
    write_notes(f.path);
    rh_concepts *c = new_concepts(NULL, f.path), *none = new_concepts(NULL, NULL);
    const rh_resolver *r = rh_concepts_resolver(c), *of_none = rh_concepts_resolver(none);
    rh_atom_spec spec = feature(SCOPE, -1, -1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_error err = {0};
        int32_t got = -1;
        rh_status status = r->find_feature(r->self, &spec, cases[i].label, strlen(cases[i].label), &got, &err);
        if (got != cases[i].feature || status != (got < 0 ? RH_ENAME : RH_OK)) fail_msg("%s: %d, %s", cases[i].label, (int)got, err.message);
        if (got < 0 && (!strstr(err.message, cases[i].message) || strcmp(cases[i].hint, strstr(err.hint, cases[i].hint) ? cases[i].hint : err.hint)))
            fail_msg("%s: %s (%s)", cases[i].label, err.message, err.hint);
    }
    rh_error err = {0};
    int32_t got;
    assert_int_equal(of_none->find_feature(of_none->self, &spec, "rain", 4, &got, &err), RH_ENAME);
    assert_non_null(strstr(err.message, "no labels are loaded for '" SCOPE "'"));
    assert_non_null(strstr(err.hint, "import them"));
    rh_concepts_free(c);
    rh_concepts_free(none);
    folder_remove(&f);
}

static void largest_activations(void **state)
{
    (void)state;
    folder f = folder_new();
    write_notes(f.path);
    rh_concepts *c = new_concepts(NULL, f.path);
    const struct { int32_t feature; rh_status status; const char *message; } cases[] = {
        {3, RH_OK, ""}, {4, RH_EVALUE, "was never active in 1000 tokens"}, {5, RH_EVALUE, "nothing says how large feature 5 of"},
        {14, RH_EVALUE, "there is no feature 14"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_atom_spec spec = feature(SCOPE, cases[i].feature, -1);
        rh_atom_info info;
        rh_error err;
        spec.kind = RH_ATOM_MAX_ACT;
        assert_int_equal(describe(c, &spec, &info, &err), cases[i].status);
        assert_non_null(strstr(err.message, cases[i].message));
        if (cases[i].status) continue;
        assert_true(info.place == RH_PLACE_PINNED && info.layers[0] == 2 && info.hook == RH_RESID_POST);
        const rh_resolver *r = rh_concepts_resolver(c);
        float out = 0;
        int32_t layer = 2, culprit;
        const rh_atom_request q = {.spec = &spec, .hook = RH_RESID_POST, .n_layers = 1, .layers = &layer, .d = 1, .out = &out};
        assert_int_equal(r->compute(r->self, &q, 1, &culprit, &err), RH_OK);
        assert_true(out == 12.5f);
    }
    rh_concepts_free(c);
    folder_remove(&f);
}

/* What acting through a feature takes: all of a top-k SAE, of others the rows; and transcoders between other hooks
 * than the MLP's are refused. */
static void acting(void **state)
{
    (void)state;
    rh_concepts *c = new_concepts(NULL, NULL);
    const rh_resolver *r = rh_concepts_resolver(c);
    const struct { const char *path; int32_t layer; rh_sae_use use; } cases[] = {
        {SCOPE, -1, RH_SAE_ROWS}, {SAES "topk-rescale", -1, RH_SAE_ENCODE}, {SAES "gated", -1, RH_SAE_ROWS},
        {SAES "gemma-scope-2-270m-it/transcoder/layer_5_width_14_l0_small", 5, RH_SAE_ROWS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_atom_spec spec = feature(cases[i].path, 3, cases[i].layer);
        const rh_sae *s = NULL, *again = NULL;
        rh_error err = {0};
        if (r->acting_sae(r->self, &spec, &s, &err)) fail_msg("%s: %s", cases[i].path, err.message);
        assert_int_equal(rh_sae_opened_for(s), cases[i].use);
        assert_int_equal(r->acting_sae(r->self, &spec, &again, &err), RH_OK);
        assert_ptr_equal(s, again);
        int32_t which = -1;
        const rh_sae *encoder = NULL;
        assert_int_equal(rh_concepts_sae_of(&which, c, &spec, &err), RH_OK);
        assert_int_equal(which, i);
        assert_int_equal(rh_concepts_encoder(&encoder, c, which, &err), RH_OK);
        assert_int_equal(rh_sae_opened_for(encoder), RH_SAE_ENCODE);
        assert_string_equal(rh_concepts_sae(c, which).path, cases[i].path);
    }
    assert_int_equal(rh_concepts_n_saes(c), 4);
    assert_int_equal(rh_concepts_sae(c, 3).reads, RH_MLP_IN);
    assert_int_equal(rh_concepts_sae(c, 3).hook, RH_MLP_OUT);
    rh_concepts_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(places), cmocka_unit_test(moved), cmocka_unit_test(refused),
                                       cmocka_unit_test(rows_and_metadata), cmocka_unit_test(found_by_label),
                                       cmocka_unit_test(largest_activations), cmocka_unit_test(acting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
