/* Notes on features and a corpus with each allocation failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "concepts/corpus.h"
#include "concepts/feature_notes.h"
#include "concepts/help.h"
#include "support/alloc_fail.h"

static rh_status notes(void *data, rh_error *err)
{
    rh_sae *s = NULL;
    rh_feature_notes *n = NULL;
    int32_t *found = NULL, count;
    rh_status status = rh_sae_open(&s, RH_TEST_DATA "/saes/topk", RH_SAE_ROWS, err);
    if (!status) status = rh_feature_notes_open(&n, ((folder *)data)->path, s, err);
    if (!status) status = rh_feature_notes_label(n, 2, "a label", RH_LABEL_CSV, err);
    if (!status) status = rh_feature_notes_find(&found, &count, n, "label", 5, err);
    if (!status) status = rh_feature_notes_write(n, err);
    free(found);
    rh_feature_notes_free(n);
    rh_sae_free(s);
    return status;
}

static rh_status corpus(void *data, rh_error *err)
{
    rh_corpus *c = NULL;
    const char *const *paths = data, *text;
    size_t len;
    bool end = false;
    rh_status status = rh_corpus_open(&c, paths, 2, err);
    while (!status && !end) status = rh_corpus_next(c, &text, &len, &end, err);
    rh_corpus_free(c);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    folder f = folder_new();
    const char *paths[] = {write_text(&f, "a.txt", "some text\nand more"), write_text(&f, "b.jsonl", "\"one\"\n{\"text\": \"two\"}\n")};
    assert_true(alloc_fail_each(notes, &f, 400) > 20);
    assert_true(alloc_fail_each(corpus, paths, 400) > 5);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
