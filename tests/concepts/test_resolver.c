/* Sources that need no pass, what describe says and refuses, counting, metadata. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "base/file.h"
#include "base/json.h"
#include "concepts/help.h"
#include "engine/files/npy.h"

static rh_atom_spec spec_of(rh_atom_kind kind, const char *text)
{
    return (rh_atom_spec){.kind = kind, .text = text, .text_len = strlen(text), .prefix = ""};
}

static rh_status describe(rh_concepts *c, const rh_atom_spec *spec, rh_atom_info *info, rh_error *err)
{
    const rh_resolver *r = rh_concepts_resolver(c);
    memset(err, 0, sizeof *err);
    return r->describe(r->self, spec, info, err);
}

/* ---- random ------------------------------------------------------------------------------- */

static void test_random(void **state)
{
    (void)state;
    rh_concepts *c = new_concepts(NULL, NULL);
    float a[1000], b[1000], other[1000];
    const rh_resolver *r = rh_concepts_resolver(c);
    rh_atom_spec seven = {.kind = RH_ATOM_RANDOM, .seed = 7}, eight = {.kind = RH_ATOM_RANDOM, .seed = 8};
    rh_atom_info info;
    rh_error err;
    int32_t none = -1, culprit;
    assert_int_equal(describe(c, &seven, &info, &err), RH_OK);
    assert_int_equal(info.place, RH_PLACE_CONSTANT);
    assert_int_equal(info.d, 0);
    rh_atom_request q[3] = {{&seven, RH_RESID_POST, 1, &none, 1000, a}, {&seven, RH_RESID_POST, 1, &none, 1000, b},
                            {&eight, RH_RESID_POST, 1, &none, 1000, other}};
    assert_int_equal(r->compute(r->self, q, 3, &culprit, &err), RH_OK);
    assert_memory_equal(a, b, sizeof a);
    assert_true(fabs(rh_norm(a, 1000) - 1) < 1e-6);
    assert_true(fabs(rh_cosine(a, other, 1000)) < 0.15); /* some 5 standard deviations */
    double fourth = 0; /* kurtosis 3: Gaussian, and not, say, uniform (1.8) */
    for (int i = 0; i < 1000; i++) fourth += pow(a[i], 4) * 1000;
    assert_true(fourth > 2.4 && fourth < 3.6);
    rh_concepts_free(c);
}

/* ---- token, unembed ------------------------------------------------------------------------ */

static void test_token_rows(void **state)
{
    (void)state;
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL);
    rh_error err;
    rh_atom_info info;
    float row[32], mean[32] = {0};
    rh_atom_spec rain = spec_of(RH_ATOM_TOKEN, " rain"), up = spec_of(RH_ATOM_UNEMBED, " rain");
    rh_tokens t = {0};
    assert_int_equal(rh_tokenize(m->tokenizer, &t, " rain city", 10, false, 0, NULL), RH_OK);
    assert_int_equal(t.n, 2);

    assert_int_equal(describe(c, &rain, &info, &err), RH_OK);
    assert_int_equal(info.place, RH_PLACE_CONSTANT);
    assert_int_equal(info.d, 32);
    float *v = compute(c, &rain, RH_RESID_POST, 0, 1, RH_OK, NULL);
    assert_int_equal(rh_model_embed_row(row, m, t.items[0].id, NULL), RH_OK);
    assert_memory_equal(v, row, sizeof row);
    free(v);
    v = compute(c, &up, RH_RESID_POST, 0, 1, RH_OK, NULL);
    assert_int_equal(rh_model_unembed_row(row, m, t.items[0].id, NULL), RH_OK);
    assert_memory_equal(v, row, sizeof row);
    free(v);

    rh_atom_spec two = spec_of(RH_ATOM_TOKEN, " rain city");
    assert_int_equal(describe(c, &two, &info, &err), RH_EVALUE);
    assert_non_null(strstr(err.message, "\" rain city\" is 2 tokens: [ rain][ city]"));
    assert_non_null(strstr(err.hint, "at=mean"));
    two.at = RH_AT_MEAN;
    assert_int_equal(describe(c, &two, &info, &err), RH_OK);
    v = compute(c, &two, RH_RESID_POST, 0, 1, RH_OK, NULL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rh_model_embed_row(row, m, t.items[i].id, NULL), RH_OK);
        for (int j = 0; j < 32; j++) mean[j] += row[j] / 2;
    }
    for (int j = 0; j < 32; j++) assert_true(fabsf(v[j] - mean[j]) < 1e-6f);
    free(v);
    rh_atom_spec empty = spec_of(RH_ATOM_UNEMBED, "");
    assert_int_equal(describe(c, &empty, &info, &err), RH_EVALUE);
    rh_tokens_free(&t);
    rh_concepts_free(c);

    /* A control token is one only if asked. */
    rh_atom_spec control = spec_of(RH_ATOM_TOKEN, "<s>");
    for (int special = 0; special < 2; special++) {
        rh_concepts_options o = {.special = special};
        assert_int_equal(rh_concepts_new(&c, m, &o, NULL), RH_OK);
        assert_int_equal(describe(c, &control, &info, &err), special ? RH_OK : RH_EVALUE);
        rh_concepts_free(c);
    }
    rh_model_free(m);
}

