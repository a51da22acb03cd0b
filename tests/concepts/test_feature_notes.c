/* Notes on an SAE's features: kept, found by label, and never believed when damaged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/feature_notes.h"
#include "concepts/help.h"

#define SAE RH_TEST_DATA "/saes/topk"

static const char MODEL[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static rh_sae *open_sae(const char *path)
{
    rh_sae *s = NULL;
    rh_error err = {0};
    assert_int_equal(rh_sae_open(&s, path, RH_SAE_ROWS, &err), RH_OK);
    return s;
}

static rh_feature_notes *open_notes(const folder *f, const rh_sae *s)
{
    rh_feature_notes *n = NULL;
    rh_error err = {0};
    assert_int_equal(rh_feature_notes_open(&n, f->path, s, &err), RH_OK);
    return n;
}

static void fill(const folder *f, const rh_sae *s)
{
    rh_feature_notes *n = open_notes(f, s);
    rh_error err = {0};
    assert_int_equal(rh_feature_notes_label(n, 1, "  references to\nSan Francisco ", RH_LABEL_NEURONPEDIA, &err), RH_OK);
    assert_int_equal(rh_feature_notes_label(n, 2, "san francisco", RH_LABEL_CSV, &err), RH_OK);
    assert_int_equal(rh_feature_notes_label(n, 3, "rain", RH_LABEL_AUTO, &err), RH_OK);
    rh_feature_notes_measure(n, 3, 12.5f, 0.25f, 4000);
    assert_int_equal(rh_feature_notes_set_fit(n, MODEL, &(rh_feature_fit){0.2, 31.5, 900}, &err), RH_OK);
    assert_int_equal(rh_feature_notes_write(n, &err), RH_OK);
    rh_feature_notes_free(n);
}

static void kept(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_sae *s = open_sae(SAE);
    fill(&f, s);
    rh_feature_notes *n = open_notes(&f, s);
    rh_feature_note x = rh_feature_notes_get(n, 1);
    assert_string_equal(x.label, "references to San Francisco");
    assert_int_equal(x.source, RH_LABEL_NEURONPEDIA);
    assert_false(x.measured);
    x = rh_feature_notes_get(n, 3);
    assert_true(x.measured && x.max_act == 12.5f && x.density == 0.25f && x.tokens == 4000);
    assert_null(rh_feature_notes_get(n, 0).label);
    assert_int_equal(rh_feature_notes_labels(n), 3);
    rh_feature_fit fit;
    assert_true(rh_feature_notes_fit(&fit, n, MODEL) && fit.fvu == 0.2 && fit.l0 == 31.5 && fit.tokens == 900);
    rh_error err = {0};
    assert_int_equal(rh_feature_notes_label(n, 1, NULL, RH_LABEL_NONE, &err), RH_OK);
    assert_int_equal(rh_feature_notes_labels(n), 2);
    char long_label[1000];
    memset(long_label, 'x', sizeof long_label);
    memcpy(long_label + 399, "\xe2\x82\xac", 3);
    long_label[999] = 0;
    assert_int_equal(rh_feature_notes_label(n, 1, long_label, RH_LABEL_CSV, &err), RH_OK);
    assert_int_equal(strlen(rh_feature_notes_get(n, 1).label), 399);
    assert_int_equal(rh_feature_notes_label(n, 1, "a\xff", RH_LABEL_CSV, &err), RH_OK);
    assert_string_equal(rh_feature_notes_get(n, 1).label, "a\xef\xbf\xbd");
    assert_int_equal(rh_feature_notes_set_fit(n, "short", &fit, &err), RH_EVALUE);
    for (int i = 0; i < 70; i++) {
        char model[65];
        snprintf(model, sizeof model, "%064x", i + 1);
        assert_int_equal(rh_feature_notes_set_fit(n, model, &fit, &err), RH_OK);
    }
    assert_false(rh_feature_notes_fit(&fit, n, MODEL)); /* the oldest went */
    assert_int_equal(rh_feature_notes_write(n, &err), RH_OK);
    rh_feature_notes_free(n);
    n = open_notes(&f, s);
    assert_int_equal(rh_feature_notes_labels(n), 3);
    rh_feature_notes_free(n);

    rh_sae *other = open_sae(RH_TEST_DATA "/saes/jumprelu");
    n = open_notes(&f, other);
    assert_int_equal(rh_feature_notes_labels(n), 0);
    rh_feature_notes_free(n);
    rh_sae_free(other);
    rh_sae_free(s);
    folder_remove(&f);
}

static void found(void **state)
{
    (void)state;
    static const struct { const char *label; int n, first; } cases[] = {
        {"San Francisco", 1, 2}, {" SAN FRANCISCO ", 1, 2}, {"francisco", 2, 1}, {"rain", 1, 3}, {"snow", 0, 0}, {"", 0, 0}};
    folder f = folder_new();
    rh_sae *s = open_sae(SAE);
    fill(&f, s);
    rh_feature_notes *n = open_notes(&f, s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t *items = NULL, count = -1;
        rh_error err = {0};
        assert_int_equal(rh_feature_notes_find(&items, &count, n, cases[i].label, strlen(cases[i].label), &err), RH_OK);
        assert_int_equal(count, cases[i].n);
        if (count) assert_int_equal(items[0], cases[i].first);
        free(items);
    }
    rh_feature_notes_free(n);
    rh_sae_free(s);
    folder_remove(&f);
}

/* Any byte changed, any length: empty notes, which can be written again. */
static void damaged(void **state)
{
    (void)state;
    folder f = folder_new();
    rh_sae *s = open_sae(SAE);
    rh_error err = {0};
    fill(&f, s);
    char dir[300], path[400], bytes[4096];
    snprintf(dir, sizeof dir, "%s/features", f.path);
    snprintf(path, sizeof path, "%s/%s", dir, only_file(dir));
    if (only_file(dir)[0] == '/') snprintf(path, sizeof path, "%s", only_file(dir));
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_true(n > 200 && n < sizeof bytes);
    for (size_t i = 0; i < 2 * n; i++) {
        size_t size = i < n ? i : n;
        if (i >= n) bytes[i - n] ^= 1;
        file = fopen(path, "wb");
        fwrite(bytes, 1, size, file);
        fclose(file);
        if (i >= n) bytes[i - n] ^= 1;
        rh_feature_notes *notes = open_notes(&f, s);
        assert_int_equal(rh_feature_notes_labels(notes), 0);
        assert_false(rh_feature_notes_get(notes, 3).measured);
        rh_feature_notes_free(notes);
    }
    fill(&f, s);
    rh_feature_notes *notes = open_notes(&f, s);
    assert_int_equal(rh_feature_notes_labels(notes), 3);
    rh_feature_notes_free(notes);
    rh_feature_notes *nowhere = NULL;
    assert_int_equal(rh_feature_notes_open(&nowhere, NULL, s, &err), RH_OK);
    assert_int_equal(rh_feature_notes_write(nowhere, &err), RH_EIO);
    rh_feature_notes_free(nowhere);
    rh_sae_free(s);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kept), cmocka_unit_test(found), cmocka_unit_test(damaged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
