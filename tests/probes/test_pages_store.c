/* Pages on disk: what comes back is what was written, or nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "probes/pages.h"
#include "support/scratch.h"

enum { IDS = 5 };

static const char *saved(scratch *s, const rh_pages *p)
{
    rh_error err = {0};
    assert_int_equal(rh_pages_save(p, scratch_path(s, "x.pages"), &err), RH_OK);
    return s->path;
}

static rh_pages *loaded(const char *path)
{
    rh_pages *p = NULL;
    rh_error err = {0};
    assert_int_equal(rh_pages_load(&p, path, &err), RH_OK);
    return p;
}

static void damaged(void **state)
{
    (void)state;
    scratch s;
    int32_t ids[IDS] = {7, 8, 9, 10, 11};
    rh_page_stats feature = {.active = 2, .sum = 5, .top = {{.value = 3, .at = 2, .before = 2, .n = 5, .act = {1, 2, 255}}}, .n_top = 1};
    const rh_pages p = {.n_features = 1, .context = 8, .documents = 2, .tokens = IDS, .ids = ids, .n_ids = IDS, .features = &feature, .key = "k", .sae = "s",
                        .model = "m"};
    char *bytes = NULL;
    size_t n = 0;
    scratch_open(&s);
    const char *path = saved(&s, &p);
    rh_pages *back = loaded(path);
    assert_non_null(back);
    assert_memory_equal(back->features, &feature, sizeof feature);
    assert_memory_equal(back->ids, ids, sizeof ids);
    assert_true(back->documents == 2 && back->tokens == IDS && !back->done && back->context == 8);
    rh_pages_free(back);
    assert_int_equal(rh_read_file(&bytes, &n, path, 1 << 20, NULL), RH_OK);
    for (size_t i = 0; i < 2 * n; i += i < n ? 7 : 3) {
        if (i >= n) bytes[i - n] ^= 4;
        back = loaded(scratch_write(&s, "y.pages", bytes, i < n ? i : n));
        if (i >= n) bytes[i - n] ^= 4;
        assert_null(back);
    }
    free(bytes);
    assert_null(loaded(scratch_path(&s, "none")));
    scratch_close(&s);
}

/* With the right hash and numbers that cannot be: refused all the same. */
static void forged(void **state)
{
    (void)state;
    scratch s;
    int32_t ids[IDS] = {0};
    const rh_page_place good = {.value = 3, .at = 2, .before = 2, .n = 5};
    const struct { rh_page_place x; int32_t n_top; int64_t active, tokens; } cases[] = {
        {good, 1, 2, IDS},
        {{.value = 3, .at = 2, .before = 3, .n = 5}, 1, 2, IDS},
        {{.value = 3, .at = 3, .before = 2, .n = 5}, 1, 2, IDS},
        {{.value = 3, .at = -1, .before = 0, .n = 1}, 1, 2, IDS},
        {{.value = 3, .at = 2, .before = 2, .n = 2}, 1, 2, IDS},
        {{.value = 3, .at = 0, .before = 0, .n = RH_PAGE_CONTEXT + 1}, 1, 2, IDS},
        {{.value = -1, .at = 2, .before = 2, .n = 5}, 1, 2, IDS},
        {good, RH_PAGE_TOP + 1, 2, IDS},
        {good, -1, 2, IDS},
        {good, 1, IDS + 1, IDS},
        {good, 1, 2, IDS + 1},
    };
    scratch_open(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_page_stats feature = {.active = cases[i].active, .sum = 5, .top = {cases[i].x}, .n_top = cases[i].n_top};
        const rh_pages p = {.n_features = 1, .context = 8, .tokens = cases[i].tokens, .ids = ids, .n_ids = IDS, .features = &feature};
        rh_pages *back = loaded(saved(&s, &p));
        assert_true((back != NULL) == (i == 0));
        rh_pages_free(back);
    }
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(damaged), cmocka_unit_test(forged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