/* ---- what cannot be described --------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *plain = open_model("words.gguf"), *bos = open_model("words-bos.gguf");
    rh_concepts *a = new_concepts(plain, NULL), *b = new_concepts(bos, NULL), *none = new_concepts(NULL, NULL);
    rh_atom_spec good = dim_spec(write_text(&f, "good.csv", "positive,negative\nThe rain,The snow\n"));
    rh_atom_spec chat = good, renamed = good, marked = act_spec("The <<rain"), unmarked = act_spec("The rain");
    chat.chat = true;
    renamed.positive = "good";
    marked.at = unmarked.at = RH_AT_MARKED;
    const struct { rh_concepts *c; rh_atom_spec spec; rh_status status; const char *message; } cases[] = {
        {a, good, RH_OK, ""},
        {none, good, RH_OK, ""},
        {a, chat, RH_OK, ""},
        {b, chat, RH_EUNSUPPORTED, "no chat template"},
        {a, renamed, RH_EFORMAT, "good.csv:1: no column 'good' in the header"},
        {a, dim_spec(in_folder(&f, "none.csv")), RH_EIO, "none.csv"},
        {a, dim_spec(f.path), RH_EIO, "a folder"},
        {a, marked, RH_EFORMAT, "a mark '<<' is not closed"},
        {a, unmarked, RH_EFORMAT, "no mark"},
        {a, act_spec(""), RH_EVALUE, "the text is empty"},
        {a, spec_of(RH_ATOM_LOAD, in_folder(&f, "none.safetensors")), RH_EIO, "none.safetensors"},
        {a, spec_of(RH_ATOM_LOAD, write_text(&f, "x.safetensors", "no such thing")), RH_EFORMAT, "x.safetensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_atom_info info;
        rh_error err;
        rh_status status = describe(cases[i].c, &cases[i].spec, &info, &err);
        if (status != cases[i].status) fail_msg("case %zu: %s: %s", i, rh_status_name(status), err.message);
        if (!strstr(err.message, cases[i].message)) fail_msg("case %zu: %s", i, err.message);
        assert_string_equal(err.file, ""); /* the place is the checker's: a file's own is in the message */
    }
    /* A fault further down shows when the rows are read, with file and line in the message. */
    rh_error err;
    rh_atom_spec bad = dim_spec(write_text(&f, "bad.csv", "positive,negative\na,b\nc\n"));
    free(compute(a, &bad, RH_RESID_POST, 0, 1, RH_EFORMAT, &err));
    assert_non_null(strstr(err.message, "bad.csv:3: 1 field in this row"));
    assert_string_equal(err.file, "");
    free(compute(none, &good, RH_RESID_POST, 0, 1, RH_EMODEL, &err));
    assert_non_null(strstr(err.message, "dim needs a model"));
    rh_str csv = {0};
    rh_str_puts(&csv, "positive,negative\nrain,snow\n\"");
    for (int i = 0; i < 70; i++) rh_str_puts(&csv, " rain");
    rh_str_puts(&csv, "\",snow\n");
    rh_atom_spec lengthy = dim_spec(write_text(&f, "long.csv", csv.data));
    free(compute(a, &lengthy, RH_RESID_POST, 0, 1, RH_ELIMIT, &err));
    assert_non_null(strstr(err.message, "long.csv:3: the text is 70 tokens long, and the model's context 64"));
    rh_str_free(&csv);
    rh_concepts_free(a);
    rh_concepts_free(b);
    rh_concepts_free(none);
    rh_model_free(plain);
    rh_model_free(bos);
    folder_remove(&f);
}

