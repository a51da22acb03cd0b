/* search, test and labels from the model to the page with their allocations failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "concepts/labels.h"
#include "notebooks-export/search_export.h"
#include "notebooks-export/test_export.h"
#include "support/alloc_fail.h"
#include "support/make_sae.h"
#include "support/scratch.h"

typedef struct place {
    scratch s;
    rh_model *m;
    char sae[400], corpus[700], labels[700];
    const rh_terminal *terminal; /* NULL: JSON, and a web page */
} place;

static rh_status search(void *data, rh_error *err)
{
    const place *p = data;
    const char *path = p->sae;
    const int32_t tokens[] = {1, 2};
    const rh_search_options o = {.top = 5, .by_sum = true, .tokens = tokens, .n_tokens = 2, .layer = -1};
    rh_search_report *r = NULL;
    rh_str out = {0};
    rh_status status = rh_probe_search(&r, p->m, &path, 1, "The rain in the city", &o, err);
    if (!status) status = p->terminal ? rh_export_search_text(&out, r, p->terminal, err) : rh_export_search_json(&out, r, err);
    rh_str_free(&out);
    rh_search_report_free(r);
    return status;
}

static rh_status show(const place *p, const rh_test_report *r, rh_error *err)
{
    rh_str out = {0};
    if (p->terminal) {
        rh_status status = rh_export_test_text(&out, r, 3, p->terminal, err);
        rh_str_free(&out);
        return status;
    }
    RH_TRY(rh_export_test_json(&out, r, err));
    rh_str_free(&out);
    RH_TRY(rh_export_test_html(&out, r, err));
    rh_str_free(&out);
    return RH_OK;
}

static rh_status test(void *data, rh_error *err)
{
    const place *p = data;
    const int32_t features[] = {0, 3};
    const char *path = p->corpus, *text = "The rain";
    rh_pages_options o = {.context = 16};
    rh_sae *s = NULL;
    rh_seat seat;
    rh_corpus *corpus = NULL;
    rh_pages *pages = NULL;
    rh_feature_notes *notes = NULL;
    rh_labels_read read;
    rh_test_report *r = NULL;
    int32_t n;
    rh_status status = rh_sae_open(&s, p->sae, RH_SAE_ENCODE, err);
    if (!status) status = rh_sae_seat(&seat, s, p->sae, p->m, -1, false, err);
    if (!status) status = rh_corpus_open(&corpus, &path, 1, err);
    if (!status) status = rh_pages_run(&pages, p->m, s, &seat, corpus, &o, err);
    if (!status) status = rh_feature_notes_open(&notes, NULL, s, err);
    if (!status) status = rh_labels_read_file(&read, notes, s, p->labels, err);
    if (!status) status = rh_auto_label(&n, notes, p->m, pages, err);
    if (!status) status = rh_test_begin(&r, p->m, s, p->sae, &seat, err);
    if (!status) status = rh_test_texts(r, p->m, s, features, 2, &text, 1, notes, err);
    if (!status) status = rh_test_pages(r, p->m, s, pages, features, 2, 3, notes, err);
    if (!status) status = rh_test_lines(r, p->m, pages, notes, err);
    if (!status) status = show(p, r, err);
    rh_test_report_free(r);
    rh_feature_notes_free(notes);
    rh_pages_free(pages);
    rh_corpus_free(corpus);
    rh_sae_free(s);
    return status;
}

/* What is stored, written and read again. */
static rh_status store(void *data, rh_error *err)
{
    const place *p = data;
    int32_t ids[] = {1, 2, 3};
    rh_page_stats feature = {.active = 1, .sum = 2, .top = {{.value = 2, .at = 1, .before = 1, .n = 3}}, .n_top = 1};
    const rh_pages pages = {.n_features = 1, .context = 4, .documents = 1, .tokens = 3, .done = true, .ids = ids, .n_ids = 3, .features = &feature,
                            .sae = "a", .model = "b"};
    rh_pages *back = NULL;
    char *path = rh_pages_path(&pages, p->s.dir);
    rh_status status = path ? rh_pages_save(&pages, path, err) : rh_fail_nomem(err);
    if (!status) status = rh_pages_load(&back, path, err);
    if (!status && (!back || back->n_ids != 3 || back->ids[2] != 3 || back->features[0].top[0].value != 2)) status = rh_fail(err, RH_EFORMAT, "it came back changed");
    rh_pages_free(back);
    free(path);
    return status;
}

static void no_memory(void **state)
{
    place p = {0};
    char folder[400];
    const rh_settings settings = {.threads = 1, .exact = true};
    const rh_terminal colour = {.width = 70, .colour = true, .unicode = true}, ascii = {.width = 60};
    (void)state;
    scratch_open(&p.s);
    snprintf(p.sae, sizeof p.sae, "%s/sae", p.s.dir);
    make_sae(p.sae, &(made_sae){.architecture = "standard", .hook = "blocks.1.hook_resid_post", .d_in = 32, .d_out = 32, .d_sae = 12, .seed = 3});
    snprintf(p.corpus, sizeof p.corpus, "%s", scratch_write(&p.s, "c.txt", "The rain falls in the city, and the sun is behind the roofs of the town.", 72));
    snprintf(p.labels, sizeof p.labels, "%s", scratch_write(&p.s, "l.csv", "3,rain\n", 7));
    assert_int_equal(rh_model_open(&p.m, RH_TEST_DATA "/models/words.gguf", &settings, NULL), RH_OK);
    for (int i = 0; i < 2; i++) { /* the backend's scratch stays; libcsv asks again, for less */
        assert_int_equal(search(&p, NULL), RH_OK);
        assert_int_equal(test(&p, NULL), RH_OK);
    }
    assert_true(alloc_fail_each(search, &p, 30) > 30);
    assert_true(alloc_fail_each_or_without(test, &p, 50) > 100);
    p.terminal = &colour;
    assert_true(alloc_fail_each(search, &p, 30) > 30);
    assert_true(alloc_fail_each_or_without(test, &p, 50) > 100);
    p.terminal = &ascii;
    assert_true(alloc_fail_each_or_without(test, &p, 50) > 100);
    assert_true(alloc_fail_each(store, &p, 30) > 8);
    rh_model_free(p.m);
    made_sae_remove(p.sae);
    snprintf(folder, sizeof folder, "%s/features", p.s.dir);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[700];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unlink(path);
    }
    if (d) closedir(d);
    rmdir(folder);
    scratch_close(&p.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