/* Which request was at fault. */
static void test_culprit(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL);
    const rh_resolver *r = rh_concepts_resolver(c);
    rh_atom_spec good = act_spec("rain"), bad = dim_spec(write_text(&f, "bad.csv", "positive,negative\na\n")),
                 token = spec_of(RH_ATOM_TOKEN, "The rain");
    int32_t layer = 1, culprit;
    float out[32];
    rh_error err;
    rh_atom_request q[3] = {{&good, RH_RESID_POST, 1, &layer, 32, out}, {&bad, RH_RESID_POST, 1, &layer, 32, out},
                            {&token, RH_RESID_POST, 1, &layer, 32, out}};
    assert_int_equal(r->compute(r->self, q, 2, &culprit, &err), RH_EFORMAT);
    assert_int_equal(culprit, 1);
    assert_int_equal(r->compute(r->self, q, 3, &culprit, &err), RH_EVALUE);
    assert_int_equal(culprit, 2);
    assert_int_equal(r->compute(r->self, q, 1, &culprit, &err), RH_OK);
    int32_t deep = 3;
    q[0].layers = &deep;
    assert_int_equal(r->compute(r->self, q, 1, &culprit, &err), RH_ESITE);
    assert_int_equal(culprit, 0);
    rh_concepts_free(c);
    rh_model_free(m);
    folder_remove(&f);
}

/* ---- load --------------------------------------------------------------------------------- */

static const char *save(const folder *f, const char *name, int32_t d, rh_hook hook, int32_t n, const int32_t *layers,
                        const char *fingerprint)
{
    rh_vector *v = NULL;
    char json[400];
    const char *path = in_folder(f, name);
    assert_int_equal(rh_vector_new(&v, d, hook, layers, n, NULL), RH_OK);
    for (int32_t i = 0; i < n * d; i++) v->data[i] = (float)(i + 1);
    snprintf(json, sizeof json, "{\"version\":1,\"hook\":\"%s\",\"model\":{\"name\":\"other\",\"fingerprint\":\"%s\"}}",
             rh_hook_name(hook), fingerprint);
    assert_int_equal(rh_vectorfile_write(path, v, json, NULL, 0, NULL), RH_OK);
    rh_vector_free(v);
    return path;
}

static void test_load(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL), *none = new_concepts(NULL, NULL);
    rh_atom_info info;
    rh_error err;
    int32_t one[] = {2}, two[] = {0, 2}, deep[] = {1, 3};
    rh_atom_spec pinned = spec_of(RH_ATOM_LOAD, save(&f, "one.safetensors", 32, RH_MLP_OUT, 1, one, m->fingerprint));
    assert_int_equal(describe(c, &pinned, &info, &err), RH_OK);
    assert_int_equal(info.place, RH_PLACE_PINNED);
    assert_int_equal(info.hook, RH_MLP_OUT);
    assert_int_equal(info.layers[0], 2);
    assert_int_equal(info.d, 32);
    float *v = compute(c, &pinned, RH_MLP_OUT, 2, 1, RH_OK, NULL);
    for (int j = 0; j < 32; j++) assert_true(v[j] == (float)(j + 1));
    free(v);
    free(compute(c, &pinned, RH_RESID_POST, 2, 1, RH_ESITE, &err));
    free(compute(c, &pinned, RH_MLP_OUT, 1, 1, RH_ESITE, &err));

    rh_atom_spec family = spec_of(RH_ATOM_LOAD, save(&f, "two.safetensors", 32, RH_RESID_POST, 2, two, m->fingerprint));
    assert_int_equal(describe(c, &family, &info, &err), RH_OK);
    assert_int_equal(info.place, RH_PLACE_FAMILY);
    assert_int_equal(info.n_layers, 2);
    v = compute(c, &family, RH_RESID_POST, 2, 1, RH_OK, NULL);
    assert_true(v[0] == 33);
    free(v);

    const struct { const char *path; rh_status status; const char *message; } refused[] = {
        {save(&f, "wide.safetensors", 33, RH_RESID_POST, 1, one, m->fingerprint), RH_ESITE, "vectors of 33 numbers"},
        {save(&f, "deep.safetensors", 32, RH_RESID_POST, 2, deep, m->fingerprint), RH_ESITE, "layer 3, but"},
        {save(&f, "other.safetensors", 32, RH_RESID_POST, 1, one, "abc"), RH_EMODEL, "was made on other (abc"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        rh_atom_spec spec = spec_of(RH_ATOM_LOAD, refused[i].path);
        assert_int_equal(describe(c, &spec, &info, &err), refused[i].status);
        if (!strstr(err.message, refused[i].message)) fail_msg("case %zu: %s", i, err.message);
        assert_int_equal(describe(none, &spec, &info, &err), RH_OK); /* without a model, nothing to compare */
    }
    rh_concepts_free(c);
    rh_concepts_options force = {.force_model = true};
    rh_atom_spec other = spec_of(RH_ATOM_LOAD, in_folder(&f, "other.safetensors"));
    assert_int_equal(rh_concepts_new(&c, m, &force, NULL), RH_OK);
    assert_int_equal(describe(c, &other, &info, &err), RH_OK);
    assert_int_equal(describe(c, &other, &info, &err), RH_OK);
    const char *warning = strstr(rh_concepts_warnings(c), "was made on other");
    assert_non_null(warning);
    assert_null(strstr(warning + 1, "was made on other")); /* said once */
    rh_concepts_free(c);

    /* Without a model two files from two models do not combine; forced, they do with a warning. */
    rh_atom_spec ours = spec_of(RH_ATOM_LOAD, in_folder(&f, "deep.safetensors"));
    assert_int_equal(describe(none, &other, &info, &err), RH_OK);
    assert_string_equal(info.model->fingerprint, "abc");
    assert_int_equal(describe(none, &ours, &info, &err), RH_OK);
    assert_string_equal(info.model->fingerprint, m->fingerprint);
    c = NULL;
    assert_int_equal(rh_concepts_new(&c, NULL, &force, NULL), RH_OK);
    assert_int_equal(describe(c, &other, &info, &err), RH_OK);
    assert_int_equal(describe(c, &ours, &info, &err), RH_OK);
    assert_null(info.model);
    assert_non_null(strstr(rh_concepts_warnings(c), "other.safetensors on other (abc"));

    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    int64_t shape[2] = {8, 1};
    assert_int_equal(rh_npy_write(in_folder(&f, "v.npy"), x, 1, shape, NULL), RH_OK);
    rh_atom_spec npy = spec_of(RH_ATOM_LOAD, in_folder(&f, "v.npy"));
    assert_int_equal(describe(none, &npy, &info, &err), RH_OK);
    assert_int_equal(info.place, RH_PLACE_CONSTANT);
    assert_int_equal(info.d, 8);
    v = compute(none, &npy, RH_RESID_POST, 0, 1, RH_OK, NULL);
    assert_memory_equal(v, x, sizeof x);
    free(v);
    x[3] = INFINITY;
    assert_int_equal(rh_npy_write(in_folder(&f, "inf.npy"), x, 1, shape, NULL), RH_OK);
    rh_atom_spec bad = spec_of(RH_ATOM_LOAD, in_folder(&f, "inf.npy"));
    assert_int_equal(describe(none, &bad, &info, &err), RH_EFORMAT);
    rh_concepts_free(c);
    rh_concepts_free(none);
    rh_model_free(m);
    folder_remove(&f);
}

/* ---- counting ------------------------------------------------------------------------------ */

static void test_survey(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, in_folder(&f, "cache")), *none = new_concepts(NULL, NULL);
    const rh_resolver *r = rh_concepts_resolver(c);
    rh_atom_spec dim = dim_spec(write_text(&f, "a.csv", "positive,negative\nThe mayor of San Francisco,The mayor of Paris\n"
                                                        "The mayor of San Francisco,The mayor\n"));
    rh_atom_spec act = act_spec("The mayor in rain"), noise = {.kind = RH_ATOM_RANDOM, .seed = 1};
    act.at = RH_AT_MEAN;
    int32_t layers[] = {1, 2}, culprit;
    float out[4][64];
    rh_atom_request q[4] = {{&dim, RH_RESID_POST, 1, layers, 32, out[0]}, {&act, RH_RESID_POST, 1, layers + 1, 32, out[1]},
                            {&noise, RH_RESID_POST, 1, layers, 32, out[2]}, {&dim, RH_RESID_POST, 1, layers + 1, 32, out[3]}};
    rh_atom_survey each[4];
    rh_plan_survey all;
    rh_error err;
    assert_int_equal(r->survey(r->self, q, 4, each, &all, &err), RH_OK);
    assert_int_equal(each[0].prompts, 4);
    assert_int_equal(each[0].distinct, 3);
    assert_int_equal(each[0].tokens, 5 + 4 + 5 + 2);
    assert_int_equal(each[0].read, 4);
    assert_false(each[0].cached);
    assert_string_equal(each[0].sample, "The mayor of San[ Francisco]");
    assert_string_equal(each[1].sample, "The[ mayor in rain]");
    assert_int_equal(each[1].read, 3);
    assert_int_equal(each[2].prompts, 0);
    assert_int_equal(each[3].tokens, each[0].tokens);
    assert_int_equal(all.prompts, 5);
    assert_int_equal(all.distinct, 4);
    assert_int_equal(all.tokens, 16 + 4);
    assert_int_equal(all.shared_tokens, 5 + 1 + 2); /* The mayor of San Francisco | Paris | in rain */
    assert_int_equal(all.deepest, 2);
    assert_true(all.seconds < 0);
    /* The rate of a pass is remembered, and what was computed is cached. */
    assert_int_equal(r->compute(r->self, q, 1, &culprit, &err), RH_OK);
    assert_int_equal(r->survey(r->self, q, 2, each, &all, &err), RH_OK);
    assert_true(each[0].cached);
    assert_int_equal(each[0].prompts, 4);
    assert_false(each[1].cached);
    assert_int_equal(all.prompts, 1);
    assert_int_equal(all.shared_tokens, 4);
    assert_true(all.seconds >= 0);
    assert_int_equal(r->survey(r->self, q, 1, each, &all, &err), RH_OK);
    assert_int_equal(all.prompts, 0);
    assert_int_equal(all.deepest, -1);
    /* Without a model there are texts. */
    r = rh_concepts_resolver(none);
    assert_int_equal(r->survey(r->self, q, 3, each, &all, &err), RH_OK);
    assert_int_equal(each[0].prompts, 4);
    assert_string_equal(each[0].sample, "The mayor of San Francisco");
    rh_concepts_free(c);
    rh_concepts_free(none);
    rh_model_free(m);
    folder_remove(&f);
}

/* ---- metadata ------------------------------------------------------------------------------ */

static void test_metadata(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL);
    rh_atom_spec dim = dim_spec(write_text(&f, "a.csv", "positive,negative\nThe rain,The snow\nI love rain,I love snow\n"));
    dim.at = RH_AT_MEAN;
    dim.prefix = "in ";
    rh_vector *v = NULL;
    int32_t layers[] = {0, 1};
    char *json = NULL, hash[65];
    assert_int_equal(rh_sha256_file(hash, dim.text, NULL), RH_OK);
    assert_int_equal(rh_vector_new(&v, 32, RH_MLP_OUT, layers, 2, NULL), RH_OK);
    float *x = compute(c, &dim, RH_MLP_OUT, 0, 2, RH_OK, NULL);
    memcpy(v->data, x, 64 * sizeof *x);
    for (int round = 0; round < 2; round++) { /* the second computation forgets the first one's sources */
        json_t *root = NULL;
        assert_int_equal(rh_concepts_metadata(&json, c, "a \"b\" é", v, "2025-01-02T03:04:05Z", NULL), RH_OK);
        assert_int_equal(rh_json_parse(&root, json, strlen(json), "metadata", NULL), RH_OK);
        json_t *source = json_array_get(json_object_get(root, "sources"), 0), *stats = json_object_get(root, "stats");
        assert_int_equal(json_array_size(json_object_get(root, "sources")), 1);
        assert_int_equal(json_integer_value(json_object_get(root, "version")), 1);
        assert_string_equal(json_string_value(json_object_get(root, "expression")), "a \"b\" é");
        assert_string_equal(json_string_value(json_object_get(root, "hook")), "mlp_out");
        assert_string_equal(json_string_value(json_object_get(root, "created")), "2025-01-02T03:04:05Z");
        json_t *model = json_object_get(root, "model");
        assert_string_equal(json_string_value(json_object_get(model, "fingerprint")), m->fingerprint);
        assert_int_equal(json_integer_value(json_object_get(model, "d")), 32);
        assert_int_equal(json_integer_value(json_object_get(model, "layers")), 3);
        assert_string_equal(json_string_value(json_object_get(source, "kind")), round ? "random" : "dim");
        double norm = json_number_value(json_array_get(json_object_get(stats, "norms"), 1));
        assert_true(fabs(norm - rh_norm(v->data + 32, 32)) < 1e-9);
        if (!round) {
            json_t *options = json_object_get(source, "options");
            json_t *counts = json_array_get(json_object_get(stats, "sources"), 0);
            assert_string_equal(json_string_value(json_object_get(source, "path")), dim.text);
            assert_string_equal(json_string_value(json_object_get(source, "sha256")), hash);
            assert_string_equal(json_string_value(json_object_get(options, "at")), "mean");
            assert_string_equal(json_string_value(json_object_get(options, "prefix")), "in ");
            assert_int_equal(json_integer_value(json_object_get(counts, "positives")), 2);
            assert_int_equal(json_integer_value(json_object_get(counts, "negatives")), 2);
            assert_true(json_integer_value(json_object_get(counts, "tokens")) > 8);
        }
        json_decref(root);
        free(json);
        rh_atom_spec noise = {.kind = RH_ATOM_RANDOM, .seed = 3};
        free(compute(c, &noise, RH_RESID_POST, 0, 1, RH_OK, NULL));
    }
    free(x);
    rh_vector_free(v);
    rh_concepts_free(c);
    rh_model_free(m);
    folder_remove(&f);
}

static void test_warnings(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL);
    rh_atom_spec dim = dim_spec(write_text(&f, "a.csv", "positive,negative\nrain,snow\nThe rain,The snow\nrain,snow\n"
                                                        "The city,The city\n"));
    free(compute(c, &dim, RH_RESID_POST, 0, 1, RH_OK, NULL));
    const char *said = rh_concepts_warnings(c);
    assert_non_null(strstr(said, "a.csv: 1 of 4 rows repeat another one; 1 of 4 pairs have equal texts"));
    assert_non_null(strstr(said, "2 texts are read at position 0")); /* snow is several tokens here */
    rh_concepts_free(c);
    rh_model_free(m);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random), cmocka_unit_test(test_token_rows), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_culprit), cmocka_unit_test(test_load), cmocka_unit_test(test_survey),
        cmocka_unit_test(test_metadata), cmocka_unit_test(test_warnings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
